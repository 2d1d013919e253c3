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

bool is_reply(std::uint16_t flags) {
    return flags & dns::response && !(flags & dns::opcode_mask);
}

/// BADVERS, whose upper bits are an OPT's, the only record (RFC 6891 6.1.3).
bool is_bad_version(std::uint16_t flags, std::uint32_t answers_and_authorities, cache::WireReader in) {
    if (flags & dns::rcode_mask || answers_and_authorities != 0) return false;
    bool is_opt = in.u8() == 0 && in.u16() == dns::type_opt;
    in.skip(2);
    unsigned upper = in.u8();
    return in.ok() && is_opt && upper == unsigned(dns::Rcode::badvers) >> 4;
}

/// A reply without a question.
ReplyMatch match_header(std::uint16_t id, std::span<const std::uint8_t> message) {
    cache::WireReader in(message);
    bool is_ours = in.u16() == id;
    std::uint16_t flags = in.u16(), questions = in.u16();
    std::uint32_t records = in.u32();
    in.skip(2);
    if (!in.ok() || questions != 0 || !is_ours || !is_reply(flags)) return ReplyMatch::no_reply;
    if (flags & dns::truncated) return ReplyMatch::truncated;
    auto rcode = dns::Rcode(flags & dns::rcode_mask);
    bool is_error = rcode == dns::Rcode::formerr || rcode == dns::Rcode::notimp;
    return is_error || is_bad_version(flags, records, in) ? ReplyMatch::no_edns : ReplyMatch::no_reply;
}

} // namespace

ReplyMatch match_reply(std::span<const std::uint8_t> query, std::span<const std::uint8_t> message) {
    Head asked, got;
    if (!read_head(query, asked)) return ReplyMatch::no_reply;
    if (!read_head(message, got)) return match_header(asked.id, message);
    if (!is_reply(got.flags)) return ReplyMatch::no_reply;
    if (got.type_and_class != asked.type_and_class || got.name != asked.name) return ReplyMatch::other;
    if (got.id != asked.id) return ReplyMatch::wrong_id;
    if (!std::ranges::equal(got.question, asked.question)) return ReplyMatch::wrong_case;
    return got.flags & dns::truncated ? ReplyMatch::truncated : ReplyMatch::reply;
}

} // namespace millrace::control
