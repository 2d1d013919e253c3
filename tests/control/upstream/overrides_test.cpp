// What an operator sees of upstreams, and says of them: up, down, auto.
#include <sstream>

#include <spdlog/sinks/ostream_sink.h>
#include <spdlog/spdlog.h>

#include "control/upstream/state_log.hpp"
#include "tests/control/fetch/fixture.hpp"
#include "tests/control/upstream/upstreams_fixture.hpp"

namespace millrace::control {
namespace {

class OverrideTest : public UpstreamsTest {
  protected:
    void say(unsigned upstream, Override word) { upstreams.set_override(upstream, word, now); }
    std::string_view reason(unsigned upstream) const {
        const auto& changed = upstreams.changed(upstream);
        return changed ? changed->reason : "none";
    }
};

TEST_F(OverrideTest, OneThatIsDownIsAskedByNobodyNotEvenWhenNobodyElseIsWell) {
    say(0, Override::down);
    EXPECT_EQ(ranked(), (Order{1, 2}));
    EXPECT_TRUE(upstreams.is_any_closed());
    for (unsigned i : {1u, 2u}) open(i);
    EXPECT_FALSE(upstreams.is_any_closed()) << "stale data goes out at once: nobody is known to reply";
    EXPECT_EQ(ranked(), (Order{1, 2}));
    EXPECT_FALSE(upstreams.may_be_asked(0));
    EXPECT_TRUE(upstreams.may_be_asked(1));
    EXPECT_FALSE(upstreams.is_all_down());
}

TEST_F(OverrideTest, ProbesDoNotAskItEither) {
    open(1);
    silence(0, 3);
    for (unsigned i : {0u, 1u}) say(i, Override::down);
    upstreams.suspect(2, now);
    EXPECT_EQ(upstreams.probe_due(now), 2u);
    upstreams.suspect(0, now);
    now += 1h;
    probe(2, ProbeEnd::heard);
    EXPECT_EQ(upstreams.probe_due(now), std::nullopt);
    EXPECT_EQ(upstreams.next_probe(), Time::max());
}

TEST_F(OverrideTest, WhoIsLeftToItsBreakerAgainIsProbedAtOnce) {
    open(0);
    say(0, Override::down);
    now += 10s;
    say(0, Override::automatic);
    EXPECT_EQ(breaker(0), Breaker::open);
    probe(0, ProbeEnd::heard);
    EXPECT_EQ(breaker(0), Breaker::closed);
}

TEST_F(OverrideTest, OneThatIsSetDownWhileItIsProbedRestsUntilItIsNot) {
    open(0);
    now += 1s;
    upstreams.begin_probe(0);
    say(0, Override::down);
    upstreams.judge_probe(0, ProbeEnd::silent, now);
    EXPECT_EQ(breaker(0), Breaker::open);
    EXPECT_EQ(upstreams.next_probe(), Time::max());
    say(0, Override::automatic);
    EXPECT_EQ(upstreams.probe_due(now), 0u);
}

TEST_F(OverrideTest, WhenAllAreDownAllAreRankedAndRefuse) {
    for (unsigned i : {0u, 1u, 2u}) say(i, Override::down);
    EXPECT_TRUE(upstreams.is_all_down());
    EXPECT_FALSE(upstreams.is_any_closed());
    EXPECT_EQ(ranked().size(), 3u) << "never empty";
    for (unsigned i : {0u, 1u, 2u}) EXPECT_FALSE(upstreams.may_be_asked(i));
}

TEST_F(OverrideTest, OfOneThatIsUpTheBreakerStaysClosedWhateverItsProbesSay) {
    say(0, Override::up);
    for (int i = 0; i < 10; ++i) {
        silence(0, 5);
        probe(0, ProbeEnd::silent);
        now += 1s;
    }
    EXPECT_EQ(breaker(0), Breaker::closed);
    EXPECT_TRUE(upstreams.may_be_asked(0));
    EXPECT_EQ(upstreams.counters(0).opened, 0u);
    say(0, Override::automatic);
    EXPECT_EQ(breaker(0), Breaker::closed);
    probe(0, ProbeEnd::silent);
    EXPECT_EQ(breaker(0), Breaker::open) << "as before";
}

TEST_F(OverrideTest, SetUpItIsAskedAgainAndWhatFailedIsForgotten) {
    open(0);
    say(0, Override::up);
    EXPECT_EQ(breaker(0), Breaker::closed);
    EXPECT_EQ(ranked(), (Order{0, 1, 2}));
    EXPECT_EQ(upstreams.next_probe(), Time::max());
    EXPECT_EQ(upstreams.recoveries(), 1u);
    say(1, Override::down);
    say(1, Override::automatic);
    EXPECT_EQ(upstreams.recoveries(), 2u) << "it was silence of another kind";
    say(1, Override::automatic);
    EXPECT_EQ(upstreams.recoveries(), 2u);
}

TEST_F(OverrideTest, HoldsThroughAReloadAsLongAsTheServerStays) {
    say(1, Override::down);
    auto its = upstreams.endpoint(1);
    upstreams.replace({its, *dataplane::parse_endpoint("192.0.2.9", 53)});
    EXPECT_EQ(upstreams.override_of(0), Override::down);
    EXPECT_EQ(upstreams.override_of(1), Override::automatic);
    EXPECT_EQ(reason(0), "set down by the operator");
    upstreams.replace({upstreams.endpoint(1)});
    upstreams.replace({its});
    EXPECT_EQ(upstreams.override_of(0), Override::automatic) << "it was not configured meanwhile";
}

TEST_F(OverrideTest, ChangesHaveATimeAndAReason) {
    EXPECT_EQ(reason(0), "none");
    now += 1s;
    open(0);
    EXPECT_EQ(reason(0), "silent to questions in a row, then to a probe");
    EXPECT_EQ(upstreams.changed(0)->at, now);
    now += 1s;
    probe(0, ProbeEnd::silent);
    EXPECT_EQ(upstreams.changed(0)->at, now - 1s) << "a trial that fails changes nothing";
    reply(0);
    EXPECT_EQ(reason(0), "a reply came");
    EXPECT_EQ(upstreams.changed(0)->at, now);
    say(0, Override::up);
    EXPECT_EQ(reason(0), "set up by the operator");
}

TEST_F(OverrideTest, LossIsTheShareOfQuestionsThatHeardNothing) {
    EXPECT_EQ(upstreams.loss(0), std::nullopt);
    silence(0, 1);
    EXPECT_DOUBLE_EQ(*upstreams.loss(0), 1);
    for (int i = 0; i < 3; ++i) reply(0, i == 0 ? 2 : 0);
    EXPECT_DOUBLE_EQ(*upstreams.loss(0), 0.25) << "SERVFAIL is a reply";
    upstreams.judge_silence(0, 1us, now);
    EXPECT_DOUBLE_EQ(*upstreams.loss(0), 0.25) << "a short wait says nothing";
    upstreams.suspect(2, now);
    probe(2, ProbeEnd::silent);
    EXPECT_DOUBLE_EQ(*upstreams.loss(2), 1) << "probes are questions too";
    for (int i = 0; i < 1000; ++i) i % 10 == 0 ? silence(1, 1) : reply(1);
    EXPECT_NEAR(*upstreams.loss(1), 0.1, 0.03);
    silence(1, 100);
    EXPECT_GT(*upstreams.loss(1), 0.9) << "the old ones are forgotten";
}

// The log.

class StateLogTest : public testing::Test {
  protected:
    StateLogTest() {
        spdlog::set_default_logger(
            std::make_shared<spdlog::logger>("t", std::make_shared<spdlog::sinks::ostream_sink_mt>(text)));
        spdlog::set_pattern("%v");
    }
    ~StateLogTest() override { spdlog::set_default_logger(before); }
    void note(const char* breaker) { log.note({"upstream " + to_string(server), breaker, "why"}, now); }
    std::string said() { return std::exchange(text, std::ostringstream()).str(); }

