// Canonical names: wire format, uncompressed, letters folded to lower case (RFC 4343, RFC 4034 6.2).
#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "cache/limits.hpp"
#include "cache/wire.hpp"

namespace millrace::cache {

/// ASCII lower case; other octets are left alone (RFC 4343 3).
inline std::uint8_t fold(std::uint8_t c) {
    return c >= 'A' && c <= 'Z' ? std::uint8_t(c | 0x20) : c;
}

/// A canonical name by value. `size` counts the root's zero octet: the root itself has size 1.
struct Name {
    std::uint8_t size = 0;
    std::array<std::uint8_t, limits::name_octets> octets;

    std::span<const std::uint8_t> bytes() const { return {octets.data(), size}; }
    bool operator==(const Name& other) const {
        return size == other.size && std::memcmp(octets.data(), other.octets.data(), size) == 0;
    }
};

/// Reads an uncompressed name (a question's) and folds it into `out`. False, with the cursor failed, for a
/// pointer, a 0x40 or 0x80 label, a label over 63 octets, a name over 255 octets, or a name cut short.
bool read_name(WireReader& in, Name& out);

/// Presentation format to canonical name: "www.Example." or "www.example"; \DDD and \X escapes
/// (RFC 1035 5.1).
std::optional<Name> parse_name(std::string_view text);

/// Canonical name to presentation format with the final dot; what is not printable becomes \DDD.
std::string to_string(std::span<const std::uint8_t> name);

/// Whether `name` is `zone` or below it. Both canonical.
bool is_at_or_below(std::span<const std::uint8_t> name, std::span<const std::uint8_t> zone);

} // namespace millrace::cache
