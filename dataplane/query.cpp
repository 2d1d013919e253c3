#include "dataplane/query.hpp"

#include <algorithm>

namespace millrace::dataplane {

bool is_data_type(std::uint16_t qtype) {
    return qtype != 0 && qtype != dns::type_opt && (qtype < 128 || qtype > dns::type_any);
}

struct Query::Sections {
    std::uint16_t flags, questions, answers, authorities, additionals;
};

void Query::parse(std::span<const std::uint8_t> message, Transport transport, std::uint8_t group,
                  Query& out) {
    Sections sections{};
    out.head = {};
    out.rcode = Rcode::noerror; // of the query that was in this place before
    out.key.group = group;
    if (!out.parse_header(message, sections)) return;
    cache::WireReader in(message.subspan(dns::header_octets));
    if (!out.parse_question(in)) return;
    if (out.parse_records(in, sections, transport)) out.judge(transport);
}

/// The rows of the table up to QDCOUNT. False: judged.
bool Query::parse_header(std::span<const std::uint8_t> message, Sections& s) {
    action = Action::drop;
    verdict = Verdict::drop_short;
    if (message.size() < dns::header_octets) return false;
    auto number = [&](std::size_t at) { return cache::load_u16(&message[at]); };
    head.id = number(0);
    s = {number(2), number(4), number(6), number(8), number(10)};
    verdict = Verdict::drop_response;
    if (s.flags & dns::response) return false;
    head.opcode = (s.flags & dns::opcode_mask) >> 11;
    head.recursion_desired = s.flags & dns::recursion_desired;
    head.checking_disabled = s.flags & dns::checking_disabled;
    head.authentic_wanted = s.flags & dns::authentic_data;
    head.limit = limits::plain_octets;
    if (head.opcode != 0) {
        answer_with(Rcode::notimp);
        return false;
    }
    if (s.questions != 1) {
        answer_with(Rcode::formerr);
        return false;
    }
    return true;
}

/// The question, and zone transfers. False: judged.
bool Query::parse_question(cache::WireReader& in) {
    bool named = cache::read_name(in, key.name);
    key.qtype = in.u16();
    key.qclass = in.u16();
    if (!named || !in.ok()) {
        answer_with(Rcode::formerr);
        return false;
    }
    head.question_size = std::uint16_t(in.position());
    // Before the sections are counted: an IXFR rightly carries an SOA in its authority section (RFC 1995 3).
    if (key.qtype == dns::type_axfr || key.qtype == dns::type_ixfr) {
        answer_with(Rcode::refused);
        return false;
    }
    return true;
}

/// Walks every record behind the question for its OPT (RFC 6891 6.1.1). False: judged.
bool Query::parse_records(cache::WireReader& in, const Sections& s, Transport transport) {
    bool malformed = s.answers > 0 || s.authorities > 0 || s.flags & dns::truncated;
    unsigned before_additional = s.answers + s.authorities;
    unsigned records = before_additional + s.additionals;
    std::uint32_t opt_flags = 0;
    for (unsigned i = 0; i < records && in.ok(); ++i) {
        std::size_t owner = in.position();
        in.skip_name();
        bool owner_is_root = in.position() == owner + 1;
        std::uint16_t type = in.u16(), size = in.u16();
        std::uint32_t ttl = in.u32();
        in.skip(in.u16());
        if (type != dns::type_opt || !in.ok()) continue;
        malformed = malformed || head.edns || i < before_additional || !owner_is_root;
        head.edns = true;
        head.limit = std::clamp<std::uint16_t>(size, limits::plain_octets, limits::edns_octets);
        opt_flags = ttl;
    }
    if (transport == Transport::tcp) head.limit = cache::limits::message_octets;
    if (malformed || !in.ok()) {
        answer_with(Rcode::formerr);
        return false;
    }
    head.dnssec_ok = opt_flags & dns::opt_dnssec_ok;
    head.authentic_wanted = head.authentic_wanted || head.dnssec_ok;
    if (opt_flags & dns::opt_version) {
        answer_with(Rcode::badvers);
        return false;
    }
    return true;
}

/// A well-formed query: the rows about classes, types and RD.
void Query::judge(Transport transport) {
    if (key.qclass == dns::class_chaos) {
        action = Action::chaos;
        return;
    }
    if (key.qclass != dns::class_in) return answer_with(Rcode::notimp);
    if (key.qtype != dns::type_any && !is_data_type(key.qtype)) return answer_with(Rcode::notimp);
    if (key.qtype == dns::type_any) {
        action = transport == Transport::udp ? Action::truncate : Action::minimal;
        return;
    }
    if (!head.recursion_desired) return answer_with(Rcode::refused);
    key.flavour = std::uint8_t((head.dnssec_ok ? cache::dnssec_ok : 0) |
                               (head.checking_disabled ? cache::checking_disabled : 0));
    action = Action::look_up;
}

} // namespace millrace::dataplane
