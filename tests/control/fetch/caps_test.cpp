// Limits of new Fetches beyond a client prefix's and a key's: of narrow prefixes, questions and zones; and
// the dry run of all of them.
#include <sstream>

#include <spdlog/sinks/ostream_sink.h>
#include <spdlog/spdlog.h>

#include "cache/dns.hpp"
#include "control/fetch/caps.hpp"
#include "control/local/special_names.hpp"
#include "control/message/record_text.hpp"
#include "tests/control/fetch/fixture.hpp"
#include "tests/support/entries.hpp"
#include "tests/support/rules.hpp"

namespace millrace::control {
namespace {

using dataplane::LocalNames;
using dataplane::RateLimits;
using Limit = FetchCounters::Limit;

class CapsTest : public FetchTest {
  protected:
    CapsTest() : FetchTest(1) {
        fetches.set_rules(rules.current());
        serve();
    }
    ~CapsTest() override { fetches.close(); } // what it uses here goes first
    /// Names that begin with "r" are denied by the zone of two labels that they are in; those that begin with
    /// "n" have an IPv4 address alone, with "w" nothing.
    void serve() {
        network.serve(server(0), [this](FakeNetwork& net, const Sent& sent) {
            std::string name = question_name(sent);
            ReplySpec spec{.answer = {record(sent, "192.0.2.1", ttl)}};
            if (name.starts_with("c"))
                spec.answer = {name + " 60 IN CNAME r" + name.substr(1, name.find('.')) + "flood.com."};
            bool is_ipv4only = name.starts_with("n") && type_of(sent) != LDNS_RR_TYPE_A;
            bool is_empty = is_ipv4only || name.starts_with("w");
            if (name.starts_with("r") || is_empty) {
                std::size_t top = name.rfind('.', name.size() - 2), second = name.rfind('.', top - 1);
                spec = {.authority = {name.substr(second + 1) + " 60 IN SOA a. b. 1 2 3 4 60"}};
                spec.rcode = is_empty ? 0 : 3;
            }
            net.reply(sent, make_reply(sent.message, spec), 1ms);
        });
    }
    void limit(const RateLimits& limits) { rules.replace_clients({{}, limits}, grace); }
    std::uint64_t ask_from(const std::string& client, const cache::Key& key, bool tcp = false) {
        ++asked_;
        return ask_as({*dataplane::parse_address(client), std::uint16_t(1024 + asked_)},
                      std::uint16_t(asked_), key, tcp);
    }
    std::uint64_t ask_new(const std::string& client, bool tcp = false) {
        return ask_from(client, numbered("n", "com"), tcp);
    }
    cache::Key numbered(const std::string& first, const std::string& zone) {
        return make_key(first + std::to_string(++named_) + "." + zone, LDNS_RR_TYPE_A);
    }
    /// How many of those who asked were answered, if only that there is nothing.
    unsigned answered(const std::vector<std::uint64_t>& tokens) {
        return unsigned(std::ranges::count_if(tokens, [&](auto t) { return woken(t).rcode != 2; }));
    }
    unsigned burst(unsigned count, const std::function<std::uint64_t()>& one) {
        std::vector<std::uint64_t> tokens;
        for (unsigned i = 0; i < count; ++i) tokens.push_back(one());
        run(10ms);
        return answered(tokens);
    }
    unsigned flood(unsigned count, const std::string& zone = "flood.com") {
        ask_from("10.9.9.9", numbered("r", zone)); // its zone is known
        run(10ms);
        return burst(count, [&] { return ask_from("10.9.9.9", numbered("r", zone)); });
    }
    static cache::Key of_type(std::uint16_t type, cache::Key key) {
        key.qtype = type;
        return key;
    }
    static constexpr std::uint16_t type_a = LDNS_RR_TYPE_A, type_aaaa = LDNS_RR_TYPE_AAAA, type_https = 65;
    std::uint64_t limited(Limit by) const { return fetches.counters().limited_by[std::size_t(by)]; }
    std::uint64_t dry(Limit by) const { return fetches.counters().dry_run[std::size_t(by)]; }

