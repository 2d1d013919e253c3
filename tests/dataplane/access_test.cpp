// Who may ask, and how often: Access and RateTable, and what Gate makes of them.
#include "dataplane/access.hpp"

#include <gtest/gtest.h>

#include "dataplane/gate.hpp"
#include "tests/support/clock.hpp"
#include "tests/support/entries.hpp"
#include "tests/support/messages.hpp"

namespace millrace::dataplane {
namespace {

using namespace test;

Address address(const char* text) {
    return *parse_address(text);
}

TEST(RateTable, ASecondsWorthAtOnceThenTheRate) {
    RateTable rates;
    Time now = support::clock_start();
    auto taken = [&](unsigned tries) {
        unsigned count = 0;
        for (unsigned i = 0; i < tries; ++i) count += rates.take(42, 10, now);
        return count;
    };
    EXPECT_EQ(taken(30), 10u);
    now += 500ms;
    EXPECT_EQ(taken(30), 5u);
    now += 100ms;
    EXPECT_EQ(taken(30), 1u);
    now += 1h;
    EXPECT_EQ(taken(30), 10u) << "no more than a second's worth is saved up";
}

TEST(RateTable, NoLimitCountsNothing) {
    RateTable rates;
    for (int i = 0; i < 1000; ++i) EXPECT_TRUE(rates.take(1, 0, 5s));
    EXPECT_TRUE(rates.take(1, 1, 5s));
}

TEST(RateTable, ManyThingsDoNotLimitEachOther) {
    RateTable rates;
    unsigned refused = 0;
    for (std::uint64_t i = 0; i < 20000; ++i) refused += !rates.take(i * 0x9e3779b97f4a7c15u, 1, 5s);
    EXPECT_LT(refused, 700u) << "both places of a thing taken by others: 2.1 % of the last ones, less before";
    // A million things a second, each within its rate, when that is more than a hundred times what the places
    // would take if each were charged in full.
    refused = 0;
    for (std::uint64_t i = 0; i < 1'000'000; ++i) {
        refused += !rates.take((i + 1'000'000) * 0x9e3779b97f4a7c15u, 100, 60s + i * 1us);
    }
    EXPECT_LT(refused, 1000u);
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

TEST(Access, PrefixesAsConfigured) {
    Access access({{}, {.ipv4_prefix = 24, .ipv6_prefix = 56}});
    auto same = [&](const char* a, const char* b) {
        return access.prefix_of(address(a)) == access.prefix_of(address(b));
    };
    EXPECT_TRUE(same("192.0.2.1", "192.0.2.255"));
    EXPECT_FALSE(same("192.0.2.1", "192.0.3.1"));
    EXPECT_TRUE(same("2001:db8:0:ff::1", "2001:db8:0:00::2"));
    EXPECT_FALSE(same("2001:db8:0:100::1", "2001:db8::1"));
    Access other({{}, {.ipv4_prefix = 24, .ipv6_prefix = 56}});
    EXPECT_NE(access.prefix_of(address("192.0.2.1")), other.prefix_of(address("192.0.2.1"))) << "keyed";
}

class GateTest : public testing::Test {
  protected:
    void limit(const RateLimits& limits) { access.replace({{*parse_prefix("10.0.0.0/8")}, limits}, grace); }
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
    Access access{{{*parse_prefix("10.0.0.0/8")}, {}}};
    Counters counters;
    cache::Replaceable<LocalNames> local{LocalNames::Builder().build()};
    Gate gate{access, &local, counters, 0};
    Time now = support::clock_start();
    bool passed = false;
};

TEST_F(GateTest, QueriesOverTheRateAreDroppedAndOverTcpRefused) {
    limit({.queries = 3});
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

TEST_F(GateTest, NamesOfTheSetAreAnsweredHere) {
    LocalNames::Builder names;
    std::uint8_t soa[] = {0xc0, 12, 0, 6, 0, 1, 0, 0, 0, 60, 0, 2, 0, 0};
    auto denial = bare_entry(3, soa);
    auto rule = names.deny(0, true, LocalNames::Action::nxdomain, 15, std::move(denial));
    names.add(cache::parse_name("bad.com")->bytes(), LocalNames::Builder::both, rule);
    local.replace(names.build(), grace);
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
