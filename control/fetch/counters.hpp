// What became of the questions that the cache did not answer. Control thread only.
#pragma once

#include <array>
#include <cstdint>

namespace millrace::control {

struct FetchCounters {
    /// Those of the operator (`limits`).
    enum class Limit : std::uint8_t { prefix, client, question, zone };
    using ByLimit = std::array<std::uint64_t, 4>;

    std::uint64_t fetches = 0;           ///< started
    std::uint64_t coalesced = 0;         ///< questions that joined a running Fetch
    std::uint64_t answered_late = 0;     ///< questions whose answer was published on their way here
    std::uint64_t disagreements = 0;     ///< positive against negative
    std::uint64_t failed = 0;            ///< Fetches that ended without an answer
    std::uint64_t bogus = 0;             ///< of these, because a validator said that they are bogus,
    std::uint64_t revoked = 0;           ///< and of these, after another server's answer was published
    std::uint64_t stale = 0;             ///< waiters that got stale data
    std::uint64_t abandoned = 0;         ///< waiters that got nothing
    std::uint64_t limited = 0;           ///< questions over a limit of Fetches,
    ByLimit limited_by{};                ///< by the one, without those over the bound of a key;
    ByLimit dry_run{};                   ///< and those that would be limited
    std::uint64_t below_denied = 0;      ///< questions answered because a name above theirs does not exist
    std::uint64_t rate_table_full = 0;   ///< what counted towards such a limit and was forgotten for another
    std::uint64_t refused = 0;           ///< waiters turned away by a limit (SERVFAIL)
    std::uint64_t displaced = 0;         ///< Fetches ended because whoever held most had to give way
    std::uint64_t loops = 0;             ///< questions of our own that came back (SERVFAIL)
    std::uint64_t refreshes = 0;         ///< Fetches started ahead of an expiry
    std::uint64_t warmed = 0;            ///< Fetches started to keep names fresh that nobody asked for
    std::uint64_t chains_renewed = 0;    ///< stale chains of CNAMEs with something fresh behind them
    std::uint64_t refreshes_dropped = 0; ///< requests that came too late, twice, or under pressure
    std::uint64_t aliased = 0;           ///< questions answered by way of another name's answer
    std::uint64_t chains_blocked = 0;    ///< replies whose CNAME chain led to a blocked name
    std::uint64_t dns64_synthesised = 0; ///< answers made of A records
    std::uint64_t ranked_late = 0;       ///< orders thrown away: what they were computed for is gone
};

} // namespace millrace::control
