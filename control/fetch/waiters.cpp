#include "control/fetch/waiters.hpp"

#include <algorithm>
#include <utility>

#include "cache/keyed_hash.hpp"
#include "control/limits.hpp"

namespace millrace::control {

/// When a client has waited long enough.
Time Waiters::due(const Waiter& waiter, const cache::Entry* stale) const {
    if (stale) return waiter.arrived + stale_after();
    return waiter.is_tcp() ? Time::max() : waiter.arrived + patience_;
}

bool Waiters::admit(const Waiter& waiter) {
    ++count_;
    if (!waiter.is_tcp()) {
        by_source_.resize(std::max<std::size_t>(by_source_.size(), waiter.source + 1));
        ++by_source_[waiter.source];
    }
    return ++by_prefix_[waiter.prefix] <= limits::waiters_per_prefix;
}

void Waiters::join(WaiterList& list, const Waiter& waiter) {
    if (replace_retransmission(list, waiter)) return;
    if (list.size() >= limits::waiters_per_fetch) return refuse(waiter);
    if (!waiter.is_tcp()) list.places_.emplace(WaiterList::Asker{waiter.client, waiter.id}, list.size());
    list.waiters_.push_back(waiter);
    list.due_ = std::min(list.due_, waiter.arrived + stale_after());
}

/// A client that asks again with the same port and ID is answered once: the newer question takes the place.
bool Waiters::replace_retransmission(WaiterList& list, const Waiter& waiter) {
    if (waiter.is_tcp()) return false;
    auto at = list.places_.find({waiter.client, waiter.id});
    if (at == list.places_.end()) return false;
    Waiter& first = list.waiters_[at->second];
    Waiter replaced = first;
    first.source = waiter.source;
    first.token = waiter.token;
    // Patience is counted from the first try, which comes second when it was waiting for a restart.
    first.arrived = std::min(first.arrived, waiter.arrived);
    list.due_ = std::min(list.due_, first.arrived + stale_after());
    wake(replaced, nullptr, Kind::abandon);
    return true;
}

void Waiters::wake(const Waiter& waiter, const cache::Entry* entry, Kind kind) {
    counters_.stale += kind == Kind::stale;
    counters_.abandoned += kind == Kind::abandon;
    --count_;
    if (!waiter.is_tcp()) --by_source_[waiter.source];
    auto at = by_prefix_.find(waiter.prefix);
    if (--at->second == 0) by_prefix_.erase(at);
    waker_.wake(waiter, entry, kind);
}

void Waiters::abandon(std::span<const Waiter> waiters) {
    for (const Waiter& w : waiters) wake(w, nullptr, Kind::abandon);
}

void Waiters::refuse(const Waiter& waiter, std::uint64_t FetchCounters::*why) {
    ++(counters_.*why);
    wake(waiter, servfail_, Kind::answer);
}

void Waiters::give_stale_or_refuse(const Waiter& waiter, const cache::Entry* stale,
                                   std::uint64_t FetchCounters::*why) {
    if (!stale) return refuse(waiter, why);
    ++(counters_.*why);
    wake(waiter, stale, Kind::stale);
}

void Waiters::wake_all(WaiterList& list, const cache::Entry* entry, Kind kind, cache::Reserve::Hold* hold) {
    for (const Waiter& w : list.take()) {
        wake(w, entry, kind);
        if (hold && *hold && !w.is_tcp()) hold->sent_to(w.source);
    }
}

void Waiters::answer_in_time(std::span<const Waiter> waiters, const cache::Entry* entry,
                             cache::Reserve::Hold* hold, Time now) {
    for (const Waiter& w : waiters) {
        bool too_late = !w.is_tcp() && now > w.arrived + patience_;
        wake(w, too_late ? nullptr : entry, too_late ? Kind::abandon : Kind::answer);
        if (hold && *hold && !w.is_tcp() && !too_late) hold->sent_to(w.source);
    }
}

void Waiters::expire(WaiterList& list, const cache::Entry* stale, Time now) {
    std::vector<Waiter> waiters = list.take();
    expire(waiters, stale, now);
    for (std::size_t i = 0; i < waiters.size(); ++i) {
        const Waiter& w = waiters[i];
        list.due_ = std::min(list.due_, due(w, stale));
        if (!w.is_tcp()) list.places_.emplace(WaiterList::Asker{w.client, w.id}, i);
    }
    list.waiters_ = std::move(waiters);
}

void Waiters::expire(std::vector<Waiter>& waiters, const cache::Entry* stale, Time now) {
    std::erase_if(waiters, [&](const Waiter& w) {
        bool is_due = now >= due(w, stale);
        if (is_due) wake(w, stale, stale ? Kind::stale : Kind::abandon);
        return is_due;
    });
}

std::vector<Waiter> WaiterList::take() {
    places_.clear();
    due_ = Time::max();
    return std::exchange(waiters_, {});
}

std::size_t WaiterList::HashAsker::operator()(const Asker& asker) const {
    std::uint64_t port_and_id = std::uint64_t(asker.client.port) << 16 | asker.id;
    return cache::keyed_hash(asker.client.address.octets, port_and_id);
}

} // namespace millrace::control
