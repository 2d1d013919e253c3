// What a query meets before the cache: rules by name, access list, rates. One call each; with callgrind's or
// perf's cycles where noise hides a change.
#include <benchmark/benchmark.h>

#include "dataplane/access.hpp"
#include "dataplane/local_names.hpp"
#include "tests/support/entries.hpp"

namespace millrace {
namespace {

using namespace dataplane;

std::unique_ptr<const LocalNames> rules(std::int64_t count) {
    LocalNames::Builder names;
    auto rule = names.deny(0, true, LocalNames::Action::nxdomain, 15, test::bare_entry(3));
    for (std::int64_t i = 0; i < count; ++i) {
        names.add(cache::parse_name("n" + std::to_string(i) + ".blocked.example")->bytes(),
                  LocalNames::Builder::both, rule);
    }
    return names.build();
}

/// 4,096 names of four labels: none, or all, under a rule.
void find(benchmark::State& state, const std::string& zone) {
    auto names = rules(state.range(0));
    std::vector<cache::Name> asked;
    for (unsigned i = 0; i < 4096; ++i) {
        asked.push_back(*cache::parse_name("www.n" + std::to_string(i * 7919 % 1'000'000) + zone));
    }
    std::size_t at = 0, found = 0;
    for (auto _ : state) found += names->find(asked[at++ & 4095].bytes()).has_value();
    state.counters["found"] = double(found) / double(state.iterations());
    state.counters["bytes_per_name"] =
        double(names->bytes()) / double(std::max<std::int64_t>(1, state.range(0)));
}
void find_nothing(benchmark::State& state) {
    find(state, ".good.example");
}
void find_rule(benchmark::State& state) {
    find(state, ".blocked.example");
}
BENCHMARK(find_nothing)->Arg(0)->Arg(150)->Arg(1'000'000)->Arg(5'000'000);
BENCHMARK(find_rule)->Arg(1'000'000)->Arg(5'000'000);

void allows(benchmark::State& state) {
    std::vector<Prefix> allow;
    for (std::int64_t i = 0; i < state.range(0); ++i) {
        allow.push_back(
            *parse_prefix("10." + std::to_string(i / 256) + "." + std::to_string(i % 256) + ".0/24"));
    }
    Access access({allow, {}});
    Address client = *parse_address("10.0.7.9");
    for (auto _ : state) {
        benchmark::DoNotOptimize(client);
        benchmark::DoNotOptimize(access.allows(client));
    }
}
BENCHMARK(allows)->Arg(8)->Arg(1024);

/// `within`: a rate that is never reached, or one that always is.
void takes_query(benchmark::State& state) {
    bool within = state.range(0);
    Access access({{}, {.queries = within ? 1'000'000'000u : 1u}});
    Time now = 5s;
    std::uint64_t client = 0;
    for (auto _ : state) {
        if (within) now += 1us;
        benchmark::DoNotOptimize(access.takes_query(++client * 0x9e3779b97f4a7c15u % 64, false, now));
    }
}
BENCHMARK(takes_query)->ArgName("within")->Arg(1)->Arg(0);

} // namespace
} // namespace millrace

BENCHMARK_MAIN();
