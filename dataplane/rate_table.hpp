// How often something happened of late, for any number of things, in fixed memory.
//
// Basic algorithm: the generic cell rate algorithm (ITU-T I.371 annex A), a token bucket that is one number:
// the time at which the bucket would be full again. A thing has two places, found by its hash. The lower of
// the two numbers is nearer to the truth, as others may have raised either; the thing is charged on it, and
// both places are raised to the result where they are below it (conservative update, Estan and Varghese
// 2002). A place that is left alone needs no clearing: its time is past. Two lcores at the same moment may
// count as one.
//
// Threads: any number. Once a thing is over its rate it is only looked up, never charged: a flood makes no
// line of memory go from lcore to lcore more often than the rate that it is allowed.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <memory>

#include "cache/time.hpp"

namespace millrace::dataplane {

class RateTable {
  public:
    RateTable() : places_(new std::atomic<std::int64_t>[places]()) {}

    /// Charges one event of `what` (a hash; all bits count), unless that passes `rate` per second, of which
    /// one second's worth may come at once. A rate of 0 is no limit.
    bool take(std::uint64_t what, unsigned rate, Time now) {
        if (rate == 0) return true;
        std::int64_t at = now.count() * 1000, cost = 1'000'000'000 / rate, room = 1'000'000'000 - cost;
        auto &first = places_[what & (places - 1)], &second = places_[(what >> 32) & (places - 1)];
        std::int64_t full =
            std::min(first.load(std::memory_order_relaxed), second.load(std::memory_order_relaxed));
        if (full - at > room) return false;
        std::int64_t next = std::max(full, at) + cost;
        raise(first, next);
        raise(second, next);
        return true;
    }

    static constexpr std::size_t places = std::size_t(1) << 17; ///< a MiB

  private:
    // Relaxed: the numbers stand for themselves, nothing else is read by them.
    static void raise(std::atomic<std::int64_t>& place, std::int64_t to) {
        std::int64_t full = place.load(std::memory_order_relaxed);
        while (full < to && !place.compare_exchange_weak(full, to, std::memory_order_relaxed)) {
        }
    }

    std::unique_ptr<std::atomic<std::int64_t>[]> places_;
};

} // namespace millrace::dataplane
