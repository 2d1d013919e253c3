// How often something happened of late, for any number of things, in fixed memory.
//
// Basic algorithm: the generic cell rate algorithm (ITU-T I.371 annex A), a token bucket that is one number:
// the time at which the bucket would be full again. A thing has a place of its own among the eight of its
// set, one line of memory: some bits of its hash name the set, 16 others the thing. A place whose time is
// past needs no clearing, it is free. When none is, a new thing takes the place whose time is nearest. So a
// table that is too small forgets those who come seldom and keeps those who come often, and what one does is
// not held against another, but for one in 8,192 who shares a full set and 16 bits with somebody.
//
// Threads: any number. Two lcores at the same moment may count as one. Once a thing is over its rate it is
// only looked up, never charged: a flood makes no line of memory go from lcore to lcore more often than the
// rate that it is allowed.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cstdint>
#include <memory>

#include "cache/time.hpp"
#include "dataplane/limits.hpp"

namespace millrace::dataplane {

class RateTable {
  public:
    /// As many places as places_for() says. All memory is touched here.
    explicit RateTable(std::size_t places) : sets_(places / ways), places_(new Set[sets_]()) {}

    /// How many let all find one when `events` a second are of as many things: each holds a place for 1/rate
    /// of a second. Twice as many, so that few sets are full; limits::most_places at most.
    static constexpr std::size_t places_for(std::uint64_t events, unsigned rate) {
        std::uint64_t places = rate == 0 ? 0 : 2 * events / rate;
        return std::bit_ceil(std::clamp<std::uint64_t>(places, ways, limits::most_places));
    }

    enum class Taken : std::uint8_t { // in this order
        no,                           ///< over the rate
        yes,                          ///< charged
        displacing, ///< charged, in the place of another thing that counted still: the table is too small
    };

    /// Charges one event of `what` (a hash; all bits count), unless that passes `rate` per second, of which
    /// one second's worth may come at once. A rate of 0 is no limit.
    Taken take(std::uint64_t what, unsigned rate, Time now) {
        if (rate == 0) return Taken::yes;
        auto at = std::uint64_t(now.count()) * 1000;
        std::uint64_t cost = second / rate, tag = what >> time_bits;
        Place* place = nullptr;
        std::uint64_t word = 0, ahead = ~std::uint64_t(0);
        bool is_own = false;
        for (Place& one : places_[what & (sets_ - 1)].places) {
            std::uint64_t seen = one.load(std::memory_order_relaxed), to_go = until_full(seen, at);
            is_own = seen >> time_bits == tag;
            if (!is_own && to_go >= ahead) continue;
            place = &one, word = seen, ahead = to_go;
            if (is_own) break;
        }
        std::uint64_t owed = is_own ? ahead : 0;
        if (owed + cost > second) return Taken::no;
        // Relaxed: the numbers stand for themselves, nothing else is read by them. Who comes second at the
        // same moment is not counted.
        place->compare_exchange_strong(word, tag << time_bits | ((at + owed + cost) & time_mask),
                                       std::memory_order_relaxed);
        return is_own || ahead == 0 ? Taken::yes : Taken::displacing;
    }

    std::size_t places() const { return sets_ * ways; }

  private:
    /// 16 bits of the hash, then the time in nanoseconds, which comes round after 78 hours.
    using Place = std::atomic<std::uint64_t>;
    static constexpr std::size_t ways = 8;
    struct alignas(64) Set {
        std::array<Place, ways> places;
    };
    static constexpr unsigned time_bits = 48;
    static constexpr std::uint64_t time_mask = (std::uint64_t(1) << time_bits) - 1;
    static constexpr std::uint64_t second = 1'000'000'000;

    /// 0: free, as is what seems to lie further ahead than any clock of ours goes before another.
    static std::uint64_t until_full(std::uint64_t word, std::uint64_t at) {
        std::uint64_t ahead = (word - at) & time_mask;
        return word == 0 || ahead > 4 * second ? 0 : ahead; // 0: never used
    }

    std::size_t sets_;
    std::unique_ptr<Set[]> places_;
};

} // namespace millrace::dataplane
