// The names that the load is made of, and the address that belongs to each: whoever asks and whoever answers
// work both out from the number, so an answer can be checked without remembering anything.
//
// n<i>.ZONE exists, m<i>.ZONE exists and is asked once, x<i>.ZONE does not exist.
#pragma once

#include <array>
#include <charconv>
#include <cstdint>
#include <optional>

#include "cache/dns.hpp"
#include "cache/name.hpp"
#include "cache/wire.hpp"

namespace millrace::bench {

using Ipv4 = std::array<std::uint8_t, 4>;

enum class Kind : char { present = 'n', unique = 'm', absent = 'x' };

struct Host {
    Kind kind = Kind::present;
    std::uint32_t number = 0;
};

inline constexpr std::size_t most_zone_octets = 40;
inline constexpr std::size_t label_octets = 12; ///< with its length, of the largest number

/// 64.0.0.0/3: half a billion addresses without a special meaning, so no resolver has a reason
/// to filter them.
inline Ipv4 address_of(std::uint32_t number) {
    return {std::uint8_t(0x40 | (number >> 24 & 0x1f)), std::uint8_t(number >> 16), std::uint8_t(number >> 8),
            std::uint8_t(number)};
}

/// The host's name and the type and class of a question for its address; `zone` is canonical.
inline void write_question(cache::WireWriter& out, Host host, const cache::Name& zone) {
    std::array<char, label_octets> label;
    label[0] = char(host.kind);
    char* end = std::to_chars(label.data() + 1, label.data() + label.size(), host.number).ptr;
    out.u8(std::uint8_t(end - label.data()));
    for (const char* c = label.data(); c != end; ++c) out.u8(std::uint8_t(*c));
    out.bytes(zone.bytes());
    out.u16(dns::type_a);
    out.u16(dns::class_in);
}

/// Whose name this is: one label in front of the zone. Both canonical.
inline std::optional<Host> host_of(const cache::Name& name, const cache::Name& zone) {
    const std::uint8_t* label = name.octets.data();
    if (name.size != 1U + label[0] + zone.size || label[0] < 2) return std::nullopt;
    if (!std::equal(zone.octets.begin(), zone.octets.begin() + zone.size, label + 1 + label[0]))
        return std::nullopt;
    Host host{Kind(label[1])};
    const char *begin = reinterpret_cast<const char*>(label) + 2, *end = begin + label[0] - 1;
    auto [stop, error] = std::from_chars(begin, end, host.number);
    bool known = host.kind == Kind::present || host.kind == Kind::unique || host.kind == Kind::absent;
    if (!known || error != std::errc{} || stop != end) return std::nullopt;
    return host;
}

} // namespace millrace::bench
