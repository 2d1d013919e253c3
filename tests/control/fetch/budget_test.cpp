// What one question costs upstream, and what our own bounds do to it.
#include "tests/control/fetch/fixture.hpp"

namespace millrace::control {
namespace {

class BudgetTest : public FetchTest {
  protected:
    using FetchTest::FetchTest;

    std::size_t datagrams() const { return std::size_t(std::ranges::count(network.sent, false, &Sent::tcp)); }
};

TEST_F(BudgetTest, ASilentNameCostsSixDatagrams) {
    for (unsigned i = 0; i < 3; ++i) upstreams.measured(i, 20ms);
    ask(a);
    run(4s);
    EXPECT_EQ(datagrams(), limits::datagrams_per_fetch);
    for (unsigned i = 0; i < 3; ++i) EXPECT_GE(queries_to(i), 1u) << "one is kept back for each";
    EXPECT_GE(exchanges.counters().spared, 1u);
    EXPECT_EQ(exchanges.counters().sent, 3u);
    network.sent.clear();
    ask(b);
    run(4s);
    EXPECT_EQ(datagrams(), limits::datagrams_per_fetch) << "each question has its own";
}

class ManyServers : public BudgetTest {
  protected:
    ManyServers() : BudgetTest(9) {}
};

TEST_F(ManyServers, EachIsAskedOnce) {
    serve(8, {"192.0.2.9"}, 5ms);
    for (unsigned i = 0; i < 8; ++i) upstreams.measured(i, 20ms); // the last is the slowest
    auto client = ask(a, true);
    run(4s);
    EXPECT_EQ(woken(client).addresses, Hosts{"192.0.2.9"});
    EXPECT_LE(exchanges.counters().resent, limits::resends_per_fetch);
    EXPECT_LE(datagrams(), 9 + limits::resends_per_fetch);
}

TEST_F(ManyServers, OfAnyNumberALostDatagramIsSentAgain) {
    for (auto strategy : {Config::Strategy::sequential, Config::Strategy::parallel}) {
        FetchPolicy policy;
        policy.fanout.strategy = strategy;
        policy.fanout.fallback = 1s;
        fetches.set_policy(0, policy);
        for (unsigned i = 0; i < 9; ++i) upstreams.measured(i, 20ms);
        std::uint64_t before = exchanges.counters().resent;
        network.sent.clear();
        ask(strategy == Config::Strategy::sequential ? a : b);
        run(900ms);
        EXPECT_EQ(exchanges.counters().resent, before + limits::resends_per_fetch);
        run(4s);
        EXPECT_LE(datagrams(), 9 + limits::resends_per_fetch);
    }
}

TEST_F(BudgetTest, WhatABoundOfOursEndsIsNotTheNamesFailure) {
    network.tcp_limit = 0;
    for (unsigned i = 0; i < 3; ++i) script(i, {.truncated = true}, 5ms);
    auto client = ask(a);
    run(4s);
    EXPECT_EQ(woken(client).rcode, 2);
    EXPECT_FALSE(cached(a)) << "nothing is kept that says so";
}

} // namespace
} // namespace millrace::control
