#include "dataplane/answer.hpp"

#include <algorithm>
#include <cstring>

namespace millrace::dataplane::answer {

namespace {

using cache::Entry;

constexpr std::uint16_t extended_error_octets = 6; // the option's code, its length, the extended error's code

/// What a reply consists of, besides head and question.
struct Body {
    Rcode rcode = Rcode::noerror;
    bool truncated = false;
    bool authentic = false;
    std::uint16_t info = Entry::no_info;
    std::span<const std::uint8_t> info_text = {};
    std::uint16_t answers = 0, authorities = 0;
    std::span<const std::uint8_t> records = {};
    std::span<const std::uint8_t> turned = {}; ///< the end of `records` that is written where `turn_at` is
    std::size_t turn_at = 0;
};

std::size_t opt_size(const Head& head, const Body& body) {
    if (!head.edns) return 0;
    return dns::opt_octets +
           (body.info == Entry::no_info ? 0 : extended_error_octets + body.info_text.size());
}

std::uint16_t flags(const Head& head, const Body& body) {
    return std::uint16_t(dns::response | head.opcode << 11 | (body.truncated ? dns::truncated : 0) |
                         (head.recursion_desired ? dns::recursion_desired : 0) |
                         (head.opcode == 0 ? dns::recursion_available : 0) |
                         (body.authentic && head.authentic_wanted ? dns::authentic_data : 0) |
                         (head.checking_disabled ? dns::checking_disabled : 0) |
                         (unsigned(body.rcode) & dns::rcode_mask));
}

void write_opt(const Head& head, const Body& body, cache::WireWriter& out) {
    out.u8(0); // the root
    out.u16(dns::type_opt);
    out.u16(limits::edns_octets);
    out.u8(std::uint8_t(unsigned(body.rcode) >> 4));
    out.u8(0); // version
    out.u16(head.dnssec_ok ? dns::opt_dnssec_ok : 0);
    bool has_info = body.info != Entry::no_info;
    out.u16(std::uint16_t(has_info ? extended_error_octets + body.info_text.size() : 0));
    if (!has_info) return;
    out.u16(dns::option_extended_error);
    out.u16(std::uint16_t(2 + body.info_text.size()));
    out.u16(body.info);
    out.bytes(body.info_text);
}

/// The whole message; the records are copied as they are.
std::size_t compose(const Head& head, std::span<const std::uint8_t> question, Body body,
                    std::span<std::uint8_t> out) {
    std::size_t limit = std::min<std::size_t>(head.limit, out.size());
    std::size_t without_opt = dns::header_octets + question.size() + body.records.size();
    if (without_opt + opt_size(head, body) > limit) body.info = Entry::no_info; // the first to be left out
    if (without_opt + opt_size(head, body) > limit) {
        body = {.rcode = body.rcode, .truncated = true};
    }
    if (dns::header_octets + question.size() + opt_size(head, body) > out.size()) return 0;
    bool in_place = question.data() == out.data() + dns::header_octets;
    if (!in_place) std::memmove(out.data() + dns::header_octets, question.data(), question.size());
    cache::store_u16(&out[0], head.id);
    cache::store_u16(&out[2], flags(head, body));
    cache::store_u16(&out[4], question.empty() ? 0 : 1);
    cache::store_u16(&out[6], body.answers);
    cache::store_u16(&out[8], body.authorities);
    cache::store_u16(&out[10], head.edns ? 1 : 0);
    std::size_t size = dns::header_octets + question.size();
    cache::WireWriter rest(out.subspan(size));
    if (body.turned.empty()) [[likely]] {
        rest.bytes(body.records);
    } else {
        std::size_t kept = body.records.size() - body.turned.size();
        rest.bytes(body.records.first(body.turn_at));
        rest.bytes(body.turned);
        rest.bytes(body.records.first(kept).subspan(body.turn_at));
    }
    if (head.edns) write_opt(head, body, rest);
    return size + rest.size();
}

bool is_truncated(std::span<const std::uint8_t> reply) {
    return cache::load_u16(&reply[2]) & dns::truncated;
}

std::uint32_t seconds(Time t) {
    return std::uint32_t(std::max<std::int64_t>(0, t.count() / 1'000'000));
}

void age_ttls(const Entry& entry, Time now, Age age, std::span<std::uint8_t> records) {
    std::uint32_t elapsed = seconds(now - entry.born);
    for (std::uint16_t offset : entry.ttl_offsets()) {
        std::uint8_t* at = records.data() + offset;
        std::uint32_t ttl = cache::load_u32(at);
        cache::store_u32(at, age == Age::stale ? dns::ttl_of_stale : ttl - std::min(ttl, elapsed));
    }
}

/// Another address first in each reply (RFC 1794), as the client's ID has it: that is as good as drawn.
void rotate(const Head& head, const Entry& entry, Body& body) {
    std::size_t turn = std::size_t(head.id) * entry.rotating >> 16, octets = entry.rotating_octets();
    if (turn == 0) return;
    body.turned = body.records.last(turn * octets);
    body.turn_at = body.records.size() - entry.rotating * octets;
}

std::uint16_t info_of(const Entry& entry, Age age) {
    if (age == Age::counted) return entry.info;
    return entry.rcode == unsigned(Rcode::nxdomain) ? dns::ede::stale_nxdomain : dns::ede::stale_answer;
}

} // namespace

std::size_t write(const Head& head, std::span<const std::uint8_t> question, const Entry& entry, Time now,
                  Age age, std::span<std::uint8_t> out) {
    Body body{.rcode = Rcode(entry.rcode),
              .authentic = entry.authentic,
              .info = info_of(entry, age),
              .info_text = age == Age::counted ? entry.info_text() : std::span<const std::uint8_t>{},
              .answers = entry.answers,
              .authorities = entry.authorities,
              .records = entry.records()};
    rotate(head, entry, body);
    std::size_t size = compose(head, question, body, out);
    if (size > 0 && !is_truncated(out))
        age_ttls(entry, now, age, out.subspan(dns::header_octets + question.size(), entry.records_size));
    return size;
}

std::size_t write(const Query& query, std::span<const std::uint8_t> question, std::span<std::uint8_t> out) {
    Body body{.rcode = query.rcode, .truncated = query.action == Query::Action::truncate, .info = query.info};
    // RFC 8482 4.2: HINFO "RFC8482" "", owner the question's name, TTL 3600.
    static constexpr std::uint8_t hinfo[] = {dns::pointer_bits,
                                             dns::header_octets,
                                             0,
                                             dns::type_hinfo,
                                             0,
                                             dns::class_in,
                                             0,
                                             0,
                                             0x0e,
                                             0x10,
                                             0,
                                             9,
                                             7,
                                             'R',
                                             'F',
                                             'C',
                                             '8',
                                             '4',
                                             '8',
                                             '2',
                                             0};
    if (query.action == Query::Action::minimal) {
        body.answers = 1;
        body.records = hinfo;
    }
    return compose(query.head, question, body, out);
}

std::size_t write_failure(const Head& head, std::span<const std::uint8_t> question, std::uint16_t info,
                          std::span<std::uint8_t> out) {
    return compose(head, question, {.rcode = Rcode::servfail, .info = info}, out);
}

std::size_t write_local(const Head& head, std::span<const std::uint8_t> question, const cache::Entry& entry,
                        std::uint8_t above, std::uint16_t info, std::span<std::uint8_t> out) {
    Body body{.rcode = Rcode(entry.rcode),
              .info = info,
              .answers = entry.answers,
              .authorities = entry.authorities,
              .records = entry.records()};
    std::size_t size = compose(head, question, body, out);
    bool holds_soa = entry.answers == 0 && entry.authorities > 0 && size > 0 && !is_truncated(out);
    if (holds_soa)
        cache::store_u16(&out[dns::header_octets + question.size()],
                         std::uint16_t(dns::pointer_to_question + above));
    return size;
}

std::size_t write_truncated(const Head& head, std::span<const std::uint8_t> question,
                            std::span<std::uint8_t> out) {
    return compose(head, question, {.truncated = true}, out);
}

std::size_t write_refused(const Head& head, std::span<const std::uint8_t> question,
                          std::span<std::uint8_t> out) {
    return compose(head, question, {.rcode = Rcode::refused, .info = dns::ede::prohibited}, out);
}

} // namespace millrace::dataplane::answer
