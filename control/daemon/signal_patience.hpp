// While it lives, SIGINT and SIGTERM may end a start that does not come back. What DPDK's drivers do while a
// device starts cannot be interrupted, and some of it never ends (a device that does not reply).
//
// One at a time, on the main thread, before threads that could take the signals are there.
#pragma once

#include <csignal>
#include <cstddef>

#include "cache/time.hpp"

namespace millrace::control {

/// Of who has sent a signal while so many ports start, one after the other: for the links of all of them, and
/// as long again as for one.
Time start_patience(std::size_t ports);

class SignalPatience {
  public:
    /// After the first signal the process has `patience` (whole seconds) to get to the destructor, which
    /// hands the signal on to whom it belonged to before. Else, and at a second signal, it ends with 1.
    explicit SignalPatience(Time patience);
    SignalPatience(const SignalPatience&) = delete;
    SignalPatience& operator=(const SignalPatience&) = delete;
    ~SignalPatience();

  private:
    using Action = struct sigaction;
    Action interrupt_{}, terminate_{}, alarm_{}; ///< as they were before
};

} // namespace millrace::control
