// How long answers from the cache take at worst, while control works beside: the worker alone on its CPU, the
// generator and control on another. Its own TSC, from a burst's receipt to its hand-over to the port.
//
// Prints a line for each kind of work: nothing; eviction (names that are asked once push others out of a full
// table); a block list of five million names built and swapped in; everything flushed and filled again; and
// once more nothing, which shows how far these figures can be trusted.
#include <array>
#include <cstdio>
#include <functional>
#include <thread>

#include <pthread.h>
#include <rte_cycles.h>
#include <rte_lcore.h>

#include "bench/load/histogram.hpp"
#include "bench/names.hpp"
#include "bench/quantile.hpp"
#include "control/local/special_names.hpp"
#include "dataplane/ethdev_port.hpp"
#include "dataplane/worker.hpp"

namespace millrace {
namespace {

using namespace dataplane;
using bench::NumberedName;
using bench::quantile;

constexpr std::uint32_t hot_names = 10'000, room = 100'000, blocked = 5'000'000;
constexpr unsigned rounds = 9, kinds = 5;
constexpr Time phase_length = 400ms;
constexpr unsigned gap_us = 10; ///< between bursts: then the kernel's own tick disturbs fewer than 1 in 100

/// Counts, for each packet of a burst, the cycles between its receipt and its hand-over. The worker's thread;
/// others read once it stands still.
class TimedPort final : public Port {
  public:
    explicit TimedPort(Port& inner) : inner_(inner) {}

    void receive(Burst& burst, Counters& counters) override {
        inner_.receive(burst, counters);
        received_ = rte_rdtsc();
        count_ = burst.count;
    }
    void send(Burst& burst, Counters& counters) override {
        inner_.send(burst, counters);
        std::uint64_t took = rte_rdtsc() - received_;
        for (; count_ > 0; --count_) times_[phase.load(std::memory_order_relaxed)].add(took);
    }
    void save(const Packet& packet, ReturnPath& path) override { inner_.save(packet, path); }
    bool compose(Burst& burst, const ReturnPath& path) override { return inner_.compose(burst, path); }

    const bench::Histogram& times(unsigned of) const { return times_[of]; }
    std::atomic<unsigned> phase{0}; ///< round * kinds + kind of work

  private:
    Port& inner_;
    std::uint64_t received_ = 0;
    unsigned count_ = 0;
    std::array<bench::Histogram, rounds * kinds> times_;
};

std::unique_ptr<const LocalNames> rules(std::uint32_t count) {
    LocalNames::Builder names;
    control::add_special_names(names, 0);
    auto rule = names.deny(1, true, LocalNames::Action::nxdomain, 15, test::bare_entry(3));
    for (std::uint32_t i = 0; i < count; ++i) {
        auto name = cache::parse_name("b" + std::to_string(i) + ".blocked.example");
        names.add(name->bytes(), LocalNames::Builder::both, rule);
    }
    return names.build();
}

/// The generator and control, in turns, on the thread that made it.
class Bench {
  public:
    Bench()
        : names_(hot_names, room),
          ethdev_port_({wire_.id, 0, wire_.ethdev->pool(0), &service_, wire_.ethdev->offload()}),
          worker_({port_, names_.table, reader_, handoff_, counters_, rules_, &clock_}) {}

    void run() {
        unsigned lcore = rte_get_next_lcore(-1, 1, 0);
        rte_eal_remote_launch([](void* self) { return static_cast<Bench*>(self)->work(); }, this, lcore);
        for (unsigned round = 0; round < rounds; ++round) {
            round_ = round;
            during(0, [] {});
            std::uint64_t before = names_.table.evicted();
            during(1, [&] { names_.put(hot_names + next_++ % 5'000'000); });
            evicted_ += names_.table.evicted() - before;
            std::atomic<bool> is_built{false};
            std::thread builder([&] {
                list_ = rules(blocked);
                is_built = true;
            });
            auto swap = [&] {
                if (is_built && list_) rules_.replace(with(std::exchange(list_, nullptr)), names_.grace);
            };
            during(2, swap, [&] { return is_built && !list_; });
            builder.join();
            flush();
            during(3, [&] { refill(); });
            during(4, [] {});
        }
        stop_ = true;
        rte_eal_mp_wait_lcore();
        report();
    }

