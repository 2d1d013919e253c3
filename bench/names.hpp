// A table that holds NumberedName's 0 to count - 1, for benchmarks.
#pragma once

#include <cstdlib>

#include "bench/ring_wire.hpp"
#include "cache/table.hpp"
#include "tests/support/entries.hpp"

namespace millrace::bench {

/// Owned and changed by the thread that made it. The hash has a known secret, so that every run finds
/// the same collisions.
struct Names {
    explicit Names(std::uint32_t count, std::uint32_t room = 0, std::size_t octets = std::size_t(8) << 30)
        : table({.entries = room ? room : count + count / 8, .bytes = octets}, grace, cache::Hasher(1)) {
        for (std::uint32_t number = 0; number < count; ++number) {
            if (!put(number)) std::abort();
        }
    }
    bool put(std::uint32_t number) {
        auto key = test::key_of(NumberedName::name(number));
        auto hash = table.hasher()(key);
        if (!table.start(key, hash, ++generation)) return false;
        auto entry = NumberedName::entry(number, generation, boot_time(), 24h);
        bool is_there = table.publish(key, hash, entry) == cache::Publication::accepted;
        table.finish(key, hash, generation);
        return is_there;
    }

    cache::Grace grace;
    cache::Table table;
    cache::Generation generation = 0;
};

} // namespace millrace::bench
