#include "tests/simulation/runner.hpp"

#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <iostream>
#include <new>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/simulation/shrink.hpp"
#include "tests/simulation/world.hpp"

namespace millrace::simulation {

namespace {

constexpr unsigned most_failures = 5;       // then the run ends: more of the same tell nothing
constexpr std::uint64_t enough_seeds = 1000; // to ask whether everything happened
constexpr unsigned hang_seconds = 120;      // of one plan, sanitizers included

volatile std::sig_atomic_t stop_asked = 0;

class Stopwatch {
  public:
    double seconds() const {
        return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin_).count();
    }

  private:
    std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now();
};

void set_text(char* out, std::size_t room, const char* text) {
    std::snprintf(out, room, "%s", text);
}

/// A plan in a file of its own, to be run again.
std::string save(const Plan& plan) {
    std::string path = "/tmp/millrace-simulation-" + std::to_string(plan.seed) + ".plan";
    std::ofstream file(path);
    write(plan, file);
    return path;
}

void report_failure(const Failure& failure, const Plan& plan) {
    std::cout << "\nFAILED: seed " << failure.seed << ", step " << failure.step << ": " << failure.invariant
              << ": " << failure.detail << "\nthe last steps:" << std::endl;
    auto again = try_plan(plan, Trace::Mode::tail);
    if (!again || again->step != failure.step)
        std::cout << "not reproduced: a run depends on more than its seed\n";
}

void explain(const Failure& failure) {
    Plan plan = Plan::draw(failure.seed);
    report_failure(failure, plan);
    Plan small = shrink(plan, failure);
    std::cout << "\nthe smallest plan that still fails so:\n";
    write(small, std::cout);
    std::cout << "its last steps:" << std::endl;
    try_plan(small, Trace::Mode::tail);
    std::cout << "replay: simulation --seed " << plan.seed << " --trace, or smaller: simulation --plan "
              << save(small) << " --trace\n\n";
}

} // namespace

Report& make_report() {
    void* memory = mmap(nullptr, sizeof(Report), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) throw std::bad_alloc();
    return *new (memory) Report;
}

std::optional<Failure> run_apart(Report& report, bool quiet, const std::function<void(Report&)>& work) {
    std::cout.flush();
    report.failure = {};
    pid_t child = fork();
    if (child < 0) throw std::bad_alloc();
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL); // nothing runs on without its parent
        failure_report = &report.failure;
        if (quiet) dup2(open("/dev/null", O_WRONLY), STDERR_FILENO); // assertions
        work(report);
        std::cout.flush();
        _exit(0);
    }
    int status = 0;
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
        if (stop_asked) kill(child, SIGTERM); // it ends after the seed in work
    }
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return std::nullopt;
    if (!report.failure.invariant[0]) {
        report.failure.seed = report.seed;
        const char* what =
            WIFSIGNALED(status) ? strsignal(WTERMSIG(status)) : "the process ended with an error";
        set_text(report.failure.invariant, sizeof report.failure.invariant, what);
        set_text(report.failure.detail, sizeof report.failure.detail,
                 "see above for an assertion or a sanitizer's report");
    }
    return report.failure;
}

std::optional<Failure> try_plan(const Plan& plan, Trace::Mode mode) {
    static Report& report = make_report();
    report.seed = plan.seed;
    return run_apart(report, mode == Trace::Mode::off, [&](Report& r) {
        alarm(hang_seconds);
        Trace trace(mode, &std::cout);
        run_plan(plan, r.tally, trace);
    });
}

int run_seeds(const RunOptions& options) {
    Stopwatch watch;
    Report& report = make_report();
    struct sigaction stop {};
    stop.sa_handler = [](int) { stop_asked = 1; }; // no SA_RESTART: it interrupts waiting for the child
    sigaction(SIGINT, &stop, nullptr);
    sigaction(SIGTERM, &stop, nullptr);
    std::uint64_t next = options.start, failed = 0;
    auto goes_on = [&] {
        bool in_bounds = options.until_stopped ||
                         (report.done + failed < options.seeds && watch.seconds() < options.seconds);
        return in_bounds && !stop_asked && failed < (options.first_failure ? 1 : most_failures);
    };
    auto work = [&](Report& r) {
        Trace off;
        for (; goes_on(); ++next, ++r.done) {
            r.seed = next;
            alarm(hang_seconds);
            Tally tally;
            run_plan(Plan::draw(next), tally, off);
            r.tally.add(tally);
            if (options.until_stopped && r.done % 2000 == 1999)
                std::cout << r.done + 1 << " seeds" << std::endl;
        }
    };
    while (goes_on()) {
        auto failure = run_apart(report, false, work);
        if (!failure) break;
        ++failed;
        next = failure->seed + 1;
        if (failed == 1 && !options.first_failure) {
            explain(*failure);
        } else {
            std::cout << "FAILED: seed " << failure->seed << ", step " << failure->step << ": "
                      << failure->invariant << ": " << failure->detail << std::endl;
        }
    }
    bool is_whole =
        options.until_stopped || failed || report.done >= options.seeds || watch.seconds() >= options.seconds;
    if (!is_whole) std::cout << "stopped by a signal before it was over\n";
    print(report.tally, std::cout);
    unsigned unseen = report.done >= enough_seeds ? print_unseen(report.tally, std::cout) : 0;
    std::printf("seeds %llu to %llu in %.1f s\n%llu passed, %llu failed\n",
                static_cast<unsigned long long>(options.start),
                static_cast<unsigned long long>(options.start + report.done + failed - 1), watch.seconds(),
                static_cast<unsigned long long>(report.done),
                static_cast<unsigned long long>(failed + unseen));
    return failed || unseen || !is_whole ? 1 : 0;
}

} // namespace millrace::simulation
