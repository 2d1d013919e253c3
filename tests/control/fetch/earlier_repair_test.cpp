// What went wrong in an earlier repair of the resolver that this one takes the place of (tests/SCENARIOS.md):
// a test for each mistake. That check and write are one step is S7's (appliance_test.cpp).
#include "tests/control/fetch/scenarios_fixture.hpp"

namespace millrace::control {
namespace {

using EarlierRepair = Scenarios;

TEST_F(EarlierRepair, TheVersionIsTakenAtTheStartSoItsOwnMergeIsAccepted) {
    serve(0, {"1.1.1.1"}, 100ms); // stored long after the query began
    serve(1, {"2.2.2.2"}, 101ms);
    silence(2);
    ask(a);
    run(1s);
    EXPECT_EQ(cached_addresses(a), (Hosts{"1.1.1.1", "2.2.2.2"}));
    EXPECT_EQ(publisher.counters().superseded, 0u);
}

TEST_F(EarlierRepair, CollectionGoesOnAfterTheClientHasItsAnswer) {
    serve(0, {"1.1.1.1"}, 1ms);
    serve(1, {"2.2.2.2"}, 50ms);
    silence(2);
    auto client = ask(a);
    run(10ms);
    EXPECT_TRUE(clients.woken.contains(client));
    EXPECT_EQ(exchanges.open_count(), 2u);
    EXPECT_EQ(exchanges.counters().cancelled, 0u);
    run(1s);
    EXPECT_EQ(cached_addresses(a).size(), 2u);
}

TEST_F(EarlierRepair, OtherTypesAndDenialsDoNotWaitForTheTimeout) {
    const std::pair<std::uint16_t, const char*> records[] = {{LDNS_RR_TYPE_MX, "MX 10 mx.a.com."},
                                                             {LDNS_RR_TYPE_TXT, "TXT \"x\""},
                                                             {LDNS_RR_TYPE_HTTPS, "HTTPS 1 . alpn=h2"}};
    auto expect_at_once = [&](const cache::Key& key, const ReplySpec& spec) {
        for (unsigned i : {0u, 1u, 2u}) script(i, spec, 5ms);
        auto client = ask(key);
        Time asked = clock.now;
        run(1s);
        EXPECT_EQ(woken(client).at, asked + 5ms);
        EXPECT_EQ(woken(client).rcode, int(spec.rcode));
    };
    for (const auto& [type, rdata] : records) {
        expect_at_once(make_key("a.com", type), {.answer = {std::string("a.com. 60 IN ") + rdata}});
    }
    expect_at_once(make_key("nowhere.com", LDNS_RR_TYPE_A), nxdomain);
    expect_at_once(make_key("nothing.com", LDNS_RR_TYPE_A), nodata);
}

TEST_F(EarlierRepair, NxdomainIsNoFailureOfTheServer) {
    for (unsigned i : {0u, 1u, 2u}) script(i, nxdomain, 5ms);
    for (int i = 0; i < 20; ++i) {
        ask(make_key("n" + std::to_string(i) + ".com", LDNS_RR_TYPE_A));
        run(100ms);
    }
    for (unsigned i : {0u, 1u, 2u}) EXPECT_EQ(upstreams.breaker(i), Breaker::closed);
}

TEST_F(EarlierRepair, NoAddressUnderAnotherServersChain) {
    script(0, {.answer = {"a.com. 60 IN CNAME x.net.", "x.net. 60 IN A 1.1.1.1"}}, 1ms);
    serve(1, {"2.2.2.2"}, 5ms);
    serve(2, {"3.3.3.3"}, 5ms);
    ask(a);
    run(1s);
    EXPECT_EQ(cached_addresses(a), Hosts{"1.1.1.1"});
}

TEST_F(EarlierRepair, AnOrderCarriesTheVersionOfItsSet) {
    fetches.set_ranker(&ranker);
    serve(0, {"1.1.1.1", "2.2.2.2"}, 1ms);
    for (unsigned i : {1u, 2u}) script(i, servfail, 2ms);
    ask(a);
    run(100ms);
    auto before = ranker.asked.at(0);
    bool traced = fetches.trace(a, hash(a), clock.now, [](cache::Generation, const auto&) {}); // asks afresh
    ASSERT_TRUE(traced);
    serve(0, {"8.8.8.8", "9.9.9.9"}, 1ms);
    run(100ms);
    fetches.on_ranked(before.fetch, reversed(before.addresses));
    EXPECT_EQ(cached(a)->version.generation, 2u);
    EXPECT_EQ(cached(a)->version.revision, 0u);
    EXPECT_EQ(fetches.counters().ranked_late, 1u);
}

} // namespace
} // namespace millrace::control
