// The breaker of an upstream: what opens it, what tries it, what closes it, and whom it leaves to be asked.
#include "tests/control/fetch/fixture.hpp"
#include "tests/control/upstream/upstreams_fixture.hpp"

namespace millrace::control {
namespace {

class BreakerTest : public UpstreamsTest {};

TEST_F(BreakerTest, AFlakeChangesNothing) {
    fail(0, 2);
    EXPECT_EQ(breaker(0), Breaker::closed);
    EXPECT_EQ(upstreams.ranked(now), (Order{0, 1, 2}));
    succeed(0);
    fail(0, 2);
    EXPECT_EQ(breaker(0), Breaker::closed);
    EXPECT_EQ(upstreams.counters(0).timeouts, 4u);
    EXPECT_EQ(upstreams.counters(0).opened, 0u);
}

TEST_F(BreakerTest, ConsecutiveFailuresOfAnyKindOpenIt) {
    fail(0, 2);
    bool is_trial = begin(0);
    upstreams.judge_unreachable(0, now, is_trial);
    upstreams.end(0, is_trial);
    EXPECT_EQ(breaker(0), Breaker::open);
    EXPECT_EQ(upstreams.counters(0).opened, 1u);
    EXPECT_EQ(upstreams.counters(0).failures, 1u);
    EXPECT_EQ(upstreams.ranked(now), (Order{1, 2}));
    EXPECT_FALSE(upstreams.may_be_asked(0, now + 5s - 1us));
    EXPECT_TRUE(upstreams.may_be_asked(1, now));
}

TEST_F(BreakerTest, FailuresFarApartAreNoStreak) {
    for (int i = 0; i < 10; ++i) {
        fail(0, 2);
        now += 10s + 1us;
    }
    EXPECT_EQ(breaker(0), Breaker::closed);
    fail(0, 2);
    now += 10s;
    fail(0, 1);
    EXPECT_EQ(breaker(0), Breaker::open);
}

TEST_F(BreakerTest, OneTrialAtATimeAfterTheBackOff) {
    upstreams.measured(0, 1ms);
    fail(0, 3);
    now += 5s;
    EXPECT_EQ(upstreams.ranked(now), (Order{0, 1, 2})) << "where its speed puts it";
    EXPECT_TRUE(begin(0));
    EXPECT_EQ(breaker(0), Breaker::half_open);
    EXPECT_EQ(upstreams.ranked(now + 1h), (Order{1, 2})) << "nobody else tries before it is known";
    EXPECT_FALSE(upstreams.may_be_asked(0, now + 1h));
    upstreams.judge_reply(0, 0, now, false);
    upstreams.end(0, true);
    EXPECT_EQ(breaker(0), Breaker::closed);
    EXPECT_EQ(upstreams.ranked(now), (Order{0, 1, 2}));
}

TEST_F(BreakerTest, EachFailedTrialDoublesTheBackOffUpToItsLimit) {
    fail(0, 3);
    for (Time back_off : {5s, 10s, 15s, 15s}) {
        EXPECT_EQ(upstreams.retry_at(0), now + back_off);
        EXPECT_FALSE(upstreams.may_be_asked(0, now + back_off - 1us));
        now += back_off;
        fail(0, 1);
        EXPECT_EQ(breaker(0), Breaker::open);
    }
    EXPECT_EQ(upstreams.counters(0).opened, 1u) << "it has been so all the time";
    now += 15s;
    succeed(0);
    fail(0, 2);
    EXPECT_EQ(breaker(0), Breaker::closed) << "the streak begins anew";
    fail(0, 1);
    EXPECT_EQ(upstreams.retry_at(0), now + 5s) << "and so does the back-off";
    EXPECT_EQ(upstreams.counters(0).opened, 2u);
}

TEST_F(BreakerTest, ACancelledTrialSaysNothing) {
    fail(0, 3);
    now += 5s;
    EXPECT_TRUE(begin(0));
    upstreams.end(0, true);
    EXPECT_EQ(breaker(0), Breaker::open);
    EXPECT_EQ(upstreams.retry_at(0), now + 5s) << "as long as before, not longer";
    now += 5s;
    EXPECT_TRUE(begin(0));
    upstreams.end(0, true);
}

TEST_F(BreakerTest, QuestionsBegunBeforeItOpenedAreNoTrials) {
    EXPECT_FALSE(begin(0));
    EXPECT_FALSE(begin(0));
    for (int i = 0; i < 3; ++i) upstreams.judge_silence(0, 1s, now, false);
    EXPECT_EQ(breaker(0), Breaker::open);
    upstreams.judge_silence(0, 1s, now + 3s, false);
    EXPECT_EQ(upstreams.retry_at(0), now + 5s);
    upstreams.end(0, false);
    now += 5s;
    EXPECT_TRUE(begin(0));
    upstreams.judge_silence(0, 1s, now, false);
    upstreams.end(0, false);
    EXPECT_EQ(breaker(0), Breaker::half_open) << "the trial is not over";
    upstreams.judge_reply(0, 0, now, false);
    upstreams.end(0, true);
    EXPECT_EQ(breaker(0), Breaker::closed);
}

TEST_F(BreakerTest, AnyAnswerClosesIt) {
    EXPECT_FALSE(begin(0));
    fail(0, 3);
    upstreams.judge_reply(0, 0, now, false);
    upstreams.end(0, false);
    EXPECT_EQ(breaker(0), Breaker::closed);
}

TEST_F(BreakerTest, WhenAllAreOpenQuestionsGoRound) {
    for (unsigned i : {2u, 0u, 1u}) fail(i, 3), now += 1ms;
    for (unsigned expected : {2u, 0u, 1u, 2u}) {
        EXPECT_EQ(upstreams.ranked(now), Order{expected});
        for (unsigned i : {0u, 1u, 2u}) EXPECT_EQ(upstreams.may_be_asked(i, now), i == expected);
        EXPECT_FALSE(begin(expected)) << "it is not time for a trial";
        upstreams.judge_silence(expected, 1s, now, false);
        upstreams.end(expected, false);
        now += 1ms;
    }
    EXPECT_EQ(upstreams.retry_at(2), now - 7ms + 5s) << "that changes no back-off";
    succeed(0);
    EXPECT_EQ(upstreams.ranked(now), Order{0}) << "back";
}

TEST_F(BreakerTest, WhileNoneIsClosedNobodyDependsOnATrial) {
    for (unsigned i : {0u, 1u, 2u}) fail(i, 3), now += 1s;
    now += 2s + 500ms; // the first one's trial is due
    EXPECT_EQ(upstreams.ranked(now), (Order{0, 1}));
    EXPECT_TRUE(begin(0));
    EXPECT_EQ(upstreams.ranked(now), (Order{1})) << "asked longer ago than the one that is tried";
    EXPECT_FALSE(upstreams.may_be_asked(2, now));
    succeed(1);
    EXPECT_EQ(upstreams.ranked(now), (Order{1})) << "one is enough";
    upstreams.end(0, true);
}

TEST_F(BreakerTest, StaysWithTheServerThroughAReload) {
    fail(1, 3);
    upstreams.replace({upstreams.endpoint(1), upstreams.endpoint(0)});
    EXPECT_EQ(breaker(0), Breaker::open);
    EXPECT_EQ(breaker(1), Breaker::closed);
    EXPECT_EQ(upstreams.retry_at(0), now + 5s);
}

// In the whole control plane.

class BreakerFetchTest : public FetchTest {
  protected:
    cache::Key name(unsigned i) const { return make_key("n" + std::to_string(i) + ".com", LDNS_RR_TYPE_A); }
    /// Questions of one name each, a second apart.
    void ask_names(unsigned count) {
        for (unsigned i = 0; i < count; ++i) {
            ask(name(++asked_));
            run(1s);
        }
    }

