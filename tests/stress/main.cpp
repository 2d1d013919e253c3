// stress: one owner and several readers on one cache::Table, for a while. See ../README.md.
//
//     stress [--seconds N] [--seed N] [--perturb]
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include <unistd.h>

#include "tests/stress/owner.hpp"
#include "tests/stress/points.hpp"

namespace millrace::stress {
namespace {

/// The number that follows an option; ends the program when there is none.
std::uint64_t number(const char* text) {
    std::uint64_t value = 0;
    const char* end = text ? text + std::strlen(text) : nullptr;
    if (text && std::from_chars(text, end, value).ptr == end && end != text) return value;
    std::fputs("usage: stress [--seconds N] [--seed N] [--perturb]\n", stderr);
    std::exit(2);
}

Options parse(char** argument) {
    Options options;
    while (*++argument) {
        std::string_view name = *argument;
        if (name == "--perturb")
            options.perturb = true;
        else if (name == "--seconds")
            options.seconds = unsigned(number(*++argument));
        else if (name == "--seed")
            options.seed = number(*++argument);
        else
            number(nullptr);
    }
    return options;
}

/// Has glibc fill what is freed. Its per-thread caches do not, so they have to go; both are
/// decided before main().
void poison_freed_memory(char** arguments) {
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
    if (std::getenv("GLIBC_TUNABLES")) return;
    setenv("GLIBC_TUNABLES", "glibc.malloc.perturb=165:glibc.malloc.tcache_count=0", 1);
    execv("/proc/self/exe", arguments);
#else
    static_cast<void>(arguments);
#endif
}

int run(const Options& options) {
    Checks checks;
    Acknowledged acknowledged;
    cache::Grace grace;
    cache::Table table(table_limits, grace);
    Names names(table.hasher());
    test::RulesInEffect rules(dataplane::ClientPolicy{{*dataplane::parse_prefix("127.0.0.0/8")}});
    World world{table, names, checks, acknowledged, rules.now};
    std::vector<std::unique_ptr<WorkerThread>> crowd;
    std::vector<Victim*> victims;
    set_perturbation(options.perturb, options.seed);
    for (unsigned i = 0; i < readers; ++i) {
        crowd.push_back(std::make_unique<WorkerThread>(world, grace, options.seed + i, i + 1 == readers));
        crowd.back()->start();
        victims.push_back(&crowd.back()->victim());
    }
    Victim self(true);
    victims.push_back(&self);
    Owner owner(options, table, grace, names, checks, acknowledged, rules, crowd);
    {
        Chaos chaos(options, victims, checks);
        for (Time end = boot_time() + std::chrono::seconds(options.seconds);
             boot_time() < end && !checks.failed();)
            owner.tick();
    }
    set_perturbation(false, 0);
    for (auto& reader : crowd) reader->stop_asking();
    owner.drain();
    for (auto& reader : crowd) reader->stop();
    return checks.report();
}

} // namespace
} // namespace millrace::stress

int main(int, char** arguments) {
    millrace::stress::poison_freed_memory(arguments);
    millrace::stress::Options options = millrace::stress::parse(arguments);
    std::printf("seed %llu\n", static_cast<unsigned long long>(options.seed));
    return millrace::stress::run(options);
}
