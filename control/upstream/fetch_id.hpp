// What an Exchange holds of the Fetch that asked for it: never a pointer. A late result with an old one finds
// nothing, because the slot then carries another generation.
#pragma once

#include <compare>
#include <cstdint>

#include "cache/version.hpp"

namespace millrace::control {

struct FetchId {
    std::uint32_t slot = 0;
    cache::Generation generation = 0;

    auto operator<=>(const FetchId&) const = default;
};

} // namespace millrace::control
