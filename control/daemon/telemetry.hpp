// The workers' counters in DPDK's telemetry, where dpdk-telemetry.py looks for them, beside DPDK's own of
// ports and pools: /millrace/lcores; /millrace/stats of all workers together; /millrace/stats,LCORE of one.
//
// DPDK asks on threads of its own. They read what any thread may read, the counters; nothing of control's.
#pragma once

#include "control/daemon/workers.hpp"

namespace millrace::control {

/// As long as it lives there are counters to be had. One at a time; once EAL has started and all workers are
/// added. Control thread.
class Telemetry {
  public:
    explicit Telemetry(const Workers& workers);
    Telemetry(const Telemetry&) = delete;
    Telemetry& operator=(const Telemetry&) = delete;
    ~Telemetry(); ///< waits for who is reading
};

} // namespace millrace::control
