// The Table's upkeep: eviction ahead of need, and rebuilding of shards with too many dead slots.
#include <algorithm>
#include <new>

#include "cache/shard.hpp"
#include "cache/table.hpp"

namespace millrace::cache {

namespace {

constexpr std::size_t steps_per_tick = 2048; // slots that the hand passes: well under a millisecond
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

/// What a rebuild would allocate at most for the slots that it keeps; a shard itself has its room set aside.
std::size_t Table::kept_bytes(const Shard& s) const {
    return s.slot_bytes - s.dead * (Shard::slot_octets + Key::header_octets + 1);
}

void Table::queue_for_upkeep(std::size_t index, Shard& s) {
    bool crowded = s.slots() > part(limits::shard_slots, high) && s.entries > part(limits::shard_slots, low);
    if (s.is_due || !(crowded || has_many_dead(s))) return;
    due_.push_back(index); // first: when it throws, the next look comes here again
    s.is_due = true;
}

void Table::upkeep(Time now) {
    assert_owner();
    std::size_t steps = steps_per_tick;
    look_at_limits();
    for (std::size_t tried = 0; over_limits_ && steps > 0 && tried < shards_; ++tried) {
        Shard* s = shard(next_shard_);
        // A few of each shard in turn, so that none is emptied for the others' sake.
        if (s) evict(*s, std::max<std::size_t>(1, s->entries / 16), steps, now);
        if (s) queue_for_upkeep(next_shard_, *s);
        next_shard_ = (next_shard_ + 1) % shards_;
        look_at_limits();
    }
    if (due_.empty()) return;
    std::size_t index = due_.front();
    Shard& s = *shard(index);
    std::size_t enough = part(limits::shard_slots, low);
    if (s.entries > enough) evict(s, s.entries - enough, steps, now);
    if (steps == 0) return; // goes on in the next tick
    due_.pop_front();
    s.is_due = false;
    if (!has_many_dead(s)) return queue_for_upkeep(index, s);
    // Until its grace period ends the old shard counts beside the new one.
    std::size_t kept = kept_bytes(s);
    if (bytes() + kept <= most_bytes_) return rebuild(index);
    // No room even without limbo: nobody else would make any, as long as the limits themselves are kept.
    if (bytes_ + kept > most_bytes_) evict(s, std::max<std::size_t>(1, s.entries / 16), steps, now);
    queue_for_upkeep(index, s);
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

/// A new shard with the slots that hold something or have a live Fetch, in the same order, under
/// the same hand.
void Table::rebuild(std::size_t index) try {
    Shard* old = shard(index); // readers may be in it until its grace period ends
    auto fresh = std::make_unique<Shard>();
    for (std::size_t i = 0; i < old->slots(); ++i) {
        old->prefetch(i);
        if (i == old->hand) fresh->hand = fresh->slots();
        const KeyRef& key = old->order[i]->first;
        const Slot& slot = old->order[i]->second; // not a structured binding: clang 14 does not capture those
        const Entry* entry = slot.entry.load(std::memory_order_relaxed);
        if (!entry && !slot.is_live) continue;
        Slot& moved = fresh->insert(key.hash, {key.bytes, key.size()})->second;
        fresh->update(moved, [&] {
            moved.started = slot.started;
            moved.is_live = slot.is_live;
            moved.entry.store(entry, std::memory_order_relaxed); // install() publishes it with the shard
        });
        fresh->entries += entry ? 1 : 0;
    }
    slots_ -= old->slots() - fresh->slots();
    bytes_ -= old->bytes() - fresh->slot_bytes; // install() adds the rest
    ++rebuilt_;
    install(index, std::move(fresh));
    grace_.retire(std::unique_ptr<Retired>(old));
} catch (const std::bad_alloc&) {
    // Nothing has changed: the old shard serves on, and is asked for again.
}

} // namespace millrace::cache
