// What a miss costs: question, hand-over, Fetch, an upstream's reply, publication, Wake, answer, all on one
// core, without a kernel or a scheduler in between. What the generator and the upstream do lies outside.
//
// `turns` runs generator, worker and control's tick by turns on a net_ring port, and splits the cycles at the
// interfaces that they pass: see Stage. `control_alone` has no port, and its misses come from the
// Handoff: bench/callgrind counts its instructions.
#include <algorithm>
#include <array>
#include <cstdlib>
#include <iterator>
#include <span>
#include <vector>

#include <benchmark/benchmark.h>

#include "bench/cycles.hpp"
#include "bench/iterations.hpp"
#include "bench/load/tsc.hpp"
#include "bench/ring_wire.hpp"
#include "cache/dns.hpp"
#include "cache/wire.hpp"
#include "control/fetch/table.hpp"
#include "control/limits.hpp"
#include "dataplane/ethdev_port.hpp"
#include "dataplane/worker.hpp"
#include "tests/support/entries.hpp"
#include "tests/support/rules.hpp"

namespace {

std::uint64_t allocations = 0;

} // namespace

// All of the program's, ldns' and the standard library's too.
extern "C" {
void* __libc_malloc(std::size_t size);
void* __libc_calloc(std::size_t count, std::size_t size);
void* __libc_realloc(void* block, std::size_t size);

void* malloc(std::size_t size) {
    ++allocations;
    return __libc_malloc(size);
}
void* calloc(std::size_t count, std::size_t size) {
    ++allocations;
    return __libc_calloc(count, size);
}
void* realloc(void* block, std::size_t size) {
    ++allocations;
    return __libc_realloc(block, size);
}
}

namespace millrace {
namespace {

using namespace dataplane;
using bench::NumberedName;
using bench::RingWire;

constexpr std::uint32_t names = 10'000'000, room = 500'000;

/// Of a miss, in its order. What one of them calls of another one is the other's.
enum class Stage : std::uint8_t {
    ask,     ///< worker: receive, parse, look up, hand over
    start,   ///< control: take, start the Fetch, build the query
    receive, ///< accept the reply, parse it, build and publish the Entry
    wake,    ///< hand the Entry over to the worker
    upkeep,  ///< timers, the Fetch's end, eviction, grace periods
    answer,  ///< worker: take the Wake, compose, send
    outside, ///< generator and upstream
    count_
};
constexpr const char* stage_names[] = {"ask", "start", "receive", "wake", "upkeep", "answer"};

/// Where the cycles and allocations go: to the stage that was entered last.
class Stages {
  public:
    /// Leaves it for `next`, until the scope ends.
    class Scope {
      public:
        Scope(Stages& stages, Stage next) : stages_(stages), before_(stages.now_) { stages.enter(next); }
        ~Scope() { stages_.enter(before_); }
        Scope(const Scope&) = delete;
        Scope& operator=(const Scope&) = delete;

      private:
        Stages& stages_;
        Stage before_;
    };

    void report(benchmark::State& state, std::uint64_t misses) const {
        std::uint64_t cycles = 0, blocks = 0;
        for (std::size_t i = 0; i < std::size(stage_names); ++i) {
            state.counters[stage_names[i]] = double(cycles_[i]) / double(misses);
            cycles += cycles_[i];
            blocks += allocations_[i];
        }
        state.counters["cycles"] = double(cycles) / double(misses);
        state.counters["mallocs"] = double(blocks) / double(misses);
        state.SetItemsProcessed(std::int64_t(misses));
    }

  private:
    void enter(Stage next) {
        std::uint64_t cycles = bench::tsc();
        cycles_[std::size_t(now_)] += cycles - since_;
        allocations_[std::size_t(now_)] += allocations - allocations_since_;
        now_ = next;
        allocations_since_ = allocations;
        since_ = bench::tsc();
    }

    std::array<std::uint64_t, std::size_t(Stage::count_)> cycles_{}, allocations_{};
    Stage now_ = Stage::outside;
    std::uint64_t since_ = bench::tsc(), allocations_since_ = 0;
};

/// An upstream server that has answered when it is asked, with the name's own address. Sockets are places.
class InstantNetwork final : public control::Network {
  public:
    explicit InstantNetwork(Stages& stages) : stages_(stages) {}

