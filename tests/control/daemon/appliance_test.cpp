// The races of tests/SCENARIOS.md in which workers take part: S18, S21 to S24, and what belongs to them.
#include "tests/control/daemon/appliance_fixture.hpp"
#include "tests/support/entries.hpp"

namespace millrace::control {
namespace {

using namespace test;
using dataplane::Event;
using dataplane::Verdict;

std::string numbered(unsigned i) {
    return "n" + std::to_string(i) + ".com";
}

class OneWorker : public Appliance {};

TEST_F(OneWorker, S18_AThousandClientsOfOneColdName) {
    serve("192.0.2.1", 50ms, 60);
    std::map<dataplane::Endpoint, Bytes> asked;
    for (unsigned i = 0; i < 1000; ++i) {
        std::string name = i % 2 ? "A.com" : "a.COM";
        Bytes query = i % 3 ? header(i, rd, 1, 0, 0, 1) + question(name) + opt(600) : test::query(name, 1, i);
        asked[client(i)] = query;
        send(i, query);
    }
    turn();
    run(100ms);
    auto got = replies();
    ASSERT_EQ(got.size(), 1000u);
    for (const support::Datagram& reply : got) {
        const Bytes& query = asked.at(reply.client);
        bool edns = query[11] == 1;
        EXPECT_EQ(Bytes(reply.message.begin(), reply.message.begin() + 2),
                  Bytes(query.begin(), query.begin() + 2));
        EXPECT_TRUE(std::equal(reply.message.begin() + 12, reply.message.begin() + 23, query.begin() + 12))
            << "its own letter case";
        EXPECT_EQ(reply.message[11], edns ? 1 : 0) << "an OPT exactly when there was one";
        asked.erase(reply.client);
    }
    EXPECT_TRUE(asked.empty());
    EXPECT_EQ(fetches.counters().fetches, 1u);
    EXPECT_EQ(network.sent.size(), 1u) << "one fan-out";
}

TEST_F(OneWorker, S18_LimitsPerClientAndPerQuestion) {
    silence();
    for (unsigned i = 0; i <= limits::waiters_per_prefix; ++i) { // one address, many ports
        units[0]->port.queries.push_back(
            {{*dataplane::parse_address("10.9.9.9"), std::uint16_t(2000 + i)}, query("a.com", 1, i)});
    }
    turn();
    run(2ms);
    auto got = replies();
    ASSERT_EQ(got.size(), 1u);
    EXPECT_EQ(rcode(got[0].message), 2u) << "one more than the clients of a prefix may wait for";
    EXPECT_EQ(fetches.waiting(), limits::waiters_per_prefix);
}

class TwoWorkers : public Appliance {
  protected:
    TwoWorkers() : Appliance(2) {}
};

TEST_F(TwoWorkers, S21_AStalledWorkerReadsNothingFreedAndHoldsUpTheAcknowledgement) {
    serve("192.0.2.1", 1ms, 60);
    ASSERT_EQ(rcode(ask(query("a.com"), 10ms, 0)), 0u);
    ASSERT_EQ(rcode(ask(query("a.com"), 10ms, 1)), 0u);
    // Worker 1 stops with a Wake in its ring that names an Entry, and the Entry is replaced and flushed.
    send(2, query("b.com"), 1);
    turn();
    units[1]->is_stalled = true;
    run(10ms);
    EXPECT_EQ(units[1]->reader.outstanding(), 1u);
    bool acknowledged = false;
    ASSERT_TRUE(flushes.flush_all([&](std::size_t) { acknowledged = true; }));
    for (unsigned i = 0; i < 2000; ++i) { // 2 s
        ask(query(numbered(i)), 1ms, 0);
        EXPECT_LE(table.bytes(), table.limits().bytes);
    }
    EXPECT_FALSE(acknowledged);
    EXPECT_GT(grace.limbo_entries(), 0u);
    units[1]->is_stalled = false;
    turn(); // answers the Wake: under ASan a freed Entry would show
    auto got = replies(1);
    ASSERT_EQ(got.size(), 1u);
    EXPECT_EQ(got[0].message.back(), 1);
    run(5ms);
    EXPECT_TRUE(acknowledged);
    EXPECT_EQ(grace.limbo_entries(), 0u);
}

TEST_F(TwoWorkers, S21_PrivateEntriesWaitOnlyForTheWorkersTheyWereSentTo) {
    serve("192.0.2.1", 1ms, 0); // TTL 0: never in a Slot
    units[1]->is_stalled = true;
    for (unsigned i = 0; i < 100; ++i) EXPECT_EQ(rcode(ask(query(numbered(i)), 5ms, 0)), 0u);
    run(1ms);
    EXPECT_EQ(publisher.reserve().entries(), 0u) << "worker 1 never got them";
    units[1]->is_stalled = false;
    send(1, query("x.com"), 1);
    turn();
    units[1]->is_stalled = true;
    run(5ms);
    EXPECT_EQ(publisher.reserve().entries(), 1u) << "it waits for worker 1 alone";
    for (unsigned i = 0; i < 100; ++i) EXPECT_EQ(rcode(ask(query(numbered(i)), 5ms, 0)), 0u);
    EXPECT_EQ(publisher.reserve().entries(), 1u);
}

TEST_F(OneWorker, S22_WithoutCreditsStaleOrServfailAndEveryCreditReturns) {
    serve("192.0.2.1", 1ms, 1);
    ask(query("a.com"), 1100ms); // expired by now
    silence();
    for (unsigned i = 0; i < dataplane::limits::waiters; ++i) send(i, query(numbered(i)));
    turn();
    EXPECT_EQ(units[0]->worker.credits(), 0u);
    Bytes stale = ask(query("a.com")), failed = ask(query("b.com"));
    EXPECT_EQ(rcode(stale), 0u);
    EXPECT_EQ(stale[7], 1) << "the expired answer";
    EXPECT_EQ(rcode(failed), 2u);
    EXPECT_EQ(count(Event::servfail_full), 2u);
    run(2s);
    EXPECT_EQ(units[0]->worker.credits(), dataplane::limits::waiters) << "all were abandoned at 1.9 s";
    serve("192.0.2.1", 1ms, 60);
    run(2s);
    EXPECT_EQ(rcode(ask(query("c.com"), 20ms)), 0u) << "later misses work";
}

TEST_F(OneWorker, S22_AFullMissRingIsCountedAndPasses) {
    serve("192.0.2.1", 1ms, 1000);
    ask(query("a.com"), 910s);
    control_drains = false;
    ask(query("a.com")); // its refresh takes a place in the ring, and no credit
    constexpr unsigned rest = dataplane::limits::waiters - 1;
    for (unsigned i = 0; i < rest; ++i) send(i, query(numbered(i)));
    turn();
    ASSERT_EQ(units[0]->worker.credits(), 1u) << "it is the ring that is full";
    EXPECT_EQ(rcode(ask(query("b.com"))), 2u);
    EXPECT_EQ(count(Event::servfail_full), 1u);
    control_drains = true;
    run(10ms);
    EXPECT_EQ(replies().size(), rest);
    EXPECT_EQ(rcode(ask(query("b.com"), 5ms)), 0u);
    EXPECT_EQ(count(Event::servfail_full), 1u);
}

TEST_F(OneWorker, S22_AMissThatFindsTheRingFullKeepsItsCredit) {
    serve("192.0.2.1", 1ms, 1000);
    ask(query("a.com"), 910s);
    control_drains = false;
    ASSERT_EQ(rcode(ask(query("a.com"))), 0u);
    ASSERT_EQ(count(Event::refresh_asked), 1u) << "it takes a place in the ring, and no credit";
    for (unsigned i = 0; i < dataplane::limits::waiters; ++i) send(i, query(numbered(i)));
    turn();
    EXPECT_EQ(count(Event::servfail_full), 1u);
    EXPECT_EQ(units[0]->worker.credits(), 1u);
    control_drains = true;
    run(10ms);
    EXPECT_EQ(units[0]->worker.credits(), dataplane::limits::waiters);
}

TEST_F(OneWorker, S23_ARefreshThatFailsIsAskedForAgain) {
    serve("192.0.2.1", 1ms, 100);
    ask(query("a.com"), 89s);
    EXPECT_EQ(count(Event::refresh_asked), 0u) << "not in the first nine tenths of its life";
    run(2s);
    silence();
    ask(query("a.com"));
    ask(query("a.com"));
    EXPECT_EQ(count(Event::refresh_asked), 1u) << "one of them asks";
    run(4s); // the Fetch fails at its deadline and stores a back-off
    EXPECT_EQ(fetches.counters().refreshes, 1u);
    EXPECT_EQ(fetches.counters().failed, 1u);
    EXPECT_EQ(cached(a)->version.generation, 1u) << "nothing was published over it";
    ask(query("a.com"));
    EXPECT_EQ(count(Event::refresh_asked), 1u) << "not before the back-off";
    serve("192.0.2.2", 1ms, 100);
    run(15s);
    EXPECT_EQ(ask(query("a.com")).back(), 1) << "expired: stale at once";
    EXPECT_EQ(count(Event::stale_hit), 1u);
    EXPECT_EQ(fetches.counters().fetches, 2u);
    run(limits::stale_recheck - 15s);
    EXPECT_EQ(ask(query("a.com"), 10ms).back(), 2) << "asked again, and the new answer is there";
    EXPECT_EQ(cached(a)->version.generation, 3u);
}

TEST_F(OneWorker, S23_ARefusedRefreshRequestIsRepeated) {
    serve("192.0.2.1", 1ms, 1000);
    ask(query("a.com"), 910s);
    control_drains = false;
    for (unsigned i = 0; i < dataplane::limits::waiters; ++i) send(i, query(numbered(i)));
    turn();
    EXPECT_EQ(rcode(ask(query("a.com"))), 0u);
    EXPECT_EQ(count(Event::refresh_dropped), 1u) << "no place in the ring";
    control_drains = true;
    run(1900ms);
    ask(query("a.com"), 10ms);
    EXPECT_EQ(count(Event::refresh_asked), 0u) << "not yet";
    run(100ms);
    ask(query("a.com"), 10ms);
    EXPECT_EQ(count(Event::refresh_asked), 1u);
    EXPECT_EQ(fetches.counters().refreshes, 1u);
    EXPECT_EQ(cached(a)->version.generation, fetches.last_generation()) << "and it was refreshed";
}

TEST_F(OneWorker, S23_WhatOurOwnBoundsRefuseIsNoReasonToWait) {
    serve("192.0.2.1", 1ms, 100);
    ask(query("a.com"), 91s);
    network.socket_limit = 0;
    ask(query("a.com"), 10ms);
    EXPECT_EQ(fetches.counters().refreshes, 1u);
    EXPECT_EQ(fetches.counters().failed, 1u);
    network.socket_limit = 100;
    run(2s);
    ask(query("a.com"), 10ms);
    EXPECT_EQ(fetches.counters().refreshes, 2u) << "not after a failure's back-off";
    EXPECT_EQ(cached(a)->version.generation, 3u);
}

TEST_F(OneWorker, S23_ARequestThatNamesAnotherVersionIsDropped) {
    serve("192.0.2.1", 1ms, 100);
    ask(query("a.com"), 10ms);
    fetches.refresh(a, table.hasher()(a), {7, 0}, clock.now);
    EXPECT_EQ(fetches.counters().refreshes_dropped, 1u);
    EXPECT_EQ(fetches.live(), 0u);
}

TEST_F(OneWorker, S24_ARebuildLosesNothingAndNoOldShardAnswersAfterAFlush) {
    serve("192.0.2.1", 1ms, 3600);
    constexpr unsigned names = 1000;
    for (unsigned i = 0; i < names; ++i)
        send(i, query((i % 2 ? "" : "x.") + numbered(i) + (i % 2 ? "" : ".old.net")));
    turn();
    run(20ms);
    ASSERT_EQ(replies().size(), names);
    silence();
    send(1, query("live.com")); // a live Fetch with an empty Slot
    turn();
    run(2ms);
    ASSERT_EQ(fetches.live(), 1u);
    auto live = make_key("live.com", LDNS_RR_TYPE_A);
    const cache::Node* place = table.locate(live, table.hasher()(live));
    ASSERT_NE(place, nullptr);
    bool acknowledged = false;
    ASSERT_TRUE(flushes.flush_zone(make_key("old.net", 1).name, // half of them, in both flavours
                                   [&](std::size_t n) { acknowledged = n == names; }));
    for (int i = 0; i < 50 && table.rebuilt() == 0; ++i) run(1ms);
    ASSERT_GT(table.rebuilt(), 0u);
    run(5ms);
    EXPECT_TRUE(acknowledged);
    EXPECT_NE(table.locate(live, table.hasher()(live)), place) << "it is in the new shard";
    for (unsigned i = 0; i < names; ++i)
        send(i, query((i % 2 ? "" : "x.") + numbered(i) + (i % 2 ? "" : ".old.net")));
    turn();
    EXPECT_EQ(replies().size(), names / 2) << "those that were not flushed, at once";
    serve("192.0.2.7", 1ms, 60);
    network.reply(network.sent[names],
                  make_reply(network.sent[names].message, {.answer = {"live.com. 60 IN A 192.0.2.7"}}));
    run(2ms);
    ASSERT_TRUE(cached(live)) << "the live Fetch's Slot outlasted the rebuild";
    EXPECT_EQ(cached(live)->version.generation, names + 1);
}

TEST_F(OneWorker, S24_AWorkerForgetsThePlacesOfARebuiltShard) {
    serve("192.0.2.1", 1ms, 3600);
    for (unsigned i = 0; i < 200; ++i) send(i, query(numbered(i)));
    ask(query("a.com"), 20ms);
    ASSERT_EQ(rcode(ask(query("a.com"))), 0u);
    ASSERT_EQ(count(Event::hit), 1u) << "the worker knows its place";
    auto place = table.locate(a, table.hasher()(a));
    ASSERT_TRUE(flushes.flush_zone(make_key("com", 1).name, [](std::size_t) {}));
    run(5ms);
    ASSERT_NE(table.locate(a, table.hasher()(a)), place);
    serve("192.0.2.2", 1ms, 3600);
    EXPECT_EQ(ask(query("a.com"), 5ms).back(), 2) << "asked again";
    EXPECT_EQ(ask(query("a.com")).back(), 2) << "found in the new shard (AddressSanitizer)";
}

class TinyTable : public Appliance {
  protected:
    TinyTable() : Appliance(1, 1) { keeps_up = false; }
};

TEST_F(TinyTable, AnAnswerThatFoundNoPlaceServesLaterMissesWhileItsFetchLives) {
    dataplane::Endpoint slow = *dataplane::parse_endpoint("198.51.100.2", 53);
    upstreams.replace({upstream, slow});
    serve("192.0.2.1", 1ms, 60);
    ask(query("full.com"), 1s); // has the only place
    ASSERT_EQ(rcode(ask(query("a.com"), 5ms)), 0u);
    EXPECT_EQ(publisher.counters().full, 3u) << "full.com with DO=1, a.com in both flavours";
    EXPECT_EQ(fetches.live(), 1u) << "collecting from the slow one";
    ASSERT_EQ(rcode(ask(query("a.com"), 5ms)), 0u);
    EXPECT_EQ(fetches.counters().fetches, 2u) << "answered from the reserve";
    EXPECT_EQ(publisher.reserve().entries(), 2u);
    run(1s); // the collection is over
    EXPECT_EQ(publisher.reserve().entries(), 0u);
    ask(query("a.com"), 5ms);
    EXPECT_EQ(fetches.counters().fetches, 3u);
}

TEST_F(TinyTable, AStalledWorkersLaterPrivateAnswerIsStillThere) {
    dataplane::Endpoint slow = *dataplane::parse_endpoint("198.51.100.2", 53);
    upstreams.replace({upstream, slow});
    serve("192.0.2.1", 1ms, 60);
    ask(query("full.com"), 1s); // has the only place
    ASSERT_EQ(rcode(ask(query("a.com"), 5ms)), 0u);
    send(1, query("a.com"));
    turn();
    units[0]->is_stalled = true;
    run(2s); // answered from the reserve, while the collection ends
    EXPECT_EQ(fetches.live(), 0u);
    EXPECT_EQ(publisher.reserve().entries(), 1u) << "held by the Wake of the later question";
    units[0]->is_stalled = false;
    turn();
    auto got = replies();
    ASSERT_EQ(got.size(), 1u);
    EXPECT_EQ(got[0].message.back(), 1) << "read after the stall (AddressSanitizer)";
    run(1ms);
    EXPECT_EQ(publisher.reserve().entries(), 0u);
}

TEST_F(TinyTable, WithoutReserveTheyGetServfail) {
    // Entries beyond the reserve's share of the memory (a sixty-fourth of 4 MiB), all held by
    // a stalled worker.
    serve("192.0.2.1", 1ms, 0);
    for (unsigned i = 0; i < 1200; ++i) send(i, query(numbered(i)));
    units[0]->is_stalled = false;
    turn();
    units[0]->is_stalled = true;
    run(10ms);
    EXPECT_LE(publisher.reserve().bytes(), table.limits().bytes / 64);
    units[0]->is_stalled = false;
    turn();
    auto got = replies();
    ASSERT_EQ(got.size(), 1200u);
    auto failed = std::ranges::count_if(got, [](const auto& r) { return rcode(r.message) == 2; });
    EXPECT_GT(failed, 0);
    EXPECT_LT(failed, 1200);
    run(10ms);
    EXPECT_EQ(publisher.reserve().bytes(), 0u);
    EXPECT_EQ(rcode(ask(query("a.com"), 5ms)), 0u);
}

} // namespace
} // namespace millrace::control
