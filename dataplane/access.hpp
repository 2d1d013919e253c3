// Who may ask, and how often. Read by every worker without a lock; control replaces the policy whole.
#pragma once

#include <cstdint>
#include <vector>

#include "cache/replaceable.hpp"
#include "dataplane/address.hpp"
#include "dataplane/limits.hpp"
#include "dataplane/rate_table.hpp"

namespace millrace::dataplane {

/// Of the clients of one prefix together, per second, with one second's worth at once; 0: no limit.
struct RateLimits {
    unsigned queries = 0;   ///< beyond: dropped; over TCP refused
    unsigned errors = 0;    ///< error replies over UDP (not NXDOMAIN); beyond: dropped
    unsigned responses = 0; ///< same answers over UDP; beyond: dropped, or truncated by `slip`
    unsigned fetches = 0;   ///< questions that have to be asked upstream; beyond: stale data or SERVFAIL
    unsigned slip = 2;      ///< every so-manieth reply over a limit is an empty one with TC=1, so that a real
                            ///< client comes back over TCP, where no source is forged; 0: none
    unsigned ipv4_prefix = 24;
    unsigned ipv6_prefix = 56;

    bool operator==(const RateLimits&) const = default;
};

struct ClientPolicy {
    std::vector<Prefix> allow = {}; ///< clients outside these are REFUSED
    RateLimits limits = {};

    bool operator==(const ClientPolicy&) const = default;
};

class Access {
  public:
    explicit Access(ClientPolicy policy);

    // Registered, online readers; control too.

    bool allows(const Address& client) const;
    const RateLimits& limits() const { return compiled_.get().limits; }
    /// Names the client's prefix in what follows; a keyed hash.
    std::uint64_t prefix_of(const Address& client) const;

    // Whether one more is within the limits; if it is, it counts.

    // TCP has buckets of its own where a source may be forged over UDP: what a forger uses up is not the
    // victim's way around it.

    bool takes_query(std::uint64_t prefix, bool tcp, Time now) const {
        return rates_.take(mixed(prefix, tcp ? 32 : 64), limits().queries, now);
    }
    bool takes_error(std::uint64_t prefix, Time now) const {
        return rates_.take(mixed(prefix, 1), limits().errors, now);
    }
    /// `answer` is the hash of what makes answers the same.
    bool takes_response(std::uint64_t prefix, std::uint64_t answer, Time now) const {
        return rates_.take(mixed(prefix, answer | 16), limits().responses, now);
    }

    bool takes_fetch(std::uint64_t prefix, bool tcp, Time now) const {
        return rates_.take(mixed(prefix, tcp ? 4 : 128), limits().fetches, now);
    }
    /// Of one key, for the clients of one prefix. `key` is its hash.
    bool takes_start(std::uint64_t key, std::uint64_t prefix, Time now) const {
        return rates_.take(mixed(key, prefix), limits::starts_per_key, now);
    }

    /// Control. Bursts that begin after the next grace period see the new policy.
    void replace(ClientPolicy policy, cache::Grace& grace);

  private:
    /// The prefixes as disjoint ranges in rising order: one binary search. (rte_lpm and rte_fib allocate from
    /// EAL's heap, which a daemon on kernel sockets alone does not have.)
    struct Range {
        Address first, last;
    };
    struct Compiled final : cache::Retired {
        explicit Compiled(ClientPolicy policy);
        std::size_t bytes() const override { return sizeof *this + allowed.capacity() * sizeof(Range); }
        std::vector<Range> allowed;
        RateLimits limits;
    };
    static std::uint64_t mixed(std::uint64_t prefix, std::uint64_t with);

    cache::Replaceable<Compiled> compiled_;
    mutable RateTable rates_; ///< counts, whoever reads
    std::uint64_t secret_;
};

} // namespace millrace::dataplane
