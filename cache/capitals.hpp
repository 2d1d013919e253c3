// Which letters of a name as somebody wrote it are capitals (0x20, draft-vixie-dnsext-dns0x20).
//
// Pure. Threads: any.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace millrace::cache {

/// A bit for each octet of the name (wire format), from the 65th on the first ones' again. 0: there is none,
/// which is how most clients write.
inline std::uint64_t capitals_of(std::span<const std::uint8_t> name) {
    std::uint64_t capitals = 0;
    for (std::size_t i = 0; i < name.size(); ++i) {
        bool is_capital = name[i] >= 'A' && name[i] <= 'Z'; // a label's length is below
        capitals ^= std::uint64_t(is_capital) << i % 64;
    }
    return capitals;
}

} // namespace millrace::cache
