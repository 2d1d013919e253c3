// Who may ask, and how often, and who needs answers of DNS64. A part of Rules, which control replaces whole;
// only what counts changes. Read by every worker without a lock.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <vector>

#include "cache/key.hpp"
#include "dataplane/address.hpp"
#include "dataplane/address_set.hpp"
#include "dataplane/dns64.hpp"
#include "dataplane/limits.hpp"
#include "dataplane/rate_table.hpp"

namespace millrace::dataplane {

/// Of the clients of one prefix together, unless it says otherwise, per second, with one second's worth at
/// once; 0: no limit.
struct RateLimits {
    unsigned queries = 0;   ///< beyond: dropped, or truncated by `slip`; over TCP refused
    unsigned errors = 0;    ///< error replies over UDP (not NXDOMAIN); beyond: dropped
    unsigned responses = 0; ///< same answers over UDP; beyond: dropped, or truncated by `slip`
    unsigned fetches = 0;   ///< questions that have to be asked upstream; beyond: stale data or SERVFAIL
    unsigned fetches_per_client = 0;   ///< of these, of the narrower prefix below; both have to have room
    unsigned fetches_per_question = 0; ///< ... of one name and type, whoever asks
    unsigned fetches_per_zone = 0; ///< ... that find nothing in one zone, whoever asks: control counts them
    unsigned slip = 2; ///< every so-manieth reply over a limit is an empty one with TC=1, so that a real
                       ///< client comes back over TCP, where no source is forged; 0: none
    unsigned ipv4_prefix = 24;
    unsigned ipv6_prefix = 56;
    unsigned client_ipv4_prefix = 32, client_ipv6_prefix = 64; ///< of `fetches_per_client`
    bool dry_run = false; ///< nothing is limited; what would be is counted

    bool operator==(const RateLimits&) const = default;
};

struct ClientPolicy {
    std::vector<Prefix> allow = {}; ///< clients outside these are REFUSED
    RateLimits limits = {};
    std::vector<Dns64> dns64 = {}; ///< at most cache::limits::dns64_rules

    bool operator==(const ClientPolicy&) const = default;
};

class Access {
  public:
    using Taken = RateTable::Taken;

    // Any thread; either may take a while, as all memory of the tables is touched.

    /// `packets_per_us` is what all workers together may receive: it and the limits say how large the tables
    /// of rates are.
    explicit Access(const ClientPolicy& policy, unsigned packets_per_us = limits::packets_per_us_of_socket);
    /// In the place of `before`: tables that would be as large as its own are its own, counts and all.
    Access(const ClientPolicy& policy, const Access& before);
    Access(const Access&) = delete;
    Access& operator=(const Access&) = delete;

    // Registered, online readers; control too.

    bool allows(const Address& client) const;
    const RateLimits& limits() const { return limits_; }
    /// The number of the first rule of DNS64 that concerns this client and question, from 1 on; 0: none does.
    unsigned dns64_of(const Address& client, const cache::Key& question) const;
    /// The rule of that number. Null: there is none any more.
    const Dns64* dns64_rule(unsigned number) const;
    /// Names the client's prefix in what follows; a keyed hash.
    std::uint64_t prefix_of(const Address& client) const;
    std::uint64_t narrow_prefix_of(const Address& client) const; ///< the same for `fetches_per_client`

    // Whether one more is within the limits; if it is, it counts.

    // TCP has buckets of its own where a source may be forged over UDP: what a forger uses up is not the
    // victim's way around it.

    Taken takes_query(std::uint64_t prefix, bool tcp, Time now) const;
    Taken takes_error(std::uint64_t prefix, Time now) const;
    /// `answer` is the hash of what makes answers the same.
    Taken takes_response(std::uint64_t prefix, std::uint64_t answer, Time now) const;
    Taken takes_fetch(std::uint64_t prefix, bool tcp, Time now) const;
    Taken takes_fetch_of_client(std::uint64_t narrow_prefix, bool tcp, Time now) const;
    /// limits::starts_per_key, whatever is configured. `key` is its hash.
    Taken takes_fetch_of_key(std::uint64_t prefix, std::uint64_t key, Time now) const;
    Taken takes_fetch_of_question(std::uint64_t question, Time now) const; ///< a hash of name and type

  private:
    /// A table for each limit: what one counts is not in the way of another.
    struct Rates {
        using Places = std::array<std::size_t, 6>;
        explicit Rates(const Places& p)
            : queries(p[0]), errors(p[1]), responses(p[2]), fetches(p[3]), of_clients(p[4]),
              of_questions(p[5]) {}
        Places places() const {
            return {queries.places(), errors.places(),     responses.places(),
                    fetches.places(), of_clients.places(), of_questions.places()};
        }
        RateTable queries, errors, responses, fetches, of_clients, of_questions;
    };
    std::uint64_t masked(const Address& client, unsigned ipv4_prefix, unsigned ipv6_prefix) const;
    static std::uint64_t mixed(std::uint64_t prefix, std::uint64_t with);

    struct Translated {
        Dns64 rule;
        AddressSet clients;
    };
    Access(const ClientPolicy& policy, unsigned packets_per_us, std::shared_ptr<Rates> rates,
           std::shared_ptr<RateTable> starts, std::uint64_t secret);

    AddressSet allowed_;
    std::vector<Translated> dns64_;
    RateLimits limits_;
    unsigned packets_per_us_;
    std::shared_ptr<Rates> rates_; ///< count, whoever reads
    std::shared_ptr<RateTable> starts_;
    std::uint64_t secret_;
};

} // namespace millrace::dataplane
