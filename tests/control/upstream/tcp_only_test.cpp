// A server that is asked over TCP alone.
#include "tests/control/upstream/exchange_fixture.hpp"

namespace millrace::control {
namespace {

class TcpOnly : public ExchangeTest {
  protected:
    TcpOnly() {
        Config::Server server = one;
        server.tcp_only = true;
        groups[0].replace({server, two});
    }
    bool all_over_tcp() const { return std::ranges::all_of(network.sent, &Sent::tcp); }
    bool open_other(std::uint32_t i) {
        return exchanges->open({i, 50}, make_key("n" + std::to_string(i) + ".com", 1), 0, clock.now + 3s,
                               clock.now);
    }
    void refuse() {
        network.serve(one, [](FakeNetwork& net, const Sent& sent) {
            net.reply_error(sent, std::errc::connection_refused, 1ms);
        });
    }
};

TEST_F(TcpOnly, HasNoDatagramsAndIsMeasuredOverTcp) {
    network.serve(one, answering(address, 30ms));
    ASSERT_TRUE(open());
    run(4s);
    ASSERT_EQ(answers.size(), 1u);
    EXPECT_EQ(network.sent.size(), 1u);
    EXPECT_TRUE(all_over_tcp());
    EXPECT_EQ(groups[0].srtt(0), 30ms);
    EXPECT_EQ(counters().sent, 1u);
    EXPECT_EQ(counters().tcp, 1u);
    auto name = key.name.bytes();
    EXPECT_TRUE(std::ranges::equal(std::span(network.sent[0].message).subspan(12, name.size()), name))
        << "in lower case: there is nobody to guess it";
}

TEST_F(TcpOnly, AFailureIsNoMeasure) {
    network.serve(one, answering({.rcode = 2}, 30ms));
    ASSERT_TRUE(open());
    run(1s);
    EXPECT_EQ(answers.size(), 1u);
    EXPECT_FALSE(groups[0].is_measured(0));
}

TEST_F(TcpOnly, ItsProbesGoOverTcpToo) {
    network.serve(one, answering({.answer = {". 60 IN NS a.root-servers.net."}}, 30ms));
    groups[0].suspect(0, clock.now);
    run(1s);
    EXPECT_EQ(health().probes, 1u);
    EXPECT_EQ(health().replies, 1u);
    EXPECT_EQ(network.sent.size(), 1u);
    EXPECT_TRUE(all_over_tcp());
}

TEST_F(TcpOnly, OneThatRefusesConnectionsIsPutAsideAndFoundAgain) {
    refuse();
    for (std::uint32_t i : {1u, 2u}) {
        ASSERT_TRUE(open_other(i));
        run(5ms);
    }
    ASSERT_EQ(failures.size(), 2u);
    EXPECT_EQ(failures[0].failure, ExchangeFailure::unreachable) << "who asks is told at once";
    run(5ms);
    EXPECT_EQ(groups[0].breaker(0), Breaker::open);
    network.serve(one, answering({.answer = {". 60 IN NS a.root-servers.net."}}, 30ms));
    run(3s);
    EXPECT_EQ(groups[0].breaker(0), Breaker::closed);
    EXPECT_TRUE(all_over_tcp());
}

TEST_F(TcpOnly, OneThatIsAskedOverBothIsNotPutAsideForWhatTcpDoes) {
    network.serve(two, [](FakeNetwork& net, const Sent& sent) {
        if (sent.tcp) return net.reply_error(sent, std::errc::connection_refused, 1ms);
        net.reply(sent, make_reply(sent.message, {.truncated = true}), 1ms);
    });
    for (int i = 0; i < 4; ++i) {
        ASSERT_TRUE(open(1));
        run(10ms);
    }
    EXPECT_EQ(groups[0].counters(1).timeouts, 0u);
    EXPECT_EQ(groups[0].breaker(1), Breaker::closed);
}

TEST_F(TcpOnly, SilenceIsWaitedForAndCounts) {
    for (std::uint32_t i : {1u, 2u}) ASSERT_TRUE(open_other(i));
    run(3s);
    ASSERT_EQ(failures.size(), 2u);
    EXPECT_EQ(failures[0].failure, ExchangeFailure::timeout);
    EXPECT_EQ(counters().resent, 0u);
    EXPECT_EQ(counters().tcp_tries, 0u) << "there is nothing beside it";
    run(1600ms);
    EXPECT_EQ(groups[0].breaker(0), Breaker::open);
}

TEST_F(TcpOnly, ItsConnectionsAreBoundedAsOthers) {
    network.tcp_limit = 1;
    ASSERT_TRUE(open_other(1));
    run(10ms);
    ASSERT_TRUE(open_other(2));
    run(10ms);
    ASSERT_EQ(failures.size(), 1u);
    EXPECT_EQ(failures[0].failure, ExchangeFailure::no_room) << "the oldest gave way";
    EXPECT_EQ(counters().tcp_displaced, 1u);
    EXPECT_EQ(health().timeouts, 0u);
}

TEST_F(TcpOnly, WithoutEdnsItIsAskedAgainOverTcp) {
    network.serve(one, [](FakeNetwork& net, const Sent& sent) {
        bool has_opt = sent.message[11] != 0;
        net.reply(sent, make_reply(sent.message, has_opt ? ReplySpec{.rcode = 1} : address), 1ms);
    });
    ASSERT_TRUE(open());
    run(1s);
    ASSERT_EQ(answers.size(), 1u);
    EXPECT_EQ(answers[0].second.rcode, 0u);
    EXPECT_EQ(network.sent.size(), 2u);
    EXPECT_TRUE(all_over_tcp());
}

} // namespace
} // namespace millrace::control
