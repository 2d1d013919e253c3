// The races of tests/SCENARIOS.md, one test each: what is published, as far as control decides it, S1 to S6
// and S8 to S12. Those in which workers take part stand in appliance_test.cpp.
#include "control/limits.hpp"
#include "tests/control/fetch/scenarios_fixture.hpp"
#include "tests/support/entries.hpp"

namespace millrace::control {
namespace {

using cache::Version;
using WakeKind = dataplane::Wake::Kind;

TEST_F(Scenarios, S1_TwoNamesMergedInTurnHoldTheirOwnAddresses) {
    fetches.set_ranker(&ranker);
    serve_names(0, {{"a.com.", {{"1.1.1.1", "2.2.2.2"}, 1ms}}, {"b.com.", {{"3.3.3.3", "4.4.4.4"}, 1ms}}});
    serve_names(1, {{"a.com.", {{"5.5.5.5", "6.6.6.6"}, 50ms}}, {"b.com.", {{"7.7.7.7", "8.8.8.8"}, 90ms}}});
    silence(2);
    ask(a), ask(b);
    run(10ms);
    EXPECT_EQ(cached_addresses(a), (Hosts{"1.1.1.1", "2.2.2.2"}));
    EXPECT_EQ(cached_addresses(b), (Hosts{"3.3.3.3", "4.4.4.4"}));
    run(500ms);
    EXPECT_EQ(cached_addresses(a), (Hosts{"1.1.1.1", "2.2.2.2", "5.5.5.5", "6.6.6.6"}));
    EXPECT_EQ(cached_addresses(b), (Hosts{"3.3.3.3", "4.4.4.4", "7.7.7.7", "8.8.8.8"}));
    ASSERT_EQ(ranker.asked.size(), 2u) << "one ranking is asked per name";
    for (const auto& asked : ranker.asked) EXPECT_EQ(asked.addresses.size(), 4u) << "of the merged answer";
}

TEST_F(Scenarios, S2_EveryOrderOfCompletionsLeavesNoForeignAddress) {
    std::vector<int> order{0, 1, 2, 3}; // of the four collected replies: a's two, b's two
    do {
        auto at = [&](int reply) { return Time(20ms + order[std::size_t(reply)] * 10ms); };
        serve_names(0, {{"a.com.", {{"1.1.1.1"}, 1ms, 5}}, {"b.com.", {{"3.3.3.3"}, 1ms, 5}}});
        serve_names(1, {{"a.com.", {{"5.5.5.1"}, at(0), 5}}, {"b.com.", {{"7.7.7.1"}, at(2), 5}}});
        serve_names(2, {{"a.com.", {{"5.5.5.2"}, at(1), 5}}, {"b.com.", {{"7.7.7.2"}, at(3), 5}}});
        ask(a), ask(b);
        run(1s);
        EXPECT_EQ(sorted(a), (Hosts{"1.1.1.1", "5.5.5.1", "5.5.5.2"}));
        EXPECT_EQ(sorted(b), (Hosts{"3.3.3.3", "7.7.7.1", "7.7.7.2"}));
        run(10s);
    } while (std::ranges::next_permutation(order).found);
    EXPECT_EQ(fetches.last_generation(), 48u);
    EXPECT_EQ(publisher.counters().superseded, 0u);
}

TEST_F(Scenarios, S3_AnOlderCollectionCannotPublishOverItsSuccessor) {
    upstreams.measured(1, 900ms); // slow: its collection limit is 3.6 s, past the deadline
    serve(0, {"1.1.1.1"}, 1ms, 1);
    serve(1, {"6.6.6.6"}, 2900ms, 60);
    silence(2);
    ask(a);
    run(1500ms);
    EXPECT_EQ(cached(a)->version, (Version{1, 0}));
    ASSERT_EQ(fetches.live(), 1u) << "generation 1 collects, its entry has expired";
    for (unsigned i : {0u, 1u, 2u}) serve(i, {"2.2.2.2"}, 2500ms);
    auto client = ask(a);
    run(2s);
    EXPECT_EQ(woken(client).kind, WakeKind::stale);
    EXPECT_EQ(woken(client).addresses, Hosts{"1.1.1.1"});
    EXPECT_EQ(cached(a)->version, (Version{1, 0})) << "generation 1's reply came and found nothing";
    Answer late;
    late.kind = Kind::positive;
    EXPECT_EQ(publisher.publish(a, hash(a), late, {1, 1}, Time::max()).verdict,
              cache::Publication::superseded)
        << "nor could it be published if it were tried";
    run(2s);
    EXPECT_EQ(cached(a)->version.generation, 2u);
    EXPECT_EQ(cached_addresses(a), Hosts{"2.2.2.2"});
}

TEST_F(Scenarios, S4_TheOlderMergeComesLastAndIsRefused) {
    upstreams.measured(1, 900ms);
    serve(0, {"1.1.1.1", "2.2.2.2"}, 1ms, 1);
    serve(1, {"5.5.5.5", "6.6.6.6"}, 2500ms, 60);
    silence(2);
    ask(a);
    run(1100ms);
    serve(0, {"1.1.1.1", "2.2.2.2"}, 1ms, 60);
    serve(1, {"3.3.3.3", "4.4.4.4"}, 20ms, 60);
    ask(a);
    run(3s);
    EXPECT_EQ(cached_addresses(a), (Hosts{"1.1.1.1", "2.2.2.2", "3.3.3.3", "4.4.4.4"}));
    EXPECT_EQ(cached(a)->version, (Version{2, 1}));
    EXPECT_EQ(publisher.counters().superseded, 1u);
    EXPECT_GE(network.undeliverable, 1u) << "generation 1's reply found nobody";
}

/// Two collections of a.com at upstream 1: A's exchange was cancelled, B's is open.
class TwoCollections : public Scenarios {
  protected:
    TwoCollections() {
        upstreams.measured(1, 900ms);
        serve(0, {"1.1.1.1"}, 1ms, 1);
        silence(1), silence(2);
        ask(a);
        run(1100ms);
        of_a = last_to(1);
        serve(0, {"1.1.1.1"}, 1ms, 60);
        ask(a);
        run(10ms);
        of_b = last_to(1);
        EXPECT_NE(of_a.source_port, of_b.source_port);
        EXPECT_EQ(cached(a)->version, (Version{2, 0}));
    }
    Sent last_to(unsigned i) const {
        auto last = std::ranges::find(network.sent.rbegin(), network.sent.rend(), server(i), &Sent::to);
        return *last;
    }
    static std::vector<std::uint8_t> reply_to(const Sent& sent, const std::string& host) {
        return make_reply(sent.message, {.answer = {"a.com. 60 IN A " + host}});
    }
    Sent of_a, of_b;
};

TEST_F(TwoCollections, S5_LateRepliesFindNothing) {
    auto late = reply_to(of_a, "5.5.5.5");
    network.datagram(server(1), of_a.source_port, late); // where A's socket was
    auto on_another_port = reply_to(of_b, "6.6.6.6");
    network.datagram(server(1), of_a.source_port, on_another_port);
    network.datagram(server(1), of_b.source_port, late); // B's port, A's ID and letter case
    auto other_id = reply_to(of_b, "7.7.7.7");
    other_id[1] ^= 0xff;
    network.datagram(server(1), of_b.source_port, other_id);
    run(1ms);
    EXPECT_EQ(network.undeliverable, 3u);
    EXPECT_EQ(exchanges.counters().late + exchanges.counters().mismatched, 1u);
    EXPECT_EQ(cached_addresses(a), Hosts{"1.1.1.1"});
    EXPECT_EQ(fetches.live(), 1u) << "B waits on, over TCP";
    network.reply(last_to(1), reply_to(of_b, "3.3.3.3"));
    run(1s);
    EXPECT_EQ(cached_addresses(a), (Hosts{"1.1.1.1", "3.3.3.3"}));
}

TEST_F(TwoCollections, S5_AnotherLetterCaseIsAskedAgainOverTcp) {
    auto reply = reply_to(of_b, "7.7.7.7");
    reply[13] ^= 0x20; // 'a' of a.com
    network.datagram(server(1), of_b.source_port, reply);
    serve(1, {"3.3.3.3"}, 5ms);
    run(1s);
    EXPECT_EQ(exchanges.counters().tcp, 1u);
    EXPECT_EQ(cached_addresses(a), (Hosts{"1.1.1.1", "3.3.3.3"}));
}

TEST_F(Scenarios, S5_APortAndIdAreNotUsedAgainForTheSameQuestionWithinTenSeconds) {
    serve(0, {"1.1.1.1"}, 1ms, 1);
    silence(1), silence(2);
    network.ports = {5000, 5001};
    random.ids = {7, 8};
    ask(a);
    run(9s);
    network.ports = {5000, 5001}; // those of before, with their IDs; then others
    random.ids = {7, 9, 8, 10};
    ask(a);
    run(1ms);
    for (const Sent& sent : std::span(network.sent).last(2))
        EXPECT_GE(cache::load_u16(sent.message.data()), 9u);
}

TEST_F(TwoCollections, S6_WhatACollectionPublishesComesFromItsOwnTransactions) {
    serve(1, {"3.3.3.3"}, 5ms); // over TCP
    for (const Sent& sent : {of_a, of_b}) {
        network.datagram(server(1), of_a.source_port, reply_to(sent, "5.5.5.5"));
        network.datagram(server(2), of_b.source_port, reply_to(sent, "6.6.6.6")); // right ID, other server
        network.datagram(server(1), of_b.source_port, reply_to(of_a, "7.7.7.7"));
    }
    run(4s);
    EXPECT_EQ(cached_addresses(a), (Hosts{"1.1.1.1", "3.3.3.3"}));
    EXPECT_EQ(cached(a)->version, (Version{2, 1}));
}

TEST_F(Scenarios, S8_AnOrderComputedForAnOlderSetIsDiscarded) {
    fetches.set_ranker(&ranker);
    serve(0, {"1.1.1.1", "2.2.2.2"}, 1ms, 1);
    for (unsigned i : {1u, 2u}) script(i, servfail, 2ms);
    ask(a);
    run(500ms);
    ASSERT_EQ(ranker.asked.size(), 1u);
    run(499ms);
    ASSERT_EQ(fetches.live(), 1u) << "still ranking";
    run(2ms); // expired
    ask(a);
    run(100ms);
    EXPECT_EQ(cached(a)->version, (Version{2, 0}));
    EXPECT_TRUE(ranker.asked[0].cancelled);
    fetches.on_ranked(ranker.asked[0].fetch, reversed(ranker.asked[0].addresses));
    EXPECT_EQ(cached(a)->version, (Version{2, 0}));
    EXPECT_EQ(cached_addresses(a), (Hosts{"1.1.1.1", "2.2.2.2"}));
    EXPECT_EQ(fetches.counters().ranked_late, 1u);
}

TEST_F(Scenarios, S8_AnOrderIsNotPublishedOntoAnythingButItsOwnEntry) {
    fetches.set_ranker(&ranker);
    serve(0, {"1.1.1.1", "2.2.2.2"}, 1ms);
    for (unsigned i : {1u, 2u}) script(i, servfail, 2ms);
    ask(a);
    run(100ms);
    ASSERT_EQ(ranker.asked.size(), 1u);
    // Evicted while it was ranked, as far as the table is concerned.
    millrace::test::flush_shard(table, 0, 1, [](const cache::KeyRef&, const cache::Entry&) { return true; });
    fetches.on_ranked(ranker.asked[0].fetch, reversed(ranker.asked[0].addresses));
    EXPECT_EQ(cached(a), nullptr);
    EXPECT_EQ(fetches.live(), 0u);
}

TEST_F(Scenarios, S9_AFetchsOwnLaterResultsAreAccepted) {
    fetches.set_ranker(&ranker);
    serve(0, {"1.1.1.1"}, 1ms);
    serve(1, {"2.2.2.2"}, 20ms);
    script(2, servfail, 20ms);
    ask(a);
    run(5ms);
    EXPECT_EQ(cached(a)->version, (Version{1, 0}));
    run(100ms);
    EXPECT_EQ(cached(a)->version, (Version{1, 1}));
    Time expiry = cached(a)->expiry;
    fetches.on_ranked(ranker.asked.at(0).fetch, reversed(ranker.asked[0].addresses));
    EXPECT_EQ(cached(a)->version, (Version{1, 2}));
    EXPECT_EQ(cached_addresses(a), (Hosts{"2.2.2.2", "1.1.1.1"}));
    EXPECT_LE(cached(a)->expiry, expiry) << "a later revision never lengthens a life";
    EXPECT_EQ(fetches.live(), 0u);
    EXPECT_EQ(publisher.counters().superseded, 0u);
}

TEST_F(Scenarios, S10_TheSameQuestionWhileCollecting) {
    upstreams.measured(1, 900ms);
    serve(0, {"1.1.1.1"}, 1ms, 1);
    silence(1), silence(2);
    ask(a);
    run(500ms);
    auto fresh = ask(a);
    EXPECT_EQ(woken(fresh).addresses, Hosts{"1.1.1.1"}) << "from the cache, at once";
    EXPECT_EQ(fetches.counters().fetches, 1u);
    run(600ms);
    Sent first = network.sent.at(1);
    serve(0, {"2.2.2.2"}, 1ms, 60);
    auto later = ask(a);
    EXPECT_EQ(fetches.counters().fetches, 2u) << "no longer usable";
    network.reply(first, make_reply(first.message, {.answer = {"a.com. 60 IN A 5.5.5.5"}}), 2ms);
    run(5s);
    EXPECT_EQ(woken(later).addresses, Hosts{"2.2.2.2"});
    EXPECT_EQ(cached_addresses(a), Hosts{"2.2.2.2"});
}

TEST_F(Scenarios, S11_NothingCollectedBeforeAFlushAppearsAfterIt) {
    cache::Key below = make_key("www.a.com", LDNS_RR_TYPE_A);
    using Flush = std::function<bool(Flushes::Done)>;
    const Flush name = [&](auto done) { return flushes.flush_name(a.name, done); };
    const Flush zone = [&](auto done) { return flushes.flush_zone(a.name, done); };
    const Flush all = [&](auto done) { return flushes.flush_all(done); };
    for (const auto& [flush, remains] : {std::pair(name, 2u), std::pair(zone, 1u), std::pair(all, 0u)}) {
        serve(0, {"1.1.1.1"}, 1ms);
        serve(1, {"5.5.5.5"}, 100ms);
        silence(2);
        for (const auto& key : {a, below, b}) ask(key);
        run(50ms);
        std::optional<std::size_t> emptied;
        ASSERT_TRUE(flush([&](std::size_t n) { emptied = n; }));
        while (flushes.tick()) {
        }
        EXPECT_EQ(emptied, 2 * (3u - remains)) << "in both flavours";
        run(3s);
        EXPECT_EQ(cached(a), nullptr);
        EXPECT_EQ(cached(below) != nullptr, remains > 1);
        EXPECT_EQ(cached(b) != nullptr, remains > 0) << "its collection was left alone";
        EXPECT_EQ(fetches.live(), 0u);
        flushes.flush_all([](std::size_t) {});
        while (flushes.tick()) {
        }
    }
}

TEST_F(Scenarios, S11_WaitersMoveToTheSuccessorAndKeepTheirArrival) {
    serve(0, {"1.1.1.1"}, 100ms);
    auto client = ask(a);
    run(50ms);
    ASSERT_TRUE(flushes.flush_all([](std::size_t) {}));
    run(60ms);
    EXPECT_FALSE(clients.woken.contains(client)) << "the first Fetch's reply comes too late";
    run(100ms);
    EXPECT_EQ(woken(client).addresses, Hosts{"1.1.1.1"});
    EXPECT_EQ(cached(a)->version.generation, 2u);
    EXPECT_EQ(table.floor(0), 1u);
    for (unsigned i : {0u, 1u, 2u}) silence(i);
    auto patient = ask(b);
    Time asked = clock.now;
    for (int i = 0; i < 3; ++i) {
        run(500ms);
        ASSERT_TRUE(flushes.flush_name(b.name, [](std::size_t) {}));
    }
    run(1s);
    EXPECT_EQ(woken(patient).kind, WakeKind::abandon);
    EXPECT_EQ(woken(patient).at, asked + Config::Fanout{}.patience);
}

TEST_F(Scenarios, S11_SuccessorsStartABoundedNumberInEachTick) {
    for (unsigned i : {0u, 1u, 2u}) silence(i);
    std::vector<std::uint64_t> asked;
    for (int i = 0; i < 100; ++i)
        asked.push_back(ask(make_key("n" + std::to_string(i) + ".com", LDNS_RR_TYPE_A)));
    ASSERT_TRUE(flushes.flush_all([](std::size_t) {}));
    EXPECT_EQ(fetches.live(), 0u);
    EXPECT_EQ(fetches.waiting(), 100u) << "nobody is forgotten";
    EXPECT_EQ(exchanges.open_count(), 0u);
    fetches.tick(clock.now);
    EXPECT_EQ(fetches.live(), limits::restarts_per_tick);
    fetches.tick(clock.now);
    EXPECT_EQ(fetches.live(), 100u);
    serve(0, {"1.1.1.1"}, 1ms);
    run(1s);
    for (std::uint64_t client : asked) EXPECT_EQ(woken(client).addresses, Hosts{"1.1.1.1"});
}

TEST_F(Scenarios, S11_ASuccessorThatHasAnsweredMeanwhileServesThoseWhoMovedToo) {
    for (unsigned i : {0u, 1u, 2u}) silence(i);
    auto moved = ask(a);
    ASSERT_TRUE(flushes.flush_all([](std::size_t) {}));
    serve(0, {"1.1.1.1"}, 1ms);
    auto newcomer = ask(a);                           // starts the successor before those who moved do
    for (Time reply : {clock.now, clock.now + 1ms}) { // its queries, and what server 0 says
        clock.now = reply;
        while (network.step()) {
        }
    }
    EXPECT_EQ(woken(newcomer).addresses, Hosts{"1.1.1.1"});
    ASSERT_EQ(fetches.live(), 1u) << "collecting";
    fetches.tick(clock.now);
    EXPECT_EQ(woken(moved).addresses, Hosts{"1.1.1.1"});
    EXPECT_EQ(fetches.live(), 1u) << "and it goes on collecting";
    EXPECT_EQ(fetches.counters().fetches, 2u);
}

TEST_F(Scenarios, S12_AfterAReloadNothingOfTheOldUpstreamsIsPublished) {
    serve(0, {"1.1.1.1"}, 1ms);
    serve(1, {"5.5.5.5"}, 100ms);
    silence(2);
    auto answered = ask(a);
    run(2ms);
    network.serve(server(0), [](FakeNetwork& net, const Sent& sent) {
        net.reply(sent, make_reply(sent.message, {.answer = {record(sent, "6.6.6.6", 60)}}), 100ms);
    });
    run(5ms);
    auto waiting = ask(b); // of the old upstreams, not yet answered
    run(5ms);
    bool acknowledged = false;
    ASSERT_TRUE(flushes.flush_all([&](std::size_t) { acknowledged = true; }));
    upstreams.replace({server(7), server(8)});
    fetches.set_policy(0, {{}, {Config::MergePolicy::off, 2}});
    serve(7, {"9.9.9.9"}, 20ms);
    while (flushes.tick()) {
    }
    EXPECT_TRUE(acknowledged);
    EXPECT_EQ(cached(a), nullptr);
    run(3s);
    EXPECT_EQ(woken(answered).addresses, Hosts{"1.1.1.1"});
    EXPECT_EQ(woken(waiting).addresses, Hosts{"9.9.9.9"});
    EXPECT_EQ(cached_addresses(b), Hosts{"9.9.9.9"});
    EXPECT_EQ(cached(a), nullptr) << "neither upstream's late reply was published";
}

} // namespace
} // namespace millrace::control
