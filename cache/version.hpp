// The identity of a query's result.
#pragma once

#include <compare>
#include <cstdint>

namespace millrace::cache {

/// Names one Fetch: taken from one monotonic counter when the Fetch starts, never from a clock. 0 is
/// nobody's.
using Generation = std::uint64_t;

/// What an Entry carries. Within a Fetch the revision counts 0 first answer, then merged, then ranked; the
/// order is lexicographic, and the version of a key's published Entry never goes backwards.
struct Version {
    Generation generation = 0;
    std::uint32_t revision = 0;

    auto operator<=>(const Version&) const = default;
};

} // namespace millrace::cache
