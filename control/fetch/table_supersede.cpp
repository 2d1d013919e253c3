// FetchTable: Fetches that end before their time, and their successors; what a flush makes void, in pieces.
//
// Basic algorithm: a Sweep passes once over the slots, the aliases and the successors. What it has not come
// to yet is void all the same: whoever is about to act for something older than a Sweep asks whether that
// concerns it. So nothing old is published from supersede() on, though thousands may be live.
#include <algorithm>

#include "control/fetch/table.hpp"
#include "control/limits.hpp"

namespace millrace::control {

void FetchTable::supersede(Concern matches, std::function<void()> then) {
    std::uint64_t end = successors_gone_ + successors_.size();
    sweeps_.push_back({std::move(matches), std::move(then), last_generation_, aliases_.begin_sweep(), 0,
                       successors_gone_, end});
    if (sweeps_.size() == 1) supersede_some();
}

void FetchTable::supersede_some() {
    if (sweeps_.empty() || go_on(sweeps_.front(), limits::supersedes_per_tick)) return;
    auto then = std::move(sweeps_.front().then);
    sweeps_.pop_front();
    if (then) then();
}

/// False: it is over.
bool FetchTable::go_on(Sweep& sweep, unsigned steps) {
    for (; sweep.slot < slots_.size() && steps > 0; ++sweep.slot) {
        FetchSlot& slot = slots_[sweep.slot];
        if (!slot.fetch) continue;
        steps -= unsigned(std::min<std::size_t>(steps, 1 + slot.fetch->heard().size()));
        bool is_old = slot.fetch->id().generation <= sweep.last;
        if (is_old && is_void(sweep.matches, slot)) supersede(slot);
    }
    if (steps == 0 || aliases_.go_on(sweep.aliases, sweep.matches, steps)) return true;
    for (; steps > 0; --steps) {
        sweep.successor = std::max(sweep.successor, successors_gone_);
        if (sweep.successor >= sweep.last_successor) return false;
        Successor& successor = successors_[sweep.successor++ - successors_gone_];
        bool is_void = successor.alias && concerns(sweep.matches, successor.key, *successor.alias);
        if (is_void) successor.alias.reset();
    }
    return true;
}

/// By either key, or by a name that a reply's chain of CNAMEs leads to.
bool FetchTable::is_void(const Concern& matches, const FetchSlot& slot) {
    auto is_of_it = [&](const Side& side) { return matches(side.key, nullptr); };
    auto leads_there = [&](const Answer& answer) {
        return concerns_chain(matches, slot.fetch->key(), answer.chain);
    };
    return std::ranges::any_of(slot.sides, is_of_it) || std::ranges::any_of(slot.fetch->heard(), leads_there);
}

/// What is changed next must find no Fetch that began before it.
bool FetchTable::is_held() const {
    return std::ranges::any_of(sweeps_, [](const Sweep& sweep) { return bool(sweep.then); });
}

template <typename Concerned>
bool FetchTable::is_swept(cache::Generation since, Concerned concerned) const {
    return std::ranges::any_of(
        sweeps_, [&](const Sweep& sweep) { return since <= sweep.last && concerned(sweep.matches); });
}

bool FetchTable::is_superseded(const cache::Key& key, cache::Generation since,
                               const cache::Entry* told) const {
    return is_swept(since, [&](const Concern& matches) { return matches(key, told); });
}

bool FetchTable::is_superseded(const cache::Key& key, cache::Generation since, const Alias& alias) const {
    return is_swept(since, [&](const Concern& matches) { return concerns(matches, key, alias); });
}

bool FetchTable::is_superseded(const FetchSlot& slot) const {
    return is_swept(slot.fetch->id().generation,
                    [&](const Concern& matches) { return is_void(matches, slot); });
}

/// None also when it is superseded: it is only yet to be ended.
FetchTable::FetchSlot* FetchTable::find_valid(FetchId id) {
    FetchSlot* slot = find(id);
    return slot && !is_superseded(*slot) ? slot : nullptr;
}

/// The same, for who is about to use it: then it is ended here.
FetchTable::FetchSlot* FetchTable::find_valid(const cache::Key& key, cache::Hash hash) {
    FetchSlot* slot = find(key, hash);
    if (!slot || !is_superseded(*slot)) return slot;
    supersede(*slot);
    return nullptr;
}

void FetchTable::restart(const cache::Key& key, cache::Hash hash, std::vector<Waiter> waiters) {
    successors_.push_back({key, hash, std::move(waiters)});
}

// The end of a Fetch before its time, and what comes after.

/// Ends a live Fetch. Who waits for it is resolved afresh.
void FetchTable::supersede(FetchSlot& slot, Followers followers) {
    publisher_.count_superseded();
    traces_.note(slot.fetch->id(), now_, "superseded");
    bool has_successor = !closed_ && slot.fetch->state() == Fetch::State::asking;
    if (has_successor) caps_.refund(slot.charge); // which pays
    slot.fetch->cancel(*this);
    for (Side& side : slot.sides) {
        if (!side.waiters.empty()) restart(side.key, side.hash, side.waiters.take());
        if (followers == Followers::restart) aliases_.on_target_superseded(side.key, side.hash);
    }
    settle(slot);
}

/// A block list leads the reply's chain to another name, from which no upstream is asked.
void FetchTable::lead_elsewhere(FetchSlot& slot, const Answer& answer, Alias&& alias) {
    if (slot.fetch->state() != Fetch::State::asking) {
        slot.fetch->on_failed(answer.upstream, answer.received, *this);
        return settle(slot);
    }
    lead_to(slot, std::move(alias));
    supersede(slot, Followers::stay);
}

/// Who waits for either key gets what the alias's target is answered with.
void FetchTable::lead_to(FetchSlot& slot, Alias&& alias) {
    alias.account = slot.prefix;
    alias.generation = slot.fetch->id().generation;
    for (Side& side : slot.sides) {
        alias.target.flavour = side.key.flavour;
        successors_.push_back({side.key, side.hash, side.waiters.take(), alias, last_generation_});
    }
}

void FetchTable::start_successors(Time now) {
    for (unsigned i = 0; i < limits::restarts_per_tick && !successors_.empty() && !is_held(); ++i) {
        Successor successor = std::move(successors_.front());
        successors_.pop_front();
        ++successors_gone_;
        start_successor(std::move(successor), now);
    }
}

void FetchTable::start_successor(Successor&& successor, Time now) {
    auto& [key, hash, waiters, alias, since] = successor;
    if (alias && is_superseded(key, since, *alias)) alias.reset();
    cache::Key ruled = key;
    ruled.group = group_of(key);
    if (!waiters.empty()) {
        ruled = as_ruled(key, waiters.front());
        auto is_same = [&, this](const Waiter& w) { return as_ruled(successor.key, w) == ruled; };
        auto others = std::stable_partition(waiters.begin(), waiters.end(), is_same); // as a reload has it
        if (others != waiters.end()) restart(key, hash, {others, waiters.end()});
        waiters.erase(others, waiters.end());
    }
    if (ruled != key) {
        aliases_.on_target_superseded(key, hash);
        if (ruled.dns64() != key.dns64()) alias.reset();
        key = ruled;
        hash = table_.hasher()(key);
    }
    FetchSlot* slot = find_valid(key, hash);
    if (slot && slot->fetch->state() == Fetch::State::asking) { // a client was quicker
        for (const Waiter& w : waiters) join(slot->side(key), w);
        return settle(*slot);
    }
    // Another client may have asked meanwhile and have been answered: then so are these.
    std::erase_if(waiters, [&, this](const Waiter& w) {
        return answer_from_table(successor.key, successor.hash, w, now) ||
               (slot && answer_from_reserve(slot->side(successor.key), w, now)) ||
               (!successor.alias && aliases_.join(successor.key, successor.hash, w, now));
    });
    bool is_newest = alias && !slot;
    if (is_newest) return aliases_.follow(key, hash, std::move(*alias), std::move(waiters), now);
    if (waiters.empty()) return aliases_.on_target_superseded(key, hash); // who follows is resolved afresh
    if (slot) supersede(*slot);                                           // its answer is no longer usable
    start(key, hash, std::move(waiters), now);
}

} // namespace millrace::control
