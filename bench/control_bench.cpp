// What control does for an answer, one by one: publish it, merge it with others, hand it over to a worker.
#include <benchmark/benchmark.h>

#include "bench/cycles.hpp"
#include "bench/iterations.hpp"
#include "bench/names.hpp"
#include "control/fetch/merge.hpp"
#include "control/message/query.hpp"
#include "control/message/reply.hpp"
#include "dataplane/handoff.hpp"
#include "tests/support/replies.hpp"

namespace millrace {
namespace {

using bench::Names;
using bench::NumberedName;

constexpr std::uint32_t count = 100'000;

/// Whether what was published last is what a worker finds under this name.
bool holds_newest(const Names& names, std::uint32_t number) {
    auto key = test::key_of(NumberedName::name(number));
    const cache::Entry* entry = names.table.find(key, names.table.hasher()(key));
    return entry && entry->version.generation == names.generation;
}

/// A new version of a name that is there: start, publish, finish, and the old Entry freed after its grace.
void publish_again(benchmark::State& state) {
    Names names(count);
    std::uint32_t number = 0;
    std::uint64_t refused = 0;
    bench::LoopCycles cycles;
    for (auto _ : state) {
        refused += !names.put(number++ % count);
        names.grace.reclaim();
    }
    cycles.report(state);
    refused += !holds_newest(names, (number - 1) % count);
    if (refused) state.SkipWithError("not everything was published");
}
BENCHMARK(publish_again)->Apply(bench::iterations);

/// A new name, where there is room.
void publish_new(benchmark::State& state) {
    Names names(0, 4'000'000);
    std::uint32_t number = 0;
    std::uint64_t refused = 0;
    bench::LoopCycles cycles;
    for (auto _ : state) refused += !names.put(number++);
    cycles.report(state);
    refused += names.table.entries() != number || !holds_newest(names, number - 1);
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
    bench::LoopCycles cycles;
    for (auto _ : state) put();
    cycles.report(state);
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
    bench::LoopCycles cycles;
    for (auto _ : state) {
        auto merged = control::merge(answers, {}, {});
        records = merged.answer ? merged.answer->records.size() : 0;
    }
    cycles.report(state);
    if (records != std::size_t(state.range(0)) + 1) state.SkipWithError("not what a union is");
}
BENCHMARK(merge)->Apply(bench::iterations)->ArgName("replies")->Arg(2)->Arg(3);

/// A question from its worker to control, and its answer back: both rings, by bursts, on one core.
void hand_over(benchmark::State& state) {
    dataplane::Handoff handoff;
    std::array<dataplane::Miss, dataplane::limits::burst> misses;
    std::array<dataplane::Wake, dataplane::limits::burst> wakes;
    dataplane::Miss miss{test::key_of("www.example.com"), 1, {}, 1, 0, 1s, {}};
    std::uint64_t wrong = 0;
    bench::LoopCycles cycles;
    for (auto _ : state) {
        for (std::uint32_t i = 0; i < misses.size(); ++i) {
            miss.waiter = i;
            wrong += !handoff.send(miss);
        }
        unsigned asked = handoff.take(misses);
        for (unsigned i = 0; i < asked; ++i) {
            handoff.send({nullptr, misses[i].waiter, dataplane::Wake::Kind::abandon});
        }
        wrong += handoff.take(wakes) != wakes.size();
        for (std::uint32_t i = 0; i < wakes.size(); ++i) wrong += wakes[i].waiter != i;
    }
    cycles.report(state, std::int64_t(misses.size()));
    wrong += !(misses.back().key == miss.key);
    if (wrong > 0) state.SkipWithError("not every question's Wake came back");
}
BENCHMARK(hand_over)->Apply(bench::iterations);

} // namespace
} // namespace millrace

BENCHMARK_MAIN();
