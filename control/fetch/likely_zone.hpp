// A stand-in for the zone of a name, which a forwarder does not know. Threads: pure.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace millrace::control {

/// The last two labels of a canonical name, three where those
/// two are likely to be a registry's (co.uk, in-addr.arpa).
inline std::span<const std::uint8_t> likely_zone(std::span<const std::uint8_t> name) {
    static constexpr std::array<std::uint8_t, 6> arpa{4, 'a', 'r', 'p', 'a', 0};
    std::array<std::size_t, 3> labels{}; // where the last ones begin, the last first
    for (std::size_t at = 0; name[at] != 0; at += 1u + name[at]) labels = {at, labels[0], labels[1]};
    bool is_country = name[labels[0]] == 2;
    bool is_registrys = is_country ? name[labels[1]] <= 3 : std::ranges::equal(name.subspan(labels[0]), arpa);
    return name.subspan(is_registrys ? labels[2] : labels[1]);
}

} // namespace millrace::control
