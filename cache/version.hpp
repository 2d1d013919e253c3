// The identity of a query's result.
#pragma once

#include <compare>
#include <cstdint>

namespace millrace::cache {

/// Names one Fetch: taken from one monotonic counter when the Fetch starts, never from a clock.
/// 0 is nobody's.
using Generation = std::uint64_t;

/// What an Entry carries. Within a Fetch the revision counts 0 first answer, then merged, then ranked; the
/// order is lexicographic, and the version of a key's published Entry never goes backwards.
struct Version {
    Generation generation : 56 = 0; // a million Fetches a second for two thousand years
    Generation revision : 8 = 0;

    bool operator==(const Version&) const = default;
    std::strong_ordering operator<=>(const Version& other) const {
        auto packed = [](const Version& v) { return Generation(v.generation) << 8 | v.revision; };
        return packed(*this) <=> packed(other);
    }
};

} // namespace millrace::cache
