// Runs plans in child processes, so that a failed assertion or a crash of the product is a failing seed like
// any other, and so that shrinking can try what crashes.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>

#include "tests/simulation/plan.hpp"
#include "tests/simulation/scene.hpp"

namespace millrace::simulation {

/// What a child tells its parent while it runs, in memory that both see.
struct Report {
    Tally tally;
    std::uint64_t seed = 0; ///< in work
    std::uint64_t done = 0; ///< seeds that passed
    Failure failure;
};

/// Calls `work` in a child process with the report that both share. The child ends when it returns; what it
/// prints to stderr is thrown away when `quiet`. Returns how the child failed, or nothing.
std::optional<Failure> run_apart(Report& report, bool quiet, const std::function<void(Report&)>& work);
Report& make_report(); ///< shared with children that are made later; never freed

/// Runs one plan apart. `trace`: its last lines go to stderr when it fails.
std::optional<Failure> try_plan(const Plan& plan, Trace::Mode mode = Trace::Mode::off);

struct RunOptions {
    std::uint64_t start = 1;
    std::uint64_t seeds = 2000;
    double seconds = 60;
    bool until_stopped = false;
    bool first_failure = false; ///< ends the run, and is not shrunk
};
/// The whole run; its last line is "N passed, N failed". Returns the exit code.
int run_seeds(const RunOptions& options);

} // namespace millrace::simulation
