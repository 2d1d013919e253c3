// A client's question: parsed, judged, and remembered in what its reply needs.
//
// Pure functions of the payload's bytes: no port, no clock, no allocation. The same for UDP on any port and
// for TCP. The rules and their order: RULES.md, queries from clients.
#pragma once

#include <cstdint>
#include <span>
#include <type_traits>

#include "cache/dns.hpp"
#include "cache/entry.hpp"
#include "cache/key.hpp"
#include "dataplane/counters.hpp"
#include "dataplane/limits.hpp"

namespace millrace::dataplane {

using dns::Rcode;

/// What of the query goes into its reply, besides the question. Copied into a waiter by value.
struct Head {
    std::uint16_t id = 0;
    std::uint16_t question_size = 0; ///< octets of qname, qtype and qclass as sent; 0: no question is echoed
    std::uint16_t limit = 0;         ///< largest reply, in octets
    std::uint8_t opcode = 0;
    bool recursion_desired = false;
    bool checking_disabled = false;
    bool authentic_wanted = false; ///< the client set AD or DO (RFC 6840 5.7)
    bool dnssec_ok = false;
    bool edns = false; ///< the query had an OPT, so the reply has one
};
static_assert(std::is_trivially_copyable_v<Head>);

enum class Transport : std::uint8_t { udp, tcp };

/// Types of records that can be looked up and forwarded: not those that ask for something else (RFC 6895 3.1,
/// QTYPEs and Meta-TYPEs), such as AXFR, ANY and OPT.
bool is_data_type(std::uint16_t qtype);

struct Query {
    enum class Action : std::uint8_t {
        drop,     ///< no reply; `verdict` says why
        reply,    ///< reply with `rcode` and no records
        truncate, ///< reply with TC=1: come back over TCP (ANY over UDP, RFC 8482)
        minimal,  ///< reply with the synthesised HINFO of RFC 8482 4.2 (ANY over TCP)
        chaos,    ///< a question of class CH about the server itself (RFC 4892)
        look_up,  ///< `key` names the answer
    };

    Action action = Action::drop;
    Verdict verdict = Verdict::drop_short;      ///< meaningful when dropped
    Rcode rcode = Rcode::noerror;               ///< of a reply without a look-up,
    std::uint16_t info = cache::Entry::no_info; ///< and its extended error (RFC 8914)
    Head head;
    cache::Key key; ///< meaningful to look up, and of class CH

    /// Judges one message. The key's group is the first one (see Routes).
    static void parse(std::span<const std::uint8_t> message, Transport transport, Query& out);

  private:
    struct Sections;
    struct Records;
    bool parse_header(std::span<const std::uint8_t> message, Sections& sections);
    bool parse_question(cache::WireReader& in, const Sections& sections);
    Records parse_records(cache::WireReader& in, const Sections& sections);
    bool judge_records(const Records& records, const Sections& sections);
    void judge_question(Transport transport);
    void answer_with(Rcode code) {
        action = Action::reply;
        rcode = code;
    }
};

} // namespace millrace::dataplane
