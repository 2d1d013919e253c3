// Exchanges: the way over TCP, failures and health, bounds, listeners that act.
#include <sys/resource.h>

#include "tests/control/upstream/exchange_fixture.hpp"

namespace millrace::control {
namespace {

// TCP.

/// Over UDP `udp`, over TCP the address.
FakeNetwork::Script two_faced(std::function<void(FakeNetwork&, const Sent&)> udp, Time delay = 30ms) {
    return [=](FakeNetwork& net, const Sent& sent) {
        if (!sent.tcp) return udp(net, sent);
        net.reply(sent, make_reply(sent.message, address), delay);
    };
}

TEST_F(ExchangeTest, TruncatedGoesOverTcp) {
    network.serve(one, two_faced([](FakeNetwork& net, const Sent& sent) {
                      net.reply(sent, make_reply(sent.message, {.truncated = true}), 20ms);
                  }));
    ASSERT_TRUE(open());
    run(3s);
    ASSERT_EQ(answers.size(), 1u);
    EXPECT_EQ(answers[0].first, fetch) << "with the same generation";
    ASSERT_EQ(network.sent.size(), 2u);
    EXPECT_TRUE(network.sent[1].tcp);
    EXPECT_EQ(counters().tcp, 1u);
    EXPECT_EQ(counters().sent, 1u);
    EXPECT_EQ(counters().accepted, 1u);
    EXPECT_EQ(answers[0].second.received, start + 50ms);
    EXPECT_EQ(groups[0].srtt(0), 20ms); // TCP has its handshake: not measured
}

TEST_F(ExchangeTest, TruncatedOverTcpTooIsNoAnswer) {
    network.serve(one, [](FakeNetwork& net, const Sent& sent) {
        net.reply(sent, make_reply(sent.message, {.answer = address.answer, .truncated = true}), 20ms);
    });
    ASSERT_TRUE(open());
    run(3s);
    ASSERT_EQ(answers.size(), 1u);
    EXPECT_EQ(answers[0].second.kind, Kind::failure);
    EXPECT_TRUE(answers[0].second.records.empty());
    EXPECT_EQ(counters().malformed, 1u);
    EXPECT_EQ(health().failures + health().timeouts, 0u);
}

TEST_F(ExchangeTest, AnRrsetAboveTheBoundIsNoAnswerAndSaysSo) {
    ReplySpec large;
    for (int i = 0; i < 257; ++i) {
        large.answer.push_back("a.com. 60 IN A 192.0." + std::to_string(i / 256) + "." +
                               std::to_string(i % 256));
    }
    network.serve(one, answering(large));
    ASSERT_TRUE(open());
    run(3s);
    ASSERT_EQ(answers.size(), 1u);
    const Answer& nothing = answers[0].second;
    EXPECT_EQ(nothing.kind, Kind::failure);
    EXPECT_EQ(nothing.unfit, "RRset above max-rrset");
    ASSERT_TRUE(nothing.info);
    EXPECT_EQ(nothing.info->code, dns::ede::other);
    EXPECT_EQ(nothing.info->text, "RRset above max-rrset");
    EXPECT_EQ(counters().large_rrsets, 1u);
    EXPECT_EQ(counters().malformed, 0u);
    EXPECT_EQ(health().failures + health().timeouts, 0u);
    groups[0].set_policy({.max_rrset = 257});
    ASSERT_TRUE(open());
    run(3s);
    ASSERT_EQ(answers.size(), 2u);
    EXPECT_EQ(answers[1].second.records.size(), 257u);
    EXPECT_TRUE(answers[1].second.unfit.empty());
}

TEST_F(ExchangeTest, WrongCaseGoesOverTcpWhereItIsTaken) {
    auto flip = [](const Sent& sent) {
        Octets reply = make_reply(sent.message, address);
        reply[13] ^= 0x20;
        return reply;
    };
    network.serve(one, [&](FakeNetwork& net, const Sent& sent) { net.reply(sent, flip(sent), 10ms); });
    ASSERT_TRUE(open());
    run(15ms);
    EXPECT_TRUE(answers.empty());
    EXPECT_EQ(counters().mismatched, 1u);
    run(1s);
    EXPECT_EQ(answers.size(), 1u);
    EXPECT_EQ(counters().tcp, 1u);
    EXPECT_EQ(health().failures, 0u);
}

TEST_F(ExchangeTest, WhatFailsBecauseOfForgedPacketsIsNotHeldAgainstTheUpstream) {
    groups[0].measured(0, 1ms);
    auto forge = [](FakeNetwork& net, const Sent& sent, bool by_case) {
        Octets forged = make_reply(sent.message, address);
        forged[by_case ? 13 : 0] ^= 0x20;
        for (int i = 0; i < 3; ++i) net.reply(sent, forged, 1ms);
    };
    for (bool by_case : {false, true}) {
        for (bool refuses : {false, true}) {
            network.serve(one, [=](FakeNetwork& net, const Sent& sent) {
                if (!sent.tcp) return forge(net, sent, by_case);
                if (refuses) net.reply_error(sent, std::errc::connection_refused, 1ms);
            });
            ASSERT_TRUE(open());
            run(4s);
        }
    }
    EXPECT_EQ(counters().tcp, 4u);
    EXPECT_EQ(counters().unreachable, 2u);
    EXPECT_EQ(counters().timeouts, 2u);
    EXPECT_EQ(health().failures + health().timeouts, 0u);
    EXPECT_EQ(groups[0].breaker(0), Breaker::closed);
}

TEST_F(ExchangeTest, TcpIsNotResentAndTimesOut) {
    network.serve(one, [](FakeNetwork& net, const Sent& sent) {
        if (!sent.tcp) net.reply(sent, make_reply(sent.message, {.truncated = true}), 20ms);
    });
    ASSERT_TRUE(open());
    run(4s);
    EXPECT_EQ(network.sent.size(), 2u);
    ASSERT_EQ(failures.size(), 1u);
    EXPECT_EQ(failures[0].failure, ExchangeFailure::timeout);
    EXPECT_EQ(failures[0].at, start + 20ms + limits().tcp_reply) << "sooner than its deadline";
}

TEST_F(ExchangeTest, TcpThatBreaksIsAFailure) {
    network.serve(one, [](FakeNetwork& net, const Sent& sent) {
        if (sent.tcp) return net.reply_error(sent, std::errc::connection_reset, 5ms);
        net.reply(sent, make_reply(sent.message, {.truncated = true}), 20ms);
    });
    ASSERT_TRUE(open());
    run(3s);
    ASSERT_EQ(failures.size(), 1u);
    EXPECT_EQ(failures[0].failure, ExchangeFailure::unreachable);
    EXPECT_EQ(failures[0].at, start + 25ms);
}

TEST_F(ExchangeTest, NoRoomForTcpSaysNothingAboutTheUpstream) {
    network.serve(one, [](FakeNetwork& net, const Sent& sent) {
        net.socket_limit = 0;
        net.reply(sent, make_reply(sent.message, {.truncated = true}), 20ms);
    });
    ASSERT_TRUE(open());
    run(3s);
    ASSERT_EQ(failures.size(), 1u);
    EXPECT_EQ(failures[0].failure, ExchangeFailure::no_room);
    EXPECT_EQ(health().failures + health().timeouts, 0u);
}

// Failures and health.

TEST_F(ExchangeTest, AnIcmpErrorIsAHintAndItWaitsOn) {
    network.serve(one, [](FakeNetwork& net, const Sent& sent) {
        net.reply_error(sent, std::errc::connection_refused, 5ms);
        net.reply(sent, make_reply(sent.message, address), 30ms);
    });
    ASSERT_TRUE(open());
    run(3s);
    EXPECT_TRUE(failures.empty());
    EXPECT_EQ(answers.size(), 1u);
    EXPECT_EQ(hints, std::vector<unsigned>{0});
    EXPECT_EQ(health().failures + health().timeouts, 0u);
    EXPECT_EQ(counters().icmp, 2u) << "one of its probe";
}

TEST_F(ExchangeTest, AnErrorOfAResendIsAHintToo) {
    network.serve(one, answering(address, 500ms));
    ASSERT_TRUE(open());
    network.send_error = std::errc::connection_refused;
    run(450ms);
    network.send_error = {};
    EXPECT_EQ(hints, std::vector<unsigned>{0});
    run(1s);
    EXPECT_EQ(answers.size(), 1u);
}

TEST_F(ExchangeTest, WhatIsCancelledBeforeAReplyWasDueSaysNothing) {
    for (int i = 0; i < 50; ++i) {
        ASSERT_TRUE(open());
        run(groups[0].resend_after(0) - 1us);
        exchanges->close(fetch, 0, clock.now);
    }
    EXPECT_EQ(health().probes, 0u);
    EXPECT_EQ(exchanges->next_timer(), Time::max());
}

TEST_F(ExchangeTest, SilenceHasItProbedWhereverItEnds) {
    ASSERT_TRUE(open());
    run(groups[0].resend_after(0));
    exchanges->close(fetch, 0, clock.now); // another server was quicker
    ASSERT_TRUE(open());
    exchanges->collect(fetch, 0, clock.now + groups[0].resend_after(0));
    run(1s);
    EXPECT_EQ(health().probes, 1u);
    run(2s);
    EXPECT_NE(groups[0].breaker(0), Breaker::closed);
    EXPECT_EQ(failures.size(), 1u) << "of probes nobody hears";
    network.serve(one, answering({.rcode = 5}));
    run(3s);
    EXPECT_EQ(groups[0].breaker(0), Breaker::closed) << "whatever it replies, it is alive";
    EXPECT_TRUE(answers.empty());
}

TEST_F(ExchangeTest, ForgedPacketsDecideNoProbe) {
    network.serve(one, [](FakeNetwork& net, const Sent& sent) {
        if (sent.tcp) return; // it has none
        for (std::uint8_t i = 1; i <= 3; ++i) {
            Octets forged = make_reply(sent.message, {});
            forged[1] ^= i;
            net.reply(sent, forged, 1ms);
        }
    });
    for (int i = 0; i < 4; ++i) {
        groups[0].suspect(0, clock.now);
        run(3s);
    }
    EXPECT_GT(health().probes, 2u);
    EXPECT_EQ(groups[0].breaker(0), Breaker::closed);
}

TEST_F(ExchangeTest, ATruncatedReplyShowsThatItIsAlive) {
    groups[0].judge_timeout(0, 1s, clock.now);
    network.serve(one, [](FakeNetwork& net, const Sent& sent) {
        if (!sent.tcp) net.reply(sent, make_reply(sent.message, {.truncated = true}), 20ms);
    });
    ASSERT_TRUE(open(0, 100ms));
    run(1s);
    EXPECT_EQ(failures.size(), 1u);
    EXPECT_EQ(health().probes, 0u) << "one silence after a reply";
}

TEST_F(ExchangeTest, ANetworkThatFailsAtOnceIsToldByTheNextTick) {
    network.open_error = std::errc::network_unreachable;
    ASSERT_TRUE(open());
    EXPECT_TRUE(failures.empty());
    EXPECT_EQ(exchanges->next_timer(), clock.now);
    run(0s);
    network.open_error = {};
    network.send_error = std::errc::operation_not_permitted;
    ASSERT_TRUE(open());
    EXPECT_EQ(failures.size(), 1u);
    run(0s);
    EXPECT_EQ(failures.size(), 2u);
    network.send_error = {};
}

TEST_F(ExchangeTest, ServfailAndRefusedAreAnswersAboutAName) {
    for (unsigned rcode : {2u, 5u}) {
        network.serve(one, answering({.rcode = rcode}));
        ASSERT_TRUE(open());
        run(1s);
        ASSERT_FALSE(answers.empty());
        EXPECT_EQ(answers.back().second.kind, Kind::failure);
        EXPECT_EQ(answers.back().second.rcode, rcode);
    }
    EXPECT_EQ(health().failures, 2u);
    EXPECT_EQ(health().probes, 0u);
    EXPECT_EQ(groups[0].breaker(0), Breaker::closed);
    EXPECT_FALSE(groups[0].is_measured(0)); // a fast refusal is no speed
}

TEST_F(ExchangeTest, AnOpenBreakerRefuses) {
    for (int i = 0; i < 2; ++i) {
        ASSERT_TRUE(open());
        run(6s);
    }
    ASSERT_NE(groups[0].breaker(0), Breaker::closed);
    EXPECT_FALSE(open());
    EXPECT_FALSE(exchanges->open(fetch, key, 0, clock.now + 1s, clock.now, Purpose::collection));
    EXPECT_EQ(counters().refused_open, 2u);
    EXPECT_EQ(counters().refused_full, 0u);
    EXPECT_TRUE(open(1));
}

TEST_F(ExchangeTest, NegativeAnswersAreHealthy) {
    for (const ReplySpec& spec :
         {ReplySpec{.rcode = 3}, ReplySpec{.authority = {"com. 9 IN SOA a. b. 1 2 3 4 5"}}, ReplySpec{},
          ReplySpec{.rcode = 1}}) {
        network.serve(one, answering(spec));
        ASSERT_TRUE(open());
        run(1s);
    }
    EXPECT_EQ(answers.size(), 4u);
    EXPECT_EQ(health().failures + health().timeouts, 0u);
    EXPECT_EQ(health().replies, 4u);
}

// Bounds, and listeners that act.

TEST_F(ExchangeTest, OneOutstandingPerQuestionAndUpstream) {
    ASSERT_TRUE(open());
    EXPECT_FALSE(open());
    EXPECT_FALSE(exchanges->open({2, 11}, key, 0, clock.now + 1s, clock.now));
    EXPECT_TRUE(open(1));
    exchanges->close(fetch, 0, clock.now);
    EXPECT_TRUE(exchanges->open({2, 11}, key, 0, clock.now + 1s, clock.now));
    exchanges->close(fetch, 0, clock.now); // an old owner reaches nothing
    EXPECT_EQ(exchanges->open_count(), 2u);
}

TEST_F(ExchangeTest, BoundsRefuse) {
    auto open_other = [&](int i, unsigned upstream) {
        return exchanges->open({std::uint32_t(i), 50}, make_key("n" + std::to_string(i) + ".com", 1),
                               upstream, clock.now + 3s, clock.now);
    };
    for (int i = 0; i < 3; ++i) EXPECT_TRUE(open_other(i, 0));
    EXPECT_FALSE(open_other(3, 0)); // the upstream's cap
    network.socket_limit = 3;
    EXPECT_FALSE(open_other(3, 1));
    EXPECT_EQ(counters().refused_full, 2u);
    EXPECT_EQ(groups[0].outstanding(1), 0u);
    network.socket_limit = 100;
    EXPECT_TRUE(open_other(3, 1));
}

TEST_F(ExchangeTest, SlotsRefuse) {
    ExchangeLimits few;
    few.exchanges = 1;
    exchanges = std::make_unique<Exchanges>(network, random, groups, few);
    exchanges->set_listener(*this);
    EXPECT_TRUE(open(0));
    EXPECT_FALSE(open(1));
    EXPECT_EQ(counters().refused_full, 1u);
    exchanges->close(fetch, 0, clock.now);
    EXPECT_TRUE(open(1));
}

TEST_F(ExchangeTest, ListenerMayCloseTheOthersAndOpenAgain) {
    // Both deadlines are due in the same tick: the first one's listener closes the second and asks anew.
    ASSERT_TRUE(open(0, 50ms));
    ASSERT_TRUE(open(1, 50ms));
    on_event = [&] {
        exchanges->close(fetch, 1, clock.now);
        ASSERT_TRUE(exchanges->open({7, 70}, key, 0, clock.now + 1s, clock.now));
        ASSERT_TRUE(exchanges->open({7, 70}, key, 1, clock.now + 1s, clock.now));
        on_event = {};
    };
    run(60ms);
    ASSERT_EQ(failures.size(), 1u);
    EXPECT_EQ(failures[0].upstream, 0u);
    EXPECT_EQ(exchanges->open_count(), 2u);
    EXPECT_EQ(counters().resent, 0u); // what was due is gone, its slot has a new tenant
    run(2s);
    EXPECT_EQ(failures.size(), 3u);
}

TEST_F(ExchangeTest, ListenerThatAsksAgainAndAgainDoesNotHoldUpATick) {
    network.open_error = std::errc::network_unreachable;
    int rounds = 0;
    on_event = [&] {
        if (++rounds < 100) open();
    };
    ASSERT_TRUE(open());
    exchanges->tick(clock.now);
    EXPECT_EQ(rounds, 1);
    on_event = {};
}

TEST_F(ExchangeTest, ListenerMayCloseWithinANetworkCallback) {
    network.serve(one, answering(address, 10ms));
    network.serve(two, answering(address, 10ms));
    ASSERT_TRUE(open(0));
    ASSERT_TRUE(open(1));
    on_event = [&] { exchanges->close(fetch, 1 - answers[0].second.upstream, clock.now); };
    run(1s);
    EXPECT_EQ(answers.size(), 1u);
    EXPECT_EQ(exchanges->open_count(), 0u);
    EXPECT_EQ(counters().cancelled, 1u);
}

TEST(ExchangeCapacity, FitsTheDescriptors) {
    rlimit before{};
    ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &before), 0);
    struct {
        rlim_t descriptors;
        std::uint32_t exchanges;
    } rows[] = {{64, 32},       // half of few
                {4096, 2048},   // ..
                {4098, 2050},   // of many, all but 2048,
                {10000, 7952},  // ..
                {18432, 16384}, // up to a bound
                {20000, 16384}};
    for (const auto& row : rows) {
        rlimit limit{row.descriptors, before.rlim_max};
        if (setrlimit(RLIMIT_NOFILE, &limit) != 0) continue; // more than this machine allows
        EXPECT_EQ(exchange_capacity(), row.exchanges) << "of " << row.descriptors << " descriptors";
    }
    EXPECT_EQ(setrlimit(RLIMIT_NOFILE, &before), 0);
}

} // namespace
} // namespace millrace::control
