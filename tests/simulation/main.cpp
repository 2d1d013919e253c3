// simulation: runs seeds, or replays one of them. See README.md beside this file.
#include <fstream>
#include <iostream>

#include <CLI/CLI.hpp>
#include <malloc.h>
#include <spdlog/spdlog.h>

#include "tests/simulation/runner.hpp"
#include "tests/simulation/world.hpp"

namespace millrace::simulation {
namespace {

/// In this process, so that a debugger can look at it.
int replay(const Plan& plan, bool is_traced) {
    Tally tally;
    Trace trace(is_traced ? Trace::Mode::all : Trace::Mode::tail, &std::cout);
    run_plan(plan, tally, trace);
    print(tally, std::cout);
    std::cout << "1 passed, 0 failed\n";
    return 0;
}

int main(int argc, char** argv) {
    CLI::App app(
        "simulation: the resolver's real parts under simulated time, network, workers and operators");
    RunOptions options;
    std::uint64_t seed = 0;
    std::string path;
    bool is_traced = false, is_printed = false;
    app.add_option("--seeds", options.seeds, "run so many seeds (default 2000)");
    app.add_option("--seconds", options.seconds, "... but end after so many seconds (default 60)");
    app.add_option("--start", options.start, "the first seed (default 1)");
    app.add_flag("--until-stopped", options.until_stopped, "run until SIGINT or SIGTERM");
    app.add_flag("--first-failure", options.first_failure, "end at the first failure, without shrinking it");
    auto* replayed = app.add_option("--seed", seed, "replay this seed");
    app.add_option("--plan", path, "replay the plan in this file")->check(CLI::ExistingFile);
    app.add_flag("--trace", is_traced, "with --seed or --plan: print everything that happens");
    app.add_flag("--print", is_printed, "with --seed or --plan: print the plan, and run nothing");
    CLI11_PARSE(app, argc, argv);

    spdlog::set_level(spdlog::level::off);
    mallopt(M_MMAP_THRESHOLD, 1 << 30); // memory that one seed frees is there for the next
    mallopt(M_TRIM_THRESHOLD, -1);
    if (path.empty() && replayed->empty()) return run_seeds(options);
    Plan plan;
    if (path.empty()) {
        plan = Plan::draw(seed);
    } else {
        std::ifstream file(path);
        std::string error;
        auto read = read_plan(file, error);
        if (!read) {
            std::cerr << path << ": " << error << '\n';
            return 2;
        }
        plan = *read;
    }
    if (!is_printed) return replay(plan, is_traced);
    write(plan, std::cout);
    return 0;
}

} // namespace
} // namespace millrace::simulation

int main(int argc, char** argv) {
    return millrace::simulation::main(argc, argv);
}
