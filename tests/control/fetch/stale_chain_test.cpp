// Stale data at once, and what is fresh behind a stale chain of CNAMEs.
#include "control/limits.hpp"
#include "tests/control/fetch/scenarios_fixture.hpp"

namespace millrace::control {
namespace {

using WakeKind = dataplane::Wake::Kind;

/// www.a.com is an alias of b.com, expired; the address that it was given with is 9.9.9.9. Nobody replies.
class StaleChain : public Scenarios {
  protected:
    StaleChain() : Scenarios(1) {
        script(0,
               {.answer = {"www.a.com. 1 IN CNAME m.a.com.", "m.a.com. 1 IN CNAME b.com.",
                           "b.com. 1 IN A 9.9.9.9"}},
               1ms);
        ask(www);
        run(3s);
        EXPECT_TRUE(cached(www)->chained);
        EXPECT_GE(clock.now, cached(www)->expiry);
    }
    void renew(const cache::Key& target, const std::string& host, unsigned ttl = 600) {
        serve(0, {host}, 1ms, ttl);
        ask(target);
        run(10ms);
        silence(0);
    }
    void at_once() {
        TtlPolicy ttl;
        ttl.stale_at_once = true;
        FetchPolicy policy;
        policy.ttl = ttl;
        fetches.set_policy(0, policy);
        publisher.set_policy(0, ttl);
    }
    cache::Key www = make_key("www.a.com", LDNS_RR_TYPE_A);
    cache::Key middle = make_key("m.a.com", LDNS_RR_TYPE_A);
};

TEST_F(StaleChain, AfterAFailureTheFreshTargetIsToldAndPublished) {
    renew(b, "1.1.1.1");
    Time stale_until = cached(www)->stale_until;
    script(0, servfail, 1ms);
    auto client = ask(www);
    run(10ms);
    EXPECT_EQ(woken(client).kind, WakeKind::stale);
    EXPECT_EQ(woken(client).addresses, Hosts{"1.1.1.1"});
    const cache::Entry* entry = cached(www);
    EXPECT_EQ(cached_addresses(www), Hosts{"1.1.1.1"});
    EXPECT_EQ(entry->answers, 3u) << "behind both CNAMEs";
    EXPECT_EQ(entry->info, dns::ede::stale_answer);
    EXPECT_LE(entry->expiry, clock.now + 30s);
    EXPECT_GT(entry->expiry, clock.now + 20s) << "which is also the back-off";
    EXPECT_EQ(entry->stale_until, stale_until) << "never beyond its own";
    EXPECT_EQ(fetches.counters().chains_renewed, 2u) << "without DO and with it";
}

TEST_F(StaleChain, WhatIsRenewedIsNotServedLongerThanTheChain) {
    run(cached(www)->stale_until - clock.now - 5s);
    renew(b, "1.1.1.1");
    Time stale_until = cached(www)->stale_until;
    script(0, servfail, 1ms);
    ask(www);
    run(10ms);
    EXPECT_EQ(cached_addresses(www), Hosts{"1.1.1.1"});
    EXPECT_LE(cached(www)->expiry, stale_until);
}

TEST_F(StaleChain, ATargetThatIsAboutToExpireIsNotToldAsFresh) {
    renew(b, "1.1.1.1", 2);
    run(cached(b)->expiry - clock.now - 500ms);
    script(0, servfail, 1ms);
    for (int i = 0; i < 2; ++i) {
        auto client = ask(www);
        run(10ms);
        EXPECT_EQ(woken(client).addresses, Hosts{"9.9.9.9"}) << i;
        EXPECT_TRUE(cached(www)) << "the chain is still there";
        run(40s);
    }
}

TEST_F(StaleChain, AfterTheClientsTimerTheFreshTargetIsTold) {
    renew(b, "1.1.1.1");
    cache::Version before = cached(www)->version;
    auto client = ask(www), by_tcp = ask(www, true);
    run(2s);
    for (auto one : {client, by_tcp}) {
        EXPECT_EQ(woken(one).kind, WakeKind::stale);
        EXPECT_EQ(woken(one).addresses, Hosts{"1.1.1.1"});
    }
    EXPECT_EQ(woken(client).info, int(dns::ede::stale_answer));
    EXPECT_EQ(cached(www)->version, before) << "the Fetch is still at work";
    fetches.tick(clock.now);
    EXPECT_EQ(publisher.reserve().bytes(), 0u) << "nobody holds it any more";
}

TEST_F(StaleChain, TheFirstNameOfTheChainThatIsFreshCounts) {
    renew(b, "1.1.1.1");
    renew(middle, "2.2.2.2");
    script(0, servfail, 1ms);
    auto client = ask(www);
    run(10ms);
    EXPECT_EQ(woken(client).addresses, Hosts{"2.2.2.2"});
    EXPECT_EQ(cached(www)->answers, 2u) << "the rest of the chain is the fresh answer's";
}

TEST_F(StaleChain, WithoutAFreshTargetTheWholeIsStale) {
    renew(b, "1.1.1.1", 1);
    run(2s);
    script(0, servfail, 1ms);
    auto client = ask(www);
    run(10ms);
    EXPECT_EQ(woken(client).addresses, Hosts{"9.9.9.9"});
    EXPECT_GT(Time(cached(www)->refresh_after), clock.now) << "not again for a while";
    EXPECT_EQ(fetches.counters().chains_renewed, 0u);
}

TEST_F(StaleChain, AtOnceTheFreshTargetIsToldAndTheNameIsAsked) {
    renew(b, "1.1.1.1");
    at_once();
    std::size_t before = queries_to(0);
    auto client = ask(www);
    EXPECT_EQ(woken(client).at, clock.now);
    EXPECT_EQ(woken(client).kind, WakeKind::stale);
    EXPECT_EQ(woken(client).addresses, Hosts{"1.1.1.1"});
    EXPECT_EQ(cached_addresses(www), Hosts{"1.1.1.1"}) << "so that workers know it";
    EXPECT_EQ(queries_to(0), before + 1);
    EXPECT_EQ(fetches.live(), 1u);
    serve(0, {"3.3.3.3"}, 1ms);
    run(2s); // a resend is answered
    EXPECT_EQ(cached_addresses(www), Hosts{"3.3.3.3"}) << "the Fetch may still publish";
}

TEST_F(StaleChain, AFlushIsNotPassedBy) {
    renew(b, "1.1.1.1");
    at_once();
    bool is_done = false;
    flushes.flush_name(www.name, [&](std::size_t) { is_done = true; });
    auto client = ask(www); // not emptied yet
    EXPECT_EQ(woken(client).addresses, Hosts{"9.9.9.9"});
    EXPECT_EQ(fetches.counters().chains_renewed, 0u);
    while (!is_done) flushes.tick();
    EXPECT_EQ(cached(www), nullptr);
}

TEST_F(StaleChain, ATickLooksBehindABoundedNumber) {
    renew(b, "1.1.1.1");
    script(0, servfail, 1ms);
    at_once();
    cache::Key names[limits::renewals_per_tick + 1];
    for (unsigned i = 0; auto& key : names) {
        std::string name = "w" + std::to_string(i++) + ".com";
        key = make_key(name, LDNS_RR_TYPE_A);
        script(0, {.answer = {name + ". 1 IN CNAME b.com.", "b.com. 1 IN A 9.9.9.9"}}, 1ms);
        ask(key);
        run(10ms);
    }
    run(3s);
    silence(0);
    fetches.tick(clock.now);
    std::uint64_t last = 0;
    for (const auto& key : names) last = ask(key);
    EXPECT_EQ(fetches.counters().chains_renewed, limits::renewals_per_tick);
    EXPECT_EQ(woken(last).addresses, Hosts{"9.9.9.9"}) << "stale all the same";
}

TEST_F(StaleChain, AChainThatIsBeingFollowedIsNotAskedBesideThat) {
    at_once();
    network.serve(server(0), [](FakeNetwork& net, const Sent& sent) {
        if (question_name(sent) == "b.com.") return; // silent
        net.reply(sent, make_reply(sent.message, {.answer = {"www.a.com. 1 IN CNAME b.com."}}), 1ms);
    });
    ask(www);
    run(400ms);
    ASSERT_EQ(fetches.live(), 1u) << "the target's";
    std::uint64_t before = fetches.counters().fetches;
    auto client = ask(www);
    EXPECT_EQ(woken(client).addresses, Hosts{"9.9.9.9"});
    EXPECT_EQ(fetches.counters().fetches, before);
}

} // namespace
} // namespace millrace::control
