#include "dataplane/answer.hpp"

#include <algorithm>
#include <cstring>

namespace millrace::dataplane::answer {

namespace {

using cache::Entry;

constexpr std::uint16_t info_stale = 3, info_stale_nxdomain = 19, info_prohibited = 18; // RFC 8914
constexpr std::uint32_t stale_ttl = 30;                                                 // RFC 8767 4
constexpr std::uint16_t type_hinfo = 13, type_opt = 41, option_ede = 15;

/// What a reply consists of, besides head and question.
struct Body {
    Rcode rcode = Rcode::noerror;
    bool truncated = false;
    bool authentic = false;
    std::uint16_t info = Entry::no_info;
    std::uint16_t answers = 0, authorities = 0;
    std::span<const std::uint8_t> records = {};
};

std::size_t opt_size(const Head& head, const Body& body) {
    if (!head.edns) return 0;
    return 11u + (body.info == Entry::no_info ? 0 : 6);
}

std::uint16_t flags(const Head& head, const Body& body) {
    unsigned ra = head.opcode == 0 ? 0x0080 : 0;
    return std::uint16_t(0x8000 | head.opcode << 11 | (body.truncated ? 0x0200 : 0) |
                         (head.recursion_desired ? 0x0100 : 0) | ra |
                         (body.authentic && head.authentic_wanted ? 0x0020 : 0) |
                         (head.checking_disabled ? 0x0010 : 0) | (unsigned(body.rcode) & 0xf));
}

void write_opt(const Head& head, const Body& body, cache::Writer& out) {
    out.u8(0); // the root
    out.u16(type_opt);
    out.u16(limits::edns_octets);
    out.u8(std::uint8_t(unsigned(body.rcode) >> 4));
    out.u8(0); // version
    out.u16(head.dnssec_ok ? 0x8000 : 0);
    bool has_info = body.info != Entry::no_info;
    out.u16(has_info ? 6 : 0);
    if (!has_info) return;
    out.u16(option_ede);
    out.u16(2);
    out.u16(body.info);
}

/// The whole message; the records are copied as they are.
std::size_t compose(const Head& head, std::span<const std::uint8_t> question, Body body,
                    std::span<std::uint8_t> out) {
    std::size_t limit = std::min<std::size_t>(head.limit, out.size());
    if (header_octets + question.size() + body.records.size() + opt_size(head, body) > limit) {
        body = {.rcode = body.rcode, .truncated = true};
    }
    if (header_octets + question.size() + opt_size(head, body) > out.size()) return 0;
    bool in_place = question.data() == out.data() + header_octets;
    if (!in_place) std::memmove(out.data() + header_octets, question.data(), question.size());
    cache::store_u16(&out[0], head.id);
    cache::store_u16(&out[2], flags(head, body));
    cache::store_u16(&out[4], question.empty() ? 0 : 1);
    cache::store_u16(&out[6], body.answers);
    cache::store_u16(&out[8], body.authorities);
    cache::store_u16(&out[10], head.edns ? 1 : 0);
    std::size_t size = header_octets + question.size();
    cache::Writer rest(out.subspan(size));
    rest.bytes(body.records);
    if (head.edns) write_opt(head, body, rest);
    return size + rest.size();
}

std::uint32_t seconds(Time t) {
    return std::uint32_t(std::max<std::int64_t>(0, t.count() / 1'000'000));
}

void age_ttls(const Entry& entry, Time now, Age age, std::span<std::uint8_t> records) {
    std::uint32_t elapsed = seconds(now - entry.born);
    for (std::uint16_t offset : entry.ttl_offsets()) {
        std::uint8_t* at = records.data() + offset;
        std::uint32_t ttl = cache::load_u32(at);
        cache::store_u32(at, age == Age::stale ? stale_ttl : ttl - std::min(ttl, elapsed));
    }
}

std::uint16_t info_of(const Entry& entry, Age age) {
    if (age == Age::counted) return entry.info;
    return entry.rcode == unsigned(Rcode::nxdomain) ? info_stale_nxdomain : info_stale;
}

} // namespace

std::size_t write(const Head& head, std::span<const std::uint8_t> question, const Entry& entry, Time now,
                  Age age, std::span<std::uint8_t> out) {
    Body body{.rcode = Rcode(entry.rcode),
              .authentic = entry.authentic,
              .info = info_of(entry, age),
              .answers = entry.answers,
              .authorities = entry.authorities,
              .records = entry.records()};
    std::size_t size = compose(head, question, body, out);
    bool truncated = size == 0 || out[2] & 0x02;
    if (!truncated)
        age_ttls(entry, now, age, out.subspan(header_octets + question.size(), entry.records_size));
    return size;
}

std::size_t write(const Query& query, std::span<const std::uint8_t> question, std::span<std::uint8_t> out) {
    Body body{.rcode = query.rcode, .truncated = query.action == Query::Action::truncate};
    // RFC 8482 4.2: HINFO "RFC8482" "", owner the question's name, TTL 3600.
    static constexpr std::uint8_t hinfo[] = {0xc0, 12, 0,   type_hinfo, 0,   1,   0,   0,   0x0e, 0x10, 0,
                                             9,    7,  'R', 'F',        'C', '8', '4', '8', '2',  0};
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
    bool holds_soa = entry.answers == 0 && entry.authorities > 0 && size > 0 && !(out[2] & 0x02);
    if (holds_soa)
        cache::store_u16(&out[header_octets + question.size()],
                         std::uint16_t(0xc000 | (header_octets + above)));
    return size;
}

std::size_t write_truncated(const Head& head, std::span<const std::uint8_t> question,
                            std::span<std::uint8_t> out) {
    return compose(head, question, {.truncated = true}, out);
}

std::size_t write_refused(const Head& head, std::span<const std::uint8_t> question,
                          std::span<std::uint8_t> out) {
    return compose(head, question, {.rcode = Rcode::refused, .info = info_prohibited}, out);
}

} // namespace millrace::dataplane::answer
