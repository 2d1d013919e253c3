#include "tests/stress/checks.hpp"

#include <cstdio>

namespace millrace::stress {

namespace {

constexpr std::array<const char*, std::size_t(Rule::count_)> rule_names{
    "whole",        "own_name", "forwards",  "above_floor", "flushed",
    "acknowledged", "judged",   "accounted", "bounded",     "ended"};
constexpr std::array<const char*, std::size_t(Event::count_)> event_names{
    "lookups", "hits",      "misses",   "wakes",        "refreshes",    "publishes",     "superseded",
    "full",    "evictions", "rebuilds", "name flushes", "zone flushes", "whole flushes", "stalls of 2 s"};
constexpr std::uint64_t most_printed = 5; // of one rule

} // namespace

void Checks::violated(Rule rule, const std::string& detail) {
    failed_.store(true, std::memory_order_relaxed);
    std::uint64_t before = violations_[std::size_t(rule)].fetch_add(1, std::memory_order_relaxed);
    if (before >= most_printed) return;
    double seconds = double((boot_time() - started_).count()) / 1e6;
    std::fprintf(stderr, "%.2f s: %s: %s\n", seconds, rule_names[std::size_t(rule)], detail.c_str());
}

int Checks::report() const {
    unsigned passed = 0, failed = 0;
    for (std::size_t i = 0; i < events_.size(); ++i) {
        std::uint64_t count = events_[i].load();
        std::printf("%-14s %llu\n", event_names[i], static_cast<unsigned long long>(count));
        ++(count ? passed : failed);
    }
    std::printf("%-14s %zu octets\n", "most in limbo", max_limbo_);
    ++(max_limbo_ ? passed : failed);
    for (std::size_t i = 0; i < violations_.size(); ++i) {
        std::uint64_t count = violations_[i].load();
        if (count)
            std::printf("%-14s violated %llu times\n", rule_names[i], static_cast<unsigned long long>(count));
        ++(count ? failed : passed);
    }
    std::printf("%u passed, %u failed\n", passed, failed);
    return failed ? 1 : 0;
}

} // namespace millrace::stress
