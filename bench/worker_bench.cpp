// A whole turn of the worker on an ethdev port, beside its ceiling: a bare echo on the same kind of port in
// the same run. The difference of the two is what an answered hit costs.
//
// Generator and worker share one core and a net_ring port, so what is measured is the application's own cost
// and rte_ring's, nobody's kernel. TSC cycles of receiving, answering and sending a burst of 32, divided by
// 32: the median over all turns, which an interrupted turn does not move, and the mean. The generator's own
// work and its checking of every answer lie outside.
#include <algorithm>

#include <benchmark/benchmark.h>
#include <rte_cycles.h>
#include <rte_ethdev.h>

#include "bench/names.hpp"
#include "bench/quantile.hpp"
#include "control/local/special_names.hpp"
#include "dataplane/ethdev_port.hpp"
#include "dataplane/logged_port.hpp"
#include "dataplane/worker.hpp"
#include "tests/support/entries.hpp"

namespace millrace {
namespace {

using namespace dataplane;
using bench::NumberedName;
using bench::Order;
using bench::RingWire;

/// The table, kept for the next benchmark with the same number of names.
struct Kept : bench::Names {
    using Names::Names;
    static Kept& of(std::uint32_t count) {
        static std::unique_ptr<Kept> kept;
        static std::uint32_t kept_count = 0;
        if (kept_count != count) kept.reset(), kept = std::make_unique<Kept>(count), kept_count = count;
        return *kept;
    }
    cache::Grace::Reader& reader = *grace.add_reader();
};

/// Times turns and reports them.
class Turns {
  public:
    void begin() { begun_ = rte_rdtsc(); }
    void end() { cycles_.push_back(std::uint32_t(rte_rdtsc() - begun_)); }
    double median() { return bench::quantile(cycles_, 0.5) / double(RingWire::burst); }
    void report(benchmark::State& state, std::uint64_t answers) {
        state.SetItemsProcessed(std::int64_t(answers));
        double sum = 0;
        for (std::uint32_t c : cycles_) sum += c;
        state.counters["cycles_per_packet"] = median();
        state.counters["decile"] = bench::quantile(cycles_, 0.1) / double(RingWire::burst);
        state.counters["mean"] = sum / double(answers);
    }

