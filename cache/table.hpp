// The cache: keys to Entries, shared by every worker without a lock.
//
// One writer per key. Everything that changes the table (start, publish, flush) runs on one thread, the
// owner: there is no read-decide-write across threads, so nothing can act in between, and "is this result
// superseded?" and "store it" are one step by construction. A worker decides nothing about a key; it loads
// one word of its Slot.
//
// A tbb::concurrent_unordered_map finds and inserts without locks but has habits that its users must respect:
// it creates buckets lazily inside find (an allocation on a polling lcore), and it doubles its bucket count
// when the load factor is exceeded. So a shard is built with all its buckets, each touched, the load factor
// out of the way, and inserts refuse at capacity (checked against oneTBB 2021.8,
// _concurrent_unordered_base.h: get_bucket, adjust_table_size). Few buckets do: most lookups end in the Index
// before them. Most of what a shard costs are page faults: so upkeep builds some in each tick, from the
// start on, until all are there; one whose first key is quicker is built for that.
//
// A Slot that holds nothing stays in its map, which cannot erase: it is dead. Upkeep, a bounded piece per
// tick, evicts (SIEVE: Zhang et al., NSDI 2024; the hand passes slots in the order of their making, spares
// those hit since, clears the mark and takes the rest, failures first) and rebuilds a shard whose dead slots
// are too many: a new shard without them, every slot of a live Fetch kept, is stored in the old one's place,
// which is retired. Its keys are copied in pieces, while readers and the owner go on with the old shard; what
// the slots hold is copied in the last piece, with which the new shard takes its place.
//
// A lookup begins in the shard's Index (cache/index.hpp), whose lines a worker prefetches for a whole burst,
// and goes on in the map only where the Index cannot tell. Both belong to the shard: a worker remembers
// nothing of either from one burst to the next.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <span>
#include <string_view>
#include <thread>

#include "cache/entry.hpp"
#include "cache/grace.hpp"
#include "cache/index.hpp"
#include "cache/key.hpp"
#include "cache/slot.hpp"

namespace millrace::cache {

enum class Publication : std::uint8_t {
    accepted,   ///< readers see it from now on; the Entry before it is retired
    superseded, ///< a newer generation has started, a newer version is published, or a flush forbids it
    full,       ///< no slot or no memory left; clients get the Entry privately
};

constexpr std::string_view to_string(Publication publication) {
    constexpr std::string_view names[] = {"accepted", "superseded", "full"};
    return names[std::size_t(publication)];
}

struct TableLimits {
    std::size_t entries; ///< that are kept; slots may be a third more, for dead ones
    std::size_t bytes;   ///< of slots, keys, Entries and limbo together
};

struct Shard;

class Table {
  public:
    Table(const TableLimits& limits, Grace& grace, const Hasher& hasher = Hasher());
    ~Table();

    // Any registered, online reader; the owner too.

    // A lookup has steps, so that the cache misses of a burst overlap: prefetch() for each hash, then
    // look_ahead() and a prefetch of what it names, then locate(). All before the reader is quiescent.

    using Finding = Index<Node>::Finding;
    void prefetch(Hash hash) const {
        if (auto* index = index_of(hash)) index->prefetch(hash);
    }
    /// The node that the hash leads to. Its key has not been compared.
    Finding look_ahead(Hash hash) const {
        auto* index = index_of(hash);
        return index ? index->find(hash) : Finding{};
    }
    /// The key's node, or null.
    const Node* locate(const Key& key, Hash hash, Finding ahead) const {
        if (!ahead.node && ahead.is_complete) return nullptr;
        if (ahead.node && ahead.node->first == KeyRef{hash, key.bytes().data()}) [[likely]]
            return ahead.node;
        return find_in_map(key, hash);
    }
    const Node* locate(const Key& key, Hash hash) const { return locate(key, hash, look_ahead(hash)); }
    /// The Entry published for the key, or null. It may be expired, or under the floor.
    const Entry* find(const Key& key, Hash hash) const {
        const Node* node = locate(key, hash);
        // Acquire: without it the worker could read the Entry's fields from before they were written.
        return node ? node->second.entry.load(std::memory_order_acquire) : nullptr;
    }
    /// The same when it may be served, if only stale: not under the floor, and not past its stale life.
    const Entry* find_usable(const Key& key, Hash hash, Time now) const {
        const Entry* entry = find(key, hash);
        bool usable = entry && entry->version.generation > floor(key.group) && now < entry->stale_until;
        return usable ? entry : nullptr;
    }
    /// No Entry of this group at or below this generation may be served, not even stale.
    Generation floor(unsigned group) const { return floors_[group].load(std::memory_order_acquire); }
    const Hasher& hasher() const { return hasher_; }
    /// Those Entries of one shard (0 to shard_count() - 1) that may be served at `now`, if only stale.
    void for_each(std::size_t shard, Time now,
                  const std::function<void(const KeyRef&, const Entry&)>& take) const;

    // The owner's alone. An assertion checks the thread.

    /// Ahead of start() for each one's `hash` and its sibling, so that the cache misses of all overlap.
    template <class WithHash>
    void prefetch_starts(std::span<const WithHash> batch) const {
        for (const WithHash& one : batch) {
            prefetch(one.hash);
            prefetch(sibling_of(one.hash));
        }
        for (const WithHash& one : batch) {
            auto* index = index_of(one.hash);
            if (!index) continue;
            index->prefetch_nodes(one.hash);
            index->prefetch_nodes(sibling_of(one.hash));
        }
    }

