// What happens in one run: the dangers that are switched on, the sizes, and a list of what clients and
// operators do and when. Drawn from a seed, and from there on plain data: it can be printed, read back, and
// made smaller while it still shows a failure (shrink.hpp). What the network does to each datagram is not
// listed; it is drawn while running, from the seed and from what the datagram is (chance.hpp).
//
// Swarm testing (Groce et al., ISSTA 2012): each seed switches a random subset of the dangers on, because
// dangers also keep each other from happening.
#pragma once

#include <array>
#include <bitset>
#include <cstdint>
#include <iosfwd>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cache/time.hpp"

namespace millrace::simulation {

enum class Danger : std::uint8_t {
    loss,              ///< datagrams get lost, both ways
    duplication,       ///< replies come twice
    reordering,        ///< replies overtake each other
    lateness,          ///< some replies take seconds
    forgery,           ///< wrong ID, port, letter case or sender; old replies played back; garbage
    truncation,        ///< TC=1: come again over TCP
    icmp,              ///< an upstream's host says that nobody listens
    failures,          ///< SERVFAIL, REFUSED
    negatives,         ///< NXDOMAIN, NODATA, answers without an SOA, chains that lead nowhere
    chains,            ///< CNAMEs, not the same at every upstream
    signatures,        ///< RRSIG, AD
    scopes,            ///< answers for some client subnets only
    disagreement,      ///< an upstream may see a name in another way than the rest
    private_addresses, ///< among the others
    many_addresses,    ///< more than a merge may have
    zero_ttl,
    few_ports,     ///< ports and IDs come again soon
    socket_errors, ///< no more descriptors, ports in use, no route
    zombies,       ///< results of superseded Fetches are published once more, as if they had not been stopped
    naps,          ///< idle workers sleep, offline for RCU
    ranking,       ///< addresses are ordered, sometimes too late
    port_trouble,  ///< no buffer for a woken waiter, replies that the port does not take
    count_,
};
inline constexpr std::size_t dangers = std::size_t(Danger::count_);
std::string_view to_string(Danger danger);

/// Bits of PlanEvent::aspects.
enum Aspect : unsigned { aaaa = 1, text = 2, edns = 4, dnssec = 8, unchecked = 16, over_tcp = 32 };

/// Where a worker may be when it is stopped.
enum class Point : std::uint8_t {
    between_turns, ///< online, holding nothing
    receiving,     ///< its Wakes are answered, nothing looked up yet
    saving,        ///< in the middle of its lookups
    composing,     ///< in the middle of its Wakes: Entries in its hands
    sending,       ///< replies written and not handed over
    count_,
};
std::string_view to_string(Point point);

struct PlanEvent {
    enum class Action : std::uint8_t {
        query,      ///< `client` asks for `name` through `worker`, with `aspects` and `id`
        crowd,      ///< `count` queries by as many clients within `length`, for `span` names from `name` on
        flush_name, ///< `name`
        flush_zone, ///< zone number `name`; `zones` stands for the zone above all of them
        flush_all,
        reload,        ///< other upstreams (a bit each in `server`), merge policy `span`, quorum `count`;
                       ///< `point` odd: what the other group has cached stays; priorities and weights
                       ///< are drawn anew for `point` / 2
        trace,         ///< of `name`
        stall_worker,  ///< `worker` stands still for `length` at `point`
        stall_control, ///< for `length`
        outage,        ///< upstream `server` is gone for `length`; `point` odd: its host says so by ICMP
        shutdown,
        count_,
    };
    Time at{};
    Action action = Action::query;
    unsigned name = 0, span = 0, client = 0, id = 0, aspects = 0, worker = 0, count = 0, server = 0,
             point = 0;
    Time length{};
};
std::string_view to_string(PlanEvent::Action action);

struct Plan {
    std::uint64_t seed = 0;
    std::bitset<dangers> on;
    unsigned workers = 1;
    unsigned servers = 3;     ///< the first ones of the pool are in use at first
    unsigned intensity = 100; ///< of what the network does, per thousand datagrams
    unsigned entries = 3000;  ///< the table's limits
    unsigned bytes = 1 << 20;
    unsigned exchanges = 512;
    unsigned outstanding = 4096; ///< per upstream
    unsigned active = 2, batch = 2;
    unsigned stale_seconds = 60;
    unsigned min_ttl_seconds = 0;
    unsigned merge = 0; ///< Config::MergePolicy: union, quorum, order, off
    unsigned quorum = 2;
    unsigned rate = 100000;     ///< questions per second to one upstream
    unsigned routed = 0;        ///< so many zones, the first ones, are asked of another group
    unsigned max_addresses = 0; ///< that are left of a ranked answer; 0: all
    unsigned priorities = 1;    ///< of servers: so many different ones,
    unsigned weights = 1;       ///< and so many weights
    unsigned at_once = 0;       ///< 1: stale data is told to whoever asks
    unsigned dns64 = 0;         ///< rules: 0, 1 or 2
    unsigned nat64 = 0;         ///< the prefixes that they begin with
    unsigned dns64_group = 0;   ///< 1: the first rule is for names of the first group alone
    unsigned excluded = 0;      ///< a bit each: private AAAA records by the first rule, others by the second
    std::vector<PlanEvent> events; ///< in the order of time

    static Plan draw(std::uint64_t seed);
    /// Whether nothing in it keeps a client from its answer.
    bool is_calm() const;
    bool has(Danger danger) const { return on[std::size_t(danger)]; }
};

/// Text, one line each: `seed 7`, `danger loss`, `workers 2`, `at 1234 query name=3 client=9`.
void write(const Plan& plan, std::ostream& out);
/// Nothing, with a sentence in `error`, when it is no plan.
std::optional<Plan> read_plan(std::istream& in, std::string& error);

/// The sizes by name, for printing, reading and shrinking.
struct Size {
    std::string_view name;
    unsigned Plan::*member;
    unsigned least = 1;
};
extern const std::array<Size, 23> sizes;

} // namespace millrace::simulation
