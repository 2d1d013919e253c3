// Servers that are given by name: how their addresses are found, kept and changed. The whole control plane.
#include "tests/control/upstream/server_names_fixture.hpp"

namespace millrace::control {
namespace {

TEST_F(ServerNamesTest, BothFamiliesBecomeServersThatAreAsked) {
    tell({"198.51.100.1", "198.51.100.2"}, {"2001:db8::1"});
    EXPECT_TRUE(names.is_pending());
    EXPECT_EQ(known(), Hosts{});
    run(100ms);
    EXPECT_FALSE(names.is_pending());
    EXPECT_EQ(known(), (Hosts{"198.51.100.1", "198.51.100.2", "2001:db8::1"}));
    EXPECT_EQ(upstreams.size(), 2 * limits::name_addresses);
    for (const char* host : {"198.51.100.1", "198.51.100.2", "2001:db8::1"}) answer_at(host);
    ask(a);
    run(1s);
    EXPECT_EQ(cached_addresses(a), Hosts{"1.1.1.1"});
    for (const char* host : {"198.51.100.1", "198.51.100.2", "2001:db8::1"}) EXPECT_GE(queries_at(host), 1u);
    EXPECT_EQ(fetches.counters().fetches, 1u) << "the name's own questions are of no Fetch";
}

TEST_F(ServerNamesTest, TheStartWaitsForTheNextBootstrapServerToo) {
    bootstrap.push_back(*dataplane::parse_endpoint("203.0.113.2", 53));
    configure({named()});
    say({.rcode = LDNS_RCODE_SERVFAIL}, 0);
    be_silent(1);
    run(100ms);
    EXPECT_EQ(asked(1), 1u);
    EXPECT_TRUE(names.is_pending()) << "one has failed, not all";
}

TEST_F(ServerNamesTest, AnotherAddressIsNoRecovery) {
    tell({"198.51.100.1", "198.51.100.2"}, {}, 30);
    run(100ms);
    std::uint64_t before = upstreams.recoveries();
    EXPECT_EQ(before, 1u) << "until then there was nobody";
    tell({"198.51.100.1", "198.51.100.3"}, {}, 30);
    run(1min);
    ASSERT_EQ(known(), (Hosts{"198.51.100.1", "198.51.100.3"}));
    EXPECT_EQ(upstreams.recoveries(), before);
    tell({"198.51.100.4"}, {}, 30);
    run(1min);
    ASSERT_EQ(known(), Hosts{"198.51.100.4"});
    EXPECT_EQ(upstreams.recoveries(), before) << "all at once";
}

TEST_F(ServerNamesTest, TheyAreOfThePortAndTheKindThatIsConfigured) {
    Config::Server server = named(5353);
    server.trusted = true;
    server.priority = 7;
    configure({server});
    tell({"198.51.100.1"});
    run(100ms);
    ASSERT_EQ(known(), Hosts{"198.51.100.1"});
    EXPECT_EQ(upstreams.endpoint(0).port, 5353);
    EXPECT_TRUE(upstreams.is_trusted(0));
    EXPECT_EQ(upstreams.priority(0), 7u);
}

TEST_F(ServerNamesTest, UntilThenTheOthersAnswer) {
    be_silent();
    configure({named(), server(0)});
    unsigned other = upstreams.size() - 1;
    upstreams.habits(other).heard_opt();
    serve(0, {"9.9.9.9"}, 1ms);
    auto client = ask(a);
    run(100ms);
    EXPECT_EQ(woken(client).addresses, Hosts{"9.9.9.9"});
    EXPECT_EQ(upstreams.ranked(random), std::vector<unsigned>{other});
}

TEST_F(ServerNamesTest, WhenNobodyIsKnownItIsAsIfAllWereDownUntilSomebodyIs) {
    be_silent();
    auto client = ask(a);
    run(100ms);
    EXPECT_EQ(woken(client).rcode, 2);
    EXPECT_TRUE(upstreams.is_all_down());
    EXPECT_FALSE(upstreams.is_any_closed()) << "stale data goes out at once";
    tell({"198.51.100.1"});
    answer_at("198.51.100.1");
    run(10s);
    client = ask(a);
    run(100ms);
    EXPECT_EQ(woken(client).addresses, Hosts{"1.1.1.1"}) << "no failure is kept from before";
}

TEST_F(ServerNamesTest, TheyAreAskedForAgainAfterTheirTtl) {
    tell({"198.51.100.1", "198.51.100.2"}, {}, 100);
    run(99s);
    EXPECT_EQ(asked(), 1u);
    upstreams.measured(place_of("198.51.100.2"), 77ms);
    tell({"198.51.100.2", "198.51.100.3"}, {}, 100);
    run(2s);
    EXPECT_EQ(asked(), 2u);
    EXPECT_EQ(known(), (Hosts{"198.51.100.3", "198.51.100.2"})) << "in its place";
    EXPECT_EQ(upstreams.srtt(place_of("198.51.100.2")), 77ms) << "who stays keeps what is known";
    EXPECT_FALSE(upstreams.is_measured(place_of("198.51.100.3")));
    answer_at("198.51.100.2");
    answer_at("198.51.100.3");
    std::size_t before = queries_at("198.51.100.1");
    ask(a);
    run(1s);
    EXPECT_EQ(queries_at("198.51.100.1"), before);
    EXPECT_GE(queries_at("198.51.100.3"), 1u);
}

TEST_F(ServerNamesTest, TtlsHaveBounds) {
    tell({"198.51.100.1"}, {}, 0);
    run(29s);
    EXPECT_EQ(asked(), 1u);
    tell({"198.51.100.1"}, {}, 86400);
    run(2s);
    EXPECT_EQ(asked(), 2u);
    run(59min);
    EXPECT_EQ(asked(), 2u);
    run(2min);
    EXPECT_EQ(asked(), 3u);
}

TEST_F(ServerNamesTest, AChainLivesAsLongAsItsShortestLink) {
    say({.answer = {"dns.example.net. 40 IN CNAME a.example.net.", "a.example.net. 900 IN A 198.51.100.1"}});
    run(39s);
    EXPECT_EQ(known(), Hosts{"198.51.100.1"});
    EXPECT_EQ(asked(), 1u);
    run(2s);
    EXPECT_EQ(asked(), 2u);
}

TEST_F(ServerNamesTest, TheOperatorsWordOfANameGoesForAllAddressesThatItGets) {
    tell({"198.51.100.1", "198.51.100.2"}, {}, 30);
    run(100ms);
    upstreams.set_override(place_of("198.51.100.2"), Override::up, clock.now);
    upstreams.set_name_override(0, Override::down, clock.now);
    for (const char* host : {"198.51.100.1", "198.51.100.2"}) {
        EXPECT_EQ(upstreams.override_of(place_of(host)), Override::down) << host;
    }
    EXPECT_TRUE(upstreams.is_all_down());
    tell({"198.51.100.3"}, {}, 30);
    run(1min);
    ASSERT_EQ(known(), Hosts{"198.51.100.3"});
    EXPECT_EQ(upstreams.override_of(place_of("198.51.100.3")), Override::down);
    EXPECT_TRUE(upstreams.is_all_down());
    upstreams.replace({named()});
    EXPECT_EQ(upstreams.override_of(0), Override::down) << "through a reload";
    upstreams.set_override(place_of("198.51.100.3"), Override::up, clock.now);
    EXPECT_TRUE(upstreams.may_be_asked(place_of("198.51.100.3"))) << "its own goes before the name's";
    upstreams.set_name_override(1, Override::automatic, clock.now);
    for (unsigned i = 0; i < upstreams.size(); ++i) {
        EXPECT_EQ(upstreams.override_of(i), Override::automatic);
    }
    EXPECT_EQ(upstreams.ranked(random), std::vector<unsigned>{place_of("198.51.100.3")});
}

/// It was another name's, whose server was open.
TEST_F(ServerNamesTest, WhereTheNameIsUpSoIsAnAddressThatComesWithAnOpenBreaker) {
    upstreams.replace({named(53, "other.example.net."), named()});
    unsigned other = 2 * limits::name_addresses;
    ASSERT_TRUE(upstreams.occupy(0, address_at("198.51.100.1")));
    for (int i = 0; i < 4; ++i) {
        upstreams.begin(0);
        upstreams.judge_timeout(0, 1s, clock.now);
        upstreams.end(0);
    }
    upstreams.begin_probe(0);
    upstreams.judge_probe(0, Upstreams::ProbeEnd::silent, clock.now);
    ASSERT_EQ(upstreams.breaker(0), Breaker::open);
    upstreams.vacate(0);
    upstreams.set_name_override(other + 1, Override::up, clock.now);
    ASSERT_TRUE(upstreams.occupy(other, address_at("198.51.100.1")));
    EXPECT_EQ(upstreams.breaker(other), Breaker::closed);
    EXPECT_EQ(upstreams.counters(other).opened, 1u) << "what is known of it has moved along";
    EXPECT_EQ(upstreams.override_of(0), Override::automatic) << "the other name's";
}

TEST_F(ServerNamesTest, ADenialTakesNothingAway) {
    tell({"198.51.100.1"}, {}, 30);
    run(20s);
    for (unsigned rcode : {0u, 2u, 3u, 5u}) {
        say({.authority = {"example.net. 60 IN SOA a. b. 1 2 3 4 60"}, .rcode = rcode});
        std::size_t before = asked();
        run(100s);
        EXPECT_EQ(known(), Hosts{"198.51.100.1"}) << rcode;
        EXPECT_GE(asked(), before + 1) << rcode;
    }
}

/// The A question alone, by the times of its first datagrams.
TEST_F(ServerNamesTest, FailuresAreRetriedAtBackOffs) {
    say({.rcode = 2});
    std::vector<Time> times;
    std::size_t seen = 0;
    while (times.size() < 10) {
        run(100ms);
        if (asked() > seen) times.push_back(clock.now);
        seen = asked();
    }
    for (unsigned i = 0; i + 1 < times.size(); ++i) {
        Time wanted = std::min<Time>(60s, 1s * (1u << std::min(i, 6u)));
        EXPECT_NEAR(double((times[i + 1] - times[i]).count()), double(wanted.count()), 0.2e6) << i;
    }
    tell({"198.51.100.1"}, {}, 30);
    run(61s);
    EXPECT_EQ(known(), Hosts{"198.51.100.1"});
}

TEST_F(ServerNamesTest, TheNextBootstrapServerIsAskedAtOnce) {
    bootstrap.push_back(*dataplane::parse_endpoint("203.0.113.2", 53));
    configure({named()});
    say({.rcode = 5}, 0);
    tell({"198.51.100.1"}, {}, 300, 1);
    run(100ms);
    EXPECT_EQ(known(), Hosts{"198.51.100.1"});
}

TEST_F(ServerNamesTest, WhileABootstrapServerIsSilentTheNextIsAskedBesideIt) {
    bootstrap.push_back(*dataplane::parse_endpoint("203.0.113.2", 53));
    configure({named()});
    be_silent(0);
    tell({"198.51.100.1"}, {"2001:db8::1"}, 300, 1);
    run(limits::name_stagger - 20ms);
    EXPECT_EQ(asked(1), 0u);
    EXPECT_TRUE(names.is_pending());
    run(50ms);
    EXPECT_EQ(asked(1), 1u);
    EXPECT_EQ(known(), (Hosts{"198.51.100.1", "2001:db8::1"}));
    EXPECT_EQ(exchanges.open_count(), 0u) << "nobody waits for the first any more";
    run(100s);
    EXPECT_EQ(asked(1), 1u);
}

TEST_F(ServerNamesTest, AllAreAskedOnceThenTheyAreLeftAlone) {
    for (unsigned i = 2; i <= limits::bootstraps; ++i) {
        bootstrap.push_back(*dataplane::parse_endpoint("203.0.113." + std::to_string(i), 53));
    }
    configure({named()});
    run((limits::bootstraps - 1) * limits::name_stagger + 100ms);
    const Upstreams& resolvers = groups[ServerNames::bootstrap_of(0)];
    for (unsigned i = 0; i < limits::bootstraps; ++i) {
        EXPECT_EQ(resolvers.counters(i).sent - resolvers.counters(i).probes, 2u) << i;
    }
    EXPECT_TRUE(names.is_pending());
    run(limits::name_question);
    EXPECT_FALSE(names.is_pending());
    EXPECT_EQ(exchanges.open_count(), 0u);
}

TEST_F(ServerNamesTest, WhatIsNoReplyToTheQuestionIsNotTaken) {
    network.serve(bootstrap[0], [](FakeNetwork& net, const Sent& sent) {
        if (sent.tcp) return; // nobody can reply there but the server
        std::vector<std::uint8_t> foreign =
            make_reply(sent.message, {.answer = {"dns.example.net. 60 IN A 198.51.100.66"}});
        auto other_id = foreign;
        other_id[0] ^= 1;
        net.datagram(*dataplane::parse_endpoint("203.0.113.9", 53), sent.source_port, foreign);
        net.reply(sent, other_id);
        auto other_case = foreign;
        for (std::size_t i = 13; i < 16; ++i) other_case[i] ^= 0x20;
        net.reply(sent, other_case);
    });
    run(10s);
    EXPECT_EQ(known(), Hosts{});
    say({.answer = {"dns.example.org. 60 IN A 198.51.100.66"},
         .authority = {"example.net. 60 IN SOA a. b. 1 2 3 4 60"},
         .additional = {"dns.example.net. 60 IN A 198.51.100.67"}});
    run(60s);
    EXPECT_EQ(known(), Hosts{}) << "nor is what its reply says beside it";
}

TEST_F(ServerNamesTest, ThereAreSoManyOfAFamilyAndWhoHasAPlaceStays) {
    tell({"198.51.100.5", "198.51.100.6", "198.51.100.7", "198.51.100.8"}, {}, 30);
    run(1s);
    Hosts first = known();
    ASSERT_EQ(first.size(), limits::name_addresses);
    tell({"198.51.100.1", "198.51.100.2", "198.51.100.8", "198.51.100.7", "198.51.100.6", "198.51.100.5"}, {},
         30);
    run(60s);
    EXPECT_EQ(known(), first);
}

TEST_F(ServerNamesTest, SomeAddressesAreNeverAsked) {
    tell({"0.0.0.0", "224.0.0.1", "255.255.255.255", "10.0.0.53", "127.0.0.1"},
         {"::", "::1", "ff02::1", "fe80::1"});
    run(10s);
    EXPECT_EQ(known(), Hosts{});
    tell({"10.0.0.53", "10.0.0.54"});
    run(100s);
    EXPECT_EQ(known(), Hosts{"10.0.0.54"}) << "private ones may be";
}

TEST_F(ServerNamesTest, AServerOnLoopbackMayNameOthersThere) {
    bootstrap[0] = *dataplane::parse_endpoint("127.0.0.53", 53);
    configure({named()});
    tell({"127.0.0.1"});
    run(1s);
    EXPECT_EQ(known(), Hosts{"127.0.0.1"});
}

TEST_F(ServerNamesTest, NoServerIsTwiceInAGroup) {
    configure({named(), server(0)});
    tell({"198.51.100.1", "198.51.100.2", "198.51.100.2"}, {}, 30);
    run(1s);
    EXPECT_EQ(known(), (Hosts{"198.51.100.2", "198.51.100.1"})) << "the latter is the one given by address";
    EXPECT_EQ(upstreams.endpoint(upstreams.size() - 1), server(0));
    configure({named(), server(0), server(1)});
    run(1s);
    EXPECT_EQ(known(), (Hosts{"198.51.100.1", "198.51.100.2"})) << "after a reload, too";
}

TEST_F(ServerNamesTest, WhatIsInFlightEndsBeforeAPlaceChanges) {
    tell({"198.51.100.1"}, {}, 30);
    run(1s);
    for (unsigned i = 1; i < limits::name_addresses; ++i) { // there is but one place
        upstreams.occupy(i, address_at("192.0.2." + std::to_string(i)));
        upstreams.begin(i);
        upstreams.vacate(i);
    }
    upstreams.begin(0);
    tell({"198.51.100.9"}, {}, 30);
    run(40s);
    EXPECT_EQ(known(), Hosts{}) << "the old one is not asked any more";
    EXPECT_FALSE(upstreams.may_be_asked(0));
    EXPECT_EQ(upstreams.outstanding(0), 1u);
    upstreams.judge_reply(0, 0, clock.now);
    upstreams.end(0);
    run(20ms);
    EXPECT_EQ(known(), Hosts{"198.51.100.9"});
    EXPECT_EQ(upstreams.counters(0).replies, 0u) << "of the new one nothing is known";
    for (unsigned i = 1; i < limits::name_addresses; ++i) upstreams.end(i);
}

TEST_F(ServerNamesTest, WhoComesBackIsWhoItWas) {
    const Hosts both = {"198.51.100.1", "198.51.100.2"};
    tell(both, {}, 30);
    run(1s);
    upstreams.measured(0, 77ms);
    tell({"198.51.100.2"}, {}, 30);
    run(31s);
    ASSERT_EQ(known(), Hosts{"198.51.100.2"});
    tell(both, {}, 30);
    run(31s);
    EXPECT_EQ(known(), both);
    EXPECT_EQ(upstreams.srtt(0), 77ms);
}

TEST_F(ServerNamesTest, AReloadKeepsTheAddressesAndAsksAnew) {
    tell({"198.51.100.1"}, {"2001:db8::1"}, 3600);
    run(1s);
    upstreams.measured(0, 77ms);
    std::size_t before = asked();
    Config::Server weighted = named();
    weighted.weight = 9;
    be_silent();
    configure({server(4), weighted});
    EXPECT_EQ(known(), (Hosts{"198.51.100.5", "198.51.100.1", "2001:db8::1"}));
    EXPECT_EQ(upstreams.weight(1), 9u);
    EXPECT_EQ(upstreams.srtt(1), 77ms);
    EXPECT_TRUE(upstreams.has_servers({server(4), weighted}))
        << "addresses are no change of the configuration";
    EXPECT_FALSE(upstreams.has_servers({server(4), named()}));
    run(20ms);
    EXPECT_GT(asked(), before);
    configure({named(54)});
    EXPECT_EQ(known(), (Hosts{"198.51.100.1", "2001:db8::1"})) << "the name's, whatever the port";
    EXPECT_FALSE(upstreams.is_measured(0)) << "but another server";
}

TEST_F(ServerNamesLog, SaysWhatIsNotResolvedNowAndThen) {
    say({.rcode = 2});
    run(10min);
    EXPECT_GE(count("group g: upstream dns.example.net:53: A not resolved: failure\n"), 2u) << text.str();
    EXPECT_LE(count("A not resolved"), 2 * 11u) << "of each type one a minute";
    std::size_t lines = count("not resolved");
    tell({"198.51.100.1"}, {}, 30);
    run(10min);
    EXPECT_EQ(count("not resolved"), lines) << "that it has no IPv6 address is nothing to tell";
    EXPECT_EQ(count("group g: upstream dns.example.net:53: its addresses are 198.51.100.1\n"), 1u)
        << text.str();
    tell({"198.51.100.2", "198.51.100.1"}, {}, 30);
    run(2min);
    EXPECT_EQ(count("its addresses are 198.51.100.1, 198.51.100.2\n"), 1u) << text.str();
    say({.rcode = 5});
    run(2min);
    EXPECT_GE(count("A not resolved: failure; its addresses stay: 198.51.100.1, 198.51.100.2\n"), 1u);
}

TEST_F(ServerNamesTest, ATickAsksForSoMany) {
    std::vector<Config::Server> many;
    for (unsigned i = 0; i < limits::upstreams / (2 * limits::name_addresses); ++i) {
        many.push_back(named());
        many.back().name = "n" + std::to_string(i) + ".example.net.";
    }
    for (unsigned group : {0u, 1u}) {
        groups[group].replace(many);
        groups[ServerNames::bootstrap_of(group)].replace({bootstrap[0]});
    }
    restart({group_of(many, "g"), group_of(many, "h")});
    be_silent();
    names.tick(clock.now);
    EXPECT_EQ(exchanges.open_count(), limits::names_per_tick);
    names.close(clock.now);
    EXPECT_EQ(exchanges.open_count(), 0u);
}

} // namespace
} // namespace millrace::control
