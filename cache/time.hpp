// Time as every room uses it: microseconds since boot, suspend included (CLOCK_BOOTTIME).
#pragma once

#include <chrono>
#include <ctime>

namespace millrace {

/// A point in time (since boot) or a length of time; which one, the name says.
using Time = std::chrono::microseconds;
using namespace std::chrono_literals;

/// The kernel's clock. A system call without a vDSO; polling lcores use dataplane/clock.hpp instead.
inline Time boot_time() {
    timespec ts{};
    clock_gettime(CLOCK_BOOTTIME, &ts);
    return std::chrono::duration_cast<Time>(std::chrono::seconds(ts.tv_sec) +
                                            std::chrono::nanoseconds(ts.tv_nsec));
}

inline double in_seconds(Time time) {
    return double(time.count()) / 1e6;
}

/// The time of day, since 1970 (CLOCK_REALTIME): for people and files, as it may be set.
inline Time wall_time() {
    return std::chrono::duration_cast<Time>(std::chrono::system_clock::now().time_since_epoch());
}

} // namespace millrace
