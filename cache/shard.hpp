// One shard of the Table: a map, the bytes of its keys, and the order in which the eviction hand
// passes its slots.
//
// The owner's but for `index` and `map`, in which every reader may look. Freed through Grace when a rebuilt
// shard has taken its place; the Entries are not the shard's to free.
#pragma once

#include <functional>
#include <limits>
#include <memory>
#include <span>
#include <vector>

#include <tbb/concurrent_unordered_map.h>

#include "cache/grace.hpp"
#include "cache/index.hpp"
#include "cache/slot.hpp"

namespace millrace::cache {

/// Key bytes of one shard: freed with the shard, never before.
class Arena {
  public:
    const std::uint8_t* copy(std::span<const std::uint8_t> bytes) {
        if (room_ < bytes.size()) {
            chunks_.push_back(std::make_unique_for_overwrite<std::uint8_t[]>(chunk_octets));
            next_ = chunks_.back().get();
            room_ = chunk_octets;
        }
        std::memcpy(next_, bytes.data(), bytes.size());
        next_ += bytes.size();
        room_ -= bytes.size();
        return next_ - bytes.size();
    }

  private:
    static constexpr std::size_t chunk_octets = 4096;
    static_assert(chunk_octets >= sizeof(Key));
    std::vector<std::unique_ptr<std::uint8_t[]>> chunks_;
    std::uint8_t* next_ = nullptr;
    std::size_t room_ = 0;
};

struct Shard final : Retired {
    struct HashOf {
        std::size_t operator()(const KeyRef& key) const { return key.hash; }
    };
    using Map = tbb::concurrent_unordered_map<KeyRef, Slot, HashOf, std::equal_to<KeyRef>>;

    Shard() : map(limits::shard_buckets) {
        order.reserve(limits::shard_slots); // so that insert() fails, if it does, before it changes anything
        map.max_load_factor(std::numeric_limits<float>::max()); // never doubles
        // A find creates its bucket. (unsafe_begin() would, too, and then walk on to the
        // first value: quadratic.)
        Key any;
        any.name.size = 0;
        for (Hash i = 0; i < limits::shard_buckets; ++i) map.find(KeyRef{i, any.bytes().data()});
    }

    /// Any reader.
    Node* find_in_map(const Key& key, Hash hash) {
        auto at = map.find(KeyRef{hash, key.bytes().data()});
        return at == map.end() ? nullptr : &*at;
    }
    Node* insert(Hash hash, std::span<const std::uint8_t> key) {
        auto [at, fresh] = map.emplace(std::piecewise_construct,
                                       std::forward_as_tuple(KeyRef{hash, keys.copy(key)}), std::tuple());
        index.add(hash, &*at);
        order.push_back(&*at);
        slot_bytes += slot_octets + key.size();
        ++dead;
        return &*at;
    }
    std::size_t slots() const { return order.size(); }
    /// For who passes the slots in their order, and is at this one: what he will need soon.
    void prefetch(std::size_t at) const {
        constexpr std::size_t node_ahead = 16, rest_ahead = 8;
        if (at + node_ahead < slots()) __builtin_prefetch(order[at + node_ahead]);
        if (at + rest_ahead >= slots()) return;
        const Node& node = *order[at + rest_ahead];
        __builtin_prefetch(node.first.bytes);
        __builtin_prefetch(node.second.entry.load(std::memory_order_relaxed));
    }
    /// Changes a slot and keeps the count of dead ones.
    template <class Change>
    void update(Slot& slot, Change change) {
        dead -= is_dead(slot);
        change();
        dead += is_dead(slot);
    }
    static bool is_dead(const Slot& slot) {
        return !slot.is_live && !slot.entry.load(std::memory_order_relaxed);
    }
    std::size_t bytes() const override { return fixed_octets + slot_bytes; }

    // Estimated from oneTBB's layout. bench/memory_bench lays the estimate beside the growth of
    // the resident size.

    /// Of one slot, its key aside: the map's node (link, order key, Node) and the allocator's header.
    static constexpr std::size_t slot_octets = 2 * 8 + sizeof(Node) + 8;
    /// Of a shard without slots: the index, a dummy node and a place for each bucket, `order`.
    static constexpr std::size_t fixed_octets =
        sizeof(Index<Node>) + limits::shard_buckets * (2 * 8 + 16 + 8) + limits::shard_slots * 8;

    Index<Node> index;
    Map map;
    Arena keys;
    std::vector<Node*> order; ///< slots, oldest first
    std::size_t hand = 0;     ///< index into `order`: where eviction goes on
    std::size_t entries = 0;  ///< slots that hold an Entry
    std::size_t slot_bytes = 0;
    std::size_t dead = 0; ///< slots that hold nothing and have no live Fetch
    bool is_due = false;  ///< waits for its upkeep
};

} // namespace millrace::cache
