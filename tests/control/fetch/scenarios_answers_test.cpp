// The races of tests/SCENARIOS.md, one test each: what clients are answered and when, S13 to S17, S19, S20
// and S25. S18 and others in which workers take part stand in appliance_test.cpp.
#include "tests/control/fetch/scenarios_fixture.hpp"

namespace millrace::control {
namespace {

using cache::Version;
using WakeKind = dataplane::Wake::Kind;

TEST_F(Scenarios, S13_OneFastOneSlowOneNever) {
    serve(0, {"1.1.1.1"}, 5ms);
    serve(1, {"2.2.2.2"}, 80ms);
    silence(2);
    auto client = ask(a);
    run(10ms);
    EXPECT_EQ(woken(client).at, start + 5ms);
    run(394ms); // the third was asked at 5 ms and may answer for 4 x 100 ms
    EXPECT_EQ(cached(a)->version, (Version{1, 0}));
    run(2ms);
    EXPECT_EQ(cached(a)->version, (Version{1, 1}));
    EXPECT_EQ(cached_addresses(a), (Hosts{"1.1.1.1", "2.2.2.2"}));
    EXPECT_EQ(fetches.live() + exchanges.open_count() + network.open_count(), 0u) << "nothing in flight";
    EXPECT_EQ(fetches.next_timer(), Time::max());
}

TEST_F(Scenarios, S14_NegativeAnswersDecideAtTheFirstReply) {
    for (std::uint16_t type : {LDNS_RR_TYPE_A, LDNS_RR_TYPE_MX, LDNS_RR_TYPE_TXT, LDNS_RR_TYPE_HTTPS}) {
        for (const ReplySpec& spec : {nxdomain, nodata}) {
            auto key = make_key(spec.rcode ? "x.com" : "d.com", type);
            for (unsigned i : {0u, 1u, 2u}) script(i, spec, 10ms);
            auto client = ask(key);
            Time asked = clock.now;
            run(3s);
            EXPECT_EQ(woken(client).at, asked + 10ms);
            EXPECT_EQ(woken(client).rcode, int(spec.rcode));
        }
    }
    for (unsigned i : {0u, 1u, 2u}) EXPECT_EQ(upstreams.counters(i).failures, 0u);
}

TEST_F(Scenarios, S14_AFailureOnlyWhenAllHaveFailed) {
    for (const ReplySpec& spec : {servfail, refused}) {
        auto key = spec.rcode == 2 ? a : b;
        for (unsigned i : {0u, 1u, 2u}) script(i, spec, Time(10ms + i * 10ms));
        auto client = ask(key);
        Time asked = clock.now;
        run(3s);
        EXPECT_EQ(woken(client).at, asked + 50ms) << "the third is asked when the second has failed";
        EXPECT_EQ(woken(client).rcode, 2);
    }
    for (unsigned i : {0u, 1u, 2u}) EXPECT_EQ(upstreams.counters(i).failures, 2u);
}

TEST_F(Scenarios, S14_NoReplyAtAll) {
    make_stale(b);
    for (unsigned i : {0u, 1u, 2u}) silence(i);
    Time asked = clock.now;
    auto udp = ask(a), tcp = ask(a, true), stale = ask(b);
    run(4s);
    EXPECT_EQ(woken(udp).kind, WakeKind::abandon);
    EXPECT_EQ(woken(udp).at, asked + 1900ms);
    EXPECT_EQ(woken(tcp).at, asked + 3s);
    EXPECT_EQ(woken(tcp).rcode, 2);
    EXPECT_EQ(woken(stale).kind, WakeKind::stale);
    EXPECT_EQ(woken(stale).at, asked + 1800ms);
    EXPECT_EQ(cached_addresses(b), Hosts{"192.0.2.99"}) << "never a failure in the place of stale data";
}

TEST_F(Scenarios, S15_ASlowAddressBeatsAFastFailure) {
    script(0, servfail, 1ms);
    serve(1, {"1.1.1.1"}, 200ms);
    silence(2);
    auto client = ask(a);
    run(2s);
    EXPECT_EQ(woken(client).addresses, Hosts{"1.1.1.1"});
}

TEST_F(Scenarios, S16_ChainsAreNeverMixed) {
    auto through = [](const char* target, const char* host) {
        return ReplySpec{.answer = {std::string("a.com. 60 IN CNAME ") + target,
                                    std::string(target) + " 60 IN A " + host}};
    };
    script(0, through("x.net.", "1.1.1.1"), 1ms);
    script(1, through("y.net.", "2.2.2.2"), 5ms);
    script(2, through("x.net.", "3.3.3.3"), 5ms);
    ask(a);
    run(2s);
    EXPECT_EQ(cached_addresses(a), Hosts{"1.1.1.1"});
    EXPECT_EQ(cached(a)->answers, 2u) << "one CNAME, one address";
}

TEST_F(Scenarios, S17_SignedAnswersStayWhole) {
    auto signed_reply = [](const std::string& name, const char* host) {
        return ReplySpec{
            .answer = {name + " 60 IN A " + host,
                       name + " 60 IN RRSIG A 8 2 60 20300101000000 20200101000000 1 com. AAAA"}};
    };
    script(0, signed_reply("a.com.", "1.1.1.1"), 1ms);
    script(1, signed_reply("a.com.", "2.2.2.2"), 5ms);
    silence(2);
    ask(a);
    run(2s);
    EXPECT_EQ(cached_addresses(a), Hosts{"1.1.1.1"});
    serve(0, {"1.1.1.1"}, 1ms);
    script(1, signed_reply("b.com.", "2.2.2.2"), 5ms);
    ask(b);
    run(2s);
    EXPECT_EQ(cached_addresses(b), Hosts{"1.1.1.1"}) << "nor is a signed one added to an unsigned one";
}

TEST_F(Scenarios, S19_ATtlOfZeroAnswersWhoWaitsOnce) {
    for (unsigned i : {0u, 1u, 2u}) serve(i, {"1.1.1.1"}, 5ms, 0);
    auto one = ask(a), two = ask(a);
    run(1s);
    EXPECT_EQ(woken(one).addresses, Hosts{"1.1.1.1"});
    EXPECT_EQ(woken(two).addresses, Hosts{"1.1.1.1"});
    EXPECT_EQ(cached(a), nullptr);
    fetches.tick(clock.now);
    EXPECT_EQ(publisher.reserve().entries(), 0u) << "and the private Entry is gone";
    ask(a);
    run(1s);
    EXPECT_EQ(fetches.counters().fetches, 2u);
}

TEST_F(Scenarios, S19_WhatATtlOfZeroTookThePlaceOfDoesNotComeBack) {
    for (unsigned i : {0u, 1u, 2u}) script(i, nxdomain, 5ms);
    ask(a);
    run(301s);
    ASSERT_EQ(cached(a)->rcode, LDNS_RCODE_NXDOMAIN) << "to be served stale";
    for (unsigned i : {0u, 1u, 2u}) serve(i, {"1.1.1.1"}, 5ms, 0);
    auto client = ask(a);
    run(1s);
    EXPECT_EQ(woken(client).addresses, Hosts{"1.1.1.1"});
    for (unsigned i : {0u, 1u, 2u}) silence(i);
    auto later = ask(a, true);
    run(4s);
    EXPECT_EQ(woken(later).kind, WakeKind::answer);
    EXPECT_EQ(woken(later).rcode, LDNS_RCODE_SERVFAIL) << "the name exists";
}

class Crowded : public Scenarios {
  protected:
    Crowded() : Scenarios(2, {}, 20000, 30000) {
        upstreams.set_policy({.outstanding = 20000, .rate = 1'000'000});
    }
};

TEST_F(Crowded, S20_ShutdownWithTenThousandCollectionsOpen) {
    auto ask_many = [&](const std::string& letter, int count) {
        for (int i = 0; i < count; ++i) ask(make_key(letter + std::to_string(i) + ".com", LDNS_RR_TYPE_A));
    };
    serve(0, {"1.1.1.1"}, 1ms);
    silence(1);
    for (const char* letter : {"c", "d", "e", "f", "g"}) { // no more at once than may wait at a worker
        ask_many(letter, 2000);
        run(5ms);
    }
    ASSERT_EQ(clients.woken.size(), 10000u) << "they have their answers";
    silence(0);
    ask_many("w", 1000);
    run(1ms);
    EXPECT_EQ(fetches.live(), 11000u);
    EXPECT_EQ(exchanges.open_count(), 10000u + 2 * 1000u)
        << "those collect from the other one, these ask both";
    fetches.close();
    EXPECT_EQ(fetches.live() + fetches.waiting() + exchanges.open_count() + network.open_count(), 0u);
    auto is_abandoned = [](const auto& w) { return w.second.kind == WakeKind::abandon; };
    EXPECT_EQ(std::ranges::count_if(clients.woken, is_abandoned), 1000);
}

TEST_F(Scenarios, S25_ALostDatagramIsResentOnItsSocket) {
    upstreams.replace({server(0)});
    unsigned seen = 0;
    network.serve(server(0), [&](FakeNetwork& net, const Sent& sent) {
        if (++seen == 2) net.reply(sent, make_reply(sent.message, {.answer = {record(sent, "1.1.1.1", 60)}}));
    });
    auto client = ask(a);
    run(1s);
    EXPECT_EQ(woken(client).addresses, Hosts{"1.1.1.1"});
    ASSERT_EQ(network.sent.size(), 2u);
    EXPECT_EQ(network.sent[0].socket, network.sent[1].socket);
    EXPECT_EQ(network.sent[0].message, network.sent[1].message);
}

TEST_F(Scenarios, S25_StageTwoStartsAtOnceWhenBothActiveOnesFail) {
    script(0, servfail, 5ms);
    script(1, servfail, 5ms);
    serve(2, {"1.1.1.1"}, 10ms);
    auto client = ask(a);
    run(1s);
    EXPECT_EQ(woken(client).at, start + 15ms) << "not at 300 ms";
}

} // namespace
} // namespace millrace::control
