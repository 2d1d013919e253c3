// Where the memory of a cached name goes (one A record), and whether the configured bound is kept.
//
// Each row is a process of its own: a table is filled, and what it accounts for is laid beside what the
// process grew by. The last one fills a table with far more names than its bound allows and looks at the
// most that was resident. Ends with 1 when account and growth, or growth and bound, differ by more than 5 %.
//
//   memory_bench [NAMES...]      (1000000 5000000)
#include <charconv>
#include <cstdio>
#include <cstring>
#include <vector>

#include <sys/wait.h>
#include <unistd.h>

#include "bench/names.hpp"

namespace millrace {
namespace {

using bench::NumberedName;

constexpr std::size_t bound = 256 << 20;
constexpr std::uint32_t too_many = 6'000'000;
constexpr double tolerance = 0.05;

double resident() {
    long whole = 0, pages = 0;
    if (std::FILE* file = std::fopen("/proc/self/statm", "r")) {
        if (std::fscanf(file, "%ld %ld", &whole, &pages) != 2) pages = 0;
        std::fclose(file);
    }
    return double(pages) * double(sysconf(_SC_PAGESIZE));
}

bool is_near(double a, double b) {
    return a < b * (1 + tolerance) && b < a * (1 + tolerance);
}

bool measure(std::uint32_t count) {
    double before = resident();
    bench::Names names(count);
    double grown = resident() - before;
    const cache::Table& table = names.table;
    double keys = double(test::key_of(NumberedName::name(0)).bytes().size()) * count; // all are of one size
    double entries = double(NumberedName::entry(0, 1, boot_time(), 24h)->bytes()) * count;
    double fixed = double(table.shard_count()) * double(cache::Table::shard_octets());
    double slots = double(table.bytes()) - keys - entries - fixed;
    std::printf("%9u %8.1f %8.1f %8.1f %8.1f %10.1f %10.1f\n", count, entries / count, slots / count,
                keys / count, fixed / count, double(table.bytes()) / count, grown / count);
    std::fflush(stdout);
    return is_near(double(table.bytes()), grown);
}

bool keep_bound() {
    double before = resident(), most = 0, accounted = 0;
    bench::Names names(0, bound / 64, bound);
    for (std::uint32_t number = 0; number < too_many; ++number) {
        names.put(number); // or not: a table that is full says so
        if (number % 64 != 0) continue;
        names.table.upkeep(boot_time());
        names.grace.reclaim();
        if (number % 4096 != 0) continue;
        most = std::max(most, resident() - before);
        accounted = std::max(accounted, double(names.table.bytes()));
    }
    std::printf(
        "bound %zu MiB: %zu names held of %u, %lu evicted, %lu shards rebuilt; accounted at most %.1f %% of "
        "the bound, resident at most %.1f %%\n",
        bound >> 20, names.table.entries(), too_many, names.table.evicted(), names.table.rebuilt(),
        accounted / bound * 100, most / bound * 100);
    std::fflush(stdout);
    return names.table.evicted() > 0 && most < bound * (1 + tolerance);
}

bool in_a_process(auto function) {
    pid_t child = fork();
    if (child == 0) _exit(function() ? 0 : 1);
    int status = 1;
    waitpid(child, &status, 0);
    return status == 0;
}

} // namespace
} // namespace millrace

int main(int argc, char** argv) {
    std::vector<std::uint32_t> counts;
    for (int i = 1; i < argc; ++i) {
        std::uint32_t count = 0;
        std::from_chars(argv[i], argv[i] + std::strlen(argv[i]), count);
        if (count == 0 || count > 10'000'000) {
            std::fprintf(stderr, "memory_bench: 1 to 10000000 names\n");
            return 2;
        }
        counts.push_back(count);
    }
    if (counts.empty()) counts = {1'000'000, 5'000'000};
    std::printf("octets a name\n%9s %8s %8s %8s %8s %10s %10s\n", "names", "Entry", "slot", "key", "shard",
                "accounted", "resident");
    std::fflush(stdout);
    bool good = true;
    for (std::uint32_t count : counts)
        good &= millrace::in_a_process([&] { return millrace::measure(count); });
    good &= millrace::in_a_process(millrace::keep_bound);
    return good ? 0 : 1;
}
