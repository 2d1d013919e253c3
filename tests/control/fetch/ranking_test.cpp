// What becomes of an order: revision 2, what is left of it, and the Prober as the ranker of real Fetches.
#include "control/limits.hpp"
#include "control/rank/prober.hpp"
#include "tests/control/fetch/scenarios_fixture.hpp"
#include "tests/control/rank/fake_probes.hpp"

namespace millrace::control {
namespace {

using cache::Version;

class RankedTest : public Scenarios {
  protected:
    explicit RankedTest(FetchPolicy policy = {}) : Scenarios(3, policy) { fetches.set_ranker(&ranker); }

    /// Three addresses are published as (1, 0), and a ranking is asked for.
    void ask_for_three() {
        serve(0, {"1.1.1.1", "2.2.2.2", "3.3.3.3"}, 1ms);
        for (unsigned i : {1u, 2u}) script(i, servfail, 2ms);
        ask(a);
        run(100ms);
        ASSERT_EQ(ranker.asked.size(), 1u);
        ASSERT_EQ(cached(a)->version, (Version{1, 0}));
    }
    void give(std::vector<Address> order) { fetches.on_ranked(ranker.asked.at(0).fetch, order); }
};

TEST_F(RankedTest, ARankingThatFoundNothingChangesNothing) {
    ask_for_three();
    give({});
    EXPECT_EQ(cached(a)->version, (Version{1, 0}));
    EXPECT_EQ(fetches.live(), 0u);
    EXPECT_EQ(fetches.counters().ranked_late, 0u);
}

TEST_F(RankedTest, TheSameOrderIsNotPublishedAgain) {
    ask_for_three();
    give(ranker.asked[0].addresses);
    EXPECT_EQ(cached(a)->version, (Version{1, 0}));
}

class RankedAndRotated : public RankedTest {
  protected:
    RankedAndRotated() : RankedTest(rotating()) { publisher.set_policy(0, rotating().ttl); }
    static FetchPolicy rotating() {
        FetchPolicy policy;
        policy.ttl.rotate = true;
        return policy;
    }
};

TEST_F(RankedAndRotated, TheSameOrderIsPublishedWhereRepliesWouldChangeIt) {
    ask_for_three();
    EXPECT_GT(cached(a)->rotating, 0u);
    give(ranker.asked[0].addresses);
    EXPECT_EQ(cached(a)->version, (Version{1, 2}));
    EXPECT_EQ(cached(a)->rotating, 0u);
    EXPECT_EQ(cached_addresses(a), (Hosts{"1.1.1.1", "2.2.2.2", "3.3.3.3"}));
}

/// A name whose upstreams give its CNAME alone is completed from the end's own answer.
TEST_F(RankedAndRotated, ANameThatIsCompletedFromARankedAnswerKeepsItsOrder) {
    cache::Key x = make_key("x.net", LDNS_RR_TYPE_A);
    for (unsigned i : {0u, 1u, 2u}) {
        network.serve(server(i), [](FakeNetwork& net, const Sent& sent) {
            ReplySpec spec{.answer = {"a.com. 60 IN CNAME x.net."}};
            if (question_name(sent) == "x.net.")
                spec.answer = {"x.net. 60 IN A 1.1.1.1", "x.net. 60 IN A 2.2.2.2"};
            net.reply(sent, make_reply(sent.message, spec), 5ms);
        });
    }
    ask(a);
    run(100ms);
    EXPECT_EQ(cached(x)->rotating, 2u);
    EXPECT_EQ(cached(a)->rotating, 2u) << "as long as its end does";
    give(reversed(ranker.asked.at(0).addresses));
    ASSERT_EQ(cached(x)->version.revision, 2u);
    run(limits::followed_ttl);
    ask(a);
    run(100ms);
    EXPECT_EQ(cached_addresses(a), (Hosts{"2.2.2.2", "1.1.1.1"}));
    EXPECT_EQ(cached(a)->rotating, 0u);
}

class RankedAndCut : public RankedTest {
  protected:
    RankedAndCut() : RankedTest(cut()) {}
    static FetchPolicy cut() {
        FetchPolicy policy;
        policy.max_addresses = 2;
        return policy;
    }
};

TEST_F(RankedAndCut, OnlyTheBestAreLeft) {
    ask_for_three();
    EXPECT_EQ(cached_addresses(a).size(), 3u) << "until they are ranked";
    give(reversed(ranker.asked[0].addresses));
    EXPECT_EQ(cached_addresses(a), (Hosts{"3.3.3.3", "2.2.2.2"}));
}

TEST_F(RankedAndCut, NothingIsLeftOutWhereNothingWasFound) {
    ask_for_three();
    give({});
    EXPECT_EQ(cached_addresses(a).size(), 3u);
}

class ProbedTest : public Scenarios {
  protected:
    ProbedTest() : Scenarios(3, with_order()) { fetches.set_ranker(&prober); }
    ~ProbedTest() override { fetches.set_ranker(nullptr); } // ours goes before the fetches close
    static FetchPolicy with_order() {
        FetchPolicy policy;
        policy.merge.policy = Config::MergePolicy::order;
        return policy;
    }
    static Config::Ranking port_443() {
        Config::Ranking ranking;
        ranking.ports = {443};
        return ranking;
    }
    /// As the daemon's loop does.
    void tick() {
        prober.tick(clock.now);
        while (auto order = prober.take()) fetches.on_ranked(order->fetch, order->addresses);
    }
    void pass(Time span) {
        for (Time end = clock.now + span; clock.now < end;) {
            run(1ms);
            tick();
        }
    }
    void answers(const std::string& address, Time rtt) {
        EXPECT_TRUE(probes.end(address, 443, true, rtt, clock.now)) << address;
    }

