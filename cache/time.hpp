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

} // namespace millrace
