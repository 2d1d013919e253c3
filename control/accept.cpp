#include "control/accept.hpp"

#include <algorithm>

#include "cache/name.hpp"
#include "cache/wire.hpp"

namespace millrace::control {

namespace {

constexpr std::uint16_t response = 0x8000, opcode = 0x7800, truncation = 0x0200;
constexpr std::size_t header_octets = 12;

struct Head {
    std::uint16_t id, flags;
    cache::Name name; ///< folded
    std::uint32_t type_and_class;
    std::span<const std::uint8_t> question; ///< as it came
};

bool read_head(std::span<const std::uint8_t> message, Head& out) {
    cache::Reader in(message);
    out.id = in.u16();
    out.flags = in.u16();
    if (in.u16() != 1) return false;
    in.skip(6);
    if (!cache::read_name(in, out.name)) return false;
    out.type_and_class = in.u32();
    if (in.ok()) out.question = message.subspan(header_octets, in.position() - header_octets);
    return in.ok();
}

} // namespace

Match match_reply(std::span<const std::uint8_t> query, std::span<const std::uint8_t> message) {
    Head asked, got;
    if (!read_head(message, got) || !(got.flags & response) || (got.flags & opcode)) return Match::no_reply;
    if (!read_head(query, asked)) return Match::no_reply;
    if (got.type_and_class != asked.type_and_class || got.name != asked.name) return Match::other;
    if (got.id != asked.id) return Match::wrong_id;
    if (!std::ranges::equal(got.question, asked.question)) return Match::wrong_case;
    return got.flags & truncation ? Match::truncated : Match::reply;
}

} // namespace millrace::control
