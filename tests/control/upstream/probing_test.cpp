// Probes of servers without suspicion, and how many of them count.
#include <set>

#include "tests/control/fetch/fixture.hpp"
#include "tests/control/upstream/upstreams_fixture.hpp"

namespace millrace::control {
namespace {

class ProbingTest : public UpstreamsTest {
  protected:
    void set_policy(unsigned fall, unsigned rise) {
        upstreams.set_policy({.silences = 3, .probe_fall = fall, .probe_rise = rise, .back_off = 1s});
    }
    /// The time of the next regular probe of server 0, as `random` has it.
    Time planned(std::uint64_t random) {
        upstreams.plan_probe(0, now, random);
        return upstreams.next_probe(0) - now;
    }
};

TEST_F(ProbingTest, NoneAreRegularUnlessAskedFor) {
    EXPECT_EQ(upstreams.unplanned(), std::nullopt);
    EXPECT_EQ(upstreams.next_probe(), Time::max());
}

TEST_F(ProbingTest, TheFirstComesWithinAnIntervalThenAQuarterMoreOrLess) {
    upstreams.set_policy({.probe_interval = 40s});
    EXPECT_EQ(upstreams.unplanned(), 0u);
    EXPECT_LE(upstreams.next_probe(), now) << "there is something to plan";
    EXPECT_EQ(planned(0), 0s);
    EXPECT_EQ(planned(40'000'000), 40s);
    EXPECT_EQ(planned(40'000'001), 0s);
    EXPECT_EQ(upstreams.unplanned(), 1u);
    now += 1s;
    probe(0, ProbeEnd::heard);
    EXPECT_EQ(upstreams.unplanned(), 0u) << "anew after each";
    EXPECT_EQ(planned(0), 30s);
    EXPECT_EQ(planned(20'000'000), 50s);
    upstreams.set_policy({.probe_interval = 8s});
    EXPECT_EQ(upstreams.unplanned(), 0u);
    upstreams.set_policy({});
    EXPECT_EQ(upstreams.unplanned(), std::nullopt);
    EXPECT_EQ(upstreams.next_probe(), Time::max());
}

TEST_F(ProbingTest, WhoIsOpenOrDownIsProbedAsEver) {
    upstreams.set_policy({.silences = 3, .probe_interval = 40s, .back_off = 1s});
    for (unsigned i : {0u, 1u, 2u}) upstreams.plan_probe(i, now, 39'000'000);
    open(0);
    upstreams.plan_probe(0, now, 0);
    EXPECT_EQ(upstreams.next_probe(0), now + 1s);
    upstreams.set_override(1, Override::down, now);
    EXPECT_EQ(upstreams.next_probe(1), Time::max());
    upstreams.set_override(2, Override::up, now);
    EXPECT_EQ(upstreams.next_probe(2), now + 39s);
}

TEST_F(ProbingTest, SoManyProbesInARowMustBeSilent) {
    set_policy(3, 1);
    silence(0, 10);
    for (int round = 0; round < 2; ++round) {
        for (int i = 0; i < 2; ++i) {
            probe(0, ProbeEnd::silent);
            EXPECT_EQ(breaker(0), Breaker::closed);
            now += 1s;
        }
        if (round == 0) reply(0), silence(0, 3);
    }
    probe(0, ProbeEnd::silent);
    EXPECT_EQ(breaker(0), Breaker::open);
}

TEST_F(ProbingTest, RegularOnesCountWithoutQuestionsThatHeardNothing) {
    upstreams.set_policy({.silences = 30, .probe_interval = 40s, .probe_fall = 3});
    for (unsigned i : {0u, 1u, 2u}) upstreams.plan_probe(i, now, 39'000'000);
    upstreams.plan_probe(0, now, 0);
    auto silent = [&] {
        probe(0, ProbeEnd::silent);
        EXPECT_EQ(upstreams.next_probe(0), now + 1s) << "the next follows soon";
        EXPECT_EQ(breaker(0), Breaker::closed);
        now += 1s;
    };
    silent();
    silent();
    reply(0);
    silent();
    upstreams.begin_probe(0);
    reply(0); // to some other question
    upstreams.judge_probe(0, ProbeEnd::silent, now);
    EXPECT_EQ(breaker(0), Breaker::closed) << "it is alive, the probe was lost";
    now += 1s;
    silent();
    silent();
    probe(0, ProbeEnd::silent);
    EXPECT_EQ(breaker(0), Breaker::open);
    EXPECT_EQ(upstreams.changed(0)->reason, "silent to probes in a row");
}

TEST_F(ProbingTest, SoManyProbesInARowMustBeHeard) {
    set_policy(1, 3);
    open(0);
    now += 1s;
    for (int round = 0; round < 2; ++round) {
        for (int i = 0; i < 2; ++i) {
            probe(0, ProbeEnd::heard);
            EXPECT_EQ(breaker(0), Breaker::open);
            upstreams.heard(0, now);
            EXPECT_EQ(breaker(0), Breaker::open) << "a late reply is no probe";
            now += 1s;
        }
        if (round == 0) {
            probe(0, ProbeEnd::silent);
            now = upstreams.next_probe(0);
        }
    }
    EXPECT_EQ(upstreams.recoveries(), 0u);
    probe(0, ProbeEnd::heard);
    EXPECT_EQ(breaker(0), Breaker::closed);
    EXPECT_EQ(upstreams.recoveries(), 1u);
    EXPECT_EQ(upstreams.changed(0)->reason, "its probes were heard");
}

TEST_F(ProbingTest, OneReplyIsEnoughWhileNobodyElseIsWell) {
    set_policy(1, 3);
    for (unsigned i : {0u, 1u}) open(i);
    upstreams.set_override(2, Override::down, now);
    reply(1);
    EXPECT_EQ(breaker(1), Breaker::closed);
}

// In the whole control plane.

class ProbingFetchTest : public FetchTest {
  protected:
    ProbingFetchTest(unsigned servers = 3) : FetchTest(servers) {}
    void probe_every(Time interval) { upstreams.set_policy({.probe_interval = interval}); }
};

TEST_F(ProbingFetchTest, IdleServersAreProbedAndNotTogether) {
    for (unsigned i : {0u, 1u, 2u}) serve(i, {"1.1.1.1"}, 5ms);
    run(1h);
    EXPECT_EQ(network.sent.size(), 0u) << "off unless configured";
    probe_every(10s);
    run(1000s);
    std::set<Time> times;
    for (const Sent& sent : network.sent) times.insert(sent.at);
    EXPECT_EQ(times.size(), network.sent.size());
    for (unsigned i : {0u, 1u, 2u}) {
        EXPECT_GT(upstreams.counters(i).probes, 1000u * 4 / 50) << "10 s, a quarter more or less";
        EXPECT_LT(upstreams.counters(i).probes, 1000u * 4 / 30 + 2);
        EXPECT_EQ(upstreams.srtt(i), 5ms) << "measured without clients";
        EXPECT_EQ(upstreams.breaker(i), Breaker::closed);
    }
    probe_every(0s);
    std::size_t before = network.sent.size();
    run(1h);
    EXPECT_EQ(network.sent.size(), before);
}

TEST_F(ProbingFetchTest, ADeadServerIsFoundBeforeAClientPaysForIt) {
    for (unsigned i : {1u, 2u}) serve(i, {"1.1.1.1"}, 5ms);
    silence(0);
    probe_every(10s);
    run(30s);
    EXPECT_NE(upstreams.breaker(0), Breaker::closed);
    EXPECT_EQ(upstreams.breaker(1), Breaker::closed);
    serve(0, {"1.1.1.1"}, 5ms);
    run(5s);
    EXPECT_EQ(upstreams.breaker(0), Breaker::closed);
}

/// A server that truncates every reply is as alive as any other.
TEST_F(ProbingFetchTest, ATruncatedReplyIsAllThatAProbeIsSentFor) {
    script(0, {.truncated = true}, 5ms);
    upstreams.suspect(0, clock.now);
    run(10s);
    EXPECT_EQ(upstreams.counters(0).probes, 1u);
    EXPECT_FALSE(upstreams.is_probed(0));
    EXPECT_EQ(network.sent.size(), 1u) << "nobody asks for the rest over TCP";
    EXPECT_EQ(upstreams.srtt(0), 5ms);
    EXPECT_EQ(upstreams.breaker(0), Breaker::closed);
}

TEST_F(ProbingFetchTest, AProbeThatCannotBeSentIsOverAndSaysNothing) {
    serve(0, {"1.1.1.1"}, 5ms);
    network.socket_limit = 0;
    upstreams.suspect(0, clock.now);
    run(10s);
    ASSERT_EQ(upstreams.counters(0).probes, 1u);
    EXPECT_FALSE(upstreams.is_probed(0));
    EXPECT_EQ(upstreams.loss(0), std::nullopt);
    network.socket_limit = 1;
    upstreams.suspect(0, clock.now);
    run(10s);
    EXPECT_EQ(network.sent.size(), 1u) << "the next one leaves";
}

class ManyProbesTest : public ProbingFetchTest {
  protected:
    ManyProbesTest() : ProbingFetchTest(64) {}
};

TEST_F(ManyProbesTest, ATickBeginsSoMany) {
    for (unsigned i = 0; i < 64; ++i) upstreams.suspect(i, clock.now);
    for (unsigned ticks = 1; ticks <= 4; ++ticks) {
        exchanges.tick(clock.now);
        EXPECT_EQ(network.sent.size(), ticks * limits::probes_per_tick);
    }
}

} // namespace
} // namespace millrace::control
