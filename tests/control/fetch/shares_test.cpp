// Who gives way when room is short.
#include "tests/control/fetch/fixture.hpp"
#include "tests/support/rules.hpp"

namespace millrace::control {
namespace {

TEST(Shares, TheOldestAndTheYoungestOfWhoHoldsMost) {
    Shares shares(100);
    EXPECT_FALSE(shares.largest(1));
    shares.enter(7, 1);
    EXPECT_FALSE(shares.largest(1)) << "one is nobody's too much";
    for (std::uint32_t slot : {3u, 9u, 5u}) shares.enter(slot, 2);
    EXPECT_EQ(shares.largest(1)->oldest, 3u);
    EXPECT_EQ(shares.largest(1)->youngest, 5u);
    EXPECT_EQ(shares.largest(1)->count, 3u);
    EXPECT_EQ(shares.count_of(1), 1u);
    EXPECT_EQ(shares.older(5), 9u);
    EXPECT_FALSE(shares.older(3));
    shares.leave(3);
    EXPECT_EQ(shares.largest(1)->oldest, 9u);
    shares.leave(5); // the youngest
    shares.enter(4, 1);
    EXPECT_EQ(shares.largest(1)->oldest, 7u) << "who asks, when it holds as many";
    EXPECT_FALSE(shares.largest(2) && shares.largest(2)->oldest == 9) << "one only";
    for (std::uint32_t slot : {9u, 7u, 4u}) shares.leave(slot);
    EXPECT_FALSE(shares.largest(1));
}

/// One upstream that is silent to names under "silent.com" and to those that begin with "s".
class SharesTest : public FetchTest {
  protected:
    SharesTest() : FetchTest(1, {}, 20'000, 20'000) {
        fetches.set_rules(rules.current());
        network.serve(server(0), [](FakeNetwork& net, const Sent& sent) {
            if (question_name(sent).starts_with("s")) return;
            net.reply(sent, make_reply(sent.message, {.answer = {record(sent, "1.1.1.1", 60)}}), 5ms);
        });
    }
    std::uint64_t ask_from(const char* client, const std::string& name, bool tcp = false) {
        ++port_;
        return ask_as({*dataplane::parse_address(client), std::uint16_t(port_ % 60'000 + 1024)},
                      std::uint16_t(port_), make_key(name, LDNS_RR_TYPE_A), tcp);
    }
    /// Silent names, each under a zone of its own.
    void flood(const char* client, unsigned count, bool tcp = false) {
        for (unsigned i = 0; i < count; ++i) {
            ask_from(client, "s.n" + std::to_string(++flooded_) + ".com", tcp);
        }
    }

    test::RulesInEffect rules{dataplane::ClientPolicy{}};

  private:
    unsigned port_ = 0, flooded_ = 0;
};

TEST_F(SharesTest, AFloodOfSilentNamesPushesOutItsOwn) {
    upstreams.set_policy({.outstanding = 100, .rate = 10'000'000});
    flood("10.1.1.1", 500);
    EXPECT_EQ(fetches.counters().displaced, 0u) << "none of them is overdue";
    for (unsigned i = 0; i < 20; ++i) {
        auto token = ask_from("10.2.2.2", "good" + std::to_string(i) + ".com");
        run(6ms);
        EXPECT_EQ(woken(token).addresses, Hosts{"1.1.1.1"}) << i;
    }
    EXPECT_LE(exchanges.open_count(), 100u);
}

TEST_F(SharesTest, ManyPrefixesUnderOneZoneAreOneHolder) {
    upstreams.set_policy({.outstanding = 100, .rate = 10'000'000});
    for (unsigned i = 0; i < 150; ++i) {
        ask_from(("10.1." + std::to_string(i) + ".1").c_str(), "s" + std::to_string(i) + ".victim.com");
    }
    auto token = ask_from("10.2.2.2", "good.com");
    run(6ms);
    EXPECT_EQ(woken(token).addresses, Hosts{"1.1.1.1"});
    EXPECT_EQ(fetches.counters().displaced, 1u);
}

TEST_F(SharesTest, WhoIsPushedOutHearsSoAndNothingIsCached) {
    upstreams.set_policy({.outstanding = 2, .rate = 10'000'000});
    ask_from("10.1.1.1", "s.one.com");
    auto second = ask_from("10.1.1.2", "s.two.com", true);
    auto third = ask_from("10.2.2.2", "good.com");
    EXPECT_EQ(woken(second).rcode, LDNS_RCODE_SERVFAIL) << "the youngest of the prefix that holds two";
    EXPECT_FALSE(cached(make_key("s.two.com", LDNS_RR_TYPE_A)));
    run(6ms);
    EXPECT_EQ(woken(third).rcode, 0);
}

/// Two may share a bucket, if only by a rare chance: then another round shows it.
TEST_F(SharesTest, WhereEveryoneHoldsOneNobodyGivesWay) {
    upstreams.set_policy({.outstanding = 2, .rate = 10'000'000});
    bool seen = false;
    for (unsigned round = 0; round < 4 && !seen; ++round) {
        std::string number = std::to_string(10 * round);
        auto client = [&](unsigned i) { return "10." + std::to_string(10 * round + i) + ".1.1"; };
        auto first = ask_from(client(1).c_str(), "s.one" + number + ".com");
        auto second = ask_from(client(2).c_str(), "s.two" + number + ".com");
        auto third = ask_from(client(3).c_str(), "good" + number + ".com");
        seen = fetches.counters().displaced == 0 && clients.woken.contains(third) &&
               woken(third).rcode == LDNS_RCODE_SERVFAIL && !clients.woken.contains(first) &&
               !clients.woken.contains(second);
        run(5s);
    }
    EXPECT_TRUE(seen);
}

/// Of 4,095 clients that one worker can keep waiting.
TEST_F(SharesTest, TheWaitersOfAWorkerAreNeverAllTaken) {
    upstreams.set_policy({.outstanding = 60'000, .rate = 10'000'000});
    for (const char* client : {"10.1.0.1", "10.1.1.1", "10.1.2.1", "10.1.3.1", "10.1.4.1"}) {
        flood(client, 1000);
    }
    EXPECT_LE(fetches.waiting(), limits::crowded + 1);
    EXPECT_GT(fetches.counters().refused, 1900u) << "those of prefixes that wait for much already";
    auto token = ask_from("10.2.2.2", "good.com");
    run(6ms);
    EXPECT_EQ(woken(token).addresses, Hosts{"1.1.1.1"});
}

TEST_F(SharesTest, OneSilentNameThatThousandsAskForTakesNothingFromOthers) {
    for (unsigned i = 0; i < 60 * 60; ++i) {
        ask_from(("10.1." + std::to_string(i / 60) + ".1").c_str(), "s.one.com");
    }
    EXPECT_LE(fetches.waiting(), limits::crowded + 1);
    for (unsigned i = 0; i < 20; ++i) {
        auto token = ask_from("10.2.2.2", "good" + std::to_string(i) + ".com");
        run(6ms);
        EXPECT_EQ(woken(token).addresses, Hosts{"1.1.1.1"}) << i;
    }
    EXPECT_EQ(fetches.counters().displaced, 0u);
}

TEST_F(SharesTest, WaitsAreCountedByPrefix) {
    upstreams.set_policy({.outstanding = 60'000, .rate = 10'000'000});
    for (unsigned i = 0; i < limits::waiters_per_prefix; ++i) {
        std::string client = "2001:db8::" + std::to_string(1 + i);
        ask_from(client.c_str(), "s.name" + std::to_string(i) + ".com");
    }
    auto over = ask_from("2001:db8::ffff", "good.com");
    EXPECT_EQ(woken(over).rcode, LDNS_RCODE_SERVFAIL);
    auto other = ask_from("2001:db8:1::1", "good.com");
    run(6ms);
    EXPECT_EQ(woken(other).addresses, Hosts{"1.1.1.1"});
}

} // namespace
} // namespace millrace::control