  private:
    unsigned asked_ = 0;
};

TEST_F(BreakerFetchTest, AnOpenServerIsAskedNeitherAtOnceNorInCollection) {
    script(0, {.rcode = 5}, 1ms);
    serve(1, {"1.1.1.1"}, 5ms);
    serve(2, {"2.2.2.2"}, 6ms);
    ask_names(4);
    EXPECT_EQ(upstreams.breaker(0), Breaker::open);
    std::size_t before = queries_to(0);
    ask_names(4);
    EXPECT_EQ(queries_to(0), before);
    EXPECT_EQ(cached_addresses(name(8)), (Hosts{"1.1.1.1", "2.2.2.2"}));
    ask_names(2);
    EXPECT_EQ(queries_to(0), before + 1) << "the trial, after five seconds";
    ask_names(9);
    EXPECT_EQ(queries_to(0), before + 1) << "which failed: ten seconds now";
    serve(0, {"3.3.3.3"}, 1ms);
    ask_names(2);
    EXPECT_EQ(upstreams.breaker(0), Breaker::closed);
}

TEST_F(BreakerFetchTest, ManyQuestionsMakeOneTrial) {
    for (unsigned i : {1u, 2u}) serve(i, {"1.1.1.1"}, 5ms);
    script(0, {.rcode = 2}, 1ms);
    ask_names(4);
    ASSERT_EQ(upstreams.breaker(0), Breaker::open);
    run(6s);
    silence(0);
    upstreams.measured(0, 1ms); // the fastest, then
    std::size_t before = queries_to(0);
    for (unsigned i = 100; i < 150; ++i) ask(name(i));
    EXPECT_EQ(upstreams.breaker(0), Breaker::half_open);
    EXPECT_EQ(queries_to(0), before + 1);
    run(90ms);
    EXPECT_EQ(queries_to(0), before + 1) << "nor do those join in that collect";
}

TEST_F(BreakerFetchTest, WhenAllAreOpenSomebodyIsAskedAndOneThatIsBackIsFound) {
    for (unsigned i : {0u, 1u, 2u}) script(i, {.rcode = 5}, 1ms);
    ask_names(4);
    for (unsigned i : {0u, 1u, 2u}) ASSERT_EQ(upstreams.breaker(i), Breaker::open);
    serve(2, {"2.2.2.2"}, 1ms);
    for (unsigned i = 200; i < 203; ++i) {
        ask(name(i));
        run(10ms);
    }
    EXPECT_EQ(upstreams.breaker(2), Breaker::closed) << "within as many questions as there are servers";
    auto token = ask(a);
    run(10ms);
    EXPECT_EQ(woken(token).addresses, Hosts{"2.2.2.2"});
}

TEST_F(BreakerFetchTest, DenialsBadPacketsAndOurOwnCancellationsNeverOpenIt) {
    auto spoil = [](FakeNetwork& net, const Sent& sent, unsigned at) {
        auto reply = make_reply(sent.message, {.answer = {record(sent, "9.9.9.9", 60)}});
        reply[at] ^= 0xff;
        net.reply(sent, reply, 1ms);
    };
    script(0, {.authority = {"com. 60 IN SOA a. b. 1 2 3 4 5"}, .rcode = 3}, 5ms);
    network.serve(server(1), [=](FakeNetwork& net, const Sent& sent) { spoil(net, sent, 0); });
    network.serve(server(2), [=](FakeNetwork& net, const Sent& sent) { spoil(net, sent, 5); });
    ask_names(20);
    for (unsigned i : {0u, 1u, 2u}) {
        EXPECT_EQ(upstreams.breaker(i), Breaker::closed);
        EXPECT_EQ(upstreams.counters(i).failures + upstreams.counters(i).timeouts, 0u);
    }
    EXPECT_GT(exchanges.counters().cancelled, 0u);
    EXPECT_GT(exchanges.counters().mismatched + exchanges.counters().malformed, 0u);
}

// Our own question that an upstream forwards back to us.

class LoopTest : public BreakerFetchTest {
  protected:
    std::uint64_t ask_from(const dataplane::Address& address, const cache::Key& key, std::uint16_t id) {
        return ask_as({address, 40000}, id, key);
    }
};

TEST_F(LoopTest, AnUpstreamThatAsksWhatWeAskItGetsServfailAtOnce) {
    for (unsigned i : {0u, 1u, 2u}) silence(i);
    auto client = ask(a);
    ASSERT_EQ(queries_to(0), 1u);
    ASSERT_EQ(queries_to(2), 0u);
    for (std::uint8_t flavour : cache::flavours) {
        auto back = ask_from(server(0).address, make_key("a.com", LDNS_RR_TYPE_A, flavour), flavour);
        EXPECT_EQ(woken(back).rcode, LDNS_RCODE_SERVFAIL) << unsigned(flavour);
    }
    EXPECT_EQ(fetches.counters().loops, 4u);
    EXPECT_EQ(fetches.live(), 1u) << "no Fetch was started for any of them";
    EXPECT_EQ(fetches.counters().coalesced, 0u);
    EXPECT_FALSE(clients.woken.contains(client)) << "the client still waits for the others";
}

TEST_F(LoopTest, OtherQuestionsFromAnUpstreamsAddressAreAClients) {
    for (unsigned i : {0u, 1u, 2u}) serve(i, {"1.1.1.1"}, 10ms);
    ask(a);
    auto other_name = ask_from(server(0).address, b, 1);
    auto other_type = ask_from(server(0).address, make_key("a.com", LDNS_RR_TYPE_AAAA), 2);
    auto not_asked = ask_from(server(2).address, a, 3); // this one was not asked, yet
    run(50ms);
    EXPECT_EQ(woken(other_name).rcode, 0);
    EXPECT_EQ(woken(other_type).rcode, 0);
    EXPECT_EQ(woken(not_asked).rcode, 0);
    EXPECT_EQ(fetches.counters().loops, 0u);
}

TEST_F(LoopTest, AnUpstreamsHostMayAskFirstAndAgain) {
    for (unsigned i : {0u, 1u, 2u}) serve(i, {"1.1.1.1"}, 10ms);
    auto first = ask_from(server(0).address, a, 7);
    auto again = ask_from(server(0).address, a, 7);
    run(50ms);
    EXPECT_EQ(woken(first).kind, dataplane::Wake::Kind::abandon);
    EXPECT_EQ(woken(again).rcode, 0);
    EXPECT_EQ(fetches.counters().loops, 0u);
}

TEST_F(LoopTest, TheAddressThatAllLocalClientsHaveIsNoSign) {
    upstreams.replace({*dataplane::parse_endpoint("127.0.0.1:5335", 53)});
    ask(a);
    ASSERT_EQ(exchanges.open_count(), 1u);
    auto neighbour = ask_from(*dataplane::parse_address("127.0.0.1"), a, 1);
    EXPECT_FALSE(clients.woken.contains(neighbour));
    EXPECT_EQ(fetches.counters().loops, 0u);
}

} // namespace
} // namespace millrace::control
