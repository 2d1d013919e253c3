// Every bound of the control room, and how the bounds relate.
#pragma once

#include <cstddef>
#include <cstdint>

#include "cache/limits.hpp"
#include "cache/time.hpp"
#include "dataplane/limits.hpp"

namespace millrace::control::limits {

inline constexpr std::uint32_t fetches = 16384;      ///< live at once; further misses get stale or SERVFAIL
inline constexpr unsigned waiters_per_fetch = 4096;  ///< clients that wait for one question
inline constexpr unsigned waiters_per_prefix = 1000; ///< questions that the clients of one prefix wait for
inline constexpr unsigned displaced_looks =
    64; ///< Fetches of one holder that are looked at for one that gives way
inline constexpr std::size_t fair_waits = 64; ///< of a prefix, or for one question, when a worker is crowded
inline constexpr std::size_t crowded = dataplane::limits::waiters / 4 * 3; ///< of one worker, then some go
inline constexpr unsigned upstreams = 64;                                  ///< servers of one group
inline constexpr std::size_t routes = 16'384; ///< to groups; what the largest configuration file holds
inline constexpr std::uint16_t upstream_edns_octets = 1232; ///< largest reply asked for over UDP
inline constexpr std::size_t datagrams_per_fetch = 6;       ///< to all upstreams; or, if that is more,
inline constexpr std::size_t resends_per_fetch = 2;         ///< one to each and so many besides
inline constexpr unsigned chain = 11;                       ///< CNAMEs that lead from one name to the next
inline constexpr unsigned rrset_records = 256;       ///< of one RRset, where `cache: max-rrset` has no say
inline constexpr unsigned rrsigs = 8;                ///< signatures kept of one RRset (KeyTrap)
inline constexpr unsigned merged_addresses = 16;     ///< of a merged RRset
inline constexpr unsigned miss_batch = 32;           ///< taken from a ring between two looks at the clock
inline constexpr unsigned exchanges_per_tick = 512;  ///< resends and deadlines; the rest in the next ticks
inline constexpr unsigned probes_per_tick = 16;      ///< of each group; the rest in the next ticks
inline constexpr unsigned closes_per_turn = 128;     ///< sockets of cancelled exchanges: 7 us each at most
inline constexpr unsigned idle_udp_sockets = 1024;   ///< kept for the next questions, of each family
inline constexpr unsigned datagrams_forgotten = 256; ///< that were waiting in a socket which is given back
inline constexpr unsigned timers_per_tick = 1024;    ///< Fetches whose time has come
inline constexpr unsigned replies_per_tick = 256;    ///< of upstreams, taken from each lcore in one tick
inline constexpr unsigned misses_per_tick = 256;     ///< taken from each worker's ring in one tick
inline constexpr unsigned restarts_per_tick = 64;    ///< successors of superseded Fetches
inline constexpr unsigned followers_per_tick = 64;   ///< names that follow one which has ended
inline constexpr unsigned renewals_per_tick = 16;    ///< stale chains of CNAMEs looked behind
inline constexpr unsigned supersedes_per_tick = 512; ///< Fetches that a flush looks at
inline constexpr std::size_t flush_slots_per_tick = 1024; ///< that a flush, or the end of an outage, looks at
inline constexpr std::size_t flushes = 64;                ///< asked for and not yet acknowledged
inline constexpr std::size_t reloads = 16;                ///< who waits for the next reload
inline constexpr std::size_t block_lists = 16;
inline constexpr std::size_t blocked_names = 20'000'000; ///< of one list
inline constexpr std::uint32_t denial_ttl = 60;    ///< of lists: a name taken off one is back within a minute
inline constexpr std::size_t warm_names = 100'000; ///< of the file of `cache: keep-warm`,
inline constexpr std::size_t warm_types = 8;       ///< and of one of its lines
inline constexpr unsigned warm_looks_per_tick = 64; ///< questions of it that are looked up
inline constexpr unsigned keep_warm_rate = 10'000;  ///< of these, asked per second
inline constexpr std::size_t list_line = 10'000;    ///< octets of a line of a list that are looked at
inline constexpr std::size_t named_lines = 10;      ///< skipped lines of a list that the log names
inline constexpr std::size_t cache_block_octets = std::size_t(1)
                                                  << 20; ///< of the file of `cache: file`, at least
inline constexpr std::size_t longest_cache_block = std::size_t(512) << 20; ///< a shard of the largest answers
inline constexpr std::size_t cache_blocks_ahead = 4;                       ///< read, and not yet filled in
inline constexpr std::size_t traces = 4;                                   ///< Fetches traced at once,
inline constexpr std::size_t trace_events = 1000;                          ///< and noted of each
inline constexpr std::size_t inflight = 1000;    ///< states of upstreams that `inflight` lists
inline constexpr std::size_t zone_cuts = 65'536; ///< remembered, of zones that deny names
inline constexpr Time zone_debt =
    10s; ///< longest time that a zone is closed for what came before the first denial
inline constexpr std::size_t denials = 16'384; ///< names remembered that do not exist, nor any below them
inline constexpr std::size_t named_limits =
    10; ///< clients, questions and zones over a limit, in one log interval
inline constexpr std::size_t named_wakes = 20;            ///< waiters that a trace names one by one
inline constexpr std::size_t tcp_queued_octets = 131'072; ///< replies of one connection that it has not read
inline constexpr std::size_t completions = fetches;       ///< names answered from what may yet be revoked
inline constexpr unsigned completions_per_tick = 256;     ///< of those whose Fetch has ended

inline constexpr std::size_t ranking_ports = 4;     ///< that one address is probed on
inline constexpr std::size_t rankings = 1024;       ///< under way at once; further answers stay as they are
inline constexpr std::size_t ranked_addresses = 32; ///< of one answer; what comes after them stays behind
inline constexpr std::size_t measured_addresses = 65'536; ///< remembered; the longest unused are forgotten
inline constexpr unsigned rankings_per_tick = 32;         ///< begun; and orders published
inline constexpr std::size_t probes = 256;        ///< under way at once, if there are enough descriptors
inline constexpr unsigned probes_per_prefix = 16; ///< at once and per second, to one /24 or /48
inline constexpr unsigned echoes_per_wake = 64;   ///< ICMP messages read, then others get their turn
inline constexpr Time probe = 800ms;              ///< in which an address answers, or has failed
inline constexpr Time probe_stagger = 150ms;      ///< then it is tried in the next way, too
inline constexpr Time failure_cost = 1s;          ///< what a failed connection costs a client (RFC 6298 2.1)

inline constexpr unsigned name_addresses = 4; ///< of a server given by name, of each family: its places
inline constexpr unsigned bootstraps = 8;     ///< servers of a group that are asked for them
inline constexpr unsigned groups = 2 * cache::limits::groups; ///< those of bootstrap servers included
inline constexpr unsigned names_per_tick = 16;                ///< asked for; the rest in the next ticks
inline constexpr Time name_question = 2s;                     ///< to one bootstrap server;
inline constexpr Time name_stagger = 300ms; ///< silent for so long, the next is asked beside it
inline constexpr Time name_min = 1s;        ///< back-off of a name whose addresses are not to be had,
inline constexpr Time name_max = 60s;       ///< and its cap
inline constexpr Time name_ttl_min = 30s;   ///< addresses are asked for again after their TTL,
inline constexpr Time name_ttl_max = 1h;    ///< within these bounds
inline constexpr Time first_names = 1s;     ///< that the start waits for them

inline constexpr unsigned http_connections = 64;  ///< for metrics, at once;
inline constexpr unsigned http_crowd = 48;        ///< from so many on the oldest gives way to a new one
inline constexpr std::size_t http_request = 8192; ///< octets that a connection's request and headers may take
inline constexpr Time http_idle = 10s;            ///< a connection on which nothing moves is closed
inline constexpr Time http_wait = 2s;             ///< that control has for the figures; then it is 503
inline constexpr Time http_fresh = 1s;            ///< so long the same figures are good for everybody

inline constexpr Time least_patience = 200ms; ///< of clients over UDP
inline constexpr Time stale_before = 100ms;   ///< so long before its end they get stale data (RFC 8767 5)
inline constexpr Time failure_min = 1s;       ///< first back-off of a failure (RFC 9520 3.2)
inline constexpr Time failure_max = 300s;     ///< and its cap
inline constexpr Time failure_memory =
    60s; ///< after which, and as long as it was held, a failure is forgotten
inline constexpr Time stale_recheck = 30s; ///< how long stale data is served before the next try (RFC 8767 5)
inline constexpr Time kept_again = 1s;     ///< after a flush; several are often asked for in a row
inline constexpr std::size_t store_waits = 64;     ///< who wait for the cache's file to be written, or read
inline constexpr Time filling = 1ms;               ///< of a tick, while the cache is loaded from a file
inline constexpr unsigned dnstap_batch = 64;       ///< frames that are written at a time
inline constexpr Time dnstap_retry = 1s;           ///< between two tries to reach who reads them,
inline constexpr Time dnstap_answer = 5s;          ///< who has to say within this that he does;
inline constexpr Time dnstap_end = 500ms;          ///< at the end he is waited for so long
inline constexpr Time dnstap_nap = 4ms;            ///< when there is nothing to be written
inline constexpr std::size_t top_places = 256;     ///< names, zones and clients that `top` counts, of each
inline constexpr unsigned top_per_tick = 64;       ///< queries that are counted
inline constexpr double top_rate = 2000;           ///< ... and in a second, about
inline constexpr unsigned top_stride = 1 << 20;    ///< one query in so many is looked at, at least
inline constexpr Time top_adapt = 1s;              ///< after which that is looked at,
inline constexpr Time top_window = 60s;            ///< and after which counting begins anew
inline constexpr Time history_step = 5s;           ///< of what the status page shows of the last minutes,
inline constexpr std::size_t history_points = 120; ///< which are ten
inline constexpr std::size_t page_rows = 10;       ///< of names, zones and clients on it
inline constexpr Time stall = 2s;                  ///< a worker that does not turn for so long is named
inline constexpr Time log_interval = 60s; ///< between two log lines that clients or upstreams can bring about
inline constexpr Time eal_log_interval = 10s;          ///< in which DPDK may log so many
inline constexpr unsigned eal_log_lines = 256;         ///< lines
inline constexpr std::size_t unsent_notifications = 8; ///< that the service manager has not taken yet
inline constexpr Time taken_cache = 60s; ///< for loading a predecessor's, before its ports are taken
inline constexpr std::size_t handed_descriptors = 253; ///< to a successor at once (SCM_MAX_FD of the kernel)
inline constexpr Time privileges_patience = 10s; ///< until every thread has given up its privileges, at start
inline constexpr unsigned state_lines = 4; ///< ... about one upstream's breaker; then what it is in the end
inline constexpr Time revoked_ttl = 5s;    ///< shortest life of a validator's SERVFAIL that revokes an answer
inline constexpr Time disagreement_ttl = 30s; ///< longest life of an answer that another upstream denied
inline constexpr Time followed_ttl = 30s;     ///< longest life of what a Fetch still at work has led to
inline constexpr Time tcp_question = 5s;      ///< from a question's first octet over TCP to its last
inline constexpr unsigned exploration = 32;   ///< one Fetch in so many also asks another server
inline constexpr Time ranking = 1s;           ///< longest time that an order of addresses is waited for
inline constexpr Time collect_min = 200ms;    ///< a collecting exchange's shortest time

static_assert(probe < ranking, "an order with a dead address in it is in time");
static_assert(ranking_ports * probe_stagger < probe, "the last way that is tried has some time, too");
static_assert(stale_before < least_patience);
static_assert(http_crowd < http_connections, "there is room for a new connection while an old one goes");
static_assert(2 * name_stagger < first_names, "at the start two bootstrap servers may be silent");
static_assert(std::size_t(waiters_per_fetch) >= dataplane::limits::waiters,
              "one worker's clients may all ask one name");

} // namespace millrace::control::limits
