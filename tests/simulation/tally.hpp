// What happened in all runs together, so that a simulation in which nothing happens shows itself: every line
// that is required must have been seen once in a long enough run of seeds.
#pragma once

#include <array>
#include <cstdint>
#include <iosfwd>
#include <string_view>

namespace millrace::simulation {

enum class Seen : std::uint8_t {
    steps,
    calm_runs,
    queries,
    tcp_queries,
    replies,
    hits,
    stale_hits,
    answered_by_wake,
    abandoned_by_wake,
    stale_by_wake,
    servfail_without_credit,
    fetches,
    refreshes,
    refreshes_dropped,
    coalesced,
    answered_late,
    publications,
    merges,
    quorum_merges,
    rankings,
    rankings_late,
    ranked_alive,
    ranked_dead,
    ranked_cut,
    signed_entries,
    authentic_entries,
    chained_entries,
    negative_entries,
    failure_entries,
    private_entries,
    synthesised,
    synthesised_chained,
    ruled_native,
    ruled_denials,
    superseded,
    zombies_refused,
    failed_fetches,
    disagreements,
    revocations,
    waiters_refused,
    retransmissions_replaced,
    upstream_queries,
    upstream_resends,
    upstream_tcp,
    upstream_accepted,
    upstream_late,
    upstream_mismatched,
    upstream_malformed,
    upstream_timeouts,
    upstream_unreachable,
    upstream_cancelled,
    exchanges_refused,
    collections_displaced,
    worse_priority_asked,
    breakers_opened,
    probes,
    datagrams_lost,
    datagrams_twice,
    datagrams_for_nobody,
    forged_sent,
    outages,
    sockets_refused,
    flushes_of_names,
    flushes_of_zones,
    flushes_of_everything,
    reloads,
    traces,
    flushed_entries,
    evictions,
    rebuilds,
    worker_stalls,
    worker_stalls_in_a_turn,
    control_stalls,
    naps,
    no_buffer,
    sends_refused,
    entries_freed,
    shutdowns,
    shutdowns_with_waiters,
    shutdowns_with_fetches,
    count_,
};
inline constexpr std::size_t seen_count = std::size_t(Seen::count_);
std::string_view to_string(Seen what);

/// Trivially copyable: it lies in memory that several processes share.
struct Tally {
    std::array<std::uint64_t, seen_count> counts{};

    void add(Seen what, std::uint64_t n = 1) { counts[std::size_t(what)] += n; }
    std::uint64_t get(Seen what) const { return counts[std::size_t(what)]; }
    void add(const Tally& other) {
        for (std::size_t i = 0; i < seen_count; ++i) counts[i] += other.counts[i];
    }
};

void print(const Tally& tally, std::ostream& out);
/// Names what never happened; returns how many such things there are.
unsigned print_unseen(const Tally& tally, std::ostream& out);

} // namespace millrace::simulation