    std::shared_ptr<spdlog::logger> before = spdlog::default_logger();
    std::ostringstream text;
    dataplane::Endpoint server = *dataplane::parse_endpoint("192.0.2.1", 53);
    Time now = support::clock_start();
    StateLog log;
};

TEST_F(StateLogTest, WritesAFewChangesOfAMinuteAndAtItsEndHowItStands) {
    for (const char* breaker : {"open", "closed", "open", "closed"}) {
        note(breaker);
        EXPECT_EQ(said(), std::string("upstream 192.0.2.1:53: breaker ") + breaker + ": why\n");
    }
    for (const char* breaker : {"open", "closed", "open"}) note(breaker);
    now += limits::log_interval - 1us;
    log.tick(now);
    EXPECT_EQ(said(), "");
    log.tick(now += 1us);
    EXPECT_EQ(said(), "upstream 192.0.2.1:53: breaker open, after 3 more changes: why\n");
    log.tick(now += limits::log_interval);
    EXPECT_EQ(said(), "");
    note("closed");
    EXPECT_EQ(said(), "upstream 192.0.2.1:53: breaker closed: why\n");
}

TEST_F(StateLogTest, WhatIsHeldBackComesBeforeTheOperatorsWordAndNotAfterIt) {
    Upstreams upstreams({server}, {.silences = 1});
    auto change = [&] {
        upstreams.suspect(0, now += 2s);
        upstreams.begin_probe(0);
        upstreams.judge_probe(0, Upstreams::ProbeEnd::silent, now);
        ASSERT_EQ(upstreams.breaker(0), Breaker::open);
        upstreams.heard(0, now);
    };
    for (int i = 0; i < 3; ++i) change();
    said();
    upstreams.set_override(0, Override::down, now);
    EXPECT_EQ(said(), "upstream 192.0.2.1:53: breaker closed, after 2 more changes: a reply came\n"
                      "upstream 192.0.2.1:53: set down by the operator\n");
    upstreams.tick(now += 2 * limits::log_interval);
    EXPECT_EQ(said(), "");
    upstreams.set_override(0, Override::up, now);
    EXPECT_EQ(said(), "upstream 192.0.2.1:53: set up by the operator\n");
}

// In the whole control plane.

class OverrideFetchTest : public FetchTest {
  protected:
    void say(unsigned upstream, Override word) { upstreams.set_override(upstream, word, clock.now); }
    using WakeKind = dataplane::Wake::Kind;
};

TEST_F(OverrideFetchTest, OneThatIsDownIsNotAskedThoughTheOthersAreSilent) {
    serve(0, {"1.1.1.1"}, 1ms);
    for (unsigned i : {1u, 2u}) silence(i);
    say(0, Override::down);
    for (unsigned i = 0; i < 12; ++i) {
        ask(make_key("n" + std::to_string(i) + ".com", LDNS_RR_TYPE_A));
        run(1s);
    }
    for (unsigned i : {1u, 2u}) EXPECT_NE(upstreams.breaker(i), Breaker::closed);
    EXPECT_EQ(queries_to(0), 0u);
    say(0, Override::automatic);
    auto token = ask(a);
    run(10ms);
    EXPECT_EQ(woken(token).addresses, Hosts{"1.1.1.1"});
}

TEST_F(OverrideFetchTest, WhenAllAreDownNobodyWaitsAndNothingIsCached) {
    for (unsigned i : {0u, 1u, 2u}) serve(i, {"1.1.1.1"}, 1ms);
    ask(a);
    run(62s);
    std::size_t before = network.sent.size();
    for (unsigned i : {0u, 1u, 2u}) say(i, Override::down);
    auto stale = ask(a), none = ask(b);
    run(0s);
    EXPECT_EQ(woken(stale).kind, WakeKind::stale);
    EXPECT_EQ(woken(stale).addresses, Hosts{"1.1.1.1"});
    EXPECT_EQ(woken(none).rcode, LDNS_RCODE_SERVFAIL);
    EXPECT_EQ(cached(b), nullptr) << "not the name's fault";
    EXPECT_EQ(network.sent.size(), before);
    say(1, Override::automatic);
    auto token = ask(b);
    run(10ms);
    EXPECT_EQ(woken(token).addresses, Hosts{"1.1.1.1"});
}

} // namespace
} // namespace millrace::control
