// What one upstream said about one question, after everything that must not be kept was thrown away
// (dataplane/RULES.md, what is kept of a reply). Control thread only.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "control/message/ldns.hpp"

#include "cache/dns.hpp"
#include "cache/time.hpp"
#include "cache/version.hpp"

namespace millrace::control {

/// An extended error (RFC 8914 2): its code, and what else is said, fit to be passed on.
struct ExtendedError {
    std::uint16_t code;
    std::string text; ///< printable ASCII, at most cache::limits::info_octets

    ExtendedError(std::uint16_t number, std::string words = {}) : code(number), text(std::move(words)) {}
    bool is_of_dnssec() const { return dns::ede::is_of_dnssec(code); }
};

/// A resource record, shared by the answers that contain it and never changed.
using Record = std::shared_ptr<const ldns_rr>;

inline bool is_cname(const Record& record) {
    return ldns_rr_get_type(record.get()) == LDNS_RR_TYPE_CNAME;
}

enum class Kind : std::uint8_t {
    positive,   ///< NOERROR, and the chain ends in records of the asked type
    nxdomain,   ///< NXDOMAIN, with or without SOA
    nodata,     ///< NOERROR without such records, with an SOA
    yxdomain,   ///< a DNAME makes the name too long (RFC 6672 2.2): the chain ends in that DNAME
    incomplete, ///< a CNAME that leads nowhere, or nothing and no SOA: not decisive
    failure,    ///< SERVFAIL, REFUSED, FORMERR, NOTIMP, ...
};

constexpr std::string_view to_string(Kind kind) {
    constexpr std::string_view names[] = {"positive", "nxdomain",   "nodata",
                                          "yxdomain", "incomplete", "failure"};
    return names[std::size_t(kind)];
}

struct Answer {
    Kind kind = Kind::failure;
    std::uint8_t rcode = 2;            ///< as the upstream sent it, but for a yxdomain found out here
    bool authentic = false;            ///< AD=1; from a server that is not trusted it is cleared on arrival
    bool is_trusted = false;           ///< from a server whose AD is passed on
    bool is_signed = false;            ///< some kept or dropped record of the reply was an RRSIG
    bool is_scoped = false;            ///< meant for some client subnets only, though we never name one
    bool is_rewritten = false;         ///< by a rule of ours (LocalNames)
    bool is_cut = false;               ///< its chain leads to another group's name: that is where it ends
    bool is_crossed = false;           ///< completed by another group than that of the key it answers
    bool is_in_order = false;          ///< read from an Entry whose addresses stay in their order
    bool has_opt = false;              ///< the server speaks EDNS
    std::optional<ExtendedError> info; ///< that goes with it
    std::string_view unfit; ///< why nothing of the reply is kept; empty: it is as the upstream sent it
    unsigned upstream = 0;  ///< index within the group
    Time received{};
    std::optional<Time> stale_until{}; ///< of what is made of stale data: the end of that
    cache::Generation source = 0;      ///< as cache::EntryDraft::source
    std::vector<Record> chain;     ///< CNAMEs in order from the question's name, DNAMEs in front of theirs
    std::vector<Record> records;   ///< records of the asked type at the chain's end
    std::vector<Record> authority; ///< negative: the SOA
    // For clients with DO=1 alone (RFC 4035 3.2.1), behind the others:
    std::vector<Record> signatures; ///< of the answer section, unless they were asked for
    std::vector<Record> proofs;     ///< of the authority section: NSEC, NSEC3, their RRSIGs and the SOA's

    bool has_dnssec_records() const { return !signatures.empty() || !proofs.empty(); }
    /// SERVFAIL because the name does not validate (RFC 8914 4).
    bool is_bogus() const { return rcode == unsigned(dns::Rcode::servfail) && info && info->is_of_dnssec(); }
    /// NXDOMAIN for the very name that was asked, not for the end of its chain.
    bool is_bare_denial() const { return kind == Kind::nxdomain && chain.empty(); }
};

} // namespace millrace::control
