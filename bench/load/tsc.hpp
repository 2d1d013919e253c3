// The time stamp counter, and how fast it runs: measured, because a program on kernel sockets has no
// EAL to ask.
#pragma once

#include <chrono>
#include <cstdint>

#include <x86intrin.h>

namespace millrace::bench {

inline std::uint64_t tsc() {
    return __rdtsc();
}

/// Ticks a second, from 20 ms of looking at two clocks.
inline double measure_tsc_hz() {
    using Clock = std::chrono::steady_clock;
    auto begin = Clock::now();
    std::uint64_t first = tsc();
    while (Clock::now() - begin < std::chrono::milliseconds(20)) _mm_pause();
    std::chrono::duration<double> spent = Clock::now() - begin;
    return double(tsc() - first) / spent.count();
}

} // namespace millrace::bench