    tl::expected<Bound, std::errc> open_udp(const Endpoint&, control::NetworkHandler& handler,
                                            std::uint64_t token, unsigned) override {
        Stages::Scope scope(stages_, Stage::outside);
        if (free_.empty()) {
            free_.push_back(sockets_.size());
            sockets_.emplace_back();
        }
        std::size_t place = free_.back();
        free_.pop_back();
        sockets_[place] = {&handler, token};
        return Bound{place + 1, std::uint16_t(1024 + ++opened_ % 60'000)};
    }
    tl::expected<control::Socket, std::errc> open_tcp(const Endpoint&, control::NetworkHandler&,
                                                      std::uint64_t) override {
        std::abort(); // nothing is truncated
    }
    std::errc send(control::Socket socket, std::span<const std::uint8_t> query) override {
        Stages::Scope scope(stages_, Stage::outside);
        replies_.push_back({socket, reply_to(query)});
        return {};
    }
    void close(control::Socket socket) override {
        Stages::Scope scope(stages_, Stage::outside);
        sockets_[socket - 1].handler = nullptr;
        free_.push_back(socket - 1);
    }

    void deliver(Time now) {
        for (const auto& [socket, message] : replies_) {
            auto [handler, token] = sockets_[socket - 1];
            if (!handler) continue;
            Stages::Scope scope(stages_, Stage::receive);
            handler->on_message(socket, token, message, now);
        }
        replies_.clear();
    }

  private:
    struct Open {
        control::NetworkHandler* handler = nullptr;
        std::uint64_t token = 0;
    };
    struct Reply {
        control::Socket socket;
        std::vector<std::uint8_t> message;
    };

    /// As an authoritative server writes it; the query's OPT behind it.
    static std::vector<std::uint8_t> reply_to(std::span<const std::uint8_t> query) {
        std::size_t end = dns::header_octets;
        while (query[end] != 0) end += query[end] + 1u;
        end += 5;
        std::uint32_t number = 0;
        for (unsigned i = 0; i < NumberedName::digits; ++i)
            number = number * 10 + (query[dns::header_octets + 2 + i] - '0');
        auto address = NumberedName::address(number);
        std::vector<std::uint8_t> reply(query.begin(), query.begin() + std::ptrdiff_t(end));
        reply[2] |= 0x80;
        reply[3] |= 0x80;
        reply[7] = 1;
        const std::uint8_t record[] = {
            dns::pointer_bits, dns::header_octets, 0, dns::type_a, 0, 1, 0, 0, 1, 44, 0, 4};
        reply.insert(reply.end(), std::begin(record), std::end(record));
        reply.insert(reply.end(), address.begin(), address.end());
        reply.insert(reply.end(), query.begin() + std::ptrdiff_t(end), query.end());
        return reply;
    }

    Stages& stages_;
    std::vector<Open> sockets_;
    std::vector<std::size_t> free_;
    std::vector<Reply> replies_;
    std::uint64_t opened_ = 0;
};

/// Control as the daemon has it, with one server and the default policy, and one worker's Handoff.
class Control final : private control::Waker {
  public:
    explicit Control(Stages& stages) : stages_(stages) {
        control::Config::Server server(*parse_endpoint("198.51.100.1", 53));
        groups_[0] = control::Upstreams(std::vector{server});
        control::UpstreamPolicy policy;
        policy.rate = 100'000'000; // no limit
        groups_[0].set_policy(policy);
        groups_[0].habits(0).heard_opt();
        groups_[0].habits(0).knew_mixed_case(control::LetterCase::kept, boot_time());
        fetches_.set_rules(rules.current());
    }
    ~Control() override { fetches_.close(); }

    /// The loop's, as far as misses concern it.
    void tick() {
        Time now = boot_time();
        {
            Stages::Scope scope(stages_, Stage::start);
            std::array<Miss, control::limits::miss_batch> misses;
            for (unsigned count; (count = handoff.take(misses)) > 0;) {
                table.prefetch_starts(std::span<const Miss>(misses).first(count));
                for (unsigned i = 0; i < count; ++i) {
                    const Miss& m = misses[i];
                    fetches_.resolve(m.key, m.hash, {0, m.waiter, m.client, m.id, m.arrived, m.capitals},
                                     now);
                }
            }
        }
        network_.deliver(boot_time());
        Stages::Scope scope(stages_, Stage::upkeep);
        fetches_.tick(boot_time());
        table.upkeep(now);
        grace.reclaim();
    }

    cache::Grace grace;
    cache::Table table{{.entries = room, .bytes = std::size_t(1) << 30}, grace, cache::Hasher(1)};
    cache::Grace::Reader& reader = *grace.add_reader();
    Handoff handoff;
    test::RulesInEffect rules{{{*parse_prefix("198.18.0.0/15")}, {}}};

  private:
    void wake(const control::Waiter& waiter, const cache::Entry* entry, Wake::Kind kind) override {
        Stages::Scope scope(stages_, Stage::wake);
        reader.sent();
        handoff.send({entry, std::uint32_t(waiter.token), kind});
    }

    Stages& stages_;
    control::Publisher publisher_{table, grace, {}};
    control::SystemRandom random_;
    InstantNetwork network_{stages_};
    std::vector<control::Upstreams> groups_{cache::limits::groups, control::Upstreams({})};
    control::Exchanges exchanges_{network_, random_, groups_, {}};
    control::FetchTable fetches_{table, publisher_, exchanges_, std::span(groups_), *this, {}};
};

/// New names all the time: the table fills, then each of them evicts another one.
void turns(benchmark::State& state) {
    static RingWire wire("misses");
    static Service service = tests::service();
    Stages stages;
    Control control(stages);
    EthdevPort port({wire.id, 0, wire.ethdev->pool(0), &service, wire.ethdev->offload()});
    Counters counters;
    Worker worker({port, control.table, control.reader, control.handoff, counters, control.rules.now});
    std::uint64_t answers = 0;
    std::uint32_t number = 0, numbers[RingWire::burst];
    control.reader.online();
    auto turn = [&] {
        std::ranges::generate(numbers, [&] { return number++ % names; });
        wire.send(numbers, RingWire::burst);
        {
            Stages::Scope scope(stages, Stage::ask);
            worker.turn();
        }
        control.tick();
        {
            Stages::Scope scope(stages, Stage::answer);
            worker.turn();
        }
        return wire.receive();
    };
    for (std::uint32_t i = 0; i < room / RingWire::burst; ++i) answers += turn();
    stages = Stages();
    std::uint64_t before = answers;
    for (auto _ : state) answers += turn();
    control.reader.offline();
    stages.report(state, answers - before);
    if (wire.wrong > 0 || answers != number || counters.get(Verdict::missed) != number)
        state.SkipWithError("not every question was a miss that was answered");
}
BENCHMARK(turns);

/// The same without worker and port.
void control_alone(benchmark::State& state) {
    Stages stages;
    Control control(stages);
    std::array<Wake, RingWire::burst> wakes;
    std::uint64_t answers = 0;
    std::uint32_t number = 0;
    Endpoint client = *parse_endpoint("198.18.0.1", 4711);
    auto turn = [&] {
        for (unsigned i = 0; i < RingWire::burst; ++i, ++number) {
            cache::Key key = test::key_of(NumberedName::name(number % names));
            control.handoff.send(
                Miss{key, control.table.hasher()(key), client, std::uint16_t(number), i, boot_time(), {}});
        }
        control.tick();
        unsigned count = control.handoff.take(wakes);
        for (unsigned i = 0; i < count; ++i)
            answers += wakes[i].kind == Wake::Kind::answer && wakes[i].entry->answers == 1;
        control.reader.finish(count);
        control.reader.quiescent();
    };
    control.reader.online();
    bench::Cycles cycles;
    for (auto _ : state) {
        cycles.begin();
        turn();
        cycles.end();
    }
    control.reader.offline();
    cycles.report(state, RingWire::burst);
    if (answers != number) state.SkipWithError("not every question was answered");
}
BENCHMARK(control_alone)->Apply(bench::iterations);

} // namespace
} // namespace millrace

int main(int argc, char** argv) {
    if (!millrace::bench::counts_instructions() && !millrace::bench::start_eal()) return 1;
    benchmark::Initialize(&argc, argv);
    benchmark::RunSpecifiedBenchmarks();
    std::fflush(stdout);
    std::_Exit(0); // the port is static: EAL has no say at exit
}
