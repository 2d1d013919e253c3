// Several servers of a group that are at one address, and one name that is several servers.
#include "tests/control/upstream/server_names_fixture.hpp"

namespace millrace::control {
namespace {

class SharedAddressesTest : public ServerNamesLog {
  protected:
    SharedAddressesTest() { configure({first, second}); }

    struct Told {
        Hosts v4;
        unsigned ttl = 3600;
    };
    /// What the bootstrap server says of each name; of IPv6 it denies all.
    void tell_all(const std::map<std::string, Told>& all) {
        network.serve(bootstrap[0], [=](FakeNetwork& net, const Sent& sent) {
            ReplySpec spec;
            auto told = all.find(question_name(sent));
            if (type_of(sent) == LDNS_RR_TYPE_A && told != all.end()) {
                for (const std::string& host : told->second.v4) {
                    spec.answer.push_back(record(sent, host, told->second.ttl));
                }
            }
            if (spec.answer.empty()) spec.authority = {"example.net. 60 IN SOA a. b. 1 2 3 4 60"};
            net.reply(sent, make_reply(sent.message, spec), 1ms);
        });
    }
    static Config::Server named_with(const std::string& name, unsigned weight) {
        Config::Server server = named(53, name);
        server.weight = weight;
        return server;
    }

    const std::string x = "198.51.100.1", y = "198.51.100.2";
    const Config::Server first = named_with("a.example.net.", 3), second = named_with("b.example.net.", 5);
};

TEST_F(SharedAddressesTest, TwoNamesOfOneAddressAreOneServer) {
    tell_all({{"a.example.net.", {{x}}}, {"b.example.net.", {{x, y}}}});
    run(1s);
    EXPECT_EQ(known(), (Hosts{x, y}));
    EXPECT_EQ(upstreams.weight(place_of(x)), 3u) << "the first name's";
    answer_at(x);
    answer_at(y);
    ask(a);
    run(1s);
    EXPECT_EQ(queries_at(x), 1u);
    EXPECT_EQ(count("others of the group have " + x + ", too"), 1u) << text.str();
    run(10min);
    EXPECT_EQ(count(", too"), 1u) << "said once";
}

TEST_F(SharedAddressesTest, TheFirstNameHasItWhoeverIsResolvedFirst) {
    tell_all({{"b.example.net.", {{x}}}});
    run(1s);
    EXPECT_EQ(upstreams.weight(place_of(x)), 5u);
    upstreams.measured(place_of(x), 77ms);
    tell_all({{"a.example.net.", {{x}}}, {"b.example.net.", {{x}}}});
    run(10s);
    ASSERT_EQ(known(), Hosts{x});
    EXPECT_EQ(upstreams.weight(place_of(x)), 3u);
    EXPECT_EQ(upstreams.srtt(place_of(x)), 77ms);
}

TEST_F(SharedAddressesTest, WhenOneLosesItTheOtherKeepsItAndWhatIsKnownOfIt) {
    tell_all({{"a.example.net.", {{x}, 30}}, {"b.example.net.", {{x}}}});
    run(1s);
    unsigned was = place_of(x);
    upstreams.measured(was, 77ms);
    upstreams.set_override(was, Override::down, clock.now);
    tell_all({{"a.example.net.", {{y}, 30}}, {"b.example.net.", {{x}}}});
    run(30s);
    ASSERT_EQ(known(), (Hosts{y, x})) << "though the other name is not asked for again yet";
    EXPECT_EQ(upstreams.weight(place_of(x)), 5u);
    EXPECT_EQ(upstreams.srtt(place_of(x)), 77ms);
    EXPECT_EQ(upstreams.override_of(place_of(x)), Override::down) << "the operator meant the server";
    EXPECT_FALSE(upstreams.is_measured(place_of(y)));

    upstreams.set_override(place_of(x), Override::automatic, clock.now);
    tell_all({{"a.example.net.", {{x}, 30}}, {"b.example.net.", {{x}}}});
    run(31s);
    ASSERT_EQ(known(), Hosts{x});
    EXPECT_EQ(upstreams.weight(place_of(x)), 3u);
    EXPECT_EQ(upstreams.override_of(place_of(x)), Override::automatic) << "what was known last counts";
}

TEST_F(SharedAddressesTest, WhatTheOneIsAskedTheOtherIsNotAskedToo) {
    tell_all({{"a.example.net.", {{x}, 30}}, {"b.example.net.", {{x}}}});
    run(29s);
    unsigned was = place_of(x);
    FetchId other{900, 900};
    ASSERT_TRUE(exchanges.open(other, a, was, clock.now + 10s, clock.now)); // x is silent
    tell_all({{"a.example.net.", {{y}, 30}}, {"b.example.net.", {{x}}}});
    run(2s);
    unsigned now = place_of(x);
    ASSERT_NE(now, was);
    EXPECT_FALSE(exchanges.open(other, a, now, clock.now + 1s, clock.now)) << "it is open there";
    EXPECT_TRUE(exchanges.open(other, b, now, clock.now + 1s, clock.now));
    exchanges.close(other, now, clock.now);
    exchanges.close(other, was, clock.now);
    EXPECT_TRUE(exchanges.open(other, a, now, clock.now + 1s, clock.now));
    exchanges.close(other, now, clock.now);
}

TEST_F(SharedAddressesTest, AProbeThatWasUnderWayIsBegunAnew) {
    tell_all({{"a.example.net.", {{x}}}});
    run(1s);
    unsigned was = place_of(x), next = 2 * limits::name_addresses;
    upstreams.set_policy({.silences = 1});
    upstreams.begin_probe(was);
    upstreams.judge_probe(was, Upstreams::ProbeEnd::silent, clock.now);
    upstreams.begin_probe(was);
    ASSERT_EQ(upstreams.breaker(was), Breaker::half_open);
    upstreams.vacate(was);
    ASSERT_TRUE(upstreams.occupy(next, address_at(x)));
    EXPECT_EQ(upstreams.breaker(next), Breaker::open);
    answer_at(x);
    FetchTest::run(100ms);
    EXPECT_EQ(upstreams.breaker(next), Breaker::closed) << "heard";
}

TEST_F(SharedAddressesTest, OneNameAtTwoPortsIsOneQuestionAndTwoServers) {
    configure({named(53), named(54)});
    tell({x}, {"2001:db8::1"});
    run(100ms);
    EXPECT_EQ(asked(), 1u);
    EXPECT_EQ(known(), (Hosts{x, "2001:db8::1", x, "2001:db8::1"}));
    EXPECT_EQ(upstreams.endpoint(0), (dataplane::Endpoint{address_at(x), 53}));
    EXPECT_EQ(upstreams.endpoint(2 * limits::name_addresses), (dataplane::Endpoint{address_at(x), 54}));
    EXPECT_EQ(count("upstream dns.example.net:53, dns.example.net:54: its addresses are " + x + "\n"), 1u)
        << text.str();
}

TEST_F(SharedAddressesTest, WhereWeAnswerOurselvesIsTakenAtTheOtherPortAlone) {
    configure({named(53), named(54)});
    tell({"10.0.0.53"});
    run(100ms);
    EXPECT_EQ(known(), Hosts{"10.0.0.53"});
    EXPECT_EQ(upstreams.endpoint(2 * limits::name_addresses), (dataplane::Endpoint{own.address, 54}));
    EXPECT_TRUE(upstreams.is_vacant(0));
}

} // namespace
} // namespace millrace::control