    FakeProbes probes;
    Prober prober{probes, port_443()};
};

TEST_F(ProbedTest, TheOrderServedIsTheOrderMeasured) {
    serve(0, {"1.1.1.1", "2.2.2.2", "3.3.3.3"}, 1ms);
    for (unsigned i : {1u, 2u}) script(i, servfail, 2ms);
    ask(a);
    pass(10ms);
    EXPECT_EQ(cached(a)->version, (Version{1, 0})) << "clients do not wait for the order";
    answers("2.2.2.2", 5ms);
    answers("3.3.3.3", 50ms);
    pass(900ms); // the first is dead
    EXPECT_EQ(cached(a)->version, (Version{1, 2}));
    EXPECT_EQ(cached_addresses(a), (Hosts{"2.2.2.2", "3.3.3.3", "1.1.1.1"}));
    EXPECT_EQ(fetches.live(), 0u);
}

TEST_F(ProbedTest, AnOrderComputedForAnOlderRevisionIsNeverPublished) {
    serve(0, {"1.1.1.1", "2.2.2.2"}, 1ms, 1);
    for (unsigned i : {1u, 2u}) script(i, servfail, 2ms);
    ask(a);
    pass(700ms);
    ASSERT_EQ(fetches.live(), 1u) << "still ranking";
    serve(0, {"1.1.1.1", "3.3.3.3"}, 1ms, 60);
    clock.now += 400ms; // (1, 0) has ended; the probes' time, too, but nothing has ticked
    ask(a);
    run(5ms);
    ASSERT_EQ(cached(a)->version, (Version{2, 0}));
    tick();
    EXPECT_EQ(cached(a)->version, (Version{2, 0})) << "the first order was of (1, 0)";
    answers("3.3.3.3", 40ms);
    pass(10ms);
    EXPECT_EQ(cached(a)->version, (Version{2, 2}));
    EXPECT_EQ(cached_addresses(a), (Hosts{"3.3.3.3", "1.1.1.1"}));
}

} // namespace
} // namespace millrace::control
