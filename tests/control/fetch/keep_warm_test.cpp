// Names that are kept warm: asked at start, at a bounded rate, and again before they expire.
#include "control/fetch/keep_warm.hpp"

#include "control/limits.hpp"
#include "tests/control/fetch/scenarios_fixture.hpp"
#include "tests/support/entries.hpp"
#include "tests/support/rules.hpp"

namespace millrace::control {
namespace {

class KeepWarmTest : public Scenarios {
  protected:
    KeepWarmTest() : Scenarios(1, {}, 40'000, 20'000) {}

    struct Control {
        KeepWarmTest& test;
        void tick(Time now) {
            test.fetches.tick(now);
            test.warm.tick(now);
        }
        Time next_timer() const { return std::min(test.fetches.next_timer(), test.warm.next_timer()); }
    };
    void pass(Time span) {
        Control control{*this};
        network.run_until(clock.now + span, control);
    }
    static std::string name(unsigned i) { return "n" + std::to_string(i) + ".com"; }
    void keep(unsigned count, unsigned rate) {
        auto list = std::make_unique<WarmList>();
        for (unsigned i = 0; i < count; ++i) list->add(make_key(name(i), LDNS_RR_TYPE_A));
        warm.set(std::move(list), rate);
    }
    bool is_fresh(unsigned i) const {
        const cache::Entry* entry = cached(make_key(name(i), LDNS_RR_TYPE_A));
        return entry && !entry->failure && clock.now < entry->expiry;
    }
    KeepWarm warm{table, fetches};
};

TEST_F(KeepWarmTest, AllAreAskedAtStartAtTheRateInTheirOrder) {
    serve(0, {"1.1.1.1"}, 1ms, 3600);
    keep(300, 100);
    pass(1s);
    EXPECT_GE(queries_to(0), 95u);
    EXPECT_LE(queries_to(0), 105u) << "a hundred a second";
    EXPECT_TRUE(is_fresh(0) && is_fresh(90));
    EXPECT_FALSE(is_fresh(299));
    pass(35s);
    EXPECT_EQ(queries_to(0), 300u) << "each once";
    EXPECT_EQ(warm.fresh(), 300u);
    EXPECT_EQ(warm.asked(), 300u);
    EXPECT_EQ(fetches.counters().warmed, 300u);
}

TEST_F(KeepWarmTest, EachIsAskedAgainBeforeItExpiresThoughNobodyAsksForIt) {
    serve(0, {"1.1.1.1"}, 1ms, 20);
    keep(5, 1000);
    pass(1s);
    for (int i = 0; i < 200; ++i) {
        for (unsigned n = 0; n < 5; ++n) ASSERT_TRUE(is_fresh(n)) << i;
        pass(500ms);
    }
    EXPECT_LE(queries_to(0), 5 * 7u) << "every 18 of 101 seconds";
}

TEST_F(KeepWarmTest, ACachedFailureIsRespected) {
    cache::Key key = make_key(name(0), LDNS_RR_TYPE_A);
    script(0, servfail, 1ms);
    Time life{};
    while (life < 20s) { // each is held twice as long as the one before
        pass(life);
        ask(key);
        pass(10ms);
        life = cached(key)->expiry - cached(key)->born;
    }
    keep(1, 1000);
    pass(life - 1s);
    EXPECT_EQ(warm.asked(), 0u);
    pass(2s);
    EXPECT_EQ(warm.asked(), 1u);
}

TEST_F(KeepWarmTest, WhatFailsIsAskedLessAndLessOften) {
    script(0, servfail, 1ms);
    keep(1, 1000);
    pass(600s);
    EXPECT_GE(fetches.counters().warmed, 5u);
    EXPECT_LE(fetches.counters().warmed, 10u);
    EXPECT_EQ(warm.fresh(), 0u);
    serve(0, {"1.1.1.1"}, 1ms, 3600);
    pass(310s);
    EXPECT_EQ(warm.fresh(), 1u);
}

TEST_F(KeepWarmTest, WhatMayNotBeKeptIsAskedLessAndLessOften) {
    serve(0, {"1.1.1.1"}, 1ms, 0);
    keep(1, 1000);
    pass(1000s);
    EXPECT_LE(warm.asked(), 10u);
    EXPECT_GE(warm.asked(), 7u);
}

TEST_F(KeepWarmTest, AFlushIsNoticedWithinHalfAMinute) {
    serve(0, {"1.1.1.1"}, 1ms, 3600);
    keep(1, 1000);
    pass(1s);
    ASSERT_TRUE(is_fresh(0));
    bool is_done = false;
    flushes.flush_all([&](std::size_t) { is_done = true; });
    while (!is_done) flushes.tick(), fetches.tick(clock.now);
    ASSERT_FALSE(is_fresh(0));
    pass(31s);
    EXPECT_TRUE(is_fresh(0));
}

TEST_F(KeepWarmTest, ClientsGoFirst) {
    silence(0);
    upstreams.set_policy({.outstanding = 60'000, .rate = 10'000'000});
    for (unsigned i = 0; fetches.live() < limits::fetches / 4 * 3; ++i) {
        dataplane::Endpoint from{*dataplane::parse_address("10.1." + std::to_string(i / 250 % 250) + "." +
                                                           std::to_string(i % 250 + 1)),
                                 std::uint16_t(1024 + i)};
        ask_as(from, std::uint16_t(i), make_key("c.zone" + std::to_string(i) + ".com", LDNS_RR_TYPE_A), true);
    }
    keep(10, 10'000);
    pass(200ms);
    EXPECT_EQ(warm.asked(), 0u);
    serve(0, {"1.1.1.1"}, 1ms, 3600);
    pass(30s);
    EXPECT_EQ(warm.fresh(), 10u);
}

TEST_F(KeepWarmTest, NobodyIsAskedWhileNoUpstreamWouldReply) {
    upstreams.set_override(0, Override::down, clock.now);
    keep(10, 1000);
    pass(10s);
    EXPECT_EQ(fetches.counters().warmed, 0u);
}

TEST_F(KeepWarmTest, AGroupThatIsDownKeepsNoneOfTheOthersCold) {
    serve(0, {"1.1.1.1"}, 1ms, 3600);
    test::RulesInEffect rules;
    rules.replace_routes(std::make_shared<const dataplane::Routes>(
                             std::vector<dataplane::Routes::Route>{{*cache::parse_name(name(0)), 1}}),
                         grace); // which has no servers
    fetches.set_rules(rules.current());
    keep(10, 1000);
    pass(1s);
    EXPECT_FALSE(is_fresh(0));
    for (unsigned i = 1; i < 10; ++i) EXPECT_TRUE(is_fresh(i)) << i;
    fetches.set_rules({});
    pass(10s);
    EXPECT_EQ(warm.fresh(), 10u) << "it is tried again";
}

TEST_F(KeepWarmTest, WhatExpiresIsAskedBeforeTheRestOfALongList) {
    serve(0, {"1.1.1.1"}, 1ms, 10);
    keep(1000, 20);
    pass(11s);
    EXPECT_TRUE(is_fresh(0)) << "though most have not been asked yet";
    pass(2min);
    EXPECT_TRUE(cached(make_key(name(999), LDNS_RR_TYPE_A)))
        << "nor does that keep the rest waiting for good";
}

TEST_F(KeepWarmTest, WhatIsAnsweredHereIsNotAsked) {
    serve(0, {"1.1.1.1"}, 1ms, 3600);
    dataplane::LocalNames::Builder names;
    auto denied = names.deny(0, true, dataplane::LocalNames::Action::nodata, cache::Entry::no_info,
                             test::entry_of({1, 0}, {}, 1h, 60s));
    names.add(cache::parse_name(name(0))->bytes(), dataplane::LocalNames::Builder::exact, denied);
    test::RulesInEffect rules;
    rules.replace_local(names.build(), grace);
    fetches.set_rules(rules.current());
    keep(2, 1000);
    pass(2min);
    EXPECT_EQ(queries_to(0), 1u);
    EXPECT_EQ(warm.fresh(), 1u);
    fetches.set_rules({});
}

TEST_F(KeepWarmTest, ATickLooksAtABoundedNumber) {
    serve(0, {"1.1.1.1"}, 1ms, 3600);
    keep(1000, 10'000);
    pass(2s);
    ASSERT_EQ(fetches.live(), 0u);
    keep(1000, 10'000); // all are fresh, and need only be looked at
    warm.tick(clock.now);
    EXPECT_EQ(warm.fresh(), limits::warm_looks_per_tick);
}

TEST_F(KeepWarmTest, EvictionTakesOthersFirst) {
    serve(0, {"1.1.1.1"}, 1ms, 3600);
    keep(1, 1000);
    pass(1s);
    cached(make_key(name(0), LDNS_RR_TYPE_A))->visited = 0;
    pass(31s);
    EXPECT_EQ(cached(make_key(name(0), LDNS_RR_TYPE_A))->visited, 1);
}

TEST_F(KeepWarmTest, WithoutAFileThereIsNothingToDo) {
    EXPECT_EQ(warm.next_timer(), Time::max());
    keep(1, 1);
    warm.set(nullptr, 1);
    EXPECT_EQ(warm.next_timer(), Time::max());
    warm.tick(clock.now);
    EXPECT_EQ(warm.questions(), 0u);
}

} // namespace
} // namespace millrace::control
