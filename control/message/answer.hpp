// What one upstream said about one question, after everything that must not be kept was thrown away
// (dataplane/RULES.md, what is kept of a reply). Control thread only.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "control/message/ldns.hpp"

#include "cache/time.hpp"

namespace millrace::control {

/// A resource record, shared by the answers that contain it and never changed.
using Record = std::shared_ptr<const ldns_rr>;

enum class Kind : std::uint8_t {
    positive,   ///< NOERROR, and the chain ends in records of the asked type
    nxdomain,   ///< NXDOMAIN, with or without SOA
    nodata,     ///< NOERROR without such records, with an SOA
    incomplete, ///< a CNAME that leads nowhere, or nothing and no SOA: not decisive
    failure,    ///< SERVFAIL, REFUSED, FORMERR, NOTIMP, ...
};

constexpr std::string_view to_string(Kind kind) {
    constexpr std::string_view names[] = {"positive", "nxdomain", "nodata", "incomplete", "failure"};
    return names[std::size_t(kind)];
}

struct Answer {
    Kind kind = Kind::failure;
    std::uint8_t rcode = 2;            ///< as the upstream sent it
    bool authentic = false;            ///< AD=1
    bool is_trusted = false;           ///< from a server whose AD is passed on
    bool is_signed = false;            ///< some kept or dropped record of the answer was an RRSIG
    bool is_scoped = false;            ///< meant for some client subnets only, though we never name one
    bool is_rewritten = false;         ///< by a rule of ours (LocalNames)
    std::optional<std::uint16_t> info; ///< extended error code that goes with it (RFC 8914)
    unsigned upstream = 0;             ///< index within the group
    Time received{};
    std::vector<Record> chain;     ///< the CNAME records in order from the question's name
    std::vector<Record> records;   ///< records of the asked type at the chain's end (with RRSIGs when DO)
    std::vector<Record> authority; ///< negative: the SOA (with RRSIGs and proofs when DO)
};

} // namespace millrace::control
