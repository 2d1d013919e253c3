// One lcore against two on net_ring, control parked, every answer checked: what a second lcore
// costs the first.
//
// Two lcores ask one table, or each a table of its own; the latter costs whatever two busy CPUs of this
// machine take from each other (a shared cache, memory, a hyper-thread's core), and only what is dearer than
// that would be ours. Modes take turns; a line for each, the ratios below with the middle half of all rounds.
//
//   scaling_bench [NAMES [ROUNDS]]
#include <algorithm>
#include <charconv>
#include <cstdio>
#include <cstring>
#include <string>

#include <rte_cycles.h>
#include <rte_lcore.h>

#include "bench/names.hpp"
#include "bench/quantile.hpp"
#include "dataplane/ethdev_port.hpp"
#include "dataplane/worker.hpp"

namespace millrace {
namespace {

using namespace dataplane;
using bench::quantile;
using bench::RingWire;

/// What both lcores only read.
struct Shared {
    Service service = tests::service();
    cache::Replaceable<Rules> rules{std::make_unique<const Rules>(
        std::make_shared<const Access>(ClientPolicy{{*parse_prefix("198.18.0.0/15")}}))};
    TscClock clock{rte_get_tsc_hz()};
};

/// A worker, its wire and its client. Used by one lcore at a time.
class Station {
  public:
    Station(const std::string& name, const Shared& shared, bench::Names& names, std::uint32_t count)
        : wire_(name), order_(bench::Order::Kind::zipf, count), reader_(*names.grace.add_reader()),
          port_({wire_.id, 0, wire_.ethdev->pool(0), &shared.service, wire_.ethdev->offload()}),
          worker_({port_, names.table, reader_, handoff_, counters_, shared.rules, &shared.clock}) {}

    void run(std::uint64_t cycles) {
        turns_.clear();
        reader_.online();
        std::uint64_t begin = rte_rdtsc(), end = begin + cycles;
        while (rte_rdtsc() < end) {
            std::uint32_t numbers[RingWire::burst];
            std::ranges::generate(numbers, [&] { return order_.next(); });
            wire_.send(numbers, RingWire::burst);
            std::uint64_t begun = rte_rdtsc();
            worker_.turn();
            turns_.push_back(std::uint32_t(rte_rdtsc() - begun));
            wire_.receive();
        }
        reader_.offline();
        median_ = quantile(turns_, 0.5) / double(RingWire::burst);
    }
    double median() const { return median_; } ///< cycles of a turn, by packet
    bool is_right() const { return wire_.wrong == 0 && counters_.get(Event::hit) == counters_.received(); }

  private:
    RingWire wire_;
    bench::Order order_;
    cache::Grace::Reader& reader_;
    EthdevPort port_;
    Handoff handoff_;
    Counters counters_;
    Worker worker_;
    std::vector<std::uint32_t> turns_;
    double median_ = 0;
};

struct Task {
    Station* station;
    std::uint64_t cycles;
};

int run(std::uint32_t count, unsigned rounds) {
    Shared shared;
    bench::Names one(count), other(count);
    Station first("first", shared, one, count), beside("beside", shared, one, count),
        apart("apart", shared, other, count);
    unsigned lcore = rte_get_next_lcore(-1, 1, 0);
    std::uint64_t cycles = rte_get_tsc_hz() / 4;
    /// Cycles by packet, the mean of both lcores.
    auto measure = [&](Station* second) {
        Task task{second, cycles};
        auto work = [](void* task) {
            static_cast<Task*>(task)->station->run(static_cast<Task*>(task)->cycles);
            return 0;
        };
        if (second) rte_eal_remote_launch(work, &task, lcore);
        first.run(cycles);
        if (!second) return first.median();
        rte_eal_wait_lcore(lcore);
        return (first.median() + second->median()) / 2;
    };
    std::vector<double> alone, own, common, by_other, by_common;
    for (unsigned round = 0; round < rounds; ++round) {
        alone.push_back(measure(nullptr));
        own.push_back(measure(&apart));
        common.push_back(measure(&beside));
        by_other.push_back(own.back() / alone.back());
        by_common.push_back(common.back() / own.back());
    }
    auto line = [](const char* what, const std::vector<double>& values, int digits) {
        std::printf("%-46s %8.*f  [%.*f .. %.*f]\n", what, digits, quantile(values, 0.5), digits,
                    quantile(values, 0.25), digits, quantile(values, 0.75));
    };
    std::printf("%u names, Zipf; cycles of the worker by packet, median [middle half] of %u rounds\n", count,
                rounds);
    line("one lcore", alone, 0);
    line("two lcores, a table each", own, 0);
    line("two lcores, one table", common, 0);
    line("  a second busy lcore costs (x)", by_other, 2);
    line("  sharing the table costs (x)", by_common, 2);
    bool right = first.is_right() && beside.is_right() && apart.is_right();
    if (!right) std::printf("WRONG: not every query got its own answer from the cache\n");
    return right ? 0 : 1;
}

} // namespace
} // namespace millrace

int main(int argc, char** argv) {
    auto number = [&](int at, unsigned otherwise) {
        if (argc > at) std::from_chars(argv[at], argv[at] + std::strlen(argv[at]), otherwise);
        return otherwise;
    };
    if (!millrace::bench::start_eal(true)) return 1;
    int status = millrace::run(number(1, 10'000), number(2, 15));
    std::fflush(stdout);
    std::_Exit(status); // EAL has no say at exit
}
