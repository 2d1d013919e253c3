// The simulated NAT64s: their prefixes, and the IPv4 addresses behind them (RFC 6052 2.2). None of the
// product's code, as that is what this is held against.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

namespace millrace::simulation {

inline constexpr unsigned nat64_count = 7; ///< numbered from 1 on: the well-known one, and one of each length
inline constexpr unsigned well_known_nat64 = 1;

std::string_view nat64_prefix(unsigned nat64);

struct BehindNat64 {
    unsigned nat64;
    std::array<std::uint8_t, 4> address;
};
/// None: the IPv6 address is of no such prefix, or has anything beside prefix and IPv4 address.
std::optional<BehindNat64> behind_nat64(std::span<const std::uint8_t> address);

} // namespace millrace::simulation
