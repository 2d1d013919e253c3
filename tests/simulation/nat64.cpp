#include "tests/simulation/nat64.hpp"

#include <algorithm>

namespace millrace::simulation {

namespace {

struct Nat64 {
    std::string_view prefix;
    std::array<std::uint8_t, 16> address; ///< the prefix, zeros behind it
    std::array<unsigned, 4> places;       ///< of the IPv4 address's octets: never octet 8
};
constexpr std::array<Nat64, nat64_count> all{
    {{"64:ff9b::/96", {0, 0x64, 0xff, 0x9b}, {12, 13, 14, 15}},
     {"2001:d2::/32", {0x20, 1, 0, 0xd2}, {4, 5, 6, 7}},
     {"2001:d3:100::/40", {0x20, 1, 0, 0xd3, 1}, {5, 6, 7, 9}},
     {"2001:d4:1::/48", {0x20, 1, 0, 0xd4, 0, 1}, {6, 7, 9, 10}},
     {"2001:d5:1:100::/56", {0x20, 1, 0, 0xd5, 0, 1, 1}, {7, 9, 10, 11}},
     {"2001:d6:1:1::/64", {0x20, 1, 0, 0xd6, 0, 1, 0, 1}, {9, 10, 11, 12}},
     {"2001:d7:1:1:0:1::/96", {0x20, 1, 0, 0xd7, 0, 1, 0, 1, 0, 0, 0, 1}, {12, 13, 14, 15}}}};

} // namespace

std::string_view nat64_prefix(unsigned nat64) {
    return all[nat64 - 1].prefix;
}

std::optional<BehindNat64> behind_nat64(std::span<const std::uint8_t> address) {
    for (unsigned i = 0; i < nat64_count; ++i) {
        const Nat64& nat64 = all[i];
        if (address.size() != 16 || !std::ranges::equal(address.first(4), std::span(nat64.address).first(4)))
            continue;
        BehindNat64 found{i + 1, {}};
        std::array<std::uint8_t, 16> rest;
        std::ranges::copy(address, rest.begin());
        for (unsigned octet = 0; octet < 4; ++octet) {
            found.address[octet] = rest[nat64.places[octet]];
            rest[nat64.places[octet]] = 0;
        }
        return rest == nat64.address ? std::optional(found) : std::nullopt;
    }
    return std::nullopt;
}

} // namespace millrace::simulation
