// Answers for hosts that have IPv6 alone (DNS64, RFC 6147): what is followed, and what comes of it.
#include "tests/control/fetch/dns64_fixture.hpp"

namespace millrace::control {
namespace {

TEST_F(Dns64Test, AaaaRecordsAreMadeOfARecords) {
    EXPECT_EQ(asked(key).addresses, Hosts{"64:ff9b::808:808"});
    ASSERT_TRUE(cached(key));
    EXPECT_EQ(cached(key)->source(), cached(a)->version.generation);
    EXPECT_GT(cached(key)->version.generation, cached(a)->version.generation);
    EXPECT_LE(cached(key)->expiry, cached(a)->expiry);
    EXPECT_EQ(fetches.counters().dns64_synthesised, 1u);
    EXPECT_EQ(cached(native)->answers, 0u) << "others still hear that there are none";
    std::size_t sent = network.sent.size();
    EXPECT_EQ(asked(key).addresses, Hosts{"64:ff9b::808:808"});
    EXPECT_EQ(network.sent.size(), sent);
}

TEST_F(Dns64Test, RealOnesStand) {
    zone[{"a.com.", type_aaaa}] = has_ipv6;
    EXPECT_EQ(asked(key).addresses, Hosts{"2001:db8::1"});
    EXPECT_EQ(cached(key)->source(), 0u);
    EXPECT_EQ(asked_of("a.com.", type_a), 0u);
    EXPECT_EQ(fetches.counters().dns64_synthesised, 0u);
}

TEST_F(Dns64Test, WhoAskAtOnceShareOneQuestion) {
    std::vector<std::uint64_t> tokens;
    for (int i = 0; i < 10; ++i) tokens.push_back(ask(key));
    run(1s);
    for (auto token : tokens) EXPECT_EQ(woken(token).addresses, Hosts{"64:ff9b::808:808"});
    EXPECT_EQ(fetches.counters().fetches, 2u);
}

TEST_F(Dns64Test, EachRuleHasItsPrefixAndItsAnswers) {
    EXPECT_EQ(asked(question("a.com", type_aaaa, 2)).addresses, Hosts{"2001:db8:6408:808:8::"});
    EXPECT_EQ(asked(key).addresses, Hosts{"64:ff9b::808:808"});
}

TEST_F(Dns64Test, ExcludedRecordsCountAsNone) {
    zone[{"a.com.", type_aaaa}] = {
        .answer = {"a.com. 60 IN AAAA ::ffff:1.2.3.4", "a.com. 60 IN AAAA 2001:db8:bad::1"}};
    EXPECT_EQ(asked(key).addresses, Hosts{"64:ff9b::808:808"});
    EXPECT_EQ(asked(question("a.com", type_aaaa, 2)).addresses.size(), 2u) << "the other rule excludes none";
}

TEST_F(Dns64Test, ThoseBesideExcludedOnesStand) {
    zone[{"a.com.", type_aaaa}] = {
        .answer = {"a.com. 60 IN AAAA ::ffff:1.2.3.4", "a.com. 60 IN AAAA 2001:db8::1"}};
    EXPECT_EQ(asked(key).addresses, Hosts{"2001:db8::1"});
    EXPECT_EQ(asked_of("a.com.", type_a), 0u);
}

TEST_F(Dns64Test, WithExcludedOnesAloneAndNoARecordsThereAreNone) {
    zone.clear();
    zone[{"a.com.", type_aaaa}] = {.answer = {"a.com. 2 IN AAAA ::ffff:1.2.3.4"}};
    EXPECT_EQ(asked(key).rcode, LDNS_RCODE_NOERROR);
    EXPECT_TRUE(cached_addresses(key).empty());
    EXPECT_LE(cached(key)->expiry, cached(native)->expiry) << "a denial without SOA begins no new life";
}

TEST_F(Dns64Test, ANameThatDoesNotExistStaysSo) {
    EXPECT_EQ(asked(question("no.com")).rcode, LDNS_RCODE_NXDOMAIN);
    EXPECT_EQ(asked_of("no.com.", type_a), 0u);
}

TEST_F(Dns64Test, WithoutARecordsTheAnswerIsTheFirst) {
    for (const ReplySpec& none : {nodata, nxdomain}) {
        zone[{"a.com.", type_a}] = none;
        EXPECT_EQ(asked(key).rcode, LDNS_RCODE_NOERROR);
        ASSERT_TRUE(cached(key));
        EXPECT_EQ(cached(key)->authorities, 1u);
        EXPECT_EQ(cached(key)->source(), 0u);
        EXPECT_LE(cached(key)->expiry, cached(a)->expiry) << "it says that there is no A record, too";
        run(2h);
    }
}

TEST_F(Dns64Test, AnAaaaQuestionThatFailsIsAsOneWithoutRecords) {
    zone[{"a.com.", type_aaaa}] = servfail;
    EXPECT_EQ(asked(key).addresses, Hosts{"64:ff9b::808:808"});
    EXPECT_LE(cached(key)->expiry, clock.now + limits::followed_ttl) << "there may be some after all";
    flushes.flush_name(key.name, [](std::size_t) {});
    run(1s);
    while (flushes.tick()) grace.reclaim();
    asked(native);
    EXPECT_EQ(asked(key).addresses, Hosts{"64:ff9b::808:808"}) << "the failure is cached";
    zone[{"a.com.", type_a}] = nodata;
    run(2h);
    EXPECT_EQ(asked(question("a.com", type_aaaa, 2)).rcode, LDNS_RCODE_SERVFAIL) << "nobody says NODATA";
}

TEST_F(Dns64Test, AnAQuestionThatFailsIsAFailure) {
    zone[{"a.com.", type_a}] = servfail;
    EXPECT_EQ(asked(key).rcode, LDNS_RCODE_SERVFAIL) << "not that there are none";
}

TEST_F(Dns64Test, AnAQuestionThatFailsLeavesWhatIsStale) {
    asked(key);
    run(2h);
    zone[{"a.com.", type_a}] = servfail;
    auto& got = asked(key);
    EXPECT_EQ(got.addresses, Hosts{"64:ff9b::808:808"});
    EXPECT_EQ(got.kind, dataplane::Wake::Kind::stale);
}

TEST_F(Dns64Test, WhatIsBogusStaysSo) {
    const ReplySpec bogus{.rcode = 2, .info = 6, .info_text = "forged"};
    zone[{"a.com.", type_aaaa}] = bogus;
    EXPECT_EQ(asked(key).info, 6);
    EXPECT_EQ(asked_of("a.com.", type_a), 0u);
    run(1h);
    zone.erase({"a.com.", type_aaaa});
    zone[{"a.com.", type_a}] = bogus;
    EXPECT_EQ(asked(key).info, 6);
    EXPECT_EQ(cached(key)->rcode, LDNS_RCODE_SERVFAIL);
}

TEST_F(Dns64Test, ARevocationOfTheAAnswerTakesWhatWasMadeOfIt) {
    upstreams.replace({{server(0), true}, server(1), server(2)});
    of_first[{"a.com.", type_a}] = {.rcode = 2, .info = 6};
    answer_late(0);
    auto token = ask(key);
    run(100ms);
    EXPECT_EQ(woken(token).addresses, Hosts{"64:ff9b::808:808"});
    EXPECT_TRUE(cached(key));
    run(400ms);
    EXPECT_TRUE(cached(a)->failure);
    EXPECT_FALSE(cached(key));
}

TEST_F(Dns64Test, SoDoesOneOfTheAaaaAnswer) {
    upstreams.replace({{server(0), true}, server(1), server(2)});
    asked(a);
    run(1s); // the A answer is known, and its Fetch has ended
    of_first[{"a.com.", type_aaaa}] = {.rcode = 2, .info = 6};
    answer_late(0);
    auto token = ask(key);
    run(100ms);
    EXPECT_EQ(woken(token).addresses, Hosts{"64:ff9b::808:808"});
    run(400ms);
    EXPECT_TRUE(cached(native)->failure);
    EXPECT_FALSE(cached(key));
}

TEST_F(Dns64Test, SoDoesOneOfTheAaaaAnswerWhileBothAreAtWork) {
    upstreams.replace({{server(0), true}, server(1), server(2)});
    of_first[{"a.com.", type_aaaa}] = {.rcode = 2, .info = 6};
    answer_late(0);
    auto token = ask(key);
    run(100ms);
    EXPECT_EQ(woken(token).addresses, Hosts{"64:ff9b::808:808"});
    EXPECT_TRUE(cached(key));
    run(400ms);
    EXPECT_FALSE(cached(a)->failure);
    EXPECT_FALSE(cached(key));
}

TEST_F(Dns64Test, AnAaaaAnswerThatIsRevokedWhileTheAQuestionIsAskedIsNotBuiltUpon) {
    find_bogus_late();
    auto token = ask(key);
    run(1s);
    EXPECT_EQ(woken(token).rcode, LDNS_RCODE_SERVFAIL);
    EXPECT_EQ(woken(token).info, 6);
}

TEST_F(Dns64Test, NorIsItWhenTheTableHasEvictedTheFailureMeanwhile) {
    find_bogus_late();
    ask(key);
    run(200ms);
    ASSERT_TRUE(cached(native) && cached(native)->failure);
    table.withdraw(native, table.hasher()(native));
    std::size_t before = asked_of("a.com.", type_aaaa);
    run(1s);
    EXPECT_GT(asked_of("a.com.", type_aaaa), before) << "who waits is resolved afresh";
}

TEST_F(Dns64Test, ClientsThatValidateGetWhatIsSigned) {
    cache::Key validated = question("a.com", type_aaaa, 1, cache::dnssec_ok);
    const std::string of_aaaa = "a.com. 60 IN RRSIG AAAA 8 2 60 20300101000000 20200101000000 1 a.com. AAAA";
    const std::string of_a = "a.com. 60 IN RRSIG A 8 2 60 20300101000000 20200101000000 1 a.com. AAAA";
    EXPECT_EQ(asked(validated).addresses, Hosts{"64:ff9b::808:808"}) << "nothing is signed";
    run(2h);
    zone[{"a.com.", type_a}].answer.push_back(of_a);
    EXPECT_TRUE(asked(validated).addresses.empty());
    EXPECT_EQ(asked(key).addresses, Hosts{"64:ff9b::808:808"}) << "who does not validate";
    run(2h);
    zone[{"a.com.", type_a}].answer.pop_back();
    ReplySpec denied = nodata;
    denied.authority.push_back("com. 60 IN RRSIG SOA 8 1 60 20300101000000 20200101000000 1 com. AAAA");
    zone[{"a.com.", type_aaaa}] = denied;
    std::size_t before = asked_of("a.com.", type_a);
    EXPECT_TRUE(asked(validated).addresses.empty());
    EXPECT_EQ(asked_of("a.com.", type_a), before);
    run(2h);
    zone[{"a.com.", type_aaaa}] = {.answer = {"a.com. 60 IN AAAA ::ffff:1.2.3.4", of_aaaa}};
    EXPECT_EQ(asked(validated).addresses, Hosts{"1.2.3.4"}) << "::ffff:1.2.3.4";
}

TEST_F(Dns64Test, AdIsOfWhatTheUpstreamSaid) {
    upstreams.replace({{server(0), true}, {server(1), true}, {server(2), true}});
    cache::Key validated = question("a.com", type_aaaa, 1, cache::dnssec_ok);
    zone[{"a.com.", type_a}].authentic = true;
    EXPECT_EQ(asked(key).addresses, Hosts{"64:ff9b::808:808"});
    EXPECT_TRUE(cached(a)->authentic);
    EXPECT_FALSE(cached(key)->authentic);
    EXPECT_TRUE(asked(validated).addresses.empty());
    run(2h);
    zone[{"a.com.", type_aaaa}] = has_ipv6;
    zone[{"a.com.", type_aaaa}].authentic = true;
    asked(key);
    EXPECT_TRUE(cached(key)->authentic);
    EXPECT_EQ(asked(validated).addresses, Hosts{"2001:db8::1"});
}

TEST_F(Dns64Test, ChainsAreKept) {
    zone[{"w.com.", type_aaaa}] = {.answer = {"w.com. 60 IN CNAME a.com."}, .authority = nodata.authority};
    zone[{"w.com.", type_a}] = {.answer = {"w.com. 60 IN CNAME a.com.", "a.com. 50 IN A 8.8.8.8"}};
    EXPECT_EQ(asked(question("w.com")).addresses, Hosts{"64:ff9b::808:808"});
    EXPECT_EQ(lines(question("w.com")).front().substr(0, 6), "w.com.");
    EXPECT_TRUE(cached(question("w.com"))->chained);
    const std::string dname = "d.com. 60 IN DNAME com.", cname = "a.d.com. 60 IN CNAME a.com.";
    zone[{"a.d.com.", type_aaaa}] = {.answer = {dname, cname}, .authority = nodata.authority};
    zone[{"a.d.com.", type_a}] = {.answer = {dname, cname, "a.com. 50 IN A 8.8.8.8"}};
    EXPECT_EQ(asked(question("a.d.com")).addresses, Hosts{"64:ff9b::808:808"});
    EXPECT_EQ(cached(question("a.d.com"))->answers, 3u);
}

TEST_F(Dns64Test, TheChainOfAnUpstreamThatDoesNotFollowItIsFollowed) {
    for (std::uint16_t type : {type_a, type_aaaa}) {
        zone[{"w.com.", type}] = {.answer = {"w.com. 60 IN CNAME a.com."}};
    }
    EXPECT_EQ(asked(question("w.com")).addresses, Hosts{"64:ff9b::808:808"});
}

TEST_F(Dns64Test, ItLivesNoLongerThanEitherAnswer) {
    const cache::Entry* entry = settled(key);
    ASSERT_TRUE(entry);
    EXPECT_EQ(entry->source(), cached(a)->version.generation);
    EXPECT_EQ(entry->expiry, cached(native)->expiry) << "the SOA says 300 seconds, the A record an hour";
    zone[{"b.com.", type_a}] = {.answer = {"b.com. 40 IN A 8.8.8.8"}};
    entry = settled(question("b.com"));
    ASSERT_TRUE(entry);
    EXPECT_EQ(entry->expiry, cached(b)->expiry);
}

TEST_F(Dns64Test, WithoutAnSoaItLivesTenMinutes) {
    Answer native_answer;
    native_answer.received = clock.now;
    EXPECT_EQ(latest_expiry(native_answer, clock.now + 5s), clock.now + 600s);
    zone[{"a.com.", type_aaaa}] = {.answer = {"a.com. 3600 IN AAAA ::ffff:1.2.3.4"}};
    const cache::Entry* entry = settled(key);
    ASSERT_TRUE(entry);
    EXPECT_EQ(entry->expiry - entry->born, Time(600s));
}

TEST_F(Dns64Test, ANewAAnswerDoesNotChangeWhatWasMadeOfTheOld) {
    cache::Generation before = settled(key)->source();
    zone[{"a.com.", type_a}] = {.answer = {"a.com. 3600 IN A 9.9.9.9"}};
    fetches.refresh(a, hash(a), cached(a)->version, clock.now);
    run(1s);
    EXPECT_EQ(cached_addresses(a), Hosts{"9.9.9.9"});
    EXPECT_EQ(cached(key)->source(), before);
    EXPECT_EQ(cached_addresses(key), Hosts{"64:ff9b::808:808"});
    run(10min);
    EXPECT_EQ(asked(key).addresses, Hosts{"64:ff9b::909:909"});
    EXPECT_EQ(cached(key)->source(), cached(a)->version.generation);
}

TEST_F(Dns64Test, ARefreshAsksWhatIsAboutToExpire) {
    settled(key);
    Time left = cached(key)->expiry - clock.now;
    run(left - 2s); // the AAAA answer is about to expire, the A answer is not
    std::size_t natives = asked_of("a.com.", type_aaaa), others = asked_of("a.com.", type_a);
    Time expiry = cached(key)->expiry;
    fetches.refresh(key, hash(key), cached(key)->version, clock.now);
    run(1s);
    EXPECT_GT(asked_of("a.com.", type_aaaa), natives);
    EXPECT_EQ(asked_of("a.com.", type_a), others);
    EXPECT_GT(cached(key)->expiry, expiry);
}

TEST_F(Dns64Test, AFlushOfTheNameTakesIt) {
    asked(key);
    std::size_t emptied = 0;
    ASSERT_TRUE(flushes.flush_name(key.name, [&](std::size_t n) { emptied = n; }));
    run(1s);
    while (flushes.tick()) grace.reclaim();
    EXPECT_EQ(emptied, 5u) << "A and AAAA in both flavours, and this";
    EXPECT_FALSE(cached(key));
}

TEST_F(Dns64Test, WhatAFlushForbidsIsNotBuiltUpon) {
    asked(native); // NODATA
    zone[{"a.com.", type_a}] = {.answer = {"a.com. 3600 IN A 9.9.9.9"}};
    auto token = ask(key);
    run(2ms);
    flushes.flush_name(key.name, [](std::size_t) {});
    zone[{"a.com.", type_aaaa}] = has_ipv6;
    run(1s);
    EXPECT_EQ(woken(token).addresses, Hosts{"2001:db8::1"}) << "asked afresh";
}

TEST_F(Dns64Test, TheWellKnownPrefixStandsBeforeGlobalAddressesAlone) {
    zone[{"a.com.", type_a}] = {.answer = {"a.com. 60 IN A 10.0.0.1", "a.com. 60 IN A 8.8.8.8"}};
    EXPECT_EQ(asked(key).addresses, Hosts{"64:ff9b::808:808"});
    EXPECT_EQ(asked(question("a.com", type_aaaa, 2)).addresses.size(), 2u);
    run(2h);
    zone[{"a.com.", type_a}] = {.answer = {"a.com. 60 IN A 10.0.0.1"}};
    EXPECT_EQ(asked(key).rcode, LDNS_RCODE_NOERROR);
    EXPECT_TRUE(cached_addresses(key).empty());
}

TEST_F(Dns64Test, AddressesLeadBackToNames) {
    const std::string name = "8.0.8.0.8.0.8.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.b.9.f.f.4.6.0.0.ip6.arpa";
    zone[{"8.8.8.8.in-addr.arpa.", LDNS_RR_TYPE_PTR}] = {
        .answer = {"8.8.8.8.in-addr.arpa. 60 IN PTR dns.google."}};
    cache::Key reverse = question(name, LDNS_RR_TYPE_PTR);
    asked(reverse);
    EXPECT_EQ(lines(reverse).at(0).substr(name.size()), ".\t30\tIN\tCNAME\t8.8.8.8.in-addr.arpa.");
    EXPECT_EQ(lines(reverse).at(1), "8.8.8.8.in-addr.arpa.\t30\tIN\tPTR\tdns.google.");
    EXPECT_EQ(asked_of(name + ".", LDNS_RR_TYPE_PTR), 0u);
}

TEST_F(Dns64Test, TheNameThatTellsThePrefixIsAnsweredHere) {
    EXPECT_EQ(asked(question("ipv4only.arpa")).addresses, (Hosts{"64:ff9b::c000:aa", "64:ff9b::c000:ab"}));
    EXPECT_EQ(asked(question("ipv4only.arpa", type_a)).addresses, (Hosts{"192.0.0.170", "192.0.0.171"}));
    EXPECT_EQ(asked(question("ipv4only.arpa", type_aaaa, 2, cache::dnssec_ok)).addresses.front(),
              "2001:db8:64c0:0:aa::");
    EXPECT_TRUE(network.sent.empty());
}

TEST_F(Dns64Test, ARuleThatIsGoneMakesNothing) {
    rules.replace_clients({}, grace);
    EXPECT_TRUE(asked(question("a.com", type_aaaa, 9)).addresses.empty());
    zone[{"b.com.", type_aaaa}] = {.answer = {"b.com. 60 IN AAAA ::ffff:1.2.3.4"}};
    EXPECT_EQ(asked(question("b.com", type_aaaa, 9)).addresses, Hosts{"1.2.3.4"});
}

TEST_F(Dns64Test, AnAliasOfTheOperatorsLeadsToIt) {
    dataplane::LocalNames::Builder names;
    auto rule = names.alias(0, false, cache::Entry::no_info, *cache::parse_name("a.com"));
    names.add(cache::parse_name("here.lan")->bytes(), dataplane::LocalNames::Builder::exact, rule);
    rules.replace_local(names.build(), grace);
    EXPECT_EQ(asked(question("here.lan")).addresses, Hosts{"64:ff9b::808:808"});
    EXPECT_EQ(cached_addresses(key), Hosts{"64:ff9b::808:808"});
}

} // namespace
} // namespace millrace::control
