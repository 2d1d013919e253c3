// Who is probed, when, how much at most, and what order comes of it.
#include <gtest/gtest.h>

#include "control/rank/prober.hpp"
#include "control/rank/special_use.hpp"
#include "tests/control/rank/fake_probes.hpp"

namespace millrace::control {
namespace {

TEST(SpecialUse, LeadsNowhere) {
    for (const char* address : {"0.0.0.1",
                                "10.1.2.3",
                                "100.64.0.1",
                                "127.0.0.1",
                                "169.254.1.1",
                                "172.31.255.255",
                                "192.0.0.9",
                                "192.0.2.1",
                                "192.88.99.1",
                                "192.168.1.1",
                                "198.18.0.1",
                                "198.19.255.255",
                                "198.51.100.1",
                                "203.0.113.1",
                                "224.0.0.251",
                                "239.1.1.1",
                                "240.0.0.1",
                                "255.255.255.255",
                                "::",
                                "::1",
                                "::ffff:10.0.0.1",
                                "::8.8.8.8",
                                "64:ff9b::10.0.0.1",
                                "64:ff9b:1::8.8.8.8",
                                "100::1",
                                "2001::1",
                                "2001:2::1",
                                "2001:10::1",
                                "2001:20::1",
                                "2001:db8::1",
                                "2002:a00:1::1",
                                "2002:c000:201::1",
                                "3fff::1",
                                "4000::1",
                                "5f00::1",
                                "fc00::1",
                                "fd00::1",
                                "fe80::1",
                                "fec0::1",
                                "ff02::1"}) {
        EXPECT_TRUE(is_special_use(at(address))) << address;
    }
    for (const char* address :
         {"1.1.1.1", "8.8.8.8", "100.63.255.255", "100.128.0.1", "172.32.0.1", "192.0.1.1", "198.17.255.255",
          "198.20.0.1", "223.255.255.254", "2001:200::1", "2606:4700::1111", "2a00::1", "64:ff9b::8.8.8.8",
          "2002:808:808::1", "::ffff:8.8.8.8"}) {
        EXPECT_FALSE(is_special_use(at(address))) << address;
    }
}

class ProbeLimitsTest : public testing::Test {
  protected:
    /// Of `count` probes to different addresses of one network, how many may leave.
    unsigned entered(const std::string& network, unsigned count, unsigned rate = 1000) {
        unsigned entered = 0;
        for (unsigned i = 0; i < count; ++i) entered += limits.enter(address(network, i), rate, now);
        return entered;
    }
    void leave(const std::string& network, unsigned count) {
        for (unsigned i = 0; i < count; ++i) limits.leave(address(network, i));
    }
    static dataplane::Address address(const std::string& network, unsigned i) {
        return at(network + std::to_string(i + 1));
    }

