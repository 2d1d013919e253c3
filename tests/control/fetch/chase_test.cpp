// Replies that hold a chain of CNAMEs without its end.
#include "tests/control/fetch/scenarios_fixture.hpp"

namespace millrace::control {
namespace {

/// Upstreams that answer by name.
class ChaseTest : public Scenarios {
  protected:
    using Says = std::map<std::string, ReplySpec>;
    void serve_by_name(unsigned i, const Says& says, Time delay = 5ms) {
        network.serve(server(i), [=](FakeNetwork& net, const Sent& sent) {
            auto found = says.find(question_name(sent));
            if (found != says.end()) net.reply(sent, make_reply(sent.message, found->second), delay);
        });
    }
    void all_say(const Says& says) {
        for (unsigned i : {0u, 1u, 2u}) serve_by_name(i, says);
    }
    cache::Key x = make_key("x.net", LDNS_RR_TYPE_A);
    const ReplySpec bare{.answer = {"a.com. 60 IN CNAME x.net."}};
    const ReplySpec end{.answer = {"x.net. 60 IN A 1.1.1.1"}};
    const ReplySpec whole{.answer = {"a.com. 60 IN CNAME x.net.", "x.net. 60 IN A 2.2.2.2"}};
};

TEST_F(ChaseTest, ItsEndIsAskedUnderItsOwnKeyAndTheChainCompleted) {
    all_say({{"a.com.", bare}, {"x.net.", end}});
    auto token = ask(a);
    run(1s);
    EXPECT_EQ(woken(token).addresses, Hosts{"1.1.1.1"});
    EXPECT_EQ(cached_addresses(a), Hosts{"1.1.1.1"});
    EXPECT_EQ(cached_addresses(x), Hosts{"1.1.1.1"});
    EXPECT_TRUE(cached(a)->chained);
    EXPECT_FALSE(cached(a)->rewritten) << "no rule of ours made it";
    EXPECT_GT(cached(a)->version.generation, cached(x)->version.generation);
    EXPECT_LE(cached(a)->expiry, clock.now + 30s) << "its end's Fetch was at work, and might have revoked it";
    EXPECT_EQ(fetches.live(), 0u);
}

TEST_F(ChaseTest, AServerWithTheWholeChainIsPreferredWhileItIsInTime) {
    serve_by_name(0, {{"a.com.", bare}, {"x.net.", end}});
    serve_by_name(1, {{"a.com.", whole}}, 200ms);
    silence(2);
    auto token = ask(a);
    run(1s);
    EXPECT_EQ(woken(token).addresses, Hosts{"2.2.2.2"});
    EXPECT_FALSE(cached(x));
}

TEST_F(ChaseTest, WhoAsksBeforeItsEndIsSoughtIsAnsweredToo) {
    for (unsigned i : {0u, 1u}) serve_by_name(i, {{"a.com.", bare}, {"x.net.", end}});
    silence(2);
    std::vector<std::uint64_t> tokens{ask(a)};
    run(299ms);
    clock.now += 1ms;
    fetches.tick(clock.now); // `fallback`: the chase begins in the next tick
    for (std::uint8_t flavour : {cache::plain, cache::dnssec_ok}) {
        tokens.push_back(ask(make_key("a.com", LDNS_RR_TYPE_A, flavour)));
    }
    run(2s);
    for (auto token : tokens) EXPECT_EQ(woken(token).addresses, Hosts{"1.1.1.1"});
    EXPECT_EQ(fetches.counters().fetches, 3u) << "the name twice, its end once";
    EXPECT_EQ(fetches.live(), 0u);
}

TEST_F(ChaseTest, OneThatIsLateIsNotWaitedFor) {
    serve_by_name(0, {{"a.com.", bare}, {"x.net.", end}});
    for (unsigned i : {1u, 2u}) serve_by_name(i, {{"a.com.", whole}}, 2s);
    auto token = ask(a);
    run(400ms);
    EXPECT_EQ(woken(token).addresses, Hosts{"1.1.1.1"});
}

TEST_F(ChaseTest, WhatIsKnownOfTheEndIsNotAskedAgain) {
    all_say({{"a.com.", bare}, {"x.net.", end}});
    ask(x);
    run(1s);
    std::uint64_t before = fetches.counters().fetches;
    auto token = ask(a);
    run(1s);
    EXPECT_EQ(woken(token).addresses, Hosts{"1.1.1.1"});
    EXPECT_EQ(fetches.counters().fetches, before + 1);
}

TEST_F(ChaseTest, NegativeAnswersOfTheEndAreTheAnswer) {
    all_say({{"a.com.", bare},
             {"x.net.", {.authority = {"net. 60 IN SOA ns.net. h.net. 1 2 3 4 60"}, .rcode = 3}}});
    auto token = ask(a);
    run(1s);
    EXPECT_EQ(woken(token).rcode, LDNS_RCODE_NXDOMAIN);
    EXPECT_EQ(cached(a)->answers, 1u);
}

TEST_F(ChaseTest, AnEndThatFailsIsAFailureOfTheNameAndCached) {
    all_say({{"a.com.", bare}, {"x.net.", servfail}});
    auto token = ask(a);
    run(1s);
    EXPECT_EQ(woken(token).rcode, LDNS_RCODE_SERVFAIL);
    ASSERT_TRUE(cached(a));
    EXPECT_TRUE(cached(a)->failure);
}

TEST_F(ChaseTest, AnEndThatIsBogusSaysSoUnderTheFirstName) {
    all_say({{"a.com.", bare}, {"x.net.", {.rcode = 2, .info = 6, .info_text = "forged"}}});
    auto token = ask(a);
    run(1s);
    EXPECT_EQ(woken(token).info, 6);
    ASSERT_TRUE(cached(a));
    EXPECT_EQ(cached(a)->info, 6);
}

TEST_F(ChaseTest, ADnameAloneLeadsToItsEnd) {
    all_say({{"x.a.com.", {.answer = {"a.com. 60 IN DNAME b.net."}}},
             {"x.b.net.", {.answer = {"x.b.net. 60 IN A 1.1.1.1"}}}});
    cache::Key below = make_key("x.a.com", LDNS_RR_TYPE_A);
    auto token = ask(below);
    run(1s);
    EXPECT_EQ(woken(token).addresses, Hosts{"1.1.1.1"});
    ASSERT_TRUE(cached(below));
    EXPECT_EQ(cached(below)->answers, 3u) << "the DNAME, its CNAME, the address";
}

TEST_F(ChaseTest, ANameThatADnameMakesTooLongIsAnAnswerAndCached) {
    const std::string label(59, 'x'), dname = "a.com. 60 IN DNAME a-target-of-octets.net.";
    const std::string name = label + "." + label + "." + label + "." + std::string(58, 'y') + ".a.com.";
    for (unsigned rcode : {0u, 6u}) {
        cache::Key below = make_key(name, rcode == 0 ? LDNS_RR_TYPE_A : LDNS_RR_TYPE_AAAA);
        for (unsigned i : {0u, 1u, 2u}) script(i, {.answer = {dname}, .rcode = rcode}, 5ms);
        auto token = ask(below);
        run(1s);
        EXPECT_EQ(woken(token).rcode, 6);
        ASSERT_TRUE(cached(below));
        EXPECT_FALSE(cached(below)->failure);
        EXPECT_EQ(cached(below)->answers, 1u);
        EXPECT_EQ(cached(below)->expiry - cached(below)->born, Time(60s));
    }
}

TEST_F(ChaseTest, AFlushOfANameInTheMiddleLosesNobody) {
    all_say({{"a.com.", {.answer = {"a.com. 60 IN CNAME b.com."}}},
             {"b.com.", {.answer = {"b.com. 60 IN CNAME x.net."}}},
             {"x.net.", end}});
    auto token = ask(a, true);
    for (int i = 0; i < 100 && fetches.counters().fetches < 2; ++i) run(1ms);
    for (int i = 0; i < 100 && fetches.live() > 0; ++i) { // b.com's replies, but no tick after them
        clock.now += 1ms;
        while (network.step()) {
        }
    }
    ASSERT_EQ(fetches.live(), 0u) << "what b.com leads to is asked in the next tick";
    ASSERT_TRUE(flushes.flush_name(b.name, [](std::size_t) {}));
    run(1s);
    EXPECT_EQ(woken(token).addresses, Hosts{"1.1.1.1"});
}

TEST_F(ChaseTest, ACircleEnds) {
    all_say({{"a.com.", {.answer = {"a.com. 60 IN CNAME b.com."}}},
             {"b.com.", {.answer = {"b.com. 60 IN CNAME a.com."}}}});
    auto first = ask(a), second = ask(b);
    run(1s);
    EXPECT_EQ(woken(first).rcode, LDNS_RCODE_SERVFAIL);
    EXPECT_EQ(woken(second).rcode, LDNS_RCODE_SERVFAIL);
    EXPECT_LT(fetches.counters().fetches, 6u);
}

TEST_F(ChaseTest, AChainThatIsSpelledOutNameByNameEnds) {
    for (unsigned i : {0u, 1u, 2u}) {
        network.serve(server(i), [](FakeNetwork& net, const Sent& sent) {
            std::string name = question_name(sent);
            net.reply(sent, make_reply(sent.message, {.answer = {name + " 60 IN CNAME x" + name}}), 1ms);
        });
    }
    auto token = ask(a);
    run(1s);
    EXPECT_EQ(woken(token).rcode, LDNS_RCODE_SERVFAIL);
    EXPECT_EQ(fetches.counters().fetches, limits::chain + 1u);
    EXPECT_EQ(fetches.live(), 0u);
}

TEST_F(ChaseTest, ClientsOfTheEndKnowNothingOfIt) {
    all_say({{"a.com.", bare}, {"x.net.", end}});
    ask(a);
    run(7ms);
    auto token = ask(x);
    run(1s);
    EXPECT_EQ(woken(token).addresses, Hosts{"1.1.1.1"});
    EXPECT_EQ(fetches.counters().fetches, 2u) << "coalesced";
}

} // namespace
} // namespace millrace::control
