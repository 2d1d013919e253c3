// What the stress is asked to do, and how big its world is.
#pragma once

#include <cstdint>

#include "cache/table.hpp"

namespace millrace::stress {

struct Options {
    unsigned seconds = 10;
    std::uint64_t seed = 1;
    bool perturb = false; ///< stop, starve and move the threads
};

inline constexpr unsigned readers = 3;       ///< threads that run a Worker each
inline constexpr unsigned name_count = 9000; ///< more than the table holds, so that it evicts
inline constexpr unsigned hot_names = 64, warm_names = 2000;
inline constexpr unsigned zone_count = 8; ///< every eighth name is of one zone: flushed as one, and then
                                          ///< a shard has enough dead slots for a rebuild

/// Small: two shards, and both bounds are reached within a second.
inline constexpr cache::TableLimits table_limits{.entries = 3800, .bytes = 2'000'000};

} // namespace millrace::stress
