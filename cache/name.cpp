#include "cache/name.hpp"

#include <algorithm>

namespace millrace::cache {

namespace {

/// Eight octets at once. The additions carry into an octet's upper bit when its lower seven reach 'A', and
/// when they pass 'Z'.
std::uint64_t fold(std::uint64_t octets) {
    constexpr std::uint64_t each = 0x0101010101010101u;
    std::uint64_t low = octets & each * 0x7f;
    std::uint64_t from_a = low + each * (0x80 - 'A'), past_z = low + each * (0x7f - 'Z');
    std::uint64_t upper = (from_a ^ past_z) & ~octets & each * 0x80;
    return octets | upper >> 2; // 0x20
}

void copy_folded(std::span<const std::uint8_t> from, std::uint8_t* to) {
    std::size_t at = 0;
    for (; at + 8 <= from.size(); at += 8) {
        std::uint64_t octets;
        std::memcpy(&octets, &from[at], 8);
        octets = fold(octets);
        std::memcpy(to + at, &octets, 8);
    }
    for (; at < from.size(); ++at) to[at] = cache::fold(from[at]);
}

} // namespace

bool read_name(WireReader& in, Name& out) {
    std::span<const std::uint8_t> rest = in.rest();
    std::size_t size = 0;
    while (size < rest.size() && rest[size] != 0) {
        std::uint8_t length = rest[size];
        size += 1u + length;
        // The root's zero octet must still fit behind this label.
        if (length > limits::label_octets || size >= limits::name_octets) {
            in.fail();
            return false;
        }
    }
    auto name = in.take(size + 1);
    if (!in.ok()) return false;
    copy_folded(name, out.octets.data()); // a label's length is less than 'A'
    out.size = std::uint8_t(name.size());
    return true;
}

namespace {

bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

/// Reads one octet of a label, escapes resolved, and advances `at`.
std::optional<std::uint8_t> next_octet(std::string_view text, std::size_t& at) {
    char c = text[at++];
    if (c != '\\') return std::uint8_t(c);
    if (at >= text.size()) return std::nullopt;
    if (!is_digit(text[at])) return std::uint8_t(text[at++]);
    if (at + 3 > text.size() || !is_digit(text[at + 1]) || !is_digit(text[at + 2])) return std::nullopt;
    int value = (text[at] - '0') * 100 + (text[at + 1] - '0') * 10 + (text[at + 2] - '0');
    at += 3;
    if (value > 255) return std::nullopt;
    return std::uint8_t(value);
}

} // namespace

std::optional<Name> parse_name(std::string_view text) {
    std::array<std::uint8_t, limits::name_octets> raw;
    WireWriter out(raw);
    if (text.empty()) return std::nullopt;
    if (text == ".") text = {};
    for (std::size_t at = 0; at < text.size();) {
        std::array<std::uint8_t, limits::label_octets> label;
        WireWriter octets(label);
        while (at < text.size() && text[at] != '.') {
            auto octet = next_octet(text, at);
            if (!octet) return std::nullopt;
            octets.u8(*octet);
        }
        at += at < text.size(); // the dot
        if (!octets.ok() || octets.size() == 0) return std::nullopt;
        out.u8(std::uint8_t(octets.size()));
        out.bytes({label.data(), octets.size()});
    }
    out.u8(0);
    if (!out.ok()) return std::nullopt;
    WireReader in({raw.data(), out.size()});
    Name name;
    if (!read_name(in, name)) return std::nullopt;
    return name;
}

std::string to_string(std::span<const std::uint8_t> name) {
    std::string text;
    for (std::size_t at = 0; at < name.size() && name[at] != 0;) {
        std::size_t end = std::min(at + 1 + name[at], name.size());
        for (++at; at < end; ++at) {
            std::uint8_t c = name[at];
            if (c > 0x20 && c < 0x7f && c != '.' && c != '\\' && c != '"') {
                text += char(c);
            } else {
                text += {'\\', char('0' + c / 100), char('0' + c / 10 % 10), char('0' + c % 10)};
            }
        }
        text += '.';
    }
    return text.empty() ? "." : text;
}

bool is_at_or_below(std::span<const std::uint8_t> name, std::span<const std::uint8_t> zone) {
    while (name.size() > zone.size()) name = name.subspan(1u + name[0]);
    return std::ranges::equal(name, zone);
}

} // namespace millrace::cache
