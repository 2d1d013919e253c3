#include "tests/simulation/tally.hpp"

#include <iomanip>
#include <ostream>

namespace millrace::simulation {

namespace {

constexpr std::array<std::string_view, seen_count> names{
    "steps",
    "calm runs",
    "queries",
    "queries over TCP",
    "replies",
    "hits",
    "stale hits",
    "answered by wake",
    "abandoned by wake",
    "stale by wake",
    "SERVFAIL without credit",
    "fetches",
    "refreshes",
    "refreshes dropped",
    "coalesced",
    "answered late",
    "publications",
    "merges",
    "merges of a quorum",
    "rankings",
    "rankings too late",
    "addresses ranked alive",
    "rankings with a dead one",
    "rankings cut",
    "signed entries",
    "authentic entries",
    "chained entries",
    "negative entries",
    "failure entries",
    "private entries",
    "synthesised entries",
    "... behind a chain",
    "native under a rule",
    "denials under a rule",
    "superseded",
    "zombies refused",
    "failed fetches",
    "disagreements",
    "revocations",
    "waiters refused",
    "retransmissions replaced",
    "upstream queries",
    "upstream resends",
    "upstream TCP",
    "upstream replies accepted",
    "upstream replies late",
    "upstream replies mismatched",
    "upstream replies malformed",
    "upstream timeouts",
    "upstream unreachable",
    "upstream cancelled",
    "exchanges refused",
    "collections displaced",
    "worse priorities asked",
    "breakers opened",
    "probes",
    "datagrams lost",
    "datagrams twice",
    "datagrams for nobody",
    "forged datagrams",
    "upstream outages",
    "sockets refused",
    "flushes of names",
    "flushes of zones",
    "flushes of everything",
    "reloads",
    "traces",
    "flushed entries",
    "evictions",
    "rebuilds",
    "worker stalls",
    "worker stalls in a turn",
    "control stalls",
    "naps",
    "no buffer",
    "sends refused",
    "entries freed",
    "shutdowns",
    "shutdowns with waiters",
    "shutdowns with fetches",
};
static_assert(!names.back().empty());

} // namespace

std::string_view to_string(Seen what) {
    return names[std::size_t(what)];
}

void print(const Tally& tally, std::ostream& out) {
    constexpr std::size_t columns = 2, rows = (seen_count + columns - 1) / columns;
    for (std::size_t row = 0; row < rows; ++row) {
        for (std::size_t i = row; i < seen_count; i += rows) {
            out << std::left << std::setw(28) << names[i] << std::right << std::setw(12) << tally.counts[i]
                << "    ";
        }
        out << '\n';
    }
}

unsigned print_unseen(const Tally& tally, std::ostream& out) {
    unsigned unseen = 0;
    for (std::size_t i = 0; i < seen_count; ++i) {
        if (tally.counts[i]) continue;
        out << "never happened: " << names[i] << '\n';
        ++unseen;
    }
    return unseen;
}

} // namespace millrace::simulation