    ProbeLimits limits{40};
    Time now{};
};

TEST_F(ProbeLimitsTest, OneNetworkGetsAFewAtOnce) {
    EXPECT_EQ(entered("1.0.0.", 30), 16u);
    EXPECT_EQ(entered("2606:4700:1:", 0) + entered("2606:4700:1::", 30), 16u) << "a /48";
    EXPECT_FALSE(limits.enter(at("2606:4700:1:ffff::1"), 1000, now)) << "of the same";
    EXPECT_TRUE(limits.enter(at("2606:4700:2::1"), 1000, now)) << "of the next";
    now += 10s;
    EXPECT_EQ(entered("1.0.0.", 30), 0u) << "all of them are still open";
    leave("1.0.0.", 3);
    EXPECT_EQ(entered("1.0.0.", 30), 3u);
}

TEST_F(ProbeLimitsTest, OneThatCouldNotBeSentCountsForNothing) {
    for (unsigned i = 0; i < 100; ++i) {
        ASSERT_TRUE(limits.enter(at("1.0.0.1"), 1, now)) << "all there is of a second";
        limits.give_back(at("1.0.0.1"), 1);
    }
    EXPECT_EQ(entered("1.0.0.", 2, 1), 1u);
}

TEST_F(ProbeLimitsTest, AndAFewPerSecond) {
    EXPECT_EQ(entered("1.0.0.", 16), 16u);
    leave("1.0.0.", 16);
    EXPECT_EQ(entered("1.0.0.", 16), 0u) << "nothing is open, but a second has not passed";
    now += 250ms;
    EXPECT_EQ(entered("1.0.0.", 16), 4u);
    leave("1.0.0.", 4);
    now += 1h;
    EXPECT_EQ(entered("1.0.0.", 30), 16u);
}

TEST_F(ProbeLimitsTest, AllNetworksTogether) {
    unsigned all = 0;
    for (int i = 0; i < 100; ++i) all += entered("1.0." + std::to_string(i) + ".", 1);
    EXPECT_EQ(all, 40u) << "at once";
    for (int i = 0; i < 40; ++i) leave("1.0." + std::to_string(i) + ".", 1);
    now += 1h;
    all = 0;
    for (int i = 0; i < 100; ++i) all += entered("1.1." + std::to_string(i) + ".", 1, 10);
    EXPECT_EQ(all, 10u) << "per second";
    EXPECT_EQ(limits.open(), 10u);
}

TEST_F(ProbeLimitsTest, WhatCarriesIPv4CountsForItsNetwork) {
    EXPECT_EQ(entered("64:ff9b::1.0.0.", 30), 16u);
    EXPECT_EQ(entered("1.0.0.", 1), 0u) << "the same network";
    EXPECT_EQ(entered("64:ff9b::1.0.1.", 30), 16u) << "another, though of the same /48";
    leave("64:ff9b::1.0.0.", 16);
    now += 1s;
    EXPECT_EQ(entered("1.0.0.", 30), 16u);
}

TEST_F(ProbeLimitsTest, AreNotKeptForEver) {
    for (int i = 0; i < 100; ++i) {
        std::string network = "1." + std::to_string(i) + ".0.";
        ASSERT_EQ(entered(network, 1), 1u);
        leave(network, 1);
        now += 500ms;
    }
    EXPECT_LE(limits.networks(), 4u);
}

class ProberTest : public testing::Test {
  protected:
    static Config::Ranking two_ports() {
        Config::Ranking policy;
        policy.ports = {443, 80};
        return policy;
    }
    FetchId rank(const Texts& addresses) {
        FetchId fetch{1, ++last_};
        EXPECT_TRUE(prober.rank(fetch, all(addresses)));
        prober.tick(now);
        return fetch;
    }
    void answers(const std::string& address, Time rtt, std::uint16_t port = 443) {
        EXPECT_TRUE(probes.end(address, port, true, rtt, now)) << address;
    }
    void refuses(const std::string& address, std::uint16_t port) {
        EXPECT_TRUE(probes.end(address, port, false, {}, now)) << address;
    }
    void pass(Time span) {
        for (Time end = now + span; now < end;) {
            now += 10ms;
            prober.tick(now);
        }
    }
    /// The order that is ready; "none": there is none.
    Texts order() {
        auto ready = prober.take();
        return ready ? texts(ready->addresses) : Texts{"none"};
    }

    FakeProbes probes;
    Prober prober{probes, two_ports()};
    Time now{};

