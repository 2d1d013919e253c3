// From an Answer to the Entry that workers send. Threads: pure.
#pragma once

#include <cstdint>
#include <optional>

#include "cache/entry.hpp"
#include "cache/key.hpp"
#include "control/message/answer.hpp"

namespace millrace::control {

/// How long answers live, and how they are shown. Whole seconds matter; parts of a second are cut off.
struct TtlPolicy {
    Time min_ttl{};
    Time max_ttl = 24h;
    Time negative_ttl = 1h;     ///< cap of NXDOMAIN and NODATA (RFC 2308 5)
    Time stale = 24h;           ///< life after the expiry, stale only (RFC 8767)
    bool stale_at_once = false; ///< workers answer with it at once; control, where it is a chain of CNAMEs
    unsigned prefetch = 1; ///< the so-manieth hit of a life, or a later one, in its last tenth asks for a
                           ///< refresh; 255 at most; 0: none does
    bool rotate = false;   ///< addresses change places from reply to reply (RFC 1794)
};

/// Life of an NXDOMAIN or NODATA that came without SOA, when the caller uses it for want of a better one.
inline constexpr Time bare_negative_ttl = 5s;

/// The Entry of any Answer but a Kind::failure; Kind::incomplete is stored like a NODATA without SOA. Born
/// when the answer was received; expires with the RRset that lives shortest, clamped to the policy; a
/// negative one after min(SOA TTL, SOA MINIMUM) at most, which is also the TTL its SOA then shows. TTL 0:
/// expiry == born (RFC 2181 8), unless `min_ttl` raises it, as in Unbound. Lives end at `latest_expiry`
/// whatever the TTLs say (a later revision never lengthens a life), and stale ones at `Answer::stale_until`.
/// AD is kept when a trusted upstream set it (RFC 6840 5.8). The key's flavour says whether signatures and
/// proofs get in. Null when memory is exhausted or the message would pass 64 KiB.
cache::EntryPtr build_entry(const cache::Key& key, const Answer& answer, cache::Version version,
                            const TtlPolicy& policy, std::optional<Time> latest_expiry = std::nullopt);

/// A cached SERVFAIL (RFC 9520) without records, never stale. `is_crossed`: another group's servers failed.
cache::EntryPtr build_failure(cache::Version version, Time now, Time expiry, const ExtendedError& info,
                              bool is_crossed = false);

/// When, with its life as it is, hits first ask for a refresh, and that it is answered stale at once.
void plan_refresh(cache::EntryDraft& draft, const TtlPolicy& policy);

/// A copy of `record` with another TTL (seconds). Null when memory is exhausted.
Record with_ttl(const Record& record, std::uint32_t ttl);

} // namespace millrace::control
