// Steady overload: one server that takes 200 ms and may be asked four questions at once, so twenty a second.
#include <random>

#include "tests/control/fetch/fixture.hpp"
#include "tests/support/rules.hpp"

namespace millrace::control {
namespace {

class Overload : public FetchTest {
  protected:
    Overload() : FetchTest(1, {}, 20'000, 20'000) {
        fetches.set_rules(rules.current());
        upstreams.set_policy({.outstanding = 4});
        network.serve(server(0), [](FakeNetwork& net, const Sent& sent) {
            if (question_name(sent).starts_with("s")) return; // silence
            net.reply(sent, make_reply(sent.message, {.answer = {record(sent, "1.1.1.1", 60)}}), 200ms);
        });
    }
    /// A new name each time, in a zone of its own.
    void ask_from(const std::string& prefix, const std::string& first = "n") {
        std::string number = std::to_string(++asked_);
        tokens_[prefix].push_back(ask_as({*dataplane::parse_address(prefix + ".1"), std::uint16_t(asked_)}, 1,
                                         make_key(first + number + ".n" + number + ".com", LDNS_RR_TYPE_A)));
    }
    unsigned answered(const std::string& prefix) {
        return unsigned(std::ranges::count_if(tokens_[prefix], [&](auto token) {
            return clients.woken.contains(token) && woken(token).rcode == 0;
        }));
    }
    unsigned answered() {
        unsigned all = 0;
        for (const auto& [prefix, tokens] : tokens_) all += answered(prefix);
        return all;
    }
    std::uint64_t last_of(const std::string& prefix) { return tokens_[prefix].back(); }
    /// `turn` every 25 ms, for ten seconds; then the rest.
    template <class Turn>
    void flood(Turn turn) {
        for (unsigned i = 0; i < 400; ++i) {
            turn(i);
            run(25ms);
        }
        run(4s);
    }

    static constexpr unsigned capacity = 200; ///< of ten seconds
    test::RulesInEffect rules{dataplane::ClientPolicy{}};

  private:
    unsigned asked_ = 0;
    std::map<std::string, std::vector<std::uint64_t>> tokens_;
};

TEST_F(Overload, WhatWasAskedIsAnsweredAndTheRestRefused) {
    flood([&](unsigned) { ask_from("10.1.1"); });
    EXPECT_GE(answered(), capacity * 9 / 10);
    EXPECT_LE(queries_to(0), capacity + 4);
    EXPECT_EQ(fetches.counters().displaced, 0u);
    const UpstreamCounters& n = upstreams.counters(0);
    EXPECT_EQ(n.timeouts + n.failures + n.opened + n.probes, 0u) << "it is well";
    EXPECT_EQ(n.over_outstanding, 400 - n.sent);
    EXPECT_EQ(n.over_rate, 0u);
}

TEST_F(Overload, OfManyPrefixesToo) {
    std::minstd_rand draw(1);
    flood([&](unsigned) { ask_from("10.1." + std::to_string(draw() % 59)); });
    EXPECT_GE(answered(), capacity * 8 / 10);
    EXPECT_LE(queries_to(0), capacity * 12 / 10);
}

TEST_F(Overload, OfOneZone) {
    unsigned number = 0;
    std::vector<std::uint64_t> tokens;
    flood([&](unsigned i) {
        dataplane::Endpoint client{*dataplane::parse_address("10.1." + std::to_string(i % 59) + ".1"), 1024};
        tokens.push_back(ask_as(client, std::uint16_t(i),
                                make_key("n" + std::to_string(++number) + ".zone.com", LDNS_RR_TYPE_A)));
    });
    auto good = std::ranges::count_if(tokens, [&](auto token) { return woken(token).rcode == 0; });
    EXPECT_GE(good, capacity * 8 / 10);
    EXPECT_LE(queries_to(0), capacity * 12 / 10);
}

/// Ten times what there is room for; the other asks a quarter of it.
TEST_F(Overload, WhoAsksLittleHasItsPlaceBesideAFlood) {
    flood([&](unsigned i) {
        for (unsigned n = 0; n < 5; ++n) ask_from("10.1.1");
        if (i % 8 == 0) ask_from("10.2.2");
    });
    EXPECT_EQ(answered("10.2.2"), 50u);
    EXPECT_GE(answered(), capacity * 8 / 10) << "a place that was just taken is no loss";
    EXPECT_LE(queries_to(0), capacity + 4 + 50);
}

TEST_F(Overload, SilentNamesTakeNoPlaceForLong) {
    flood([&](unsigned i) {
        for (unsigned n = 0; n < 5; ++n) ask_from("10.1.1", "s");
        if (i % 8 == 0) ask_from("10.2.2");
    });
    EXPECT_EQ(answered("10.2.2"), 50u) << "of another prefix";
    EXPECT_GT(queries_to(0), 50 + 4 * 10 / 2u) << "each place was had again at least every second";
    EXPECT_EQ(upstreams.breaker(0), Breaker::closed);
}

TEST_F(Overload, WhatIsOverdueGivesWayToItsLike) {
    for (unsigned i = 0; i < 4; ++i) ask_from("10.1.1", "s");
    run(Time(upstreams.resend_after(0)));
    ask_from("10.1.1");
    EXPECT_EQ(fetches.counters().displaced, 0u) << "till then the server may reply";
    run(2ms);
    ask_from("10.1.1");
    EXPECT_EQ(fetches.counters().displaced, 1u);
    run(500ms);
    EXPECT_EQ(answered(), 1u);
}

TEST_F(Overload, WhoIsRefusedHearsOfALimit) {
    for (unsigned i = 0; i < 4; ++i) ask_from("10.1.1");
    ask_from("10.1.1");
    auto refused = last_of("10.1.1");
    EXPECT_EQ(woken(refused).rcode, LDNS_RCODE_SERVFAIL);
    EXPECT_EQ(woken(refused).entry, publisher.limited());
    ask_from("10.2.2");
    EXPECT_EQ(fetches.counters().displaced, 1u);
    auto displaced = std::ranges::find_if(
        clients.woken, [&](const auto& w) { return w.first != refused && w.second.rcode >= 0; });
    ASSERT_NE(displaced, clients.woken.end());
    EXPECT_EQ(displaced->second.entry, publisher.limited());
    run(1s);
}

TEST_F(Overload, TheRateHasASecondsWorthAtOnce) {
    upstreams.set_policy({.outstanding = 4096, .rate = 100});
    for (unsigned i = 0; i < 150; ++i) ask_from("10.1.1");
    EXPECT_EQ(queries_to(0), 100u);
    EXPECT_EQ(upstreams.counters(0).over_rate, 50u);
    EXPECT_EQ(upstreams.counters(0).over_outstanding, 0u);
    EXPECT_EQ(fetches.counters().displaced, 0u);
    EXPECT_EQ(woken(last_of("10.1.1")).entry, publisher.limited());
    run(100ms);
    for (unsigned i = 0; i < 50; ++i) ask_from("10.1.1");
    EXPECT_NEAR(queries_to(0), 110, 1);
    run(1s);
    EXPECT_GE(answered(), 109u);
}

/// No place becomes free for a question that the rate refuses.
TEST_F(Overload, NobodyEndsForWhatMayNotBeAsked) {
    upstreams.set_policy({.outstanding = 4, .rate = 4});
    for (unsigned i = 0; i < 4; ++i) ask_from("10.1.1");
    ask_from("10.2.2");
    EXPECT_EQ(fetches.counters().displaced, 0u);
    run(300ms);
    EXPECT_EQ(answered("10.1.1"), 4u);
}

} // namespace
} // namespace millrace::control
