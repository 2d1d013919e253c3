// What control does for an answer, one by one: publish it, merge it with others, hand it over to a worker.
#include <benchmark/benchmark.h>

#include "bench/iterations.hpp"
#include "bench/names.hpp"
#include "control/merge.hpp"
#include "dataplane/handoff.hpp"
#include "tests/support/replies.hpp"

namespace millrace {
namespace {

using bench::Names;
using bench::NumberedName;

constexpr std::uint32_t count = 100'000;

/// A new version of a name that is there: start, publish, finish, and the old Entry freed after its grace.
void publish_again(benchmark::State& state) {
    Names names(count);
    std::uint32_t number = 0;
    std::uint64_t refused = 0;
    for (auto _ : state) {
        refused += !names.put(number++ % count);
        names.grace.reclaim();
    }
    state.SetItemsProcessed(state.iterations());
    if (refused) state.SkipWithError("not everything was published");
}
BENCHMARK(publish_again)->Apply(bench::iterations);

/// A new name, where there is room.
void publish_new(benchmark::State& state) {
    Names names(0, 4'000'000);
    std::uint32_t number = 0;
    std::uint64_t refused = 0;
    for (auto _ : state) refused += !names.put(number++);
    state.SetItemsProcessed(state.iterations());
    if (refused) state.SkipWithError("not everything was published");
}
BENCHMARK(publish_new)->Iterations(1'000'000);

/// A new name into a table that is full: upkeep evicts others and rebuilds their shards.
void publish_and_evict(benchmark::State& state) {
    Names names(0, count);
    std::uint32_t number = 0;
    std::uint64_t refused = 0;
    auto put = [&] {
        refused += !names.put(number++);
        if (number % 64 != 0) return;
        names.table.upkeep(boot_time());
        names.grace.reclaim();
    };
    while (names.table.evicted() == 0) put();
    refused = 0;
    for (auto _ : state) put();
    state.SetItemsProcessed(state.iterations());
    state.counters["refused"] = double(refused) / double(state.iterations());
    state.counters["evicted"] = double(names.table.evicted()) / double(state.iterations());
    if (names.table.evicted() < std::uint64_t(state.iterations()) / 2)
        state.SkipWithError("hardly anything was evicted");
}
BENCHMARK(publish_and_evict)->Iterations(1'000'000);

/// Parsed replies of several upstreams, two addresses each, one of which all have.
void merge(benchmark::State& state) {
    auto key = support::make_key("www.example.com", LDNS_RR_TYPE_A);
    auto query = control::build_query(key, 7, key.name.bytes());
    std::vector<control::Answer> answers;
    for (std::int64_t i = 0; i < state.range(0); ++i) {
        auto reply = support::make_reply(
            query, {.answer = {"www.example.com. 60 IN A 192.0.2.1",
                               "www.example.com. 60 IN A 192.0.2." + std::to_string(i + 2)}});
        answers.push_back(*control::parse_reply(reply, key, unsigned(i), 1s));
    }
    std::size_t records = 0;
    for (auto _ : state) {
        auto merged = control::merge(answers, {}, {});
        records = merged.answer ? merged.answer->records.size() : 0;
    }
    if (records != std::size_t(state.range(0)) + 1) state.SkipWithError("not what a union is");
}
BENCHMARK(merge)->Apply(bench::iterations)->ArgName("replies")->Arg(2)->Arg(3);

/// A question from its worker to control, and its answer back: both rings, by bursts, on one core.
void hand_over(benchmark::State& state) {
    dataplane::Handoff handoff;
    std::array<dataplane::Miss, dataplane::limits::burst> misses;
    std::array<dataplane::Wake, dataplane::limits::burst> wakes;
    dataplane::Miss miss{test::key_of("www.example.com"), 1, {}, 1, 0, 1s, {}};
    std::int64_t back = 0;
    for (auto _ : state) {
        for (std::size_t i = 0; i < misses.size(); ++i) handoff.ask(miss);
        unsigned asked = handoff.take(misses);
        for (unsigned i = 0; i < asked; ++i) {
            handoff.wake({nullptr, misses[i].waiter, dataplane::Wake::Kind::abandon});
        }
        back += handoff.take(wakes);
    }
    state.SetItemsProcessed(back);
    if (back != state.iterations() * std::int64_t(misses.size())) state.SkipWithError("some were lost");
}
BENCHMARK(hand_over)->Apply(bench::iterations);

} // namespace
} // namespace millrace

BENCHMARK_MAIN();
