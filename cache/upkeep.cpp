// The Table's upkeep: eviction ahead of need, and rebuilding of shards with too many dead slots.
#include <algorithm>
#include <new>

#include "cache/shard.hpp"
#include "cache/table.hpp"

namespace millrace::cache {

namespace {

// Sixteenths of a limit. Above `high` eviction begins, below `low` it ends: ahead of need, because what is
// evicted stays in limbo for a grace period and counts until then.
constexpr std::size_t high = 15, low = 13;

constexpr std::size_t part(std::size_t limit, std::size_t sixteenths) {
    return limit * sixteenths / 16;
}

} // namespace

/// Worth a rebuild, which costs what is kept: a quarter of the slots are dead, a sixteenth where slots are
/// short, and not too few of them otherwise.
bool Table::has_many_dead(const Shard& s) const {
    bool is_short = s.slots() > part(limits::shard_slots, high) || slots_ > part(most_slots_, high);
    bool is_worth_it = s.dead >= 64 || slots_ > part(most_slots_, low);
    return s.dead > 0 && is_worth_it && s.dead * (is_short ? 16 : limits::dead_share) >= s.slots();
}

void Table::queue_for_upkeep(std::size_t index, Shard& s) {
    bool crowded = s.slots() > part(limits::shard_slots, high) && s.entries > part(limits::shard_slots, low);
    if (s.is_due || !(crowded || has_many_dead(s))) return;
    due_.push_back(index); // first: when it throws, the next look comes here again
    s.is_due = true;
}

bool Table::upkeep(Time now) {
    assert_owner();
    // More where more slots are made: no tick that had little to do is long, and none falls behind.
    std::size_t steps =
        std::clamp(inserted_ * limits::upkeep_share, limits::upkeep_slots, limits::most_upkeep_slots);
    inserted_ = 0;
    bool is_rebuilding = rebuilt_shard_ != nullptr;
    if (is_rebuilding) go_on_rebuilding(steps);
    look_at_limits();
    if (over_limits_) evict_all_round(steps, now);
    if (!due_.empty()) tend_first(steps, now, !is_rebuilding);
    build_ahead();
    return rebuilt_shard_ || next_built_ < shards_;
}

/// For the table's own limits.
void Table::evict_all_round(std::size_t& steps, Time now) {
    std::size_t most = std::min(shards_, limits::upkeep_slots);
    for (std::size_t tried = 0; over_limits_ && steps > 0 && tried < most; ++tried) {
        Shard* s = shard(next_shard_);
        // A few of each shard in turn, so that none is emptied for the others' sake.
        if (s) evict(*s, std::max<std::size_t>(1, s->entries / 16), steps, now);
        if (s) queue_for_upkeep(next_shard_, *s);
        next_shard_ = (next_shard_ + 1) % shards_;
        look_at_limits();
    }
}

/// The shard that has waited longest.
void Table::tend_first(std::size_t steps, Time now, bool may_rebuild) {
    std::size_t index = due_.front();
    Shard& s = *shard(index);
    std::size_t enough = part(limits::shard_slots, low);
    if (s.entries > enough) evict(s, s.entries - enough, steps, now);
    if (steps == 0 || !may_rebuild) return; // goes on in the next tick
    due_.pop_front();
    s.is_due = false;
    if (!has_many_dead(s)) return queue_for_upkeep(index, s);
    // Until its grace period ends the old shard counts beside the new one.
    std::size_t kept = s.slot_bytes - s.dead_bytes;
    if (bytes() + kept <= most_bytes_) {
        begin_rebuild(index);
        if (rebuilt_shard_) go_on_rebuilding(steps);
        return;
    }
    // No room even without limbo: nobody else would make any, as long as the limits themselves are kept.
    if (bytes_ + kept > most_bytes_) evict(s, std::max<std::size_t>(1, s.entries / 16), steps, now);
    queue_for_upkeep(index, s);
}

/// Before the first key of each arrives: after a start all of them would in the same few milliseconds.
void Table::build_ahead() try {
    for (std::size_t built = 0; next_built_ < shards_ && built < limits::shards_per_tick; ++next_built_) {
        if (shard(next_built_)) continue;
        if (bytes() + Shard::fixed_octets > most_bytes_) {
            next_built_ = shards_; // the rest on demand
            return;
        }
        install(next_built_, std::make_unique<Shard>());
        ++built;
    }
} catch (const std::bad_alloc&) {
    next_built_ = shards_;
}

/// Whether the table as a whole is to be made smaller, with a distance between beginning and end.
void Table::look_at_limits() {
    std::size_t level = over_limits_ ? low : high;
    over_limits_ = bytes_ > part(most_bytes_, level) || entries_ > part(limits_.entries, level);
}

/// SIEVE's hand: from the oldest slot to the newest and round again. Returns how many Entries it took.
std::size_t Table::evict(Shard& s, std::size_t wanted, std::size_t& steps, Time now) {
    std::size_t taken = 0;
    // Twice round: the first may do no more than clear marks.
    for (std::size_t passed = 0; taken < wanted && steps > 0 && passed < 2 * s.slots(); ++passed, --steps) {
        ++upkeep_steps_;
        if (s.hand >= s.slots()) s.hand = 0;
        s.prefetch(s.hand);
        Node& node = *s.order[s.hand++];
        const Entry* entry = node.second.entry.load(std::memory_order_relaxed);
        if (!entry) continue;
        bool is_useless = entry->failure || now >= entry->stale_until;
        if (!is_useless && entry->visited.exchange(0, std::memory_order_relaxed)) continue;
        swap_in(s, node, nullptr);
        ++taken;
    }
    evicted_ += taken;
    return taken;
}

// A rebuild: a new shard with the slots that hold something or have a live Fetch, in the same order, under
// the same hand. Until the last piece the old one is what counts, and changes; the new one has only keys.

void Table::begin_rebuild(std::size_t index) try {
    rebuilt_shard_ = std::make_unique<Shard>();
    Shard& old = *shard(index);
    old.is_due = true;
    rebuild_index_ = index;
    rebuild_slot_ = 0;
    rebuild_bytes_ = old.slot_bytes - old.dead_bytes;
} catch (const std::bad_alloc&) {
    // Nothing has changed: the old shard serves on, and is asked for again.
}

void Table::go_on_rebuilding(std::size_t steps) try {
    const Shard& old = *shard(rebuild_index_);
    for (; rebuild_slot_ < old.slots() && steps > 0; ++rebuild_slot_, --steps) {
        ++upkeep_steps_;
        old.prefetch(rebuild_slot_);
        const auto& [key, slot] = *old.order[rebuild_slot_];
        if (!Shard::is_dead(slot)) rebuilt_shard_->insert(key.hash, {key.bytes, key.size()});
    }
    if (rebuild_slot_ == old.slots()) finish_rebuild();
} catch (const std::bad_alloc&) {
    end_rebuild();
}

/// All slots at once, but two words each. May throw as long as nothing has changed.
void Table::finish_rebuild() {
    Shard& old = *shard(rebuild_index_); // readers may be in it until its grace period ends
    Shard& fresh = *rebuilt_shard_;
    auto is_copy = [](const Node* node, const Node* of) {
        return node->first.hash == of->first.hash && node->first == of->first;
    };
    std::vector<Node*> order;
    order.reserve(limits::shard_slots);
    std::size_t next = 0;
    for (std::size_t i = 0, copied = fresh.slots(); i < old.slots(); ++i) {
        if (i == old.hand) fresh.hand = order.size();
        const Node& from = *old.order[i];
        bool is_copied = next < copied && is_copy(fresh.order[next], &from);
        if (!is_copied && Shard::is_dead(from.second)) continue;
        // Also one that was dead when it was passed, and has come to life since.
        Node& node = is_copied ? *fresh.order[next++]
                               : *fresh.insert(from.first.hash, {from.first.bytes, from.first.size()});
        const Entry* entry = from.second.entry.load(std::memory_order_relaxed);
        fresh.update(node, [&] {
            node.second.started = from.second.started;
            node.second.is_live = from.second.is_live;
            // Relaxed: install() publishes it with the shard.
            node.second.entry.store(entry, std::memory_order_relaxed);
        });
        fresh.entries += entry ? 1 : 0;
        order.push_back(&node);
    }
    fresh.order = std::move(order);
    std::size_t others = bytes() - rebuild_bytes_;
    if (fresh.slot_bytes > rebuild_bytes_ && others + fresh.slot_bytes > most_bytes_) return end_rebuild();
    slots_ -= old.slots() - fresh.slots();
    bytes_ -= old.bytes() - fresh.slot_bytes; // install() adds the rest
    rebuild_bytes_ = 0;
    ++rebuilt_;
    install(rebuild_index_, std::move(rebuilt_shard_));
    grace_.retire(std::unique_ptr<Retired>(&old));
    queue_for_upkeep(rebuild_index_, *shard(rebuild_index_));
}

/// Gives it up: the old shard serves on, and is asked for again.
void Table::end_rebuild() {
    rebuilt_shard_ = nullptr;
    rebuild_bytes_ = 0;
    shard(rebuild_index_)->is_due = false;
}

} // namespace millrace::cache
