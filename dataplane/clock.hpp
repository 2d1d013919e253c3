// The time on a polling lcore, without a system call: scaled TSC + offset.
//
// The scale is fixed at start; the offset is one word that control refreshes from CLOCK_BOOTTIME, so that a
// suspended machine's sleep counts. Each worker clamps: its now never falls.
#pragma once

#include <atomic>
#include <cstdint>

#include <rte_cycles.h>

#include "cache/time.hpp"

namespace millrace::dataplane {

class TscClock {
  public:
    /// `hz`: TSC ticks per second, rte_get_tsc_hz() once EAL is up.
    explicit TscClock(std::uint64_t hz) : scale_((__uint128_t(1'000'000) << 32) / hz) { refresh(); }

    /// As `hz`: no tick is worth a microsecond, so the clock stands where set() put it. For simulated time.
    static constexpr std::uint64_t standing_still = ~std::uint64_t(0);
    void set(Time now) { offset_.store(now.count(), std::memory_order_relaxed); }

    /// Control, every 10 ms.
    void refresh() { offset_.store((boot_time() - scaled_tsc()).count(), std::memory_order_relaxed); }

    /// Any thread. Not monotonic across refreshes: the caller clamps.
    Time now() const { return scaled_tsc() + Time(offset_.load(std::memory_order_relaxed)); }
    /// So many TSC ticks, in nanoseconds.
    std::uint64_t nanoseconds(std::uint64_t ticks) const {
        return std::uint64_t((__uint128_t(ticks) * scale_ * 1000) >> 32);
    }

  private:
    Time scaled_tsc() const { return Time(std::int64_t((__uint128_t(rte_rdtsc()) * scale_) >> 32)); }

    std::uint64_t scale_; // microseconds per tick, 32 fractional bits
    std::atomic<std::int64_t> offset_{0};
};

} // namespace millrace::dataplane
