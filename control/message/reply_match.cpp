#include "control/message/reply_match.hpp"

#include <algorithm>

#include "cache/dns.hpp"
#include "cache/name.hpp"
#include "cache/wire.hpp"

namespace millrace::control {

namespace {

struct Head {
    std::uint16_t id, flags;
    cache::Name name; ///< folded
    std::uint32_t type_and_class;
    std::span<const std::uint8_t> question; ///< as it came
};

bool read_head(std::span<const std::uint8_t> message, Head& out) {
    cache::WireReader in(message);
    out.id = in.u16();
    out.flags = in.u16();
    if (in.u16() != 1) return false;
    in.skip(6);
    if (!cache::read_name(in, out.name)) return false;
    out.type_and_class = in.u32();
    if (in.ok()) out.question = message.subspan(dns::header_octets, in.position() - dns::header_octets);
    return in.ok();
}

} // namespace

ReplyMatch match_reply(std::span<const std::uint8_t> query, std::span<const std::uint8_t> message) {
    Head asked, got;
    if (!read_head(message, got) || !(got.flags & dns::response) || (got.flags & dns::opcode_mask))
        return ReplyMatch::no_reply;
    if (!read_head(query, asked)) return ReplyMatch::no_reply;
    if (got.type_and_class != asked.type_and_class || got.name != asked.name) return ReplyMatch::other;
    if (got.id != asked.id) return ReplyMatch::wrong_id;
    if (!std::ranges::equal(got.question, asked.question)) return ReplyMatch::wrong_case;
    return got.flags & dns::truncated ? ReplyMatch::truncated : ReplyMatch::reply;
}

} // namespace millrace::control