    test::RulesInEffect rules{dataplane::ClientPolicy{}};
    unsigned ttl = 60;

  private:
    unsigned asked_ = 0, named_ = 0;
};

TEST_F(CapsTest, AHostAndItsPrefixBothNeedRoom) {
    limit({.fetches = 8, .fetches_per_client = 3});
    EXPECT_EQ(burst(50, [&] { return ask_new("10.0.0.1"); }), 3u);
    EXPECT_EQ(limited(Limit::client), 47u);
    EXPECT_EQ(burst(5, [&] { return ask_new("10.0.0.2"); }), 3u)
        << "its prefix was not charged for the other";
    EXPECT_EQ(burst(5, [&] { return ask_new("10.0.0.3"); }), 2u);
    EXPECT_EQ(limited(Limit::prefix), 1u);
    EXPECT_EQ(burst(5, [&] { return ask_new("10.0.1.1"); }), 3u) << "another prefix";
    EXPECT_EQ(burst(5, [&] { return ask_new("10.0.0.1", true); }), 3u) << "nobody forges that over TCP";
    EXPECT_EQ(fetches.counters().limited, 47u + 2 + 3 + 2 + 2);
}

TEST_F(CapsTest, NarrowPrefixesAreAsLongAsTheyAreConfigured) {
    limit({.fetches_per_client = 2, .client_ipv4_prefix = 30, .client_ipv6_prefix = 60});
    EXPECT_EQ(burst(2, [&] { return ask_new("10.0.0.4"); }), 2u);
    EXPECT_EQ(burst(1, [&] { return ask_new("10.0.0.7"); }), 0u);
    EXPECT_EQ(burst(1, [&] { return ask_new("10.0.0.8"); }), 1u);
    EXPECT_EQ(burst(2, [&] { return ask_new("2001:db8:0:f0::1"); }), 2u);
    EXPECT_EQ(burst(1, [&] { return ask_new("2001:db8:0:ff::1"); }), 0u);
    EXPECT_EQ(burst(1, [&] { return ask_new("2001:db8:0:100::1"); }), 1u);
}

TEST_F(CapsTest, AQuestionWhoeverAsks) {
    ttl = 0; // nothing is kept
    limit({.fetches_per_question = 5});
    cache::Key secure = a;
    secure.flavour |= cache::dnssec_ok;
    unsigned got = 0;
    for (unsigned i = 0; i < 10; ++i) {
        got += burst(1, [&] { return ask_from("10.0." + std::to_string(i) + ".1", i % 2 ? a : secure); });
    }
    EXPECT_EQ(got, 5u);
    EXPECT_EQ(limited(Limit::question), 5u);
    EXPECT_EQ(burst(1, [&] { return ask(make_key("a.com", LDNS_RR_TYPE_MX)); }), 1u) << "another type";
    EXPECT_EQ(burst(1, [&] { return ask(b); }), 1u);
}

TEST_F(CapsTest, AFloodOfRandomNamesIsCappedByZone) {
    limit({.fetches_per_zone = 10});
    std::uint64_t hit = ask(a);
    run(10ms);
    EXPECT_EQ(flood(500), 9u);
    EXPECT_EQ(limited(Limit::zone), 491u);
    EXPECT_EQ(burst(50, [&] { return ask_new("10.0.0.1"); }), 50u) << "other zones";
    EXPECT_EQ(burst(1, [&] { return ask(a); }), 1u);
    EXPECT_EQ(woken(hit).addresses, Hosts{"192.0.2.1"});
    run(1s);
    std::size_t before = queries_to(0);
    for (unsigned i = 0; i < 5; ++i) {
        burst(100, [&] { return ask_from("10.9.9.9", numbered("r", "flood.com")); });
        run(990ms);
    }
    EXPECT_NEAR(queries_to(0) - before, 50, 3) << "in five seconds";
}

TEST_F(CapsTest, WhatIsOverALimitIsToldWhyAndNotCached) {
    limit({.fetches_per_zone = 10});
    flood(20);
    cache::Key one = numbered("r", "flood.com");
    std::uint64_t token = ask(one);
    EXPECT_EQ(woken(token).rcode, 2) << "at once";
    EXPECT_EQ(woken(token).info, dns::ede::other);
    EXPECT_FALSE(cached(one));
    EXPECT_EQ(publisher.limited()->info_size, std::string("over a limit of new questions").size());
    limit({});
    EXPECT_EQ(burst(1, [&] { return ask(one); }), 1u);
}

/// Names that were found once come before random ones: their refreshes do, and they do when they have
/// expired. What is stale is better than nothing.
TEST_F(CapsTest, KnownNamesAreSpared) {
    ttl = 2;
    cache::Key known = make_key("known.flood.com", LDNS_RR_TYPE_A);
    cache::Key denied = make_key("rare.flood.com", LDNS_RR_TYPE_A);
    limit({.fetches_per_zone = 10});
    burst(1, [&] { return ask(known); });
    burst(1, [&] { return ask(denied); });
    run(61s);
    flood(50);
    EXPECT_EQ(burst(1, [&] { return ask(known); }), 1u);
    EXPECT_GT(cached(known)->expiry, clock.now) << "it was asked";
    std::uint64_t stale = ask(denied);
    EXPECT_EQ(woken(stale).kind, dataplane::Wake::Kind::stale);
    EXPECT_EQ(woken(stale).rcode, 3);
}

/// Whoever has collected many denied names could have them all asked again by hitting each before its end.
TEST_F(CapsTest, RefreshesOfDenialsAreNotSpared) {
    cache::Key known = make_key("known.flood.com", LDNS_RR_TYPE_A);
    cache::Key denied = make_key("rare.flood.com", LDNS_RR_TYPE_A);
    limit({.fetches_per_zone = 10});
    burst(1, [&] { return ask(known); });
    burst(1, [&] { return ask(denied); });
    run(10s); // the Fetches that these came of are over
    flood(50);
    std::size_t before = queries_to(0);
    fetches.refresh(denied, hash(denied), cached(denied)->version, clock.now);
    EXPECT_EQ(fetches.counters().refreshes_dropped, 1u);
    EXPECT_EQ(queries_to(0), before);
    fetches.refresh(known, hash(known), cached(known)->version, clock.now);
    EXPECT_EQ(queries_to(0), before + 1);
}

TEST_F(CapsTest, WhatIsAskedAfreshIsPaidOnce) {
    limit({.fetches_per_zone = 10});
    flood(0);
    silence(0);
    for (unsigned i = 0; i < 4; ++i) ask(numbered("r", "flood.com"));
    run(5ms);
    fetches.supersede([](const cache::Key&, const cache::Entry*) { return true; });
    serve();
    run(10ms);
    EXPECT_GE(burst(20, [&] { return ask(numbered("r", "flood.com")); }), 5u);
}

/// A browser asks for three types of each name, in whatever order; most names have one or two of them.
TEST_F(CapsTest, BrowsersAreNoFlood) {
    limit({.fetches_per_zone = 20});
    using Types = std::vector<std::uint16_t>;
    for (const Types& types : {Types{type_a, type_aaaa, type_https}, {type_aaaa, type_https, type_a}}) {
        std::vector<std::uint64_t> tokens;
        for (unsigned i = 0; i < 120; ++i, run(22ms)) { // of 45 names a second
            cache::Key key = numbered("n", "site.com");
            for (std::uint16_t type : types) tokens.push_back(ask_from("10.0.0.1", of_type(type, key)));
        }
        EXPECT_EQ(answered(tokens), tokens.size());
    }
    EXPECT_EQ(limited(Limit::zone), 0u);
}

TEST_F(CapsTest, WhateverIsAskedOfANameWithAnAddress) {
    limit({.fetches_per_zone = 20});
    std::vector<cache::Key> names;
    for (unsigned i = 0; i < 100; ++i) names.push_back(numbered("n", "flood.com"));
    for (const cache::Key& name : names) ask_from("10.0.0.1", name);
    run(10ms);
    flood(50);
    for (std::uint16_t type : {type_https, type_aaaa, std::uint16_t(LDNS_RR_TYPE_MX)}) {
        auto name = names.begin();
        EXPECT_EQ(burst(100, [&] { return ask_from("10.0.0.1", of_type(type, *name++)); }), 100u);
    }
    EXPECT_LE(flood(50), 1u) << "the flood is capped all the same";
}

/// As a wildcard of another type makes them, or a server that signs denials as it goes (RFC 9824).
TEST_F(CapsTest, RandomNamesThatHaveNothingAreCapped) {
    limit({.fetches_per_zone = 20});
    ask_from("10.9.9.9", numbered("w", "flood.com"));
    run(10ms);
    unsigned asked = burst(200, [&] { return ask_from("10.9.9.9", numbered("w", "flood.com")); });
    asked +=
        burst(200, [&] { return ask_from("10.9.9.9", of_type(type_https, numbered("w", "flood.com"))); });
    EXPECT_LE(asked, 20u);
}

/// Its AAAA question comes first, and has never found anything.
TEST_F(CapsTest, Dns64OfAKnownNameIsSpared) {
    dataplane::ClientPolicy policy{{}, {.fetches_per_zone = 10}};
    policy.dns64 = {{*dataplane::parse_prefix("2001:db8:64::/96"), {*dataplane::parse_prefix("::/0")}}};
    rules.replace_clients(policy, grace);
    burst(1, [&] { return ask(make_key("n.flood.com", LDNS_RR_TYPE_A)); });
    flood(50);
    cache::Key key = make_key("n.flood.com", LDNS_RR_TYPE_AAAA);
    key.set_dns64(1);
    std::uint64_t token = ask_from("2001:db8::9", key);
    run(20ms);
    EXPECT_EQ(woken(token).addresses, Hosts{"2001:db8:64::c000:201"});
    EXPECT_EQ(burst(1, [&] { return ask(make_key("n2.flood.com", LDNS_RR_TYPE_AAAA)); }), 0u)
        << "of which nothing is known";
}

TEST_F(CapsTest, ANameThatAnotherLeadsToIsItsZonesToo) {
    limit({.fetches_per_zone = 10});
    flood(50);
    std::size_t before = queries_to(0);
    cache::Key first = make_key("cx.b.com", LDNS_RR_TYPE_A); // a chain without its end
    std::uint64_t token = ask(first);
    run(20ms);
    EXPECT_EQ(woken(token).rcode, 2);
    EXPECT_EQ(queries_to(0), before + 1);
    EXPECT_FALSE(cached(first));
    limit({});
    token = ask(first);
    run(20ms);
    EXPECT_EQ(woken(token).rcode, 3);
}

TEST_F(CapsTest, NamesWithARuleAreNoUpstreams) {
    LocalNames::Builder names;
    auto rule = names.alias(1, false, 15, *cache::parse_name("a.com"));
    names.add(cache::parse_name("r-alias.flood.com")->bytes(), LocalNames::Builder::exact, rule);
    rules.replace_local(names.build(), grace);
    limit({.fetches_per_zone = 10});
    flood(50);
    std::uint64_t token = ask(make_key("r-alias.flood.com", LDNS_RR_TYPE_A));
    run(10ms);
    EXPECT_EQ(woken(token).rcode, 0);
}

/// Though nothing is known of the name that it leads to: that one was evicted, as nobody asks for it.
TEST_F(CapsTest, KnownNamesWithARuleAreSpared) {
    LocalNames::Builder names;
    auto rule = names.alias(1, false, 15, *cache::parse_name("end.flood.com"));
    names.add(cache::parse_name("alias.b.com")->bytes(), LocalNames::Builder::exact, rule);
    rules.replace_local(names.build(), grace);
    limit({.fetches_per_zone = 10});
    ttl = 2;
    cache::Key key = make_key("alias.b.com", LDNS_RR_TYPE_A), end = make_key("end.flood.com", LDNS_RR_TYPE_A);
    burst(1, [&] { return ask(key); });
    run(20s);
    table.withdraw(end, hash(end));
    flood(50);
    burst(1, [&] { return ask(key); });
    EXPECT_EQ(cached_addresses(end), Hosts{"192.0.2.1"}) << "it was asked";
}

/// A zone whose names are all cached is asked for spared names alone.
TEST_F(CapsTest, ZonesOfKnownNamesKeepTheirAccounts) {
    limit({.fetches_per_zone = 10});
    FetchCounters counters;
    Caps caps(counters);
    caps.set_rules(rules.current());
    Answer found, denied;
    found.kind = Kind::positive;
    denied.kind = Kind::nxdomain;
    denied.authority.push_back(Record(parse_local_record("com. 60 IN SOA a. b. 1 2 3 4 60")));
    caps.learn(make_key("r.com", 1), denied, {}, clock.now);
    caps.admit_to_zone(make_key("r.com", 1), false, clock.now);
    cache::Key known = make_key("www.shop.com", LDNS_RR_TYPE_A);
    caps.learn(known, found, {}, clock.now);
    caps.admit_to_zone(known, true, clock.now);
    for (unsigned i = 0; i < 4 * limits::zone_cuts; ++i)
        caps.learn(make_key("w" + std::to_string(i) + ".com", 1), found, {}, clock.now += 1us);
    for (unsigned i = 0; i < 20; ++i) caps.learn(make_key("r.com", 1), denied, {}, clock.now);
    EXPECT_FALSE(caps.admit_to_zone(make_key("r.com", 1), false, clock.now));
    EXPECT_TRUE(caps.admit_to_zone(make_key("new.shop.com", 1), false, clock.now));
}

class DryRun : public CapsTest {
  protected:
    DryRun() {
        spdlog::set_default_logger(
            std::make_shared<spdlog::logger>("t", std::make_shared<spdlog::sinks::ostream_sink_mt>(text)));
        spdlog::set_pattern("%v");
    }
    ~DryRun() override { spdlog::set_default_logger(before); }
    std::size_t lines() const { return std::size_t(std::ranges::count(text.str(), '\n')); }

