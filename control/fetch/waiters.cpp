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

bool Waiters::join(WaiterList& list, const Waiter& waiter) {
    if (replace_retransmission(list, waiter)) return true;
    if (list.size() >= limits::waiters_per_fetch) return false;
    list.add(waiter);
    list.due_ = std::min(list.due_, waiter.arrived + stale_after());
    return true;
}

/// A client that asks again with the same port and ID is answered once: the newer question takes the place.
bool Waiters::replace_retransmission(WaiterList& list, const Waiter& waiter) {
    if (waiter.is_tcp()) return false;
    auto at = list.place_of(waiter);
    if (!at) return false;
    Waiter replaced = list.remove(*at), again = waiter;
    // Patience is counted from the first try, which comes second when it was waiting for a restart.
    again.arrived = std::min(replaced.arrived, waiter.arrived);
    list.add(again);
    list.due_ = std::min(list.due_, again.arrived + stale_after());
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
    for (const Waiter& w : list.waiters_) {
        wake(w, entry, kind);
        if (hold && *hold && !w.is_tcp()) hold->sent_to(w.source);
    }
    list.clear();
}

void Waiters::answer_in_time(std::span<const Waiter> waiters, const cache::Entry* entry,
                             cache::Reserve::Hold* hold, Time now, Kind kind) {
    for (const Waiter& w : waiters) {
        bool too_late = !w.is_tcp() && now > w.arrived + patience_;
        wake(w, too_late ? nullptr : entry, too_late ? Kind::abandon : kind);
        if (hold && *hold && !w.is_tcp() && !too_late) hold->sent_to(w.source);
    }
}

void Waiters::release_oldest(WaiterList& list, std::size_t count, const cache::Entry* stale) {
    for (; count > 0; --count) {
        auto place = list.oldest(false);
        if (!place) return;
        give_stale_or_refuse(list.remove(*place), stale, &FetchCounters::refused);
    }
}

void Waiters::expire(WaiterList& list, const cache::Entry* stale, Time now, cache::Reserve::Hold* hold) {
    list.due_ = Time::max();
    expire(list, false, stale ? stale_after() : patience_, stale, now, hold);
    if (stale) expire(list, true, stale_after(), stale, now, hold);
}

/// Of one kind, which all have the same patience.
void Waiters::expire(WaiterList& list, bool is_tcp, Time patience, const cache::Entry* stale, Time now,
                     cache::Reserve::Hold* hold) {
    while (auto place = list.oldest(is_tcp)) {
        Time due = list.waiters_[*place].arrived + patience;
        if (now < due) {
            list.due_ = std::min(list.due_, due);
            return;
        }
        Waiter waiter = list.remove(*place);
        wake(waiter, stale, stale ? Kind::stale : Kind::abandon);
        if (hold && *hold && !waiter.is_tcp()) hold->sent_to(waiter.source);
    }
}

void Waiters::expire(std::vector<Waiter>& waiters, const cache::Entry* stale, Time now) {
    std::erase_if(waiters, [&](const Waiter& w) {
        bool is_due = now >= due(w, stale);
        if (is_due) wake(w, stale, stale ? Kind::stale : Kind::abandon);
        return is_due;
    });
}

/// Of the question over UDP that this one repeats, if any.
std::optional<std::size_t> WaiterList::place_of(const Waiter& repeated) const {
    if (has_index_) {
        auto at = places_.find({repeated.client, repeated.id});
        return at == places_.end() ? std::nullopt : std::optional(at->second);
    }
    auto is_same = [&](const Waiter& w) {
        return !w.is_tcp() && w.id == repeated.id && w.client == repeated.client;
    };
    auto at = std::ranges::find_if(waiters_, is_same);
    return at == waiters_.end() ? std::nullopt : std::optional(std::size_t(at - waiters_.begin()));
}

/// Who came first over UDP, or over TCP.
std::optional<std::size_t> WaiterList::oldest(bool is_tcp) const {
    if (has_index_) {
        const ByArrival& arrivals = is_tcp ? tcp_ : udp_;
        return arrivals.empty() ? std::nullopt : std::optional(arrivals.begin()->second);
    }
    std::optional<std::size_t> first;
    for (std::size_t place = 0; place < size(); ++place) {
        const Waiter& w = waiters_[place];
        if (w.is_tcp() == is_tcp && (!first || w.arrived < waiters_[*first].arrived)) first = place;
    }
    return first;
}

void WaiterList::add(const Waiter& waiter) {
    waiters_.push_back(waiter);
    if (has_index_) return note(size() - 1);
    has_index_ = size() > few;
    for (std::size_t place = 0; has_index_ && place < size(); ++place) note(place);
}

/// In the index.
void WaiterList::note(std::size_t place) {
    const Waiter& waiter = waiters_[place];
    if (!waiter.is_tcp()) places_.emplace(Asker{waiter.client, waiter.id}, place);
    arrivals_of(waiter).insert({waiter.arrived, place});
}

/// The last one takes its place.
Waiter WaiterList::remove(std::size_t place) {
    auto forget = [this](const Waiter& waiter, std::size_t at) {
        if (!has_index_) return;
        arrivals_of(waiter).erase({waiter.arrived, at});
        if (!waiter.is_tcp()) places_.erase({waiter.client, waiter.id});
    };
    Waiter removed = waiters_[place], last = waiters_.back();
    forget(removed, place);
    if (std::size_t end = size() - 1; place != end) {
        forget(last, end);
        waiters_[place] = last;
        if (has_index_) note(place);
    }
    waiters_.pop_back();
    return removed;
}

std::vector<Waiter> WaiterList::take() {
    std::vector<Waiter> all = std::move(waiters_);
    clear();
    return all;
}

/// A short one keeps its memory, for the next Fetch of its place.
void WaiterList::clear() {
    if (has_index_) *this = {};
    waiters_.clear();
    due_ = Time::max();
}

std::size_t WaiterList::HashAsker::operator()(const Asker& asker) const {
    std::uint64_t port_and_id = std::uint64_t(asker.client.port) << 16 | asker.id;
    return cache::keyed_hash(asker.client.address.octets, port_and_id);
}

} // namespace millrace::control
