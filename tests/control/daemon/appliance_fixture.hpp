// The whole appliance on one thread, without a kernel: real Workers over ports in memory, real rings, and the
// control plane of FetchTest. The test moves the clock and decides whose turn it is.
#pragma once

#include <memory>
#include <vector>

#include "control/limits.hpp"
#include "dataplane/worker.hpp"
#include "tests/control/fetch/fixture.hpp"
#include "tests/support/memory_port.hpp"
#include "tests/support/messages.hpp"
#include "tests/support/rules.hpp"

namespace millrace::control {

/// One worker with everything that is its own.
struct Unit {
    Unit(const cache::Table& table, cache::Grace& grace, const cache::Replaceable<dataplane::Rules>& rules,
         const dataplane::TscClock& clock)
        : reader(*grace.add_reader()), worker({port, table, reader, handoff, counters, rules, &clock}) {
        reader.online();
    }
    ~Unit() { reader.offline(); }

    support::MemoryPort port;
    cache::Grace::Reader& reader;
    dataplane::Handoff handoff;
    dataplane::Counters counters;
    dataplane::Worker worker;
    bool is_stalled = false;
};

class Appliance : public testing::Test, public Waker {
  protected:
    explicit Appliance(unsigned workers = 1, std::size_t entries = 3700, std::size_t bytes = 1 << 22)
        : table({.entries = entries, .bytes = bytes}, grace) {
        for (unsigned i = 0; i < workers; ++i)
            units.push_back(std::make_unique<Unit>(table, grace, rules.now, tsc));
        upstreams.set_policy({.outstanding = 20000, .rate = 1'000'000});
    }
    ~Appliance() override {
        fetches.close();
        for (auto& unit : units) unit->is_stalled = false;
        turn();
        for (const auto& unit : units) {
            EXPECT_EQ(unit->worker.credits(), dataplane::limits::waiters) << "every credit came back";
            EXPECT_EQ(unit->reader.outstanding(), 0u);
        }
        EXPECT_EQ(network.open_count(), 0u);
    }

    void wake(const Waiter& waiter, const cache::Entry* entry, dataplane::Wake::Kind kind) override {
        Unit& unit = *units[waiter.source];
        unit.reader.sent();
        unit.handoff.send({entry, std::uint32_t(waiter.token), kind});
    }

    /// What FetchTable sees of the appliance's time: control's whole tick.
    struct Control {
        Appliance& a;
        void tick(Time now) { a.control_tick(now); }
        Time next_timer() const { return a.fetches.next_timer(); }
    };
    void control_tick(Time now) {
        for (std::uint32_t i = 0; control_drains && i < units.size(); ++i) drain(i, now);
        fetches.tick(now);
        flushes.tick();
        if (keeps_up) table.upkeep(now);
        grace.reclaim();
    }
    void drain(std::uint32_t i, Time now) {
        std::array<dataplane::Miss, 64> misses;
        while (unsigned count = units[i]->handoff.take(misses)) {
            for (const dataplane::Miss& m : std::span(misses).first(count)) {
                if (m.is_refresh())
                    fetches.refresh(m.key, m.hash, m.refresh, now);
                else
                    fetches.resolve(m.key, m.hash, {i, m.waiter, m.client, m.id, m.arrived}, now);
            }
        }
    }

    /// Every worker's turns until it has nothing to do; the stalled ones not.
    void turn() {
        tsc.set(clock.now);
        for (auto& unit : units) {
            while (!unit->is_stalled && unit->worker.turn()) {
            }
        }
    }
    /// Milliseconds pass; in each, the workers turn, then control ticks, then the network delivers.
    void run(Time span) {
        Control control{*this};
        for (Time end = clock.now + span; clock.now < end;) {
            turn();
            control_tick(clock.now);
            turn();
            network.run_until(std::min(end, clock.now + 1ms), control);
        }
        turn();
    }

    dataplane::Endpoint client(unsigned n) const {
        return {*dataplane::parse_address("10." + std::to_string(n / 65536) + "." +
                                          std::to_string(n / 256 % 256) + "." + std::to_string(n % 256)),
                std::uint16_t(1024 + n % 60000)};
    }
    void send(unsigned from, const test::Bytes& query, unsigned worker = 0) {
        units[worker]->port.queries.push_back({client(from), query});
    }
    /// The replies so far, taken out.
    std::deque<support::Datagram> replies(unsigned worker = 0) {
        return std::exchange(units[worker]->port.replies, {});
    }
    /// Asks and gives back the one reply that came after `wait`; empty: none.
    test::Bytes ask(const test::Bytes& query, Time wait = 0ms, unsigned worker = 0) {
        send(1, query, worker);
        turn();
        if (wait > Time{}) run(wait);
        auto got = replies(worker);
        return got.empty() ? test::Bytes{} : got.back().message;
    }
    static unsigned rcode(const test::Bytes& reply) { return reply.at(3) & 15u; }

    void serve(const std::string& host, Time delay, unsigned ttl) {
        network.serve(upstream, [=](FakeNetwork& net, const Sent& sent) {
            auto line = record(sent, host, ttl);
            net.reply(sent, make_reply(sent.message, {.answer = {line}}), delay);
        });
    }
    void silence() {
        network.serve(upstream, [](FakeNetwork&, const Sent&) {});
    }
    const cache::Entry* cached(const cache::Key& key) const { return table.find(key, table.hasher()(key)); }
    std::uint64_t count(dataplane::Event event) const { return units[0]->counters.get(event); }

    support::ManualClock clock;
    dataplane::TscClock tsc{dataplane::TscClock::standing_still};
    FakeNetwork network{clock};
    support::FakeRandom random;
    test::RulesInEffect rules{dataplane::ClientPolicy{{*dataplane::parse_prefix("10.0.0.0/8")}}};
    cache::Grace grace;
    cache::Table table;
    Publisher publisher{table, grace, {}};
    dataplane::Endpoint upstream = *dataplane::parse_endpoint("198.51.100.1", 53);
    Upstreams upstreams{{upstream}};
    Exchanges exchanges{network, random, {&upstreams, 1}, {.exchanges = 8192}};
    FetchTable fetches{table, publisher, exchanges, {&upstreams, 1}, *this, {}};
    Flushes flushes{table, grace, fetches};
    std::vector<std::unique_ptr<Unit>> units;
    bool control_drains = true; ///< false: control does not look into the rings
    bool keeps_up = true;       ///< false: the table is left as full as it is
    cache::Key a = make_key("a.com", LDNS_RR_TYPE_A);
};

} // namespace millrace::control