  private:
    cache::Generation last_ = 0;
};

TEST_F(ProberTest, TheOrderIsWhatWasMeasured) {
    FetchId fetch = rank({"1.0.0.1", "1.0.1.1", "1.0.2.1"});
    EXPECT_EQ(probes.log(), (Texts{"1.0.0.1 443", "1.0.1.1 443", "1.0.2.1 443"}));
    answers("1.0.0.1", 90ms);
    answers("1.0.2.1", 40ms);
    EXPECT_EQ(order(), Texts{"none"}) << "one is not known yet";
    answers("1.0.1.1", 10ms);
    auto ready = prober.take();
    ASSERT_TRUE(ready);
    EXPECT_EQ(ready->fetch, fetch);
    EXPECT_EQ(texts(ready->addresses), (Texts{"1.0.1.1", "1.0.2.1", "1.0.0.1"}));
    EXPECT_EQ(prober.open(), 0u);
    EXPECT_EQ(prober.counters().ordered, 1u);
}

TEST_F(ProberTest, WhatIsFreshIsNotProbedAgain) {
    rank({"1.0.0.1", "1.0.1.1"});
    answers("1.0.0.1", 90ms);
    answers("1.0.1.1", 10ms);
    order();
    now += 599s;
    rank({"1.0.0.1", "1.0.1.1"});
    EXPECT_EQ(order(), (Texts{"1.0.1.1", "1.0.0.1"})) << "at once";
    EXPECT_EQ(probes.sent.size(), 2u);
    now += 1s;
    rank({"1.0.0.1", "1.0.1.1"});
    EXPECT_EQ(order(), Texts{"none"});
    EXPECT_EQ(probes.sent.size(), 4u);
}

TEST_F(ProberTest, ADeadAddressSinksWhenItsTimeIsOver) {
    rank({"1.0.0.1", "1.0.1.1"});
    answers("1.0.1.1", 500ms);
    pass(limits::probe - 10ms);
    EXPECT_EQ(order(), Texts{"none"});
    pass(10ms);
    EXPECT_EQ(order(), (Texts{"1.0.1.1", "1.0.0.1"}));
    EXPECT_EQ(prober.counters().failed, 1u);
    EXPECT_EQ(probes.open(), 0u) << "nothing is left open";
}

TEST_F(ProberTest, TheNextPortAtOnceAfterARefusalAndSoonAfterSilence) {
    rank({"1.0.0.1", "1.0.1.1"});
    refuses("1.0.0.1", 443);
    EXPECT_EQ(probes.log(), (Texts{"1.0.0.1 443", "1.0.1.1 443", "1.0.0.1 80"}));
    pass(limits::probe_stagger);
    EXPECT_EQ(probes.log().back(), "1.0.1.1 80");
    EXPECT_EQ(probes.open(), 3u) << "the first may still answer";
    answers("1.0.0.1", 200ms, 80);
    answers("1.0.1.1", 160ms, 443);
    EXPECT_EQ(probes.open(), 0u);
    EXPECT_EQ(order(), (Texts{"1.0.1.1", "1.0.0.1"}));
    EXPECT_EQ(prober.find(at("1.0.0.1"))->last_port, 80u);
}

TEST_F(ProberTest, RefusedOnEachPortIsDead) {
    rank({"1.0.0.1", "1.0.1.1"});
    answers("1.0.1.1", 500ms);
    refuses("1.0.0.1", 443);
    refuses("1.0.0.1", 80);
    EXPECT_EQ(order(), (Texts{"1.0.1.1", "1.0.0.1"}));
    EXPECT_TRUE(prober.find(at("1.0.0.1"))->is_dead());
}

TEST_F(ProberTest, EchoComesLast) {
    Config::Ranking policy = two_ports();
    policy.icmp = true;
    prober.set_policy(policy);
    rank({"1.0.0.1", "10.0.0.1"});
    refuses("1.0.0.1", 443);
    refuses("1.0.0.1", 80);
    answers("1.0.0.1", 5ms, 0);
    EXPECT_EQ(order(), (Texts{"1.0.0.1", "10.0.0.1"}));
}

TEST_F(ProberTest, SpecialUseIsNeverProbedUnlessAllowed) {
    EXPECT_FALSE(prober.rank({1, 1}, all({"127.0.0.1", "10.0.0.1"}))) << "there is nothing to find";
    rank({"127.0.0.1", "1.0.0.1", "fe80::1", "192.0.2.1", "240.0.0.1", "2001:db8::1"});
    EXPECT_EQ(probes.log(), Texts{"1.0.0.1 443"});
    Config::Ranking policy = two_ports();
    policy.allow = {*dataplane::parse_prefix("127.0.0.0/8"), *dataplane::parse_prefix("224.0.0.0/3")};
    prober.set_policy(policy);
    rank({"127.0.0.1", "10.0.0.1", "224.0.0.1", "255.255.255.255"});
    EXPECT_EQ(probes.log(), (Texts{"1.0.0.1 443", "127.0.0.1 443"})) << "and multicast never";
}

TEST_F(ProberTest, WithoutPortsNobodyIsProbed) {
    prober.set_policy({});
    EXPECT_FALSE(prober.rank({1, 1}, all({"1.0.0.1", "1.0.1.1"})));
    prober.tick(now);
    EXPECT_TRUE(probes.sent.empty());
}

TEST_F(ProberTest, AnotherPolicyForgetsAndEndsWhatIsUnderWay) {
    rank({"1.0.0.1", "1.0.1.1"});
    answers("1.0.1.1", 5ms);
    prober.set_policy({});
    EXPECT_EQ(probes.open(), 0u);
    EXPECT_EQ(order(), Texts{}) << "nobody waits in vain";
    EXPECT_EQ(probes.rests, 1u) << "and no socket is kept";
    EXPECT_EQ(prober.measured(), 0u);
}

TEST_F(ProberTest, RankingsShareTheProbesOfAnAddress) {
    rank({"1.0.0.1", "1.0.1.1"});
    rank({"1.0.1.1", "1.0.0.1", "1.0.1.1"});
    EXPECT_EQ(probes.sent.size(), 2u);
    answers("1.0.0.1", 5ms);
    answers("1.0.1.1", 50ms);
    EXPECT_EQ(order(), (Texts{"1.0.0.1", "1.0.1.1"}));
    EXPECT_EQ(order(), (Texts{"1.0.0.1", "1.0.1.1", "1.0.1.1"}));
}

TEST_F(ProberTest, ACancelledRankingIsNotGivenAndItsResultsAreKept) {
    FetchId fetch = rank({"1.0.0.1", "1.0.1.1"});
    answers("1.0.0.1", 5ms);
    prober.cancel(fetch);
    answers("1.0.1.1", 1ms);
    EXPECT_EQ(order(), Texts{"none"});
    rank({"1.0.0.1", "1.0.1.1"});
    prober.cancel({1, 77}); // nobody's
    EXPECT_EQ(order(), (Texts{"1.0.1.1", "1.0.0.1"}));
    FetchId third{1, 9};
    prober.rank(third, all({"1.0.0.1", "1.0.1.1"}));
    prober.cancel(third);
    prober.tick(now);
    EXPECT_EQ(order(), Texts{"none"}) << "cancelled before it began";
}

TEST_F(ProberTest, WhatALimitKeepsBackIsUnknownNotDead) {
    Texts addresses;
    for (int i = 1; i <= 18; ++i) addresses.push_back("1.0.0." + std::to_string(i));
    rank(addresses);
    EXPECT_EQ(probes.sent.size(), 16u);
    for (int i = 1; i <= 16; ++i) refuses(addresses[std::size_t(i) - 1], 443);
    EXPECT_EQ(probes.sent.size(), 16u) << "nor is the second port tried";
    pass(limits::probe);
    EXPECT_EQ(prober.find(at("1.0.0.18")), nullptr);
    EXPECT_GE(prober.counters().limited, 2u);
    EXPECT_LE(prober.measured(), 10u) << "as many have been asked on both ports";
    EXPECT_EQ(order().size(), 18u);
}

TEST_F(ProberTest, WhatThisMachineCannotSendSaysNothing) {
    Config::Ranking policy = two_ports();
    policy.rate = 2; // what was not sent counts for nothing
    prober.set_policy(policy);
    probes.unreachable = {443, 80};
    rank({"1.0.0.1", "1.0.1.1"});
    EXPECT_EQ(order(), Texts{}) << "no order, and nobody waits";
    EXPECT_EQ(prober.measured(), 0u);
    EXPECT_EQ(prober.counters().unsent, 4u);
    probes.unreachable = {443};
    rank({"1.0.0.1", "1.0.1.1"});
    EXPECT_EQ(probes.log(), (Texts{"1.0.0.1 80", "1.0.1.1 80"}));
}

TEST_F(ProberTest, AnEndlessAnswerIsRankedInPart) {
    Texts addresses;
    for (int i = 1; i <= 100; ++i) addresses.push_back("1.0." + std::to_string(i) + ".1");
    rank(addresses);
    EXPECT_EQ(probes.sent.size(), limits::ranked_addresses);
}

TEST_F(ProberTest, NoMoreRankingsThanTheBound) {
    for (std::size_t i = 0; i < limits::rankings; ++i) {
        ASSERT_TRUE(prober.rank({1, i + 1}, all({"1.0.0.1", "1.0.1.1"})));
    }
    EXPECT_FALSE(prober.rank({1, 5000}, all({"1.0.0.1", "1.0.1.1"})));
    prober.cancel({1, 1});
    EXPECT_FALSE(prober.rank({1, 5000}, all({"1.0.0.1", "1.0.1.1"}))) << "it is still in the queue";
    EXPECT_EQ(prober.counters().refused, 2u);
    for (int i = 0; i < 100; ++i) prober.tick(now);
    answers("1.0.0.1", 5ms);
    answers("1.0.1.1", 1ms);
    for (std::size_t i = 1; i < limits::rankings; ++i) ASSERT_EQ(order(), (Texts{"1.0.1.1", "1.0.0.1"}));
    EXPECT_EQ(order(), Texts{"none"});
}

} // namespace
} // namespace millrace::control
