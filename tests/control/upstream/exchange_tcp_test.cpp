// Exchanges over TCP where UDP is silent, cut to its header or short of connections.
#include "tests/control/upstream/exchange_fixture.hpp"

namespace millrace::control {
namespace {

class TcpTest : public ExchangeTest {
  protected:
    /// Deaf to datagrams.
    static FakeNetwork::Script tcp_only(ReplySpec spec = address) {
        return [=](FakeNetwork& net, const Sent& sent) {
            if (sent.tcp) net.reply(sent, make_reply(sent.message, spec), 30ms);
        };
    }
    /// TC=1 and then nothing.
    static void truncates(FakeNetwork& net, const Sent& sent) {
        if (!sent.tcp) net.reply(sent, make_reply(sent.message, {.truncated = true}), 1ms);
    }
    bool open_other(std::uint32_t i, unsigned upstream, Purpose purpose = Purpose::answer) {
        return exchanges->open({i, 50}, make_key("n" + std::to_string(i) + ".com", 1), upstream,
                               clock.now + 3s, clock.now, purpose);
    }
};

TEST_F(TcpTest, AHeaderAloneWithTcIsTruncated) {
    network.serve(one, [](FakeNetwork& net, const Sent& sent) {
        if (sent.tcp) return net.reply(sent, make_reply(sent.message, address), 30ms);
        net.reply(sent, {sent.message[0], sent.message[1], 0x83, 0x80, 0, 0, 0, 0, 0, 0, 0, 0}, 1ms);
    });
    ASSERT_TRUE(open());
    run(100ms);
    EXPECT_EQ(answers.size(), 1u);
    EXPECT_EQ(counters().tcp, 1u);
    EXPECT_EQ(counters().malformed, 0u);
}

TEST_F(TcpTest, SilenceIsTriedOverTcpAtHalfTime) {
    network.serve(one, tcp_only());
    ASSERT_TRUE(open());
    run(3s);
    ASSERT_EQ(answers.size(), 1u);
    EXPECT_EQ(answers[0].second.received, start + 1530ms);
    EXPECT_TRUE(has_happened(ExchangeEvent::tried_tcp));
    EXPECT_EQ(counters().tcp_tries, 1u);
    EXPECT_EQ(health().timeouts, 0u);
    EXPECT_FALSE(groups[0].is_measured(0));
}

TEST_F(TcpTest, TheTryTakesNothingFromUdp) {
    for (std::errc error : {std::errc{}, std::errc::connection_refused}) {
        network.serve(one, [=](FakeNetwork& net, const Sent& sent) {
            if (sent.tcp && error != std::errc{}) return net.reply_error(sent, error, 5ms);
            if (!sent.tcp) net.reply(sent, make_reply(sent.message, address), 2s);
        });
        ASSERT_TRUE(open());
        run(4s);
        EXPECT_TRUE(failures.empty());
    }
    EXPECT_EQ(counters().tcp_tries, 2u);
    EXPECT_EQ(answers.size(), 2u);
    EXPECT_EQ(counters().unreachable, 0u);
}

TEST_F(TcpTest, NoTryForProbesCollectionsAndTheVeryEnd) {
    ASSERT_TRUE(open(0, 200ms));
    ASSERT_TRUE(open_other(2, 1, Purpose::collection));
    groups[0].suspect(0, clock.now);
    run(4s);
    EXPECT_GE(health().probes, 1u);
    EXPECT_EQ(counters().tcp_tries, 0u);
}

TEST_F(TcpTest, TriesAreBounded) {
    ExchangeLimits few = limits();
    few.tcp_tries = 1;
    exchanges = std::make_unique<Exchanges>(network, random, groups, few);
    exchanges->set_listener(*this);
    for (unsigned upstream : {0u, 1u}) ASSERT_TRUE(open(upstream));
    run(2s);
    EXPECT_EQ(network.tcp_count(), 1u);
    EXPECT_EQ(counters().tcp_tries, 1u);
    EXPECT_EQ(counters().tcp_tries_refused, 1u);
    run(2s);
    ASSERT_TRUE(open());
    run(2s);
    EXPECT_EQ(counters().tcp_tries, 2u) << "what ended makes room";
}

TEST_F(TcpTest, ABudgetSparesResends) {
    budget = 1;
    ASSERT_TRUE(open());
    run(1400ms);
    EXPECT_EQ(network.sent.size(), 2u);
    EXPECT_EQ(counters().resent, 1u);
    EXPECT_EQ(counters().spared, 1u);
    EXPECT_TRUE(has_happened(ExchangeEvent::spared));
}

// When connections are short.

TEST_F(TcpTest, TheOldestConnectionGivesWay) {
    network.tcp_limit = 2;
    network.serve(one, truncates);
    network.serve(two, [](FakeNetwork& net, const Sent& sent) {
        net.reply(sent, make_reply(sent.message, {.truncated = !sent.tcp}), 1ms);
    });
    for (std::uint32_t i = 1; i <= 2; ++i, run(10ms)) ASSERT_TRUE(open_other(i, 0));
    ASSERT_TRUE(open_other(3, 1));
    run(10ms);
    EXPECT_EQ(answers.size(), 1u);
    ASSERT_EQ(failures.size(), 1u);
    EXPECT_EQ(failures[0].fetch, (FetchId{1, 50}));
    EXPECT_EQ(failures[0].failure, ExchangeFailure::no_room);
    EXPECT_EQ(counters().tcp_displaced, 1u);
    EXPECT_EQ(health().timeouts, 0u);
}

TEST_F(TcpTest, WhatNobodyWaitsForGoesFirst) {
    network.tcp_limit = 2;
    for (const auto& server : {one, two}) network.serve(server, truncates);
    ASSERT_TRUE(open_other(1, 0));
    run(10ms);
    ASSERT_TRUE(open_other(2, 0));
    run(10ms);
    exchanges->collect({2, 50}, 0, clock.now + 3s);
    ASSERT_TRUE(open_other(3, 1));
    run(10ms);
    ASSERT_EQ(failures.size(), 1u);
    EXPECT_EQ(failures[0].fetch, (FetchId{2, 50}));
    ASSERT_TRUE(open_other(4, 1, Purpose::collection));
    run(10ms);
    ASSERT_EQ(failures.size(), 2u) << "nor does it take the place of a question that is waited for";
    EXPECT_EQ(failures[1].fetch, (FetchId{4, 50}));
}

TEST_F(TcpTest, ATryGivesWayAndItsExchangeWaitsOn) {
    network.tcp_limit = 1;
    network.serve(two, truncates);
    network.serve(one, [](FakeNetwork& net, const Sent& sent) {
        if (!sent.tcp) net.reply(sent, make_reply(sent.message, address), 2s);
    });
    ASSERT_TRUE(open(0));
    run(1600ms);
    ASSERT_EQ(network.tcp_count(), 1u);
    ASSERT_TRUE(open_other(2, 1));
    run(1s);
    EXPECT_EQ(counters().tcp_displaced, 1u);
    EXPECT_EQ(answers.size(), 1u);
    EXPECT_TRUE(failures.empty());
}

} // namespace
} // namespace millrace::control
