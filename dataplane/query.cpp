#include "dataplane/query.hpp"

#include <algorithm>

namespace millrace::dataplane {

bool is_data_type(std::uint16_t qtype) {
    return qtype != 0 && qtype != dns::type_opt && (qtype < 128 || qtype > dns::type_any);
}

struct Query::Sections {
    std::uint16_t flags, questions, answers, authorities, additionals;
};

/// What is behind the question.
struct Query::Records {
    bool is_wrong = false; ///< not one OPT and nothing else, or cut short
    std::uint32_t opt_flags = 0;
    std::span<const std::uint8_t> options; ///< of the OPT, as sent
};

namespace {

/// Whether each option ends within the OPT's RDATA (RFC 6891 6.1.2). What they say is not looked at.
bool are_whole(std::span<const std::uint8_t> options) {
    cache::WireReader in(options);
    while (in.remaining() > 0) {
        in.u16(); // its code
        in.skip(in.u16());
    }
    return in.ok();
}

} // namespace

void Query::parse(std::span<const std::uint8_t> message, Transport transport, Query& out) {
    Sections sections{};
    out.head = {};
    out.rcode = Rcode::noerror; // of the query that was in this place before
    out.info = cache::Entry::no_info;
    out.key.group = 0;
    if (!out.parse_header(message, sections)) return;
    cache::WireReader in(message.subspan(dns::header_octets));
    bool is_asked = out.parse_question(in, sections);
    Records records = out.parse_records(in, sections);
    if (transport == Transport::tcp) out.head.limit = cache::limits::message_octets;
    if (is_asked && out.judge_records(records, sections)) out.judge_question(transport);
}

/// False: to be dropped.
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
    // CD and AD are bits of queries; what others say with them is not known (RFC 6895 2).
    head.checking_disabled = head.opcode == 0 && s.flags & dns::checking_disabled;
    head.authentic_wanted = head.opcode == 0 && s.flags & dns::authentic_data;
    head.limit = limits::plain_octets;
    return true;
}

/// The rows of the table up to zone transfers. False: judged. `in` is behind the question, or questions,
/// so that an OPT can still be found: replies without a question have one too (RFC 6891 6.1.1).
bool Query::parse_question(cache::WireReader& in, const Sections& s) {
    if (head.opcode == 0 && s.questions == 1) {
        cache::WireReader question = in;
        bool named = cache::read_name(question, key.name);
        key.qtype = question.u16();
        key.qclass = question.u16();
        if (named && question.ok()) {
            in = question;
            head.question_size = std::uint16_t(in.position());
            // Before the sections are counted: an IXFR rightly carries an SOA as authority (RFC 1995 3).
            bool is_transfer = key.qtype == dns::type_axfr || key.qtype == dns::type_ixfr;
            if (is_transfer) answer_with(Rcode::refused);
            return !is_transfer;
        }
    }
    answer_with(head.opcode == 0 ? Rcode::formerr : Rcode::notimp);
    for (unsigned i = 0; i < s.questions && in.ok(); ++i) {
        in.skip_name();
        in.skip(dns::type_class_octets);
    }
    return false;
}

/// Walks every record behind the question for its OPT (RFC 6891 6.1.1).
Query::Records Query::parse_records(cache::WireReader& in, const Sections& s) {
    Records found;
    unsigned before_additional = s.answers + s.authorities;
    unsigned records = before_additional + s.additionals;
    for (unsigned i = 0; i < records && in.ok(); ++i) {
        std::size_t owner = in.position();
        in.skip_name();
        bool owner_is_root = in.position() == owner + 1;
        std::uint16_t type = in.u16(), size = in.u16();
        std::uint32_t ttl = in.u32();
        auto data = in.take(in.u16());
        bool is_opt = type == dns::type_opt && in.ok();
        // Nothing else is taken for a query, as by Unbound: we could check neither a TSIG nor a SIG(0).
        found.is_wrong = found.is_wrong || !is_opt || head.edns || i < before_additional || !owner_is_root;
        if (!is_opt) continue;
        head.edns = true;
        head.limit = std::clamp<std::uint16_t>(size, limits::plain_octets, limits::edns_octets);
        head.dnssec_ok = ttl & dns::opt_dnssec_ok; // copied, whatever the reply (RFC 3225 3)
        found.opt_flags = ttl;
        found.options = data;
    }
    found.is_wrong = found.is_wrong || !in.ok();
    return found;
}

/// The rows about records, TC and EDNS. False: judged.
bool Query::judge_records(const Records& records, const Sections& s) {
    bool is_known_version = (records.opt_flags & dns::opt_version) == 0;
    bool is_wrong = records.is_wrong || s.flags & dns::truncated ||
                    (is_known_version && !are_whole(records.options)); // another's options may look otherwise
    if (is_wrong) {
        answer_with(Rcode::formerr);
    } else if (!is_known_version) {
        answer_with(Rcode::badvers);
    }
    head.authentic_wanted = head.authentic_wanted || head.dnssec_ok;
    return !is_wrong && is_known_version;
}

/// A well-formed query: the rows about classes, types and RD.
void Query::judge_question(Transport transport) {
    if (key.qclass == dns::class_chaos) {
        action = Action::chaos;
        return;
    }
    if (key.qclass != dns::class_in) return answer_with(Rcode::notimp);
    if (key.qtype == dns::type_nxname) {
        info = dns::ede::invalid_query_type;
        return answer_with(Rcode::formerr);
    }
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
