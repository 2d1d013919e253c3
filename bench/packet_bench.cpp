// The hot functions of the packet path, one by one: parse a query, find its answer, write the reply.
#include <fstream>
#include <random>

#include <benchmark/benchmark.h>
#include <unistd.h>

#include "cache/table.hpp"
#include "dataplane/answer.hpp"
#include "tests/support/entries.hpp"
#include "tests/support/messages.hpp"

namespace millrace {
namespace {

using namespace dataplane;
using test::operator+;

test::Bytes edns_query(const std::string& name) {
    return test::header(1, test::rd, 1, 0, 0, 1) + test::question(name) + test::opt();
}

void query_parse(benchmark::State& state) {
    auto message = edns_query("www.example.com");
    Query query;
    for (auto _ : state) {
        Query::parse(message, Transport::udp, 0, query);
        benchmark::DoNotOptimize(query);
    }
}
BENCHMARK(query_parse);

void answer_write(benchmark::State& state) {
    auto message = edns_query("www.example.com");
    Query query;
    Query::parse(message, Transport::udp, 0, query);
    auto entry = test::entry_of({1, 0}, std::vector<std::uint8_t>(std::size_t(state.range(0)), 1), 0s, 300s);
    message.resize(2048);
    std::span<const std::uint8_t> question(message.data() + header_octets, query.head.question_size);
    for (auto _ : state) {
        benchmark::DoNotOptimize(
            answer::write(query.head, question, *entry, 9s, answer::Age::counted, message));
    }
}
BENCHMARK(answer_write)->Arg(1)->Arg(4)->Arg(16);

std::size_t resident_octets() {
    std::size_t pages = 0, resident = 0;
    std::ifstream("/proc/self/statm") >> pages >> resident;
    return resident * std::size_t(sysconf(_SC_PAGESIZE));
}

/// A lookup in the table alone, nothing of it prefetched: hash, index, node, the Slot's word.
void table_find(benchmark::State& state) {
    cache::Grace grace;
    auto names = std::size_t(state.range(0));
    std::vector<cache::Key> keys;
    for (std::size_t i = 0; i < names; ++i) {
        keys.push_back(test::key_of("host-" + std::to_string(i) + ".example"));
    }
    std::size_t before = resident_octets();
    cache::Table table({.entries = names + names / 8, .bytes = std::size_t(4) << 30}, grace);
    for (std::size_t i = 0; i < names; ++i) {
        auto hash = table.hasher()(keys[i]);
        table.start(keys[i], hash, i + 1);
        auto entry = test::entry_of({i + 1, 0}, {1}, 0s, 300s);
        table.publish(keys[i], hash, entry);
    }
    std::size_t grown = resident_octets() - before;
    std::mt19937 random(1);
    std::shuffle(keys.begin(), keys.end(), random);
    std::size_t at = 0;
    for (auto _ : state) {
        const cache::Key& key = keys[at++ % names];
        benchmark::DoNotOptimize(table.find(key, table.hasher()(key)));
    }
    // What the table accounts for, and what the process really took, allocator and buckets included.
    state.counters["accounted_bytes_per_name"] = double(table.bytes()) / double(names);
    state.counters["resident_bytes_per_name"] = double(grown) / double(names);
}
// A fixed count: with several trials the later ones would reuse the memory of the first.
BENCHMARK(table_find)->Arg(10'000)->Arg(1'000'000)->Iterations(2'000'000);

} // namespace
} // namespace millrace

BENCHMARK_MAIN();
