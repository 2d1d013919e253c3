// Where helper threads of control's run: beside the lcores.
#pragma once

#include <pthread.h>
#include <sched.h>

#include "control/config/config.hpp"

namespace millrace::control {

/// The CPUs that the thread which makes it may use, without those that lcores poll on; when that leaves none,
/// all of them. Made before EAL binds that thread to one CPU, which its helpers would inherit.
class HelperCpus {
  public:
    explicit HelperCpus(const Config::Boot& boot) {
        cpu_set_t all;
        CPU_ZERO(&all);
        sched_getaffinity(0, sizeof all, &all);
        set_ = all;
        for (const Config::Port& port : boot.ports) {
            for (unsigned lcore : port.lcores) CPU_CLR(lcore, &set_);
        }
        if (CPU_COUNT(&set_) == 0) set_ = all;
    }

    /// The helper, first of all: goes there, under that name (15 octets at most).
    void enter(const char* name) const {
        pthread_setname_np(pthread_self(), name);
        sched_setaffinity(0, sizeof set_, &set_);
    }

  private:
    cpu_set_t set_;
};

} // namespace millrace::control