    /// Supersedes every generation of the key before this one. For good as long as each generation publishes
    /// only between its start and its finish: a slot that holds nothing and runs nothing is forgotten. False:
    /// no slot could be had (full).
    bool start(const Key& key, Hash hash, Generation generation);
    /// The Fetch of this generation has ended, however: its slot may go when it holds nothing.
    void finish(const Key& key, Hash hash, Generation generation);

    /// One step: refuses a superseded version, else makes the Entry visible and retires the one before. Takes
    /// the Entry only when accepted.
    Publication publish(const Key& key, Hash hash, EntryPtr& entry);

    /// The same for an Entry of earlier than now (from a file): it never takes
    /// the place of anything, nor of what a live Fetch is about to publish.
    Publication fill(const Key& key, Hash hash, EntryPtr& entry);

    /// Empties the key's slot: what it held may not be served any more, and nothing can take its place.
    void withdraw(const Key& key, Hash hash);

    /// Where a walk over the slots, which may take many ticks, goes on: in a shard with the newest of the
    /// slots that are left, so that neither new ones nor a rebuild between two pieces hides any.
    struct Place {
        std::size_t shard = 0;
        std::size_t left = whole;
        static constexpr std::size_t whole = limits::shard_slots;
    };
    /// Empties slots that hold a generation at or below `last` and whose key `matches`; returns how many.
    /// Goes on from `at`, to the end of that shard at most; counts down `steps`, slots that may be looked at.
    /// At the end `at` is the next shard, or shard_count().
    std::size_t flush(Place& at, std::size_t& steps, Generation last,
                      const std::function<bool(const KeyRef&, const Entry&)>& matches);
    void raise_floor(unsigned group, Generation generation);

    /// A bounded piece of eviction, of a rebuild, and of building shards ahead, where they are due. Once per
    /// tick. Returns whether more can be done at once.
    bool upkeep(Time now);

    const TableLimits& limits() const { return limits_; }
    static std::size_t shard_octets(); ///< what a shard takes before its first slot
    std::size_t shard_count() const { return shards_; }
    std::size_t entries() const { return entries_; }             ///< slots with an Entry
    std::size_t slots() const { return slots_; }                 ///< with or without
    std::uint64_t evicted() const { return evicted_; }           ///< Entries that made room for others
    std::uint64_t rebuilt() const { return rebuilt_; }           ///< shards
    std::size_t built() const { return built_; }                 ///< shards that there are
    std::uint64_t upkeep_steps() const { return upkeep_steps_; } ///< slots that upkeep went through
    std::size_t bytes() const { return bytes_ + rebuild_bytes_ + grace_.limbo_bytes(); }

  private:
    /// Where readers find a shard. Either pointer may be used without the other.
    struct ShardWord {
        std::atomic<const Index<Node>*> index{nullptr};
        std::atomic<Shard*> shard{nullptr};
    };
    /// By the upper bits of the hash; the buckets go by the lower ones.
    std::size_t index(Hash hash) const { return std::size_t((__uint128_t(hash) * shards_) >> 64); }
    const Index<Node>* index_of(Hash hash) const {
        // Acquire: without it the index could be read from before it was made.
        return words_[index(hash)].index.load(std::memory_order_acquire);
    }
    const Node* find_in_map(const Key& key, Hash hash) const;
    void assert_owner() const;
    Shard* shard(std::size_t index) const { return words_[index].shard.load(std::memory_order_relaxed); }
    Node* find(const Shard& shard, const Key& key, Hash hash) const;
    Node* find_or_insert(const Key& key, Hash hash);
    void install(std::size_t index, std::unique_ptr<Shard> fresh);
    void queue_for_upkeep(std::size_t index, Shard& shard);
    bool has_many_dead(const Shard& shard) const;
    void look_at_limits();
    void evict_all_round(std::size_t& steps, Time now);
    void tend_first(std::size_t steps, Time now, bool may_rebuild);
    void build_ahead();
    std::size_t evict(Shard& shard, std::size_t wanted, std::size_t& steps, Time now);
    void begin_rebuild(std::size_t index);
    void go_on_rebuilding(std::size_t steps);
    void finish_rebuild();
    void end_rebuild();
    Publication judge(const Node* node, unsigned group, const Entry& entry) const;
    void swap_in(Shard& shard, Node& node, EntryPtr entry);

    TableLimits limits_;
    std::size_t most_slots_;
    std::size_t most_bytes_; ///< what a rebuild takes for a grace period is set aside: an empty shard
    Grace& grace_;
    Hasher hasher_;
    std::size_t shards_;
    std::unique_ptr<ShardWord[]> words_;
    std::array<std::atomic<Generation>, limits::groups> floors_{};
    // Control's alone from here on, and not on a line that readers need.
    alignas(64) std::thread::id owner_;
    std::size_t entries_ = 0;
    std::size_t slots_ = 0;
    std::size_t bytes_ = 0;
    std::deque<std::size_t> due_; ///< shards that wait for upkeep
    std::size_t next_shard_ = 0;  ///< where eviction for the table's own limits goes on
    bool over_limits_ = false;    ///< such an eviction is under way
    std::uint64_t evicted_ = 0;
    std::uint64_t rebuilt_ = 0;
    std::size_t built_ = 0;
    std::size_t next_built_ = 0;           ///< those before it are there
    std::size_t inserted_ = 0;             ///< slots, since the last upkeep
    std::unique_ptr<Shard> rebuilt_shard_; ///< yet to take the place of the one at `rebuild_index_`; or null
    std::size_t rebuild_index_ = 0;
    std::size_t rebuild_slot_ = 0;  ///< of the old one's order: the next to be copied
    std::size_t rebuild_bytes_ = 0; ///< set aside for what is copied
    std::uint64_t upkeep_steps_ = 0;
};

} // namespace millrace::cache
