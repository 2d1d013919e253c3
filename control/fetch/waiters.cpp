// Of FetchTable: who waits, for how long, and what becomes of them.
#include "control/fetch/table.hpp"

#include <fmt/format.h>

#include "control/limits.hpp"

namespace millrace::control {

using WakeKind = dataplane::Wake::Kind;

void FetchTable::join(Slot& slot, const Waiter& waiter) {
    if (replace_retransmission(slot, waiter)) return;
    if (slot.waiters.size() >= limits::waiters_per_fetch) return refuse(waiter);
    if (!waiter.is_tcp()) slot.places.emplace(Asker{waiter.client, waiter.id}, slot.waiters.size());
    slot.waiters.push_back(waiter);
    slot.waiter_due = std::min(slot.waiter_due, waiter.arrived + limits::stale_after);
}

/// A client that asks again with the same port and ID is answered once: the newer question takes the place.
bool FetchTable::replace_retransmission(Slot& slot, const Waiter& waiter) {
    if (waiter.is_tcp()) return false;
    auto at = slot.places.find({waiter.client, waiter.id});
    if (at == slot.places.end()) return false;
    Waiter& first = slot.waiters[at->second];
    Waiter replaced = first;
    first.source = waiter.source;
    first.token = waiter.token;
    // Patience is counted from the first try, which comes second when it was waiting for a restart.
    first.arrived = std::min(first.arrived, waiter.arrived);
    slot.waiter_due = std::min(slot.waiter_due, first.arrived + limits::stale_after);
    wake(replaced, nullptr, WakeKind::abandon);
    return true;
}

void FetchTable::refuse(const Waiter& waiter, std::uint64_t FetchCounters::*why) {
    ++(counters_.*why);
    wake(waiter, publisher_.servfail(), WakeKind::answer);
}

/// Within the limits of the client's prefix and of the key (CacheFlush, NXNS). Successors that a flush or a
/// reload forces do not come this way.
bool FetchTable::may_start(cache::Hash hash, const Waiter& waiter, Time now) const {
    if (!access_) return true;
    std::uint64_t prefix = access_->prefix_of(waiter.client.address);
    return access_->takes_fetch(prefix, waiter.is_tcp(), now) && access_->takes_start(hash, prefix, now);
}

void FetchTable::answer_limited(const cache::Key& key, cache::Hash hash, const Waiter& waiter, Time now) {
    ++counters_.limited;
    const cache::Entry* stale = stale_entry(key, hash, now);
    wake(waiter, stale ? stale : publisher_.servfail(), stale ? WakeKind::stale : WakeKind::answer);
}

void FetchTable::wake(const Waiter& waiter, const cache::Entry* entry, WakeKind kind) {
    counters_.stale += kind == WakeKind::stale;
    counters_.abandoned += kind == WakeKind::abandon;
    --waiting_;
    auto at = waits_of_client_.find(waiter.client.address);
    if (--at->second == 0) waits_of_client_.erase(at);
    waker_.wake(waiter, entry, kind);
}

void FetchTable::wake_all(Slot& slot, const cache::Entry* entry, WakeKind kind, cache::Reserve::Hold* hold) {
    if (traces_.is_traced(slot.fetch->id())) note_wakes(slot);
    for (const Waiter& w : std::exchange(slot.waiters, {})) {
        wake(w, entry, kind);
        if (hold && *hold && !w.is_tcp()) hold->sent_to(w.source);
    }
    slot.places.clear();
    slot.waiter_due = Time::max();
    conclude_followers(slot.fetch->key(), slot.fetch->hash(), entry, kind);
}

void FetchTable::note_wakes(const Slot& slot) {
    FetchId id = slot.fetch->id();
    std::size_t named = std::min(slot.waiters.size(), limits::named_wakes);
    for (const Waiter& w : std::span(slot.waiters).first(named)) {
        traces_.note(id, now_, "woken", {}, to_string(w.client));
    }
    if (named < slot.waiters.size()) {
        traces_.note(id, now_, "woken", {}, fmt::format("{} more", slot.waiters.size() - named));
    }
}

/// Client timers: stale data after 1.8 s; without any, a UDP waiter is dropped after 1.9 s.
void FetchTable::expire_waiters(Slot& slot, Time now) {
    if (now < slot.waiter_due) return;
    const cache::Entry* stale = stale_entry(slot.fetch->key(), slot.fetch->hash(), now);
    slot.waiter_due = Time::max();
    std::vector<Waiter> patient;
    slot.places.clear();
    for (const Waiter& w : std::exchange(slot.waiters, {})) {
        Time due = patience(w, stale);
        if (now >= due) {
            wake(w, stale, stale ? WakeKind::stale : WakeKind::abandon);
            continue;
        }
        slot.waiter_due = std::min(slot.waiter_due, due);
        if (!w.is_tcp()) slot.places.emplace(Asker{w.client, w.id}, patient.size());
        patient.push_back(w);
    }
    slot.waiters = std::move(patient);
}

Time FetchTable::patience(const Waiter& waiter, const cache::Entry* stale) const {
    if (stale) return waiter.arrived + limits::stale_after;
    return waiter.is_tcp() ? Time::max() : waiter.arrived + limits::abandon_after;
}

const cache::Entry* FetchTable::stale_entry(const cache::Key& key, cache::Hash hash, Time now) const {
    const cache::Entry* entry = table_.find(key, hash);
    bool usable = entry && entry->version.generation > table_.floor(key.group) && now < entry->stale_until;
    return usable ? entry : nullptr;
}

std::size_t FetchTable::HashAsker::operator()(const Asker& asker) const {
    const auto& address = asker.client.address.octets;
    std::string_view text(reinterpret_cast<const char*>(address.data()), address.size());
    std::size_t rest = std::size_t(asker.client.port) << 16 | asker.id;
    return std::hash<std::string_view>()(text) ^ rest * 0x9e3779b97f4a7c15u;
}

} // namespace millrace::control