  private:
    int work() {
        worker_.run(stop_);
        return 0;
    }
    /// One phase of a round: load at about a third of what the worker can do, and `step` again and again.
    /// Not before it `is_over`.
    void during(
        unsigned kind, const std::function<void()>& step,
        const std::function<bool()>& is_over = [] { return true; }) {
        port_.phase = round_ * kinds + kind;
        std::uint64_t gap = rte_get_tsc_hz() / 1'000'000 * gap_us, due = rte_rdtsc();
        for (Time end = boot_time() + phase_length; boot_time() < end || !is_over();) {
            while (wire_.receive() > 0) {
            }
            if (rte_rdtsc() >= due) {
                std::uint32_t numbers[8];
                for (std::uint32_t& number : numbers) number = order_.next();
                wire_.send(numbers, std::size(numbers));
                due = rte_rdtsc() + gap;
            }
            step();
            answer_misses();
            names_.table.upkeep(boot_time());
            names_.grace.reclaim();
        }
    }
    void flush() {
        names_.table.raise_floor(0, names_.generation);
        for (std::size_t shard = 0; shard < names_.table.shard_count(); ++shard) {
            test::flush_shard(names_.table, shard, names_.generation,
                              [](const cache::KeyRef&, const cache::Entry&) { return true; });
        }
        refilled_ = 0;
    }
    void refill() {
        for (int i = 0; i < 4 && refilled_ < hot_names; ++i) names_.put(refilled_++);
    }
    /// Whoever waits is let go: this is about hits.
    void answer_misses() {
        std::array<Miss, 32> misses;
        unsigned count = handoff_.take(misses);
        for (unsigned i = 0; i < count; ++i) {
            if (misses[i].is_refresh()) continue;
            reader_.sent();
            handoff_.send({nullptr, misses[i].waiter, Wake::Kind::abandon});
        }
    }
    /// The middle one of the rounds' `share`, and of their ratios to the same round's with nothing beside.
    void report() const {
        static constexpr const char* names[kinds] = {"nothing", "eviction", "a list of five million",
                                                     "flush and refill", "nothing once more"};
        double per_us = double(rte_get_tsc_hz()) / 1e6;
        std::printf("%-26s %10s %8s %8s %8s   %s\n", "beside the worker", "packets", "p50 us", "p99 us",
                    "p99.9", "p99 over nothing's [middle half of the rounds]");
        for (unsigned kind = 0; kind < kinds; ++kind) {
            std::uint64_t packets = 0;
            std::vector<double> p50, p99, p999, ratio;
            for (unsigned round = 0; round < rounds; ++round) {
                const auto& t = port_.times(round * kinds + kind);
                packets += t.total();
                p50.push_back(t.percentile(0.5) / per_us);
                p99.push_back(t.percentile(0.99) / per_us);
                p999.push_back(t.percentile(0.999) / per_us);
                ratio.push_back(t.percentile(0.99) / port_.times(round * kinds).percentile(0.99));
            }
            std::printf("%-26s %10lu %8.2f %8.2f %8.2f   %.2f [%.2f to %.2f]\n", names[kind], packets,
                        quantile(p50, 0.5), quantile(p99, 0.5), quantile(p999, 0.5), quantile(ratio, 0.5),
                        quantile(ratio, 0.25), quantile(ratio, 0.75));
        }
        std::printf("evicted %lu, hits %lu of %lu, wrong %lu\n", evicted_, counters_.get(Event::hit),
                    counters_.received(), wire_.wrong);
    }

    std::unique_ptr<const Rules> with(std::unique_ptr<const LocalNames> local) {
        return std::make_unique<const Rules>(access_, std::move(local));
    }

    bench::RingWire wire_{"tail", 1024};
    Service service_ = tests::service();
    bench::Names names_;
    cache::Grace::Reader& reader_ = *names_.grace.add_reader();
    bench::Order order_{bench::Order::Kind::zipf, hot_names};
    EthdevPort ethdev_port_;
    TimedPort port_{ethdev_port_};
    Handoff handoff_;
    Counters counters_;
    std::shared_ptr<const Access> access_ =
        std::make_shared<const Access>(ClientPolicy{{*parse_prefix("198.18.0.0/15")}});
    cache::Replaceable<Rules> rules_{with(rules(0))};
    TscClock clock_{rte_get_tsc_hz()};
    Worker worker_;
    std::unique_ptr<const LocalNames> list_;
    std::atomic<bool> stop_{false};
    unsigned round_ = 0;
    std::uint32_t next_ = 0, refilled_ = hot_names;
    std::uint64_t evicted_ = 0;
};

} // namespace
} // namespace millrace

int main() {
    if (!millrace::bench::start_eal(true)) return 1;
    static millrace::Bench bench;
    bench.run();
    std::fflush(stdout);
    std::_Exit(0);
}
