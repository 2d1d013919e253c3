// How upstreams are asked, strategy by strategy; two-stage, the default, is what most other tests use.
#include "tests/control/fetch/scenarios_fixture.hpp"

namespace millrace::control {
namespace {

using Strategy = Config::Strategy;

FetchPolicy with(Strategy strategy) {
    FetchPolicy policy;
    policy.fanout.strategy = strategy;
    return policy;
}

struct RaceTest : Scenarios {
    RaceTest() : Scenarios(3, with(Strategy::race)) {}
};
struct SequentialTest : Scenarios {
    SequentialTest() : Scenarios(3, with(Strategy::sequential)) {}
};
struct ParallelTest : Scenarios {
    ParallelTest() : Scenarios(3, with(Strategy::parallel)) {}
};

TEST_F(RaceTest, OneMoreEveryStaggerAndTheFirstUsableReplyEndsIt) {
    serve(0, {"1.1.1.1"}, 200ms);
    serve(1, {"2.2.2.2"}, 20ms);
    serve(2, {"3.3.3.3"}, 1ms);
    auto token = ask(a);
    run(49ms);
    EXPECT_EQ(queries_to(1), 0u);
    run(31ms);
    EXPECT_EQ(queries_to(1), 1u);
    EXPECT_EQ(woken(token).addresses, Hosts{"2.2.2.2"});
    run(1s);
    EXPECT_EQ(fetches.live(), 0u);
    EXPECT_EQ(queries_to(2), 0u);
    EXPECT_EQ(cached_addresses(a), Hosts{"2.2.2.2"}) << "nothing is merged";
}

TEST_F(RaceTest, AFailureStartsTheNextAtOnce) {
    script(0, servfail, 5ms);
    serve(1, {"2.2.2.2"}, 5ms);
    auto token = ask(a);
    run(11ms);
    EXPECT_EQ(woken(token).addresses, Hosts{"2.2.2.2"});
}

TEST_F(SequentialTest, TheNextIsAskedWhenOneIsSilentForFallback) {
    silence(0);
    serve(1, {"2.2.2.2"}, 5ms);
    serve(2, {"3.3.3.3"}, 5ms);
    auto token = ask(a);
    run(299ms);
    EXPECT_EQ(queries_to(1), 0u);
    run(10ms);
    EXPECT_EQ(woken(token).addresses, Hosts{"2.2.2.2"});
    run(2s);
    EXPECT_EQ(queries_to(2), 0u);
}

TEST_F(SequentialTest, AndWhenOneHasFailed) {
    for (unsigned i : {0u, 1u}) script(i, servfail, 5ms);
    serve(2, {"3.3.3.3"}, 5ms);
    auto token = ask(a);
    run(16ms);
    EXPECT_EQ(woken(token).addresses, Hosts{"3.3.3.3"});
}

TEST_F(ParallelTest, AllAtOnceAndMerged) {
    serve(0, {"1.1.1.1"}, 20ms);
    serve(1, {"2.2.2.2"}, 10ms);
    serve(2, {"3.3.3.3"}, 1ms);
    auto token = ask(a);
    run(2ms);
    for (unsigned i : {0u, 1u, 2u}) EXPECT_EQ(queries_to(i), 1u);
    EXPECT_EQ(woken(token).addresses, Hosts{"3.3.3.3"});
    run(1s);
    EXPECT_EQ(cached_addresses(a), (Hosts{"3.3.3.3", "2.2.2.2", "1.1.1.1"}));
}

TEST_F(SequentialTest, AServerThatHasBecomeTheQuickestIsFound) {
    serve(0, {"1.1.1.1"}, 20ms, 1);
    serve(1, {"2.2.2.2"}, 200ms, 1);
    serve(2, {"3.3.3.3"}, 1ms, 1);
    std::size_t to_first = 0;
    for (unsigned i = 1; i < 4 * limits::exploration; ++i) {
        to_first = queries_to(0);
        auto token = ask(a);
        run(30ms);
        EXPECT_FALSE(woken(token).addresses.empty()) << "nobody waits for one that is tried";
        run(1s);
    }
    EXPECT_EQ(queries_to(0), to_first) << "the third is asked by now";
    EXPECT_LE(queries_to(1), 2u);
}

TEST_F(RaceTest, AServerThatWasOvertakenIsProbedAndLosesItsPlace) {
    upstreams.replace({{server(0), true}, {server(1), true}});
    serve(0, {"1.1.1.1"}, 400ms);
    serve(1, {"2.2.2.2"}, 5ms);
    ask(a);
    run(1s);
    EXPECT_EQ(upstreams.counters(0).probes, 1u) << "it was cut off before it told anything";
    EXPECT_EQ(upstreams.breaker(0), Breaker::closed);
    auto token = ask(b);
    run(6ms);
    EXPECT_EQ(woken(token).addresses, Hosts{"2.2.2.2"}) << "asked first by now";
}

TEST_F(SequentialTest, WhatIsTriedTakesNothingBackOfWhatATrustedServerSaid) {
    upstreams.replace({{server(0), true}, {server(1), true}, {server(2), true}});
    serve(0, {"1.1.1.1"}, 5ms, 1);
    for (unsigned i : {1u, 2u}) script(i, {.rcode = 2, .info = 6}, 5ms);
    for (unsigned i = 0; i < 2 * limits::exploration; ++i) {
        ask(a);
        run(1100ms);
    }
    EXPECT_GT(queries_to(1) + queries_to(2), 0u);
    EXPECT_EQ(fetches.counters().revoked, 0u);
}

class SlowSequence : public Scenarios {
  protected:
    static FetchPolicy slow() {
        FetchPolicy policy = with(Strategy::sequential);
        policy.fanout.fallback = 1s;
        return policy;
    }
    SlowSequence() : Scenarios(4, slow()) {}
};

TEST_F(SlowSequence, WhatNobodyHadTheTimeToAskIsNoFailureOfTheName) {
    for (unsigned i : {0u, 1u, 2u}) silence(i);
    serve(3, {"1.1.1.1"}, 5ms);
    auto token = ask(a, true);
    run(4s);
    EXPECT_EQ(woken(token).rcode, LDNS_RCODE_SERVFAIL);
    EXPECT_FALSE(cached(a)) << "the last server may know it";
}

} // namespace
} // namespace millrace::control
