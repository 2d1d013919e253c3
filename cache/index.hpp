// Where a lookup begins: one cache line of places for each few keys of a shard, in front of its map.
//
// The map's find walks from bucket to node to node, each step a cache miss that has to wait for the one
// before; a burst's lines of the index are prefetched together. A word holds a Node's address and 16 bits of
// its hash. Written by the owner alone; each word is stored once, when its key is inserted, and is valid as
// long as the shard. What finds its line full is in the map alone.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>

#include "cache/key.hpp"
#include "cache/limits.hpp"

namespace millrace::cache {

/// `Node` is what the map's values are; one shard has one Index.
template <class Node>
class Index {
  public:
    /// What a line says about a hash.
    struct Finding {
        const Node* node = nullptr; ///< the first whose bits are the same; the key is still to be compared
        bool is_complete = true; ///< without a node: a key that is not in the line is not in the map either
    };

    void prefetch(Hash hash) const { __builtin_prefetch(&line(hash)); }

    /// What a walk in the map for a hash of this line may pass: buckets and lines have the same bits.
    void prefetch_nodes(Hash hash) const {
        static_assert(lines == limits::shard_buckets);
        for (const auto& place : line(hash)) {
            std::uint64_t word = place.load(std::memory_order_relaxed);
            if (word == 0) return;
            // The map's link and order key stand before the Node.
            __builtin_prefetch(reinterpret_cast<const char*>(word & address_mask) - 16);
        }
    }

    Finding find(Hash hash) const {
        for (const auto& place : line(hash)) {
            // Acquire: without it the Node's key could be read from before it was written.
            std::uint64_t word = place.load(std::memory_order_acquire);
            if (word == 0) return {};
            if (word >> address_bits == tag(hash))
                return {reinterpret_cast<const Node*>(word & address_mask), true};
        }
        return {nullptr, false};
    }

    /// The owner, after the node is in the map and whole.
    void add(Hash hash, const Node* node) {
        auto address = reinterpret_cast<std::uint64_t>(node);
        for (auto& place : line(hash)) {
            if (place.load(std::memory_order_relaxed) != 0) continue;
            // Release: pairs with find().
            place.store(tag(hash) << address_bits | address, std::memory_order_release);
            return;
        }
    }

  private:
    static constexpr unsigned address_bits = 48; // x86-64 and AArch64, of a process that asks for no more
    static constexpr std::uint64_t address_mask = (std::uint64_t(1) << address_bits) - 1;
    static constexpr std::size_t places = 8; // a cache line
    static constexpr std::size_t lines = limits::shard_slots * 2 / places;
    struct alignas(64) Line : std::array<std::atomic<std::uint64_t>, places> {};

    // Bits that neither pick the shard (the upper ones) nor the line.
    static std::uint64_t tag(Hash hash) { return hash >> 16 & 0xffff; }
    const Line& line(Hash hash) const { return lines_[hash & (lines - 1)]; }
    Line& line(Hash hash) { return lines_[hash & (lines - 1)]; }

    std::array<Line, lines> lines_{};
};

} // namespace millrace::cache
