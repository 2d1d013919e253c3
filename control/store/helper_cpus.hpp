// Where helper threads run. Threads: pure.
#pragma once

#include <sched.h>

#include "control/config/config.hpp"

namespace millrace::control {

/// The CPUs of this thread, as long as EAL has not bound it to one,
/// without those that lcores poll on; when that leaves none, all of them.
inline cpu_set_t cpus_beside(const Config::Boot& boot) {
    cpu_set_t all, others;
    CPU_ZERO(&all);
    sched_getaffinity(0, sizeof all, &all);
    others = all;
    for (const Config::Port& port : boot.ports) {
        for (unsigned lcore : port.lcores) CPU_CLR(lcore, &others);
    }
    return CPU_COUNT(&others) > 0 ? others : all;
}

} // namespace millrace::control
