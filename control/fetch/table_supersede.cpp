// FetchTable: what a flush makes void, worked off in pieces.
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
        --steps;
        bool is_old = slot.fetch->id().generation <= sweep.last;
        auto is_void = [&](const Side& side) { return sweep.matches(side.key, nullptr); };
        if (is_old && std::ranges::any_of(slot.sides, is_void)) supersede(slot);
    }
    if (steps == 0 || aliases_.go_on(sweep.aliases, sweep.matches, steps)) return true;
    for (; steps > 0; --steps) {
        sweep.successor = std::max(sweep.successor, successors_gone_);
        if (sweep.successor >= sweep.last_successor) return false;
        Successor& successor = successors_[sweep.successor++ - successors_gone_];
        if (successor.alias && sweep.matches(successor.key, nullptr)) successor.alias.reset();
    }
    return true;
}

/// What is changed next must find no Fetch that began before it.
bool FetchTable::is_held() const {
    return std::ranges::any_of(sweeps_, [](const Sweep& sweep) { return bool(sweep.then); });
}

bool FetchTable::is_superseded(const cache::Key& key, cache::Generation since,
                               const cache::Entry* told) const {
    return std::ranges::any_of(
        sweeps_, [&](const Sweep& sweep) { return since <= sweep.last && sweep.matches(key, told); });
}

bool FetchTable::is_superseded(const FetchSlot& slot) const {
    auto is_void = [&](const Side& side) {
        return is_superseded(side.key, slot.fetch->id().generation, nullptr);
    };
    return !sweeps_.empty() && std::ranges::any_of(slot.sides, is_void);
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

} // namespace millrace::control
