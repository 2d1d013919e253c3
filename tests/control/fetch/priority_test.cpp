// When servers of a worse priority are asked, and how weights share the questions.
#include "tests/control/fetch/scenarios_fixture.hpp"

namespace millrace::control {
namespace {

/// The last of three stands back.
class PriorityTest : public Scenarios {
  protected:
    explicit PriorityTest(const FetchPolicy& policy = {}) : Scenarios(3, policy) {
        set_priorities({0, 0, 1});
    }

    void set_priorities(const std::vector<unsigned>& priorities) {
        std::vector<Config::Server> servers = make_servers(unsigned(priorities.size()));
        for (std::size_t i = 0; i < priorities.size(); ++i) servers[i].priority = priorities[i];
        upstreams.replace(servers);
    }
    /// ICMP errors, and nothing else.
    void hint(unsigned i, Time delay) {
        network.serve(server(i), [=](FakeNetwork& net, const Sent& sent) {
            if (!sent.tcp) net.reply_error(sent, std::errc::connection_refused, delay);
        });
    }
};

TEST_F(PriorityTest, NobodyAsksItToCompleteAnAnswer) {
    for (unsigned i : {0u, 1u, 2u}) serve(i, {"192.0.2." + std::to_string(i)}, 20ms);
    ask(a);
    run(4s);
    EXPECT_EQ(sorted(a), (Hosts{"192.0.2.0", "192.0.2.1"}));
    EXPECT_EQ(queries_to(2), 0u);
}

TEST_F(PriorityTest, NorWhileBetterOnesAreSlowOrOneOfThemIsWell) {
    serve(0, {"192.0.2.1"}, 1400ms);
    silence(1);
    serve(2, {"192.0.2.3"}, 1ms);
    auto client = ask(a);
    run(1450ms);
    EXPECT_EQ(woken(client).addresses, Hosts{"192.0.2.1"});
    EXPECT_EQ(queries_to(2), 0u);
    script(0, servfail, 1ms);
    serve(1, {"192.0.2.2"}, 1200ms);
    client = ask(b);
    run(1300ms);
    EXPECT_EQ(woken(client).addresses, Hosts{"192.0.2.2"});
    EXPECT_EQ(queries_to(2), 0u);
}

TEST_F(PriorityTest, ItIsAskedAtOnceWhenAllBeforeItHaveFailed) {
    script(0, servfail, 5ms);
    script(1, refused, 10ms);
    serve(2, {"192.0.2.3"}, 5ms);
    auto client = ask(a);
    run(9ms);
    EXPECT_EQ(queries_to(2), 0u);
    run(7ms);
    EXPECT_EQ(woken(client).addresses, Hosts{"192.0.2.3"});
}

TEST_F(PriorityTest, ItIsAskedAtHalfTimeWhenAllBeforeItAreSilent) {
    for (unsigned i : {0u, 1u}) silence(i);
    serve(2, {"192.0.2.3"}, 5ms);
    auto client = ask(a);
    run(1499ms);
    EXPECT_EQ(queries_to(2), 0u);
    run(7ms);
    EXPECT_EQ(woken(client).at, start + 1505ms);
    EXPECT_EQ(woken(client).addresses, Hosts{"192.0.2.3"});
}

TEST_F(PriorityTest, EachOneAfterItHasHalfOfTheRest) {
    set_priorities({0, 7, 9});
    for (unsigned i : {0u, 1u}) silence(i);
    serve(2, {"192.0.2.3"}, 5ms);
    auto client = ask(a, true);
    run(1501ms);
    EXPECT_EQ(queries_to(1), 1u);
    run(748ms);
    EXPECT_EQ(queries_to(2), 0u);
    run(7ms);
    EXPECT_EQ(woken(client).at, start + 2255ms);
}

TEST_F(PriorityTest, ItIsAskedSoonerWhenIcmpSaysThatAllBeforeItAreOutOfReach) {
    hint(0, 1ms);
    hint(1, 5ms);
    serve(2, {"192.0.2.3"}, 5ms);
    auto client = ask(a);
    run(4ms);
    EXPECT_EQ(queries_to(2), 0u) << "the other one may answer";
    run(7ms);
    EXPECT_EQ(woken(client).addresses, Hosts{"192.0.2.3"});
}

TEST_F(PriorityTest, ItIsTheFirstWhenThoseBeforeItAreOut) {
    serve(2, {"192.0.2.3"}, 5ms);
    for (unsigned i : {0u, 1u}) upstreams.set_override(i, Override::down, clock.now);
    auto client = ask(a);
    run(6ms);
    EXPECT_EQ(woken(client).addresses, Hosts{"192.0.2.3"});
    EXPECT_EQ(queries_to(0) + queries_to(1), 0u);
}

TEST_F(PriorityTest, WhatBetterOnesHaveSaidStandsThoughItIsNotWhole) {
    for (unsigned i : {0u, 1u}) script(i, {.rcode = 3}, 5ms); // no SOA
    serve(2, {"192.0.2.3"}, 5ms);
    auto client = ask(a);
    run(4s);
    EXPECT_EQ(woken(client).rcode, 3);
    EXPECT_EQ(queries_to(2), 0u);
}

TEST_F(PriorityTest, WhenAllHaveFailedSoHasTheName) {
    for (unsigned i : {0u, 1u, 2u}) script(i, servfail, 5ms);
    auto client = ask(a);
    run(1s);
    EXPECT_EQ(woken(client).at, start + 10ms);
    EXPECT_EQ(woken(client).rcode, 2);
    EXPECT_TRUE(cached(a)->failure);
}

FetchPolicy with(Config::Strategy strategy) {
    FetchPolicy policy;
    policy.fanout.strategy = strategy;
    return policy;
}

struct PrioritySequence : PriorityTest {
    PrioritySequence() : PriorityTest(with(Config::Strategy::sequential)) {}
};
struct PriorityParallel : PriorityTest {
    PriorityParallel() : PriorityTest(with(Config::Strategy::parallel)) {}
};

TEST_F(PrioritySequence, NobodyExploresIt) {
    for (unsigned i : {0u, 1u, 2u}) serve(i, {"1.1.1.1"}, 5ms, 1);
    for (unsigned i = 0; i < 4 * limits::exploration; ++i) {
        ask(a);
        run(1100ms);
    }
    EXPECT_GT(queries_to(1), 0u);
    EXPECT_EQ(queries_to(2), 0u);
}

/// Of seven there is time for five, one after the other.
TEST_F(PrioritySequence, HalfOfTheTimeIsAllThatBetterOnesGet) {
    set_priorities({0, 0, 0, 0, 0, 0, 0, 1});
    for (unsigned i = 0; i < 8; ++i) silence(i);
    ask(a);
    run(1490ms);
    EXPECT_EQ(queries_to(7), 0u);
    run(20ms);
    EXPECT_EQ(queries_to(7), 1u) << "before those whose turn has not come";
    run(3s);
    for (unsigned i = 0; i < 7; ++i) EXPECT_GE(queries_to(i), 1u) << "they come after it";
}

TEST_F(PrioritySequence, ItTakesTheQuestionsOfAFullOneAndNobodyEndsForThem) {
    set_priorities({0, 1});
    upstreams.set_policy({.outstanding = 2, .rate = 10'000'000});
    for (unsigned i : {0u, 1u}) silence(i);
    auto holder = *dataplane::parse_address("10.1.1.1"); // of most, both at the first server
    ask_as({holder, 1024}, 1, a), ask_as({holder, 1025}, 2, b);
    ask(make_key("c.com", LDNS_RR_TYPE_A)), ask(make_key("d.com", LDNS_RR_TYPE_A));
    run(1ms);
    EXPECT_EQ(queries_to(1), 2u);
    EXPECT_EQ(fetches.counters().displaced, 0u);
    auto last = ask(make_key("e.com", LDNS_RR_TYPE_A));
    EXPECT_EQ(woken(last).rcode, 2);
    EXPECT_EQ(fetches.counters().displaced, 0u) << "that would make no room at the second one";
    run(4s);
}

TEST_F(PrioritySequence, AllOfAPriorityAreAskedBeforeTheNext) {
    set_priorities({0, 1, 0});
    for (unsigned i : {0u, 2u}) silence(i);
    serve(1, {"192.0.2.2"}, 5ms);
    ask(a);
    run(310ms);
    EXPECT_EQ(queries_to(2), 1u) << "after `fallback`";
    run(1180ms);
    EXPECT_EQ(queries_to(1), 0u);
    run(20ms);
    EXPECT_EQ(queries_to(1), 1u);
}

TEST_F(PriorityParallel, AllAtOnceAreThoseOfAPriority) {
    for (unsigned i : {0u, 1u}) script(i, servfail, 400ms);
    ask(a);
    run(399ms);
    EXPECT_EQ(queries_to(0) + queries_to(1), 2u);
    EXPECT_EQ(queries_to(2), 0u);
    run(2ms);
    EXPECT_EQ(queries_to(2), 1u);
}

TEST_F(PrioritySequence, WeightsGoBeforeSpeed) {
    std::vector<Config::Server> servers = make_servers(2);
    servers[0].weight = 1000;
    upstreams.replace(servers);
    upstreams.measured(0, 200ms);
    upstreams.measured(1, 1ms);
    for (unsigned i : {0u, 1u}) script(i, nodata, 1ms);
    for (unsigned i = 0; i < 20; ++i) {
        ask(make_key("n" + std::to_string(i) + ".com", LDNS_RR_TYPE_A));
        run(10ms);
    }
    EXPECT_GE(queries_to(0), 18u);
}

} // namespace
} // namespace millrace::control