    std::ostringstream text;
    std::shared_ptr<spdlog::logger> before = spdlog::default_logger();
};

TEST_F(DryRun, CountsAndNamesAndLimitsNothing) {
    limit({.fetches = 20, .fetches_per_client = 10, .fetches_per_zone = 5, .dry_run = true});
    EXPECT_EQ(flood(50), 50u);
    EXPECT_EQ(dry(Limit::client), 41u);
    EXPECT_EQ(dry(Limit::prefix), 31u);
    EXPECT_EQ(dry(Limit::zone), 46u) << "as many as would be limited";
    EXPECT_EQ(limited(Limit::client) + limited(Limit::prefix) + limited(Limit::zone), 0u);
    EXPECT_EQ(fetches.counters().limited, 0u);
    for (const char* line : {"fetches-per-client: the /32 of client 10.9.9.9",
                             "fetches: the /24 of client 10.9.9.9", "fetches-per-zone: flood.com."}) {
        std::string whole = "limits: " + std::string(line) + " would be over the limit (dry-run)\n";
        EXPECT_NE(text.str().find(whole), std::string::npos) << text.str();
    }
    EXPECT_EQ(lines(), 3u) << "each once";
}

TEST_F(DryRun, TheLogHasFewLinesHoweverManyAreOver) {
    limit({.fetches_per_zone = 1});
    for (unsigned i = 0; i < 50; ++i) flood(3, "z" + std::to_string(i) + ".com");
    EXPECT_EQ(lines(), limits::named_limits);
    EXPECT_NE(text.str().find("limits: fetches-per-zone: z0.com. is over the limit\n"), std::string::npos);
    run(limits::log_interval);
    flood(3);
    EXPECT_EQ(lines(), limits::named_limits + 1);
}

} // namespace
} // namespace millrace::control
