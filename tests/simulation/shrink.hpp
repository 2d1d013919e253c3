// Makes a failing plan smaller while it fails for the same reason.
//
// Basic algorithm (delta debugging: Zeller, Hildebrandt 2002): try without half of the events, a quarter, ...
// one; without each danger; with smaller crowds and shorter stalls; with each size at its simplest. Keep what
// still violates the same invariant; begin again until nothing helps or the time is over.
#pragma once

#include "tests/simulation/plan.hpp"
#include "tests/simulation/scene.hpp"

namespace millrace::simulation {

Plan shrink(const Plan& plan, const Failure& failure);

} // namespace millrace::simulation
