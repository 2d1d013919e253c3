// A whole turn of the worker on an ethdev port, beside its ceiling: a bare echo on the same port in the same
// run.
//
// Generator and worker share one core and a net_ring port, so what is measured is the application's own cost
// and rte_ring's, nobody's kernel. Cycles per packet; the ratio of the two rows is the figure to quote.
#include <optional>

#include <benchmark/benchmark.h>
#include <rte_eal.h>
#include <rte_eth_ring.h>
#include <rte_ethdev.h>
#include <rte_lcore.h>
#include <rte_mbuf.h>

#include "dataplane/eal_plan.hpp"
#include "dataplane/ethdev.hpp"
#include "dataplane/ethdev_port.hpp"
#include "dataplane/worker.hpp"
#include "tests/dataplane/frames.hpp"
#include "tests/support/entries.hpp"
#include "tests/support/messages.hpp"

namespace millrace {
namespace {

using namespace dataplane;

/// Frames in, frames out: the generator's side of a net_ring port.
class Wire {
  public:
    explicit Wire(const char* name) {
        to_port_ = rte_ring_create((std::string(name) + "r").c_str(), 256, 0, RING_F_SP_ENQ | RING_F_SC_DEQ);
        from_port_ =
            rte_ring_create((std::string(name) + "t").c_str(), 256, 0, RING_F_SP_ENQ | RING_F_SC_DEQ);
        id = std::uint16_t(rte_eth_from_rings(name, &to_port_, 1, &from_port_, 1, 0));
        unsigned lcore = rte_get_main_lcore();
        ethdev.emplace(*Ethdev::start(id, name, {&lcore, 1}));
    }

    void add(const std::string& name) { frames_.push_back(tests::build({.payload = test::query(name)})); }

    /// Writes a burst of queries over buffers and puts them on the wire.
    void send(unsigned count) {
        rte_mbuf* mbufs[limits::burst];
        if (rte_pktmbuf_alloc_bulk(ethdev->pool(0), mbufs, count) != 0) std::abort();
        for (unsigned i = 0; i < count; ++i) {
            const auto& frame = frames_[next_++ % frames_.size()];
            std::memcpy(rte_pktmbuf_append(mbufs[i], std::uint16_t(frame.size())), frame.data(),
                        frame.size());
        }
        if (rte_ring_enqueue_bulk(to_port_, reinterpret_cast<void**>(mbufs), count, nullptr) != count)
            std::abort();
    }
    unsigned drain() {
        void* objects[limits::burst];
        unsigned count = rte_ring_dequeue_burst(from_port_, objects, limits::burst, nullptr);
        rte_pktmbuf_free_bulk(reinterpret_cast<rte_mbuf**>(objects), count);
        return count;
    }

    std::uint16_t id;
    std::optional<Ethdev> ethdev;

  private:
    rte_ring *to_port_, *from_port_;
    std::vector<test::Bytes> frames_;
    std::size_t next_ = 0;
};

void report(benchmark::State& state, std::uint64_t cycles, std::uint64_t packets) {
    state.SetItemsProcessed(std::int64_t(packets));
    state.counters["cycles_per_packet"] = double(cycles) / double(packets);
}

/// The ceiling: frames received and sent back as they are.
void echo(benchmark::State& state) {
    static Wire wire("echo");
    wire.add("www.example.com");
    std::uint64_t cycles = 0, packets = 0;
    for (auto _ : state) {
        wire.send(limits::burst);
        std::uint64_t begin = rte_rdtsc();
        rte_mbuf* mbufs[limits::burst];
        unsigned count = rte_eth_rx_burst(wire.id, 0, mbufs, limits::burst);
        rte_eth_tx_burst(wire.id, 0, mbufs, std::uint16_t(count));
        cycles += rte_rdtsc() - begin;
        packets += wire.drain();
    }
    report(state, cycles, packets);
}
BENCHMARK(echo);

/// Hits on `range` names, asked in turn.
void hits(benchmark::State& state) {
    static Wire wire("hits");
    static Service service = tests::service();
    auto names = unsigned(state.range(0));
    EthdevPort port({wire.id, 0, wire.ethdev->pool(0), &service, wire.ethdev->offload()});
    cache::Grace grace;
    cache::Grace::Reader& reader = *grace.add_reader();
    cache::Table table({.entries = names * 2, .bytes = std::size_t(4) << 30}, grace);
    Handoff handoff;
    Counters counters;
    Access access({{*parse_prefix("198.18.0.0/15")}});
    TscClock clock(rte_get_tsc_hz());
    for (unsigned i = 0; i < names; ++i) {
        // A multiplier without common factors with the count spreads the order, so that prefetching by luck
        // is rare.
        std::string name = "host-" + std::to_string(std::uint64_t(i) * 7919 % names) + ".example";
        wire.add(name);
        auto key = test::key_of(name);
        table.start(key, table.hasher()(key), i + 1);
        auto entry = test::entry_of({i + 1, 0}, {1}, boot_time(), 24h);
        table.publish(key, table.hasher()(key), entry);
    }
    Worker worker({port, table, reader, handoff, counters, access, &clock});
    reader.online();
    std::uint64_t cycles = 0, packets = 0;
    for (auto _ : state) {
        wire.send(limits::burst);
        std::uint64_t begin = rte_rdtsc();
        worker.turn();
        cycles += rte_rdtsc() - begin;
        packets += wire.drain();
    }
    reader.offline();
    report(state, cycles, packets);
    state.counters["hit_ratio"] = double(counters.get(Event::hit)) / double(counters.received());
}
BENCHMARK(hits)->Arg(1)->Arg(10'000);

} // namespace
} // namespace millrace

int main(int argc, char** argv) {
    std::string lcores = "--lcores=0@" + std::to_string(millrace::dataplane::Machine::inspect().cpus.back());
    const char* eal[] = {
        "worker_bench",   "--no-huge",           "-m",          "512", "--no-shconf", "--no-pci",
        "--no-telemetry", "--log-level=warning", lcores.c_str()};
    if (rte_eal_init(int(std::size(eal)), const_cast<char**>(eal)) < 0) return 1;
    benchmark::Initialize(&argc, argv);
    benchmark::RunSpecifiedBenchmarks();
    std::_Exit(0); // the ports are static: EAL has no say at exit
}
