// DNS messages for tests, built octet by octet so that they may be wrong on purpose.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace millrace::test {

using Bytes = std::vector<std::uint8_t>;

inline Bytes operator+(Bytes a, const Bytes& b) {
    a.insert(a.end(), b.begin(), b.end());
    return a;
}

inline Bytes u16(unsigned v) {
    return {std::uint8_t(v >> 8), std::uint8_t(v)};
}
inline Bytes u32(unsigned v) {
    return u16(v >> 16) + u16(v);
}

/// "www.Example" as labels, case kept.
inline Bytes labels(std::string_view text) {
    Bytes out;
    while (!text.empty()) {
        std::string_view label = text.substr(0, text.find('.'));
        out.push_back(std::uint8_t(label.size()));
        out.insert(out.end(), label.begin(), label.end());
        text.remove_prefix(std::min(text.size(), label.size() + 1));
    }
    out.push_back(0);
    return out;
}

inline Bytes header(unsigned id, unsigned flags, unsigned qd, unsigned an = 0, unsigned ns = 0,
                    unsigned ar = 0) {
    return u16(id) + u16(flags) + u16(qd) + u16(an) + u16(ns) + u16(ar);
}

inline Bytes question(std::string_view name, unsigned type = 1, unsigned qclass = 1) {
    return labels(name) + u16(type) + u16(qclass);
}

/// An OPT record: UDP size, and the TTL field (extended rcode, version, flags).
inline Bytes opt(unsigned size = 1232, unsigned ttl = 0, const Bytes& options = {}) {
    return Bytes{0} + u16(41) + u16(size) + u32(ttl) + u16(unsigned(options.size())) + options;
}

inline constexpr unsigned rd = 0x0100, ad = 0x0020, cd = 0x0010, tc = 0x0200, qr = 0x8000;
inline constexpr unsigned do_bit = 0x8000;

/// An ordinary query: RD=1, one question, no OPT.
inline Bytes query(std::string_view name, unsigned type = 1, unsigned id = 0x1234) {
    return header(id, rd, 1) + question(name, type);
}

} // namespace millrace::test