  private:
    std::uint64_t begun_ = 0;
    std::vector<std::uint32_t> cycles_;
};

ClientPolicy policy() {
    return {{*parse_prefix("127.0.0.0/8"), *parse_prefix("198.18.0.0/15"), *parse_prefix("2001:db8::/32")}};
}

/// The ceiling: frames received, turned round and sent back.
void echo(benchmark::State& state) {
    static RingWire wire("echo");
    Order order(Order::Kind::uniform, 10'000);
    Turns turns;
    std::uint64_t packets = 0;
    std::uint32_t numbers[RingWire::burst];
    for (auto _ : state) {
        std::ranges::generate(numbers, [&] { return order.next(); });
        wire.send(numbers, RingWire::burst);
        turns.begin();
        rte_mbuf* mbufs[RingWire::burst];
        unsigned count = rte_eth_rx_burst(wire.id, 0, mbufs, RingWire::burst);
        for (unsigned i = 0; i < count; ++i) {
            auto* frame = rte_pktmbuf_mtod(mbufs[i], std::uint8_t*);
            std::swap_ranges(frame, frame + 6, frame + 6);
            std::swap_ranges(frame + 26, frame + 30, frame + 30);
            std::swap_ranges(frame + 34, frame + 36, frame + 36);
            frame[44] |= 0x80;
        }
        rte_eth_tx_burst(wire.id, 0, mbufs, std::uint16_t(count));
        turns.end();
        packets += wire.receive(true);
    }
    turns.report(state, packets);
}
BENCHMARK(echo);

void hits(benchmark::State& state, Order::Kind kind) {
    static RingWire wire("hits");
    static Service service = tests::service();
    auto count = std::uint32_t(state.range(0));
    Kept& names = Kept::of(count);
    Order order(kind, count);
    EthdevPort port({wire.id, 0, wire.ethdev->pool(0), &service, wire.ethdev->offload()});
    Handoff handoff;
    Counters counters;
    LocalNames::Builder special;
    control::add_special_names(special, 0);
    cache::Replaceable<Rules> rules(
        std::make_unique<const Rules>(std::make_shared<const Access>(policy()), special.build()));
    TscClock clock(rte_get_tsc_hz());
    Worker worker({port, names.table, names.reader, handoff, counters, rules, &clock});
    names.reader.online();
    Turns turns;
    std::uint64_t packets = 0;
    std::uint32_t numbers[RingWire::burst];
    for (auto _ : state) {
        std::ranges::generate(numbers, [&] { return order.next(); });
        wire.send(numbers, RingWire::burst);
        turns.begin();
        worker.turn();
        turns.end();
        packets += wire.receive();
    }
    names.reader.offline();
    turns.report(state, packets);
    if (wire.wrong > 0 || counters.get(Event::hit) != counters.received() || packets != counters.received()) {
        state.SkipWithError("not every query got its own answer from the cache");
    }
}
/// Hits of 10,000 names beside what looks at queries on their way (LoggedPort): alternately with and without,
/// turn by turn, so that both see the same machine. 0: the sample for `top` alone, one query in 64; else also
/// the query log, queries and responses, of so many one. The rings are emptied outside of what is measured.
void looked_at(benchmark::State& state) {
    static RingWire wire("logged");
    static Service service = tests::service();
    auto log_every = std::uint64_t(state.range(0));
    Kept& names = Kept::of(10'000);
    Order order(Order::Kind::uniform, 10'000);
    EthdevPort port({wire.id, 0, wire.ethdev->pool(0), &service, wire.ethdev->offload()});
    TscClock clock(rte_get_tsc_hz());
    auto wanted = std::make_unique<LogRules>();
    wanted->kinds = {true, true, false, false};
    wanted->part = LogRules::all / std::max<std::uint64_t>(log_every, 1);
    cache::Replaceable<LogRules> rules(std::move(wanted));
    QueryLog log(rules);
    QuerySample sample;
    sample.set_stride(64);
    LoggedPort logged(port, sample, log_every > 0 ? &log : nullptr, &clock);
    Handoff handoff;
    Counters counters;
    cache::Replaceable<Rules> in_effect(
        std::make_unique<const Rules>(std::make_shared<const Access>(policy())));
    Worker plain({port, names.table, names.reader, handoff, counters, in_effect, &clock});
    Worker worker({logged, names.table, names.reader, handoff, counters, in_effect, &clock});
    names.reader.online();
    Turns without, with;
    std::uint64_t packets = 0;
    std::uint32_t numbers[RingWire::burst];
    LoggedMessage what;
    std::vector<std::uint8_t> octets;
    for (auto _ : state) {
        for (bool is_plain : {true, false}) {
            std::ranges::generate(numbers, [&] { return order.next(); });
            wire.send(numbers, RingWire::burst);
            Turns& turns = is_plain ? without : with;
            turns.begin();
            (is_plain ? plain : worker).turn();
            turns.end();
            packets += wire.receive();
        }
        while (sample.ring().take(what, octets) || log.ring().take(what, octets)) {
        }
    }
    names.reader.offline();
    with.report(state, packets / 2);
    state.counters["without"] = without.median();
    state.counters["ratio"] = with.median() / without.median();
    if (wire.wrong > 0 || packets != counters.received())
        state.SkipWithError("not every query got its own answer");
}
BENCHMARK(looked_at)->Arg(0)->Arg(100)->Arg(1);

void hits_uniform(benchmark::State& state) {
    hits(state, Order::Kind::uniform);
}
void hits_zipf(benchmark::State& state) {
    hits(state, Order::Kind::zipf);
}
BENCHMARK(hits_uniform)->Arg(1)->Arg(10'000);
BENCHMARK(hits_zipf)->Arg(10'000);
BENCHMARK(hits_uniform)->Arg(1'000'000);
BENCHMARK(hits_zipf)->Arg(1'000'000);
BENCHMARK(hits_uniform)->Arg(5'000'000);
BENCHMARK(hits_zipf)->Arg(5'000'000);

} // namespace
} // namespace millrace

int main(int argc, char** argv) {
    if (!millrace::bench::start_eal()) return 1;
    benchmark::Initialize(&argc, argv);
    benchmark::RunSpecifiedBenchmarks();
    std::_Exit(0); // the ports are static: EAL has no say at exit
}
