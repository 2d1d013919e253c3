// DNS64 where upstreams fail, answers are revoked, or a reload changes the rules meanwhile.
#include "tests/control/fetch/dns64_fixture.hpp"

namespace millrace::control {
namespace {

class Dns64Failures : public Dns64Test {};

TEST_F(Dns64Failures, AnAaaaQuestionThatKeepsFailingDoesNotFreezeWhatWasMade) {
    zone[{"a.com.", type_aaaa}] = servfail;
    zone[{"a.com.", type_a}] = {.answer = {"a.com. 20 IN A 8.8.8.8"}};
    EXPECT_EQ(asked(key).addresses, Hosts{"64:ff9b::808:808"});
    zone[{"a.com.", type_a}] = {.answer = {"a.com. 20 IN A 9.9.9.9"}};
    for (int i = 0; i < 3; ++i) {
        run(limits::followed_ttl + 1s);
        asked(key);
        EXPECT_EQ(cached_addresses(key), Hosts{"64:ff9b::909:909"}) << i;
        EXPECT_LT(clock.now, cached(key)->expiry) << i;
    }
    zone[{"a.com.", type_a}] = servfail;
    run(1min);
    EXPECT_EQ(asked(key).kind, dataplane::Wake::Kind::stale) << "both fail";
}

TEST_F(Dns64Failures, AfterAStaleDenialWhatIsMadeIsKeptAndNobodyIsAskedDuringTheBackOff) {
    asked(native); // NODATA, 300 s
    run(10min);
    zone[{"a.com.", type_aaaa}] = servfail;
    auto& got = asked(key);
    EXPECT_EQ(got.addresses, Hosts{"64:ff9b::808:808"});
    EXPECT_EQ(got.kind, dataplane::Wake::Kind::answer) << "the A answer is fresh";
    ASSERT_TRUE(cached(key));
    EXPECT_GT(cached(key)->expiry, clock.now + 20s) << "as after a failure";
    std::size_t before = asked_of("a.com.", type_aaaa);
    EXPECT_EQ(asked(question("a.com", type_aaaa, 2)).addresses, Hosts{"2001:db8:6408:808:8::"});
    EXPECT_EQ(asked_of("a.com.", type_aaaa), before) << "the AAAA question's back-off holds";
}

TEST_F(Dns64Failures, AStaleDenialThatAWorkerHasAskedAfreshIsNoFailure) {
    asked(native);
    run(10min);
    const cache::Entry* denial = cached(native);
    Time later = clock.now + 5ms; // a worker's clock is ahead of control's, which is its last tick's
    ASSERT_TRUE(denial->claim_refresh(later, dataplane::limits::refresh_retry)) << "answered stale at once";
    zone[{"a.com.", type_aaaa}] = has_ipv6;
    EXPECT_EQ(asked(key).addresses, Hosts{"2001:db8::1"});
}

TEST_F(Dns64Failures, OfAStaleDenialNoNewOneIsMade) {
    zone[{"a.com.", type_a}] = nodata;
    asked(native);
    run(10min);
    zone[{"a.com.", type_aaaa}] = servfail;
    auto& got = asked(key);
    EXPECT_EQ(got.rcode, LDNS_RCODE_NOERROR);
    EXPECT_EQ(got.kind, dataplane::Wake::Kind::stale);
    EXPECT_FALSE(cached(key));
}

TEST_F(Dns64Failures, AnotherRuleAfterAReloadIsThatOfWhoWaits) {
    auto first = ask(key), second = ask(question("a.com", type_aaaa, 2));
    run(2ms);
    fetches.supersede([](const cache::Key&, const cache::Entry*) { return true; },
                      [this] {
                          auto next = policy();
                          std::ranges::reverse(next.dns64);
                          rules.replace_clients(next, grace);
                      });
    run(1s);
    EXPECT_EQ(woken(first).addresses, Hosts{"64:ff9b::808:808"});
    EXPECT_EQ(woken(second).addresses, Hosts{"2001:db8:6408:808:8::"});
    EXPECT_EQ(asked(key).addresses, Hosts{"64:ff9b::808:808"}) << "a worker has read the rules before";
}

TEST_F(Dns64Failures, ARevocationOfEitherAnswerTakesTheOperatorsAliasToo) {
    dataplane::LocalNames::Builder names;
    auto rule = names.alias(0, false, cache::Entry::no_info, *cache::parse_name("a.com"));
    names.add(cache::parse_name("here.lan")->bytes(), dataplane::LocalNames::Builder::exact, rule);
    rules.replace_local(names.build(), grace);
    upstreams.replace({{server(0), true}, server(1), server(2)});
    of_first[{"a.com.", type_aaaa}] = {.rcode = 2, .info = 6};
    answer_late(0);
    ask(question("here.lan"));
    run(100ms);
    EXPECT_TRUE(cached(question("here.lan")));
    run(400ms);
    EXPECT_TRUE(cached(native)->failure);
    EXPECT_FALSE(cached(question("here.lan")));
}

TEST_F(Dns64Failures, StaleDataOfTheAQuestionIsBetterThanAFailure) {
    asked(a);
    run(2h);
    zone[{"a.com.", type_a}] = servfail;
    EXPECT_EQ(asked(key).addresses, Hosts{"64:ff9b::808:808"});
    EXPECT_FALSE(cached(key)) << "for who waited alone";
    std::size_t before = network.sent.size();
    auto again = ask(key);
    EXPECT_EQ(woken(again).kind, dataplane::Wake::Kind::stale);
    EXPECT_EQ(woken(again).addresses, Hosts{"64:ff9b::808:808"}) << "at once";
    EXPECT_EQ(network.sent.size(), before) << "nobody is asked during the back-off";
}

} // namespace
} // namespace millrace::control
