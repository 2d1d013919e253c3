// Points at which a thread may be held up: the beginning and the end of every function of code that is
// compiled with -finstrument-functions, inlined ones included, and so both sides of every operation on an
// atomic. No place between two such operations is too narrow for another thread to come between.
#pragma once

#include <cstdint>

namespace millrace::stress {

/// Before the threads start; off again before they end.
void set_perturbation(bool on, std::uint64_t seed);

/// Threads that have not called this are left alone.
void perturb_this_thread();

/// For any purpose, signal handlers too; goes on after interruptions.
void stand_still(std::int64_t microseconds);

} // namespace millrace::stress
