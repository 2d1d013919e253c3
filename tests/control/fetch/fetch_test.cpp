// From question to publication: fan-out, first usable reply, collection, failures, waiters.
#include "tests/control/fetch/fixture.hpp"

#include "control/limits.hpp"

namespace millrace::control {
namespace {

using cache::Version;
using WakeKind = dataplane::Wake::Kind;

const ReplySpec nxdomain{.authority = {"com. 900 IN SOA ns.com. h.com. 1 2 3 4 300"}, .rcode = 3};
const ReplySpec nodata{.authority = {"com. 900 IN SOA ns.com. h.com. 1 2 3 4 300"}};
const ReplySpec servfail{.rcode = 2};

TEST_F(FetchTest, TwoAreAskedAtOnceTheThirdAfterTheFirstReply) {
    serve(0, {"192.0.2.1"}, 20ms);
    serve(1, {"192.0.2.2"}, 30ms);
    serve(2, {"192.0.2.3"}, 30ms);
    ask(a);
    run(19ms);
    EXPECT_EQ(queries_to(0) + queries_to(1), 2u);
    EXPECT_EQ(queries_to(2), 0u);
    run(2ms);
    EXPECT_EQ(queries_to(2), 1u);
    run(1s);
    EXPECT_EQ(cached_addresses(a).size(), 3u);
}

TEST_F(FetchTest, TheThirdIsAskedAfterTheFallbackWhenNobodyReplies) {
    silence(0);
    silence(1);
    serve(2, {"192.0.2.3"}, 10ms);
    auto client = ask(a);
    run(299ms);
    EXPECT_EQ(queries_to(2), 0u);
    run(20ms);
    EXPECT_EQ(woken(client).at, start + 310ms);
}

TEST_F(FetchTest, WhoWasAskedAtTheStartHasNoMoreTimeToCompleteTheAnswer) {
    serve(0, {"192.0.2.1"}, 1ms);
    silence(1);
    serve(2, {"192.0.2.3"}, 5ms);
    ask(a);
    run(399ms); // four round trips of 100 ms, unmeasured
    EXPECT_EQ(cached(a)->version, (Version{1, 0}));
    run(2ms);
    EXPECT_EQ(cached(a)->version, (Version{1, 1}));
    EXPECT_EQ(fetches.live(), 0u);
}

TEST_F(FetchTest, NegativeAnswersDecideAtTheFirstReplyAndNobodyElseIsAsked) {
    for (const ReplySpec& spec : {nxdomain, nodata}) {
        auto key = spec.rcode ? a : b;
        for (unsigned i : {0u, 1u, 2u}) script(i, spec, 10ms);
        auto client = ask(key);
        Time asked = clock.now;
        run(3s);
        EXPECT_EQ(woken(client).at, asked + 10ms);
        EXPECT_EQ(woken(client).rcode, int(spec.rcode));
        EXPECT_EQ(cached(key)->expiry, asked + 10ms + 300s) << "the SOA's MINIMUM";
        EXPECT_EQ(queries_to(2), 0u);
    }
    EXPECT_EQ(upstreams.counters(0).failures, 0u);
}

TEST_F(FetchTest, AnNxdomainWithoutSoaWaitsForABetterAnswer) {
    script(0, {.rcode = 3}, 5ms);
    serve(1, {"192.0.2.1"}, 50ms);
    silence(2);
    auto client = ask(a);
    run(1s);
    EXPECT_EQ(woken(client).addresses, Hosts{"192.0.2.1"});
}

TEST_F(FetchTest, AnNxdomainWithoutSoaIsUsedWhenThereIsNoBetterAnswer) {
    for (unsigned i : {0u, 1u, 2u}) script(i, {.rcode = 3}, 5ms);
    auto client = ask(a);
    run(1s);
    EXPECT_EQ(woken(client).rcode, 3);
    EXPECT_EQ(cached(a)->expiry - cached(a)->born, 5s);
}

TEST_F(FetchTest, FailureDecidesOnlyWhenEveryoneHasFailed) {
    script(0, servfail, 5ms);
    script(1, {.rcode = 5}, 10ms);
    script(2, servfail, 50ms);
    auto client = ask(a);
    run(1s);
    EXPECT_EQ(woken(client).at, start + 60ms) << "the third is asked when the second has failed";
    EXPECT_EQ(woken(client).rcode, 2);
    EXPECT_TRUE(cached(a)->failure);
    EXPECT_EQ(cached(a)->expiry - cached(a)->born, 1s);
}

TEST_F(FetchTest, WhoWaitedIsToldWhyAndWhoComesLaterThatItIsCached) {
    constexpr int cached_error = 13, no_reachable = 22, network_error = 23; // RFC 8914 4
    for (unsigned i : {0u, 1u, 2u}) script(i, servfail, 5ms);
    auto first = ask(a, true), second = ask(a, true);
    run(100ms);
    EXPECT_EQ(woken(first).info, network_error);
    EXPECT_EQ(woken(second).info, network_error);
    EXPECT_EQ(cached(a)->info, cached_error);
    publisher.reclaim();
    EXPECT_EQ(publisher.reserve().entries(), 0u) << "what only they were told is gone with them";
    auto later = ask(a); // its miss was on the way while the failure was published
    EXPECT_EQ(woken(later).rcode, 2);
    EXPECT_EQ(woken(later).info, cached_error);
    for (unsigned i : {0u, 1u, 2u}) silence(i);
    auto unheard = ask(b, true);
    run(4s);
    EXPECT_EQ(woken(unheard).info, no_reachable);
    EXPECT_EQ(cached(b)->info, cached_error);
}

TEST_F(FetchTest, TheHoldOfAFailureDoublesFromOneToTheNext) {
    for (unsigned i : {0u, 1u, 2u}) script(i, servfail, 5ms);
    for (Time hold : {1s, 2s, 4s}) {
        ask(a);
        run(1s);
        EXPECT_EQ(cached(a)->expiry - cached(a)->born, hold);
        run(hold);
    }
    for (int i = 0; i < 10; ++i) {
        ask(a);
        run(1s);
        run(cached(a)->expiry - clock.now);
    }
    EXPECT_EQ(cached(a)->expiry - cached(a)->born, 300s);
    serve(0, {"192.0.2.1"}, 5ms);
    ask(a);
    run(1h);
    script(0, servfail, 5ms);
    run(24h);
    ask(a);
    run(1s);
    EXPECT_EQ(cached(a)->expiry - cached(a)->born, 1s) << "an answer in between ends the streak";
}

TEST_F(FetchTest, AFailureOfLongAgoIsForgotten) {
    for (unsigned i : {0u, 1u, 2u}) script(i, servfail, 5ms);
    for (int i = 0; i < 3; ++i) {
        ask(a);
        run(6s);
    }
    EXPECT_EQ(cached(a)->expiry - cached(a)->born, 4s);
    run(4s + limits::failure_memory);
    ask(a);
    run(1s);
    EXPECT_EQ(cached(a)->expiry - cached(a)->born, 1s);
}

/// Two say where to ask, one knows.
TEST_F(FetchTest, AReferralIsOfNoUse) {
    ReplySpec referral{.authority = {"com. 60 IN NS ns.com."}};
    for (unsigned i : {0u, 1u}) script(i, referral, 5ms);
    serve(2, {"192.0.2.1"}, 20ms);
    auto good = ask(a);
    run(1s);
    EXPECT_EQ(woken(good).addresses, Hosts{"192.0.2.1"});
    script(2, referral, 5ms);
    auto bad = ask(b);
    run(1s);
    EXPECT_EQ(woken(bad).rcode, LDNS_RCODE_SERVFAIL);
    EXPECT_TRUE(cached(b)->failure);
}

TEST_F(FetchTest, StaleDataAfterTheClientTimerAndNeverAFailureInItsPlace) {
    serve(0, {"192.0.2.1"}, 5ms, 10);
    for (unsigned i : {1u, 2u}) serve(i, {"192.0.2.1"}, 5ms, 10);
    ask(a);
    run(1min);
    for (unsigned i : {0u, 1u, 2u}) silence(i);
    Time asked = clock.now;
    auto client = ask(a), later = (run(100ms), ask(a));
    run(4s);
    EXPECT_EQ(woken(client).kind, WakeKind::stale);
    EXPECT_EQ(woken(client).at, asked + 1800ms);
    EXPECT_EQ(woken(client).addresses, Hosts{"192.0.2.1"});
    EXPECT_EQ(woken(later).kind, WakeKind::stale);
    EXPECT_EQ(cached_addresses(a), Hosts{"192.0.2.1"});
    EXPECT_GT(Time(cached(a)->refresh_after.load()), clock.now) << "stale at once until the next try";
}

TEST_F(FetchTest, ATraceOfACrowdKeepsItsEnd) {
    for (unsigned i : {0u, 1u, 2u}) serve(i, {"192.0.2.1"}, 5ms);
    for (int i = 0; i < 50; ++i) ask(a);
    std::vector<TraceEvent> events;
    auto keep = [&](cache::Generation, std::vector<TraceEvent> e) { events = std::move(e); };
    ASSERT_TRUE(fetches.trace(a, hash(a), clock.now, keep));
    run(2s);
    auto count = [&](std::string_view what) { return std::ranges::count(events, what, &TraceEvent::what); };
    EXPECT_EQ(count("woken"), std::ptrdiff_t(limits::named_wakes) + 1);
    EXPECT_EQ(count("decided"), 1);
    EXPECT_EQ(count("answer"), 3);
    ASSERT_FALSE(events.empty());
    EXPECT_EQ(events.back().what, "over");
}

TEST_F(FetchTest, AnRrsetAboveTheBoundIsAFailureThatSaysSo) {
    ReplySpec large;
    for (int i = 0; i < 300; ++i) {
        large.answer.push_back("a.com. 60 IN A 192.0." + std::to_string(i / 256) + "." +
                               std::to_string(i % 256));
    }
    for (unsigned i : {0u, 1u, 2u}) script(i, large, 5ms);
    auto client = ask(a);
    std::vector<TraceEvent> events;
    auto keep = [&](cache::Generation, std::vector<TraceEvent> e) { events = std::move(e); };
    ASSERT_TRUE(fetches.trace(a, hash(a), clock.now, keep));
    run(100ms);
    EXPECT_EQ(woken(client).rcode, 2);
    EXPECT_EQ(woken(client).info, dns::ede::other);
    ASSERT_TRUE(cached(a));
    auto text = cached(a)->info_text();
    EXPECT_EQ(std::string(text.begin(), text.end()), "RRset above max-rrset");
    auto answer = std::ranges::find(events, "answer", &TraceEvent::what);
    ASSERT_NE(answer, events.end());
    EXPECT_EQ(answer->detail, "nothing is kept of it: RRset above max-rrset");
    upstreams.set_policy({.max_rrset = 300});
    flushes.flush_all([](std::size_t) {});
    auto again = ask(a);
    run(100ms);
    EXPECT_EQ(woken(again).addresses.size(), 300u);
}

TEST_F(FetchTest, QuestionsAreCoalesced) {
    for (unsigned i : {0u, 1u, 2u}) serve(i, {"192.0.2.1"}, 5ms);
    std::vector<std::uint64_t> clients_of_a;
    for (int i = 0; i < 100; ++i) clients_of_a.push_back(ask(a));
    run(1s);
    for (auto client : clients_of_a) EXPECT_EQ(woken(client).addresses, Hosts{"192.0.2.1"});
    EXPECT_EQ(fetches.counters().fetches, 1u);
    EXPECT_EQ(fetches.counters().coalesced, 99u);
    EXPECT_EQ(network.sent.size(), 3u);
}

TEST_F(FetchTest, ARetransmissionReplacesItsWaiter) {
    serve(0, {"192.0.2.1"}, 50ms);
    dataplane::Endpoint client = *dataplane::parse_endpoint("10.1.1.1:4000", 0);
    auto first = ask_as(client, 7, a), again = ask_as(client, 7, a), other = ask_as(client, 8, a);
    EXPECT_EQ(woken(first).kind, WakeKind::abandon);
    run(100ms);
    EXPECT_EQ(woken(again).addresses, Hosts{"192.0.2.1"});
    EXPECT_EQ(woken(other).addresses, Hosts{"192.0.2.1"});
}

TEST_F(FetchTest, PatienceIsCountedFromTheFirstTry) {
    for (unsigned i : {0u, 1u, 2u}) silence(i);
    dataplane::Endpoint client = *dataplane::parse_endpoint("10.1.1.1:4000", 0);
    ask_as(client, 7, a);
    run(1s);
    auto again = ask_as(client, 7, a);
    run(2s);
    EXPECT_EQ(woken(again).at, start + Config::Fanout{}.patience);
}

/// A few who wait are looked through, many have an index.
TEST_F(FetchTest, ARetransmissionAfterAnotherClientWasDroppedReplacesItsOwn) {
    for (unsigned i : {0u, 1u, 2u}) silence(i);
    dataplane::Endpoint one = *dataplane::parse_endpoint("10.1.1.1:4000", 0);
    dataplane::Endpoint two = *dataplane::parse_endpoint("10.1.1.2:4000", 0);
    for (std::uint16_t crowd : {1, 20}) {
        cache::Key key = make_key("crowd-" + std::to_string(crowd) + ".com", LDNS_RR_TYPE_A);
        std::vector<std::uint64_t> dropped;
        for (std::uint16_t id = 100; id < 100 + crowd; ++id) dropped.push_back(ask_as(one, id, key));
        run(1s);
        auto first = ask_as(two, 7, key), other = ask_as(two, 8, key);
        run(950ms);
        for (auto gone : dropped) ASSERT_EQ(woken(gone).kind, WakeKind::abandon);
        ask_as(two, 7, key);
        EXPECT_TRUE(clients.woken.contains(first));
        EXPECT_FALSE(clients.woken.contains(other));
        ask_as(two, 8, key);
        EXPECT_TRUE(clients.woken.contains(other));
    }
}

/// Whose first question came first runs out of patience first, wherever it stands among those who wait.
TEST_F(FetchTest, ARetransmissionWaitsNoLongerThanItsFirstQuestion) {
    for (unsigned i : {0u, 1u, 2u}) silence(i);
    dataplane::Endpoint one = *dataplane::parse_endpoint("10.1.1.1:4000", 0);
    dataplane::Endpoint two = *dataplane::parse_endpoint("10.1.1.2:4000", 0);
    for (std::uint16_t crowd : {1, 20}) {
        cache::Key key = make_key("crowd-" + std::to_string(crowd) + ".com", LDNS_RR_TYPE_A);
        ask_as(one, 7, key);
        run(500ms);
        std::uint64_t later = 0;
        for (std::uint16_t id = 100; id < 100 + crowd; ++id) later = ask_as(two, id, key);
        auto again = ask_as(one, 7, key);
        run(1450ms);
        EXPECT_TRUE(clients.woken.contains(again));
        EXPECT_FALSE(clients.woken.contains(later));
        run(2s);
    }
}

TEST_F(FetchTest, ARefreshBesideALiveFetchIsDropped) {
    serve(0, {"192.0.2.1"}, 1ms);
    for (unsigned i : {1u, 2u}) silence(i);
    ask(a);
    run(10ms);
    ASSERT_EQ(fetches.live(), 1u) << "collecting";
    fetches.refresh(a, hash(a), cached(a)->version, clock.now);
    EXPECT_EQ(fetches.live(), 1u);
    EXPECT_EQ(fetches.counters().fetches, 1u);
    EXPECT_EQ(fetches.counters().refreshes_dropped, 1u);
}

TEST_F(FetchTest, OneClientWaitsForALimitedNumber) {
    dataplane::Address address = *dataplane::parse_address("10.1.1.1");
    for (unsigned i = 0; i < limits::waiters_per_prefix; ++i) ask_as({address, std::uint16_t(i + 1)}, 1, a);
    auto refused = ask_as({address, 60000}, 1, a);
    EXPECT_EQ(woken(refused).rcode, 2);
    auto other = ask(a);
    EXPECT_FALSE(clients.woken.contains(other));
    EXPECT_EQ(fetches.counters().refused, 1u);
}

TEST_F(FetchTest, OneQuestionHasALimitedNumberOfWaiters) {
    for (unsigned i = 0; i < limits::waiters_per_fetch; ++i) ask(a, true); // a worker's are fewer
    EXPECT_EQ(fetches.waiting(), limits::waiters_per_fetch);
    auto refused = ask(a, true);
    EXPECT_EQ(woken(refused).rcode, 2);
    EXPECT_EQ(fetches.counters().refused, 1u);
    EXPECT_EQ(fetches.waiting(), limits::waiters_per_fetch);
}

TEST_F(FetchTest, AFetchGoesOnAfterItsWaitersWereDropped) {
    for (unsigned i : {0u, 1u, 2u}) serve(i, {"192.0.2.1"}, 2500ms);
    auto client = ask(a);
    run(2s);
    EXPECT_EQ(woken(client).kind, dataplane::Wake::Kind::abandon);
    run(1s);
    EXPECT_EQ(cached_addresses(a), Hosts{"192.0.2.1"}) << "for those who ask again";
}

TEST_F(FetchTest, AQuestionWhoseAnswerWasPublishedOnItsWayIsAnsweredAtOnce) {
    serve(0, {"192.0.2.1"}, 5ms);
    ask(a);
    run(10ms);
    auto late = ask(a);
    EXPECT_EQ(woken(late).addresses, Hosts{"192.0.2.1"});
    EXPECT_EQ(fetches.counters().fetches, 1u);
}

TEST_F(FetchTest, WhatOurOwnBoundsRefuseIsNotCachedAsAFailure) {
    serve(0, {"192.0.2.1"}, 5ms);
    network.socket_limit = 0;
    auto client = ask(a);
    run(1s);
    EXPECT_EQ(woken(client).rcode, 2);
    EXPECT_EQ(cached(a), nullptr);
    network.socket_limit = 100;
    client = ask(a);
    run(1s);
    EXPECT_EQ(woken(client).addresses, Hosts{"192.0.2.1"});
}

TEST_F(FetchTest, AnEndlessChainIsTheZonesFaultNotTheUpstreams) {
    for (unsigned i : {0u, 1u, 2u})
        script(i, {.answer = {"a.com. 60 IN CNAME b.com.", "b.com. 60 IN CNAME a.com."}}, 5ms);
    auto client = ask(a);
    run(1s);
    EXPECT_EQ(woken(client).rcode, 2);
    EXPECT_LE(woken(client).at, start + 20ms) << "not at the deadline";
    for (unsigned i : {0u, 1u, 2u})
        EXPECT_EQ(upstreams.counters(i).failures + upstreams.counters(i).timeouts, 0u);
}

TEST_F(FetchTest, CloseAbandonsEveryoneAndCancelsEverything) {
    for (unsigned i : {0u, 1u, 2u}) silence(i);
    auto client = ask(a);
    run(10ms);
    fetches.close();
    EXPECT_EQ(woken(client).kind, WakeKind::abandon);
    EXPECT_EQ(network.open_count(), 0u);
    auto late = ask(b);
    EXPECT_EQ(woken(late).rcode, 2) << "refused, not lost";
}

TEST_F(FetchTest, CloseAbandonsThoseWhoWaitForASuccessorToo) {
    for (unsigned i : {0u, 1u, 2u}) silence(i);
    auto client = ask(a);
    fetches.supersede([](const cache::Key&, const cache::Entry*) { return true; });
    ASSERT_EQ(fetches.live(), 0u);
    fetches.close();
    EXPECT_EQ(woken(client).kind, WakeKind::abandon);
    EXPECT_EQ(fetches.waiting(), 0u);
}

class FullTableTest : public FetchTest {
  protected:
    FullTableTest() : FetchTest(3, {}, 1) {}
};

TEST_F(FullTableTest, AFullTableStillAnswers) {
    for (unsigned i : {0u, 1u, 2u}) serve(i, {"192.0.2.1"}, 5ms);
    auto first = ask(a), second = ask(b);
    run(1s);
    EXPECT_EQ(woken(first).addresses, Hosts{"192.0.2.1"});
    EXPECT_EQ(woken(second).addresses, Hosts{"192.0.2.1"});
    EXPECT_EQ(cached(b), nullptr);
    EXPECT_EQ(publisher.counters().full, 3u) << "all but the first, each in two flavours";
}

} // namespace
} // namespace millrace::control
