// What is kept of an upstream's reply. Threads: pure.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include <tl/expected.hpp>

#include "cache/key.hpp"
#include "cache/time.hpp"
#include "control/limits.hpp"
#include "control/message/answer.hpp"

namespace millrace::control {

/// Why a reply that passed the accept filter is not an Answer.
enum class ReplyError : std::uint8_t {
    malformed,    ///< no DNS message: cut short, a pointer not backwards, rdata not as its type says
    not_asked,    ///< the question is not the key's
    chain_loop,   ///< a CNAME chain that comes back to itself
    chain_length, ///< more than `limits::chain` CNAMEs
    rrset_size,   ///< more records in one RRset than were allowed
};
std::string_view to_string(ReplyError error); ///< for people: "CNAME chain in a circle", ...

/// Keeps of `reply` what dataplane/RULES.md allows (what is kept of a reply), nothing else:
/// - `chain`: the CNAMEs followed from the question's name, in order, whatever their order in the message.
///   A DNAME precedes the CNAME that is made of it; where the reply has that DNAME alone, the CNAME is made
///   here (RFC 6672 3.4).
/// - `records`: the RRset of the asked type at the chain's end (of CNAME, ANY and RRSIG: at its start).
/// - `authority`: of a negative answer the SOA that encloses the chain's end.
/// - `signatures`: the RRSIGs of the first two; `proofs`: that of the third, and NSEC, NSEC3 and their
///   RRSIGs, which a wildcard's positive answer needs too (RFC 4035 3.1.3). They are kept whatever the
///   flavour: one reply serves those who want them and those who do not.
/// Each RRset has one TTL, the lowest of its members; a TTL above 2^31-1 counts as 86400 (RFC 8767 4). Owner
/// names are folded, duplicates removed. Any rcode other than NOERROR and NXDOMAIN is a Kind::failure without
/// records, and so is YXDOMAIN unless a DNAME of the reply makes the chain's end too long a name. With more
/// than `max_rrset` records in an RRset that would be kept there is no Answer. The accept filter
/// (reply_match.hpp) has to be passed before: here letter case does not count.
tl::expected<Answer, ReplyError> parse_reply(std::span<const std::uint8_t> reply, const cache::Key& key,
                                             unsigned upstream, Time received,
                                             unsigned max_rrset = limits::rrset_records);

} // namespace millrace::control
