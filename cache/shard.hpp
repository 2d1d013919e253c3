// One shard of the Table: a map, the bytes of its keys, and the order in which the eviction hand
// passes its slots.
//
// The owner's but for `index` and `map`, in which every reader may look. Freed through Grace when a rebuilt
// shard has taken its place; the Entries are not the shard's to free.
#pragma once

#include <cassert>
#include <cstddef>
#include <cstring>
#include <functional>
#include <limits>
#include <memory>
#include <new>
#include <span>
#include <tuple>
#include <utility>
#include <vector>

#include <tbb/concurrent_unordered_map.h>

#include "cache/grace.hpp"
#include "cache/index.hpp"
#include "cache/slot.hpp"

namespace millrace::cache {

/// A shard's keys and all that its map allocates, freed in chunks with the shard, never before. The owner's:
/// readers find, which allocates nothing once each bucket is there.
class Arena {
  public:
    static constexpr std::size_t chunk_octets = 16'384;

    /// As aligned as any type is.
    void* allocate(std::size_t octets) {
        octets = padded(octets);
        assert(octets <= chunk_octets);
        if (room_ < octets) {
            chunks_.push_back(std::make_unique_for_overwrite<std::byte[]>(chunk_octets));
            next_ = chunks_.back().get();
            room_ = chunk_octets;
        }
        room_ -= octets;
        return std::exchange(next_, next_ + octets);
    }
    const std::uint8_t* copy(std::span<const std::uint8_t> bytes) {
        return static_cast<std::uint8_t*>(std::memcpy(allocate(bytes.size()), bytes.data(), bytes.size()));
    }

    static constexpr std::size_t padded(std::size_t octets) {
        constexpr std::size_t step = __STDCPP_DEFAULT_NEW_ALIGNMENT__;
        return (octets + step - 1) / step * step;
    }

  private:
    static_assert(chunk_octets >= sizeof(Key));
    std::vector<std::unique_ptr<std::byte[]>> chunks_;
    std::byte* next_ = nullptr;
    std::size_t room_ = 0;
};

/// For the map: what it gives back stays in the Arena.
template <class T>
struct ArenaAllocator {
    using value_type = T;

    explicit ArenaAllocator(Arena& memory) : arena(&memory) {}
    template <class U>
    ArenaAllocator(const ArenaAllocator<U>& other) : arena(other.arena) {}
    T* allocate(std::size_t count) {
        static_assert(alignof(T) <= __STDCPP_DEFAULT_NEW_ALIGNMENT__);
        return static_cast<T*>(arena->allocate(count * sizeof(T)));
    }
    void deallocate(T*, std::size_t) {}
    template <class U>
    bool operator==(const ArenaAllocator<U>& other) const {
        return arena == other.arena;
    }

    Arena* arena;
};

struct Shard final : Retired {
    struct HashOf {
        std::size_t operator()(const KeyRef& key) const { return key.hash; }
    };
    using Map = tbb::concurrent_unordered_map<KeyRef, Slot, HashOf, std::equal_to<KeyRef>,
                                              ArenaAllocator<std::pair<const KeyRef, Slot>>>;

    Shard() : map(*new (map_place) Map(limits::shard_buckets, Map::allocator_type(memory))) {
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
                                       std::forward_as_tuple(KeyRef{hash, memory.copy(key)}), std::tuple());
        index.add(hash, &*at);
        order.push_back(&*at);
        slot_bytes += octets_of(key.size());
        count_dead(*at, 1);
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
    /// Changes a slot and keeps account of dead ones.
    template <class Change>
    void update(Node& node, Change change) {
        if (is_dead(node.second)) count_dead(node, -1);
        change();
        if (is_dead(node.second)) count_dead(node, 1);
    }
    static std::size_t octets_of(std::size_t key) { return slot_octets + Arena::padded(key); }
    static bool is_dead(const Slot& slot) {
        return !slot.is_live && !slot.entry.load(std::memory_order_relaxed);
    }
    std::size_t bytes() const override { return fixed_octets + slot_bytes; }

    // Estimated from oneTBB's layout. bench/memory_bench lays the estimate beside the growth of
    // the resident size.

    /// Of one slot, its key aside: the map's node (link, order key, Node).
    static constexpr std::size_t slot_octets = Arena::padded(2 * 8) + Arena::padded(sizeof(Node));
    /// Of a shard without slots: the index, a dummy node and a place for each bucket, `order`, and what is
    /// left of the last chunk.
    static constexpr std::size_t fixed_octets = sizeof(Index<Node>) + limits::shard_buckets * (2 * 8 + 8) +
                                                limits::shard_slots * 8 + Arena::chunk_octets;

    Index<Node> index;
    Arena memory;
    /// Never destroyed: that would visit each node, and all it holds lies in the Arena.
    alignas(Map) std::byte map_place[sizeof(Map)];
    Map& map;
    std::vector<Node*> order; ///< slots, oldest first
    std::size_t hand = 0;     ///< index into `order`: where eviction goes on
    std::size_t entries = 0;  ///< slots that hold an Entry
    std::size_t slot_bytes = 0;
    std::size_t dead = 0;       ///< slots that hold nothing and have no live Fetch
    std::size_t dead_bytes = 0; ///< of `slot_bytes`
    bool is_due = false;        ///< waits for its upkeep, or is being rebuilt

  private:
    void count_dead(const Node& node, int by) {
        dead += std::size_t(by);
        dead_bytes += std::size_t(by) * octets_of(node.first.size());
    }
};

} // namespace millrace::cache
