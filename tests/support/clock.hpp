// The clocks that tests make up.
#pragma once

#include <cstdlib>

#include "cache/time.hpp"

namespace millrace::support {

/// Where they begin: at boot, so that whoever takes a zero for long ago is seen; or where MILLRACE_CLOCK
/// says, in seconds (see tests/clocks.py).
inline Time clock_start() {
    const char* seconds = std::getenv("MILLRACE_CLOCK");
    return seconds ? Time(std::chrono::seconds(std::atoll(seconds))) : Time{};
}

struct ManualClock {
    Time now = clock_start();
};

} // namespace millrace::support
