// Who may ask, and how often: Access and RateTable, and what Gate makes of them.
#include "dataplane/access.hpp"

#include <gtest/gtest.h>

#include "dataplane/gate.hpp"
#include "tests/support/clock.hpp"
#include "tests/support/entries.hpp"
#include "tests/support/messages.hpp"
#include "tests/support/rules.hpp"

namespace millrace::dataplane {
namespace {

using namespace test;

Address address(const char* text) {
    return *parse_address(text);
}

using Taken = RateTable::Taken;

/// Bits as a hash has them, in the order of `i`.
std::uint64_t thing(std::uint64_t i) {
    i *= 0x9e3779b97f4a7c15u;
    i = (i ^ i >> 32) * 0xd6e8feb86659fd93u;
    return i ^ i >> 32;
}

TEST(RateTable, ASecondsWorthAtOnceThenTheRate) {
    RateTable rates(8);
    Time now = support::clock_start();
    auto taken = [&](unsigned tries) {
        unsigned count = 0;
        for (unsigned i = 0; i < tries; ++i) count += rates.take(42, 10, now) == Taken::yes;
        return count;
    };
    EXPECT_EQ(taken(30), 10u);
    now += 500ms;
    EXPECT_EQ(taken(30), 5u);
    now += 100ms;
    EXPECT_EQ(taken(30), 1u);
    now += 1h;
    EXPECT_EQ(taken(30), 10u) << "no more than a second's worth is saved up";
    now += 78h + 11min; // the time of a place has come round
    EXPECT_EQ(taken(30), 10u);
}

TEST(RateTable, NoLimitCountsNothing) {
    RateTable rates(8);
    for (int i = 0; i < 1000; ++i) EXPECT_EQ(rates.take(1, 0, 5s), Taken::yes);
    EXPECT_EQ(rates.take(1, 1, 5s), Taken::yes);
}

/// At a machine's start, and on an lcore whose clock is a little behind that of another.
TEST(RateTable, ClocksNearZeroAndApart) {
    RateTable rates(8);
    EXPECT_EQ(rates.take(1, 1, 0s), Taken::yes);
    EXPECT_EQ(rates.take(1, 1, 0s), Taken::no);
    EXPECT_EQ(rates.take(1, 1, 1s), Taken::yes);
    EXPECT_EQ(rates.take(1, 1, 999ms), Taken::no);
}

TEST(RateTable, AsLargeAsWhatComesAndTheRateSay) {
    EXPECT_EQ(RateTable::places_for(5'000'000, 0), 8u) << "what is not limited takes no memory";
    EXPECT_EQ(RateTable::places_for(1'000'000, 1'000), 2048u);
    EXPECT_EQ(RateTable::places_for(10'000'000, 1'000), 32768u) << "ten times the packets";
    EXPECT_EQ(RateTable::places_for(1'000'000, 100), 32768u) << "a tenth of the rate";
    EXPECT_EQ(RateTable::places_for(~0u, 1), limits::most_places);
}

/// As many as a table is made for, each once: all find a place.
TEST(RateTable, NothingIsForgottenOfWhatATableIsMadeFor) {
    constexpr unsigned events = 1'000'000, rate = 10;
    RateTable rates(RateTable::places_for(events, rate));
    unsigned refused = 0, forgotten = 0;
    for (std::uint64_t i = 0; i < events; ++i) {
        Taken taken = rates.take(thing(i), rate, 60s + std::int64_t(i) * 1us);
        refused += taken == Taken::no;
        forgotten += taken == Taken::displacing;
    }
    EXPECT_LT(refused, 100u) << "who shares a set and 16 bits with another";
    EXPECT_LT(forgotten, events / 50) << "of the latest in a set that is full by chance";
}

/// Sixteen times as many as it is made for, each again and again up to its rate: that is seen, and a client
/// that keeps within its own is not refused for it.
TEST(RateTable, NobodyPaysForAFullTable) {
    constexpr unsigned rate = 10;
    RateTable rates(1024);
    unsigned refused = 0, asked = 0, forgotten = 0;
    for (std::uint64_t i = 0; i < 1'000'000; ++i) {
        Time now = 60s + std::int64_t(i) * 10us;
        forgotten += rates.take(thing(i / 4 % 16384), rate, now) == Taken::displacing;
        if (i % 100) continue;
        // A hundred others, each of them ten times a second at most.
        ++asked;
        refused += rates.take(thing(1'000'000 + asked % 100), rate, now) == Taken::no;
    }
    EXPECT_LT(refused, asked / 1000) << "who shares 16 bits with another";
    EXPECT_GT(forgotten, 100'000u);
}

TEST(RateTable, AFloodAmongManyIsOverItsRate) {
    constexpr unsigned rate = 10;
    for (std::size_t places : {RateTable::places_for(100'000, rate), std::size_t(2048)}) {
        RateTable rates(places);
        unsigned passed = 0;
        for (std::uint64_t i = 0; i < 1'000'000; ++i) { // ten seconds
            Time now = 60s + std::int64_t(i) * 10us;
            rates.take(thing(i), rate, now);
            if (i % 100 == 0) passed += rates.take(thing(1'000'000'000), rate, now) != Taken::no;
        }
        EXPECT_GE(passed, 100u) << places;
        EXPECT_LE(passed, 120u) << "of 10,000, among " << places << " places";
    }
}

TEST(Access, RangesOfAllSizes) {
    std::vector<Prefix> allow;
    for (const char* text :
         {"10.0.0.0/8", "10.1.0.0/16", "192.0.2.7/32", "2001:db8::/32", "2001:db8:5::/48", "::1/128"}) {
        allow.push_back(*parse_prefix(text));
    }
    Access access({allow, {}});
    struct {
        const char* client;
        bool allowed;
    } rows[] = {{"10.0.0.0", true},
                {"10.255.255.255", true},
                {"10.1.2.3", true},
                {"9.255.255.255", false},
                {"11.0.0.0", false},
                {"192.0.2.7", true},
                {"192.0.2.6", false},
                {"192.0.2.8", false},
                {"2001:db8::", true},
                {"2001:db8:5::1", true},
                {"2001:db8:ffff::", true},
                {"2001:db9::", false},
                {"2001:db7::", false},
                {"::1", true},
                {"::2", false},
                {"::", false}};
    for (const auto& row : rows) EXPECT_EQ(access.allows(address(row.client)), row.allowed) << row.client;
    EXPECT_FALSE(Access({}).allows(address("10.0.0.1")));
    Access everyone({{*parse_prefix("0.0.0.0/0")}, {}});
    EXPECT_TRUE(everyone.allows(address("203.0.113.9")));
    EXPECT_FALSE(everyone.allows(address("2001:db8::1")));
}

/// ::/0 does not let IPv4 in, though its addresses are kept as ::ffff:a.b.c.d.
TEST(Access, APrefixIsOfOneFamily) {
    struct {
        std::vector<const char*> allow;
        const char* client;
        bool allowed;
    } rows[] = {{{"::/0"}, "203.0.113.9", false},
                {{"::/0"}, "0.0.0.0", false},
                {{"::/0"}, "255.255.255.255", false},
                {{"::/0"}, "2001:db8::1", true},
                {{"::/0"}, "::1", true},
                {{"::/0"}, "::fffe:ffff:ffff", true},
                {{"::/0"}, "::1:0:0:0", true},
                {{"::/0"}, "ffff::1", true},
                {{"::/80"}, "203.0.113.9", false},
                {{"::/80"}, "::1", true},
                {{"::/80"}, "::1:0:0:0", false},
                {{"::fffe:0:0/95"}, "0.0.0.0", false},
                {{"::fffe:0:0/95"}, "::fffe:1:2", true},
                {{"::fffe:0:0/95"}, "::1:0:0:0", false},
                {{"0.0.0.0/0"}, "255.255.255.255", true},
                {{"0.0.0.0/0"}, "::fffe:ffff:ffff", false},
                {{"0.0.0.0/0"}, "::1:0:0:0", false},
                {{"::/0", "10.0.0.0/8"}, "10.1.2.3", true},
                {{"::/0", "10.0.0.0/8"}, "11.1.2.3", false},
                {{"::/0", "10.0.0.0/8"}, "9.1.2.3", false},
                {{"::/0", "10.0.0.0/8"}, "::1", true},
                {{"::/0", "10.0.0.0/8"}, "2001:db8::1", true},
                {{"::/0", "::/16", "::/64", "0.0.0.0/0", "2001:db8::/32"}, "2001:db8::1", true},
                {{"::/0", "::/16", "::/64", "0.0.0.0/0", "2001:db8::/32"}, "203.0.113.9", true},
                {{"::/16", "::/64"}, "0:1::1", true},
                {{"::/16", "::/64"}, "203.0.113.9", false}};
    for (const auto& row : rows) {
        std::vector<Prefix> allow;
        for (const char* text : row.allow) allow.push_back(*parse_prefix(text));
        Access access({allow, {}});
        EXPECT_EQ(access.allows(address(row.client)), row.allowed) << row.allow.front() << " " << row.client;
        bool contained = std::ranges::any_of(allow, [&](auto& p) { return p.contains(address(row.client)); });
        EXPECT_EQ(contained, row.allowed) << row.allow.front() << " " << row.client;
    }
}

TEST(Access, PrefixesAsConfigured) {
    Access access({{}, {.ipv4_prefix = 24, .ipv6_prefix = 56}});
    auto same = [&](const char* a, const char* b) {
        return access.prefix_of(address(a)) == access.prefix_of(address(b));
    };
    EXPECT_TRUE(same("192.0.2.1", "192.0.2.255"));
    EXPECT_FALSE(same("192.0.2.1", "192.0.3.1"));
    EXPECT_TRUE(same("2001:db8:0:ff::1", "2001:db8:0:00::2"));
    EXPECT_FALSE(same("2001:db8:0:100::1", "2001:db8::1"));
    auto same_client = [&](const char* a, const char* b) {
        return access.narrow_prefix_of(address(a)) == access.narrow_prefix_of(address(b));
    };
    EXPECT_FALSE(same_client("192.0.2.1", "192.0.2.2")) << "32 and 64 by default";
    EXPECT_TRUE(same_client("2001:db8::1", "2001:db8::2"));
    EXPECT_FALSE(same_client("2001:db8:0:1::1", "2001:db8::1"));
    Access other({{}, {.ipv4_prefix = 24, .ipv6_prefix = 56}});
    EXPECT_NE(access.prefix_of(address("192.0.2.1")), other.prefix_of(address("192.0.2.1"))) << "keyed";
}

class GateTest : public testing::Test {
  protected:
    void limit(const RateLimits& limits) {
        rules.replace_clients({{*parse_prefix("10.0.0.0/8")}, limits}, grace);
        gate.take_rules();
    }
    /// The reply to a message; empty: none. `passed`: it is to be looked up.
    Bytes admit(const Bytes& message, const char* client = "10.0.0.1", Transport transport = Transport::udp) {
        Query query;
        std::size_t size = 0;
        Bytes out(1232);
        passed = gate.admit({message, transport, address(client), now}, query, out, size);
        out.resize(size);
        return out;
    }
    unsigned rcode(const Bytes& reply) { return reply.empty() ? 99 : reply.at(3) & 15u; }

    cache::Grace grace;
    test::RulesInEffect rules{ClientPolicy{{*parse_prefix("10.0.0.0/8")}}};
    Counters counters;
    Gate gate{rules.now, counters};
    Time now = support::clock_start();
    bool passed = false;
};

TEST_F(GateTest, QueriesOverTheRateAreDroppedAndOverTcpRefused) {
    limit({.queries = 3, .slip = 0});
    for (int i = 0; i < 3; ++i) {
        EXPECT_TRUE(admit(query("a.com")).empty());
        EXPECT_TRUE(passed);
    }
    EXPECT_TRUE(admit(query("a.com"), "10.0.0.9").empty()) << "another client of the same prefix";
    EXPECT_FALSE(passed);
    EXPECT_EQ(counters.get(Verdict::drop_rate), 1u);
    for (int i = 0; i < 3; ++i) {
        admit(query("a.com"), "10.0.0.1", Transport::tcp);
        EXPECT_TRUE(passed) << "TCP has a bucket of its own";
    }
    EXPECT_EQ(rcode(admit(query("a.com"), "10.0.0.1", Transport::tcp)), 5u);
    EXPECT_EQ(counters.get(Event::rate_queries), 2u);
    admit(query("a.com"), "10.0.1.1");
    EXPECT_TRUE(passed) << "another prefix";
    now += 334ms;
    admit(query("a.com"));
    EXPECT_TRUE(passed);
}

/// Else who sends in its name silences a client.
TEST_F(GateTest, QueriesOverTheRateSlipToTcp) {
    limit({.queries = 1, .slip = 2});
    admit(query("a.com"));
    EXPECT_TRUE(passed);
    // Slips are counted by eight bits of the prefix's hash, which has a secret: another prefix with others.
    auto bits = [&](const std::string& client) {
        return rules.access().prefix_of(*parse_address(client)) % 256;
    };
    std::string stranger;
    for (int i = 1; stranger.empty() || bits(stranger) == bits("10.0.0.1"); ++i)
        stranger = "10.0." + std::to_string(i) + ".1";
    for (int i = 0; i < 10; ++i) {
        EXPECT_TRUE(admit(query("a.com")).empty());
        // Others in between do not take it away.
        for (int other = 0; other < 5; ++other) admit(query("a.com"), stranger.c_str());
        EXPECT_EQ(admit(query("a.com")), header(0x1234, 0x8380, 1) + question("a.com"));
        EXPECT_FALSE(passed);
    }
    EXPECT_EQ(counters.get(Event::slipped), 10u + 24);
    EXPECT_EQ(counters.get(Event::rate_queries), 20u + 49);
    EXPECT_EQ(counters.get(Verdict::answered), 10u + 24);
    EXPECT_EQ(counters.get(Verdict::drop_rate), 10u + 25);
    admit(query("a.com"), "10.0.0.1", Transport::tcp);
    EXPECT_TRUE(passed) << "and there it is asked";
    Bytes opened = header(1, rd, 1, 0, 0, 1) + question("a.com") + opt();
    EXPECT_TRUE(admit(opened).empty());
    EXPECT_EQ(admit(opened).size(), opened.size()) << "no more than was sent";
    for (int i = 0; i < 4; ++i)
        EXPECT_TRUE(admit(header(1, 0, 1) + question("a.com")).empty()) << "an error over TCP as well";
}

/// Each limit has a table of its own: what fills one does not show in another.
TEST_F(GateTest, LimitsDoNotShareATable) {
    limit({.queries = 2, .errors = 2, .responses = 2, .slip = 0});
    auto answer = entry_of({1, 0}, {1}, now, 60s);
    Gate::Charge charge{rules.access().prefix_of(address("10.0.0.1")), 1, 1};
    for (int i = 0; i < 9; ++i) gate.flow(charge, *answer, now);
    admit(query("a.com"));
    EXPECT_TRUE(passed);
    EXPECT_FALSE(admit(header(1, 0, 1) + question("a.com")).empty());
    EXPECT_EQ(counters.get(Event::rate_table_full), 0u);
}

TEST_F(GateTest, AFullTableIsCounted) {
    rules.replace_clients({{*parse_prefix("0.0.0.0/0")}, {.queries = 1'000'000}}, grace); // eight places
    gate.take_rules();
    for (unsigned i = 0; i < 100; ++i) {
        admit(query("a.com"), ("10." + std::to_string(i) + ".0.1").c_str());
        EXPECT_TRUE(passed);
    }
    EXPECT_GE(counters.get(Event::rate_table_full), 90u);
}

/// A reload must not be a way to begin anew.
TEST_F(GateTest, APolicyWithTheSameTablesGoesOnCounting) {
    limit({.queries = 1, .slip = 0});
    admit(query("a.com"));
    EXPECT_TRUE(passed);
    limit({.queries = 1, .fetches = 0, .slip = 1});
    EXPECT_FALSE(admit(query("a.com")).empty()) << "slips";
    EXPECT_FALSE(passed);
}

TEST_F(GateTest, ErrorsOverTheRateAreNotSent) {
    limit({.errors = 2});
    Bytes no_recursion = header(1, 0, 1) + question("a.com");
    for (int i = 0; i < 2; ++i) EXPECT_EQ(rcode(admit(no_recursion)), 5u);
    EXPECT_TRUE(admit(no_recursion).empty());
    EXPECT_TRUE(admit(query("a.com", 255)).size() > 0) << "TC=1 for ANY is no error";
    EXPECT_EQ(rcode(admit(no_recursion, "10.0.0.1", Transport::tcp)), 5u);
    EXPECT_EQ(counters.get(Verdict::drop_rate), 1u);
    EXPECT_EQ(counters.get(Event::rate_errors), 1u);
    for (int i = 0; i < 5; ++i) admit(query("a.com"), "192.0.2.1");
    EXPECT_EQ(counters.get(Verdict::refused), 2u) << "foreigners too";
    EXPECT_EQ(counters.received(), 10u);
}

TEST_F(GateTest, SameAnswersOverTheRateSlipOrAreDropped) {
    limit({.responses = 2, .slip = 2});
    auto answer = entry_of({1, 0}, {1}, now, 60s);
    auto flow = [&](const char* client, const char* asked) {
        Query query;
        std::size_t size;
        Bytes out(512);
        gate.admit({test::query(asked), Transport::udp, address(client), now}, query, out, size);
        return gate.flow(gate.charge_of(address(client), query, std::hash<std::string>()(asked)), *answer,
                         now);
    };
    using Flow = Gate::Flow;
    EXPECT_EQ(flow("10.0.0.1", "a.com"), Flow::send);
    EXPECT_EQ(flow("10.0.0.1", "a.com"), Flow::send);
    EXPECT_EQ(flow("10.0.0.1", "a.com"), Flow::drop);
    EXPECT_EQ(flow("10.0.0.1", "a.com"), Flow::slip);
    EXPECT_EQ(flow("10.0.0.1", "b.com"), Flow::send) << "another answer";
    EXPECT_EQ(flow("10.2.0.1", "a.com"), Flow::send) << "another prefix";
    EXPECT_EQ(counters.get(Event::slipped), 1u);
    EXPECT_EQ(counters.get(Event::rate_responses), 2u);
}

TEST_F(GateTest, DenialsOfRandomNamesAreOneAnswer) {
    limit({.responses = 3, .slip = 0});
    cache::EntryPtr denial = bare_entry(3);
    unsigned sent = 0;
    for (int i = 0; i < 20; ++i) {
        Query query;
        std::size_t size;
        Bytes out(512);
        Bytes message = test::query("r" + std::to_string(i) + ".victim.com");
        gate.admit({message, Transport::udp, address("10.0.0.1"), now}, query, out, size);
        auto charge = gate.charge_of(address("10.0.0.1"), query, cache::Hash(i));
        sent += gate.flow(charge, *denial, now) == Gate::Flow::send;
    }
    EXPECT_EQ(sent, 3u);
}

/// Nothing is dropped, refused, or sent with TC=1; what would be is counted apart.
TEST_F(GateTest, ADryRunLimitsNothing) {
    limit({.queries = 20, .errors = 2, .responses = 3, .dry_run = true});
    Bytes no_recursion = header(1, 0, 1) + question("a.com");
    for (int i = 0; i < 20; ++i) EXPECT_EQ(rcode(admit(no_recursion)), 5u);
    EXPECT_EQ(counters.get(Event::dry_errors), 18u);
    for (int i = 0; i < 10; ++i) {
        admit(query("a.com"));
        EXPECT_TRUE(passed);
    }
    EXPECT_EQ(counters.get(Event::dry_queries), 10u);
    auto answer = entry_of({1, 0}, {1}, now, 60s);
    Gate::Charge charge{rules.access().prefix_of(address("10.0.0.1")), 1, 1};
    for (int i = 0; i < 10; ++i) EXPECT_EQ(gate.flow(charge, *answer, now), Gate::Flow::send);
    EXPECT_EQ(counters.get(Event::dry_responses), 7u);
    for (Event event : {Event::rate_queries, Event::rate_errors, Event::rate_responses, Event::slipped})
        EXPECT_EQ(counters.get(event), 0u) << to_string(event);
    EXPECT_EQ(counters.get(Verdict::drop_rate), 0u);
}

TEST_F(GateTest, NamesOfTheSetAreAnsweredHere) {
    LocalNames::Builder names;
    std::uint8_t soa[] = {0xc0, 12, 0, 6, 0, 1, 0, 0, 0, 60, 0, 2, 0, 0};
    auto denial = bare_entry(3, soa);
    auto rule = names.deny(0, true, LocalNames::Action::nxdomain, 15, std::move(denial));
    names.add(cache::parse_name("bad.com")->bytes(), LocalNames::Builder::both, rule);
    rules.replace_local(names.build(), grace);
    gate.take_rules();
    Bytes reply = admit(header(7, rd, 1, 0, 0, 1) + question("X.bad.com") + opt());
    Bytes owner{0xc0, 14}; // behind "X."
    EXPECT_EQ(reply, header(7, 0x8183, 1, 0, 1, 1) + question("X.bad.com") + owner +
                         Bytes(soa + 2, soa + sizeof soa) + opt(1232, 0, {0, 15, 0, 2, 0, 15}));
    EXPECT_EQ(admit(query("bad.com")).size(), 12u + 13 + sizeof soa) << "without EDNS no extended error";
    EXPECT_EQ(counters.get(Event::blocked), 2u);
    EXPECT_EQ(counters.get(Verdict::answered), 2u);
    admit(query("good.com"));
    EXPECT_TRUE(passed);
    limit({.responses = 2, .slip = 0});
    unsigned sent = 0;
    for (int i = 0; i < 10; ++i) sent += !admit(query("r" + std::to_string(i) + ".bad.com")).empty();
    EXPECT_EQ(sent, 2u) << "denials of a list are answers like any other";
    EXPECT_FALSE(admit(query("bad.com"), "10.0.0.1", Transport::tcp).empty());
}

} // namespace
} // namespace millrace::dataplane
