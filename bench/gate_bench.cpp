// What a query meets before the cache: rules by name, access list, rates. One call each, what
// it says checked.
#include <benchmark/benchmark.h>

#include "bench/cycles.hpp"
#include "bench/iterations.hpp"
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

/// 4,096 names of four labels: none, or all, under a rule, one label above them.
void find(benchmark::State& state, const std::string& zone, bool is_ruled) {
    auto names = rules(state.range(0));
    std::vector<cache::Name> asked;
    for (unsigned i = 0; i < 4096; ++i) {
        asked.push_back(*cache::parse_name("www.n" + std::to_string(i * 7919 % 1'000'000) + zone));
    }
    std::size_t at = 0;
    benchmark::IterationCount right = 0;
    bench::LoopCycles cycles;
    for (auto _ : state) {
        auto match = names->find(asked[at++ & 4095].bytes());
        right += is_ruled ? match && match->above == 4 : !match;
    }
    cycles.report(state);
    state.counters["bytes_per_name"] =
        double(names->bytes()) / double(std::max<std::int64_t>(1, state.range(0)));
    if (right != state.iterations()) state.SkipWithError("a name's rule was missed, or made up");
}
void find_nothing(benchmark::State& state) {
    find(state, ".good.example", false);
}
void find_rule(benchmark::State& state) {
    find(state, ".blocked.example", true);
}
BENCHMARK(find_nothing)->Apply(bench::iterations)->Arg(0)->Arg(150)->Arg(1'000'000)->Arg(5'000'000);
BENCHMARK(find_rule)->Apply(bench::iterations)->Arg(1'000'000)->Arg(5'000'000);

/// 1,024 clients in turn, in prefixes of the list or in the gaps between them.
void allows(benchmark::State& state) {
    auto prefixes = unsigned(state.range(0));
    bool is_allowed = state.range(1) == 1;
    auto network = [](unsigned i) {
        return "10." + std::to_string(i / 128) + "." + std::to_string(i % 128 * 2);
    };
    std::vector<Prefix> allow;
    for (unsigned i = 0; i < prefixes; ++i) allow.push_back(*parse_prefix(network(i) + ".0/24"));
    Access access({allow, {}});
    std::vector<Address> clients;
    for (unsigned i = 0; i < 1024; ++i) {
        Address client = *parse_address(network(i * 7 % prefixes) + ".9");
        if (!is_allowed) ++client.octets[14];
        clients.push_back(client);
    }
    std::size_t at = 0;
    benchmark::IterationCount right = 0;
    bench::LoopCycles cycles;
    for (auto _ : state) right += access.allows(clients[at++ & 1023]) == is_allowed;
    cycles.report(state);
    if (right != state.iterations()) state.SkipWithError("a client was taken for another");
}
BENCHMARK(allows)
    ->Apply(bench::iterations)
    ->ArgNames({"prefixes", "allowed"})
    ->Args({8, 1})
    ->Args({1024, 1})
    ->Args({1024, 0});

/// Clients of 64 prefixes. `within`: at a rate that is never reached, or at one that always is.
void takes_query(benchmark::State& state) {
    bool within = state.range(0) == 1;
    Access access({{}, {.queries = within ? 1'000'000'000u : 1u}});
    Time now = 5s;
    std::uint64_t client = 0;
    benchmark::IterationCount taken = 0;
    bench::LoopCycles cycles;
    for (auto _ : state) {
        if (within) now += 1us;
        auto one = access.takes_query(++client * 0x9e3779b97f4a7c15u % 64, false, now);
        taken += one != Access::Taken::no;
    }
    cycles.report(state);
    bool is_right = within ? taken == state.iterations() : taken <= 64;
    if (!is_right) state.SkipWithError("not the rate that was set");
}
BENCHMARK(takes_query)->Apply(bench::iterations)->ArgName("within")->Arg(1)->Arg(0);

} // namespace
} // namespace millrace

BENCHMARK_MAIN();
