#include "cache/name.hpp"

#include <algorithm>

namespace millrace::cache {

bool read_name(Reader& in, Name& out) {
    std::size_t size = 0;
    for (;;) {
        std::uint8_t length = in.u8();
        auto label = in.take(length);
        // The root's zero octet must still fit behind this label.
        bool fits =
            length <= limits::label_octets && size + 1 + length + (length != 0) <= limits::name_octets;
        if (!fits) in.fail();
        if (!in.ok()) return false;
        out.octets[size++] = length;
        if (length == 0) break;
        for (std::uint8_t c : label) out.octets[size++] = fold(c);
    }
    out.size = std::uint8_t(size);
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
    Writer out(raw);
    if (text.empty()) return std::nullopt;
    if (text == ".") text = {};
    for (std::size_t at = 0; at < text.size();) {
        std::array<std::uint8_t, limits::label_octets> label;
        Writer octets(label);
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
    Reader in({raw.data(), out.size()});
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
