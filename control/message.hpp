// DNS messages of the control plane: the query sent to an upstream, what is kept of its reply, and the Entry
// made of an Answer. Everything that outlives a call is ldns's or the cache's; nothing here keeps state.
// Control thread only (the functions share nothing, so a helper thread may use them on its own data).
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <tl/expected.hpp>

#include "cache/entry.hpp"
#include "cache/key.hpp"
#include "control/answer.hpp"
#include "control/random.hpp"

namespace millrace::control {

/// Why a reply that passed the accept filter is not an Answer.
enum class ReplyError : std::uint8_t {
    malformed,  ///< not a DNS message: cut short, a pointer that does not go backwards, rdata that is not its
                ///< type's
    not_asked,  ///< the question is not the key's
    chain_loop, ///< a CNAME chain that comes back to itself
    chain_length, ///< more than `chain_limit` CNAMEs
    rrset_size,   ///< more than `rrset_limit` records in one RRset
};
std::string_view to_string(ReplyError error); ///< "malformed", "chain_loop", ...

inline constexpr unsigned chain_limit = 11;
inline constexpr unsigned rrset_limit = 256;
inline constexpr unsigned rrsig_limit = 8; ///< signatures kept of one RRset (KeyTrap)
inline constexpr std::uint16_t upstream_edns_octets = 1232;

/// The query for `key`: RD=1, CD as the flavour says, OPT with DO=1 and 1232 octets, nothing of the client's.
/// `qname_as_sent` is key.name in the letter case to send. Empty when memory is exhausted.
std::vector<std::uint8_t> build_query(const cache::Key& key, std::uint16_t id,
                                      std::span<const std::uint8_t> qname_as_sent);

/// `name` (wire format) with the case of each letter drawn anew (draft-vixie-dnsext-dns0x20).
std::vector<std::uint8_t> randomise_case(std::span<const std::uint8_t> name, Random& random);

/// Keeps of `reply` what wire-rules.md section 2 allows, nothing else:
/// - `chain`: the CNAMEs followed from the question's name, in order, whatever their order in the message.
///   With DO each is preceded by the DNAME it was synthesised from (RFC 6672 5.3.1) and followed by its
///   RRSIGs; without DO the chain is CNAMEs alone.
/// - `records`: the RRset of the asked type at the chain's end (CNAME, ANY and RRSIG questions: at the
///   question's name), with RRSIGs when DO.
/// - `authority`: of a negative answer the SOA that encloses the chain's end. When DO also the NSEC, NSEC3
///   and RRSIG of the proof, which a wildcard's positive answer needs too (RFC 4035 3.1.3).
/// Each RRset has one TTL, the lowest of its members; a TTL above 2^31-1 counts as 86400 (RFC 8767 4). Owner
/// names are folded, duplicates removed. Any rcode other than NOERROR and NXDOMAIN is a Kind::failure without
/// records. The accept filter (accept.hpp) has to be passed before: here the question is compared without
/// regard to case.
tl::expected<Answer, ReplyError> parse_reply(std::span<const std::uint8_t> reply, const cache::Key& key,
                                             unsigned upstream, Time received);

/// How long answers live. Whole seconds matter; parts of a second are cut off.
struct TtlPolicy {
    Time min_ttl{};
    Time max_ttl = 24h;
    Time negative_ttl = 1h; ///< cap of NXDOMAIN and NODATA (RFC 2308 5)
    Time stale = 24h;       ///< life after the expiry, stale only (RFC 8767)
};

/// Life of an NXDOMAIN or NODATA that came without SOA, when the caller uses it for want of a better one.
inline constexpr Time bare_negative_ttl = 5s;

/// The Entry of any Answer but a Kind::failure; Kind::incomplete is stored like a NODATA without SOA. Born
/// when the answer was received; expires with the RRset that lives shortest, clamped to the policy; a
/// negative one after min(SOA TTL, SOA MINIMUM) at most, which is also the TTL its SOA then shows. TTL 0:
/// expiry == born. Lives end at `latest_expiry` whatever the TTLs say (a later revision never lengthens a
/// life). AD is kept when a trusted upstream set it (RFC 6840 5.8). For a
/// flavour without DO no DNSSEC record that was not asked for gets in. Null when memory is exhausted or the
/// message would pass 64 KiB.
cache::EntryPtr build_entry(const cache::Key& key, const Answer& answer, cache::Version version,
                            const TtlPolicy& policy, std::optional<Time> latest_expiry = std::nullopt);

/// A cached SERVFAIL (RFC 9520) without records, never stale. `info` is the extended error code (RFC 8914).
cache::EntryPtr build_failure(cache::Version version, Time now, Time expiry, std::uint16_t info);

/// A copy of `record` with another TTL (seconds). Null when memory is exhausted.
Record with_ttl(const Record& record, std::uint32_t ttl);

/// The A and AAAA addresses in the answer section, in order, as text.
std::vector<std::string> addresses(const cache::Key& key, const cache::Entry& entry);

/// The records in presentation format (RFC 1035 5.1), answer section first, with the TTL left at `now`.
std::vector<std::string> record_lines(const cache::Key& key, const cache::Entry& entry, Time now);

} // namespace millrace::control
