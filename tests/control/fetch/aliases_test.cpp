// Answers by way of other names: rules that lead elsewhere, blocked names in a chain.
#include "control/limits.hpp"
#include "control/local/special_names.hpp"
#include "control/message/entry_text.hpp"
#include "tests/control/fetch/fixture.hpp"
#include "tests/support/entries.hpp"
#include "tests/support/rules.hpp"

namespace millrace::control {
namespace {

using dataplane::LocalNames;
using Builder = LocalNames::Builder;

class AliasTest : public FetchTest {
  protected:
    AliasTest() : FetchTest(1) { fetches.set_rules(rules.current()); }

    Builder::RuleId alias(const std::string& target, bool is_blocked = true) {
        return names.alias(1, is_blocked, 15, *cache::parse_name(target));
    }
    Builder::RuleId deny() {
        return names.deny(1, true, LocalNames::Action::nxdomain, 15, test::bare_entry(3));
    }
    Builder::RuleId records(std::uint8_t host) {
        std::vector<std::pair<std::uint16_t, cache::EntryPtr>> entries;
        entries.emplace_back(1, test::entry_of({}, {host}, 0s, 60s));
        entries.emplace_back(0, test::bare_entry(0));
        return names.records(0, false, cache::Entry::no_info, std::move(entries));
    }
    void add(const std::string& name, Builder::RuleId rule) {
        names.add(cache::parse_name(name)->bytes(), Builder::exact, rule);
    }
    void use() { rules.replace_local(names.build(), grace); }

    /// The upstream has these, by name; other names are NXDOMAIN with a SOA.
    void serve_zone(std::map<std::string, std::vector<std::string>> zone, Time delay = 5ms) {
        network.serve(server(0), [=](FakeNetwork& net, const Sent& sent) {
            auto found = zone.find(question_name(sent));
            ReplySpec spec;
            if (found != zone.end()) spec.answer = found->second;
            if (found == zone.end()) {
                spec.rcode = 3;
                spec.authority = {". 60 IN SOA a. b. 1 2 3 4 60"};
            }
            net.reply(sent, make_reply(sent.message, spec), delay);
        });
    }
    std::vector<std::string> lines(const cache::Key& key) const {
        const cache::Entry* entry = cached(key);
        return entry ? record_lines(key, *entry, clock.now) : std::vector<std::string>{};
    }

    Builder names;
    test::RulesInEffect rules;
    cache::Key garden = make_key("walled.garden", LDNS_RR_TYPE_A);
};

TEST_F(AliasTest, TheTargetIsAskedAndTheAnswerPublishedUnderTheName) {
    add("a.com", alias("walled.garden"));
    use();
    serve_zone({{"walled.garden.", {"walled.garden. 30 IN A 192.0.2.9"}}});
    auto client = ask(a);
    run(20ms);
    EXPECT_EQ(woken(client).addresses, Hosts{"192.0.2.9"});
    EXPECT_EQ(lines(a), (std::vector<std::string>{"a.com.\t30\tIN\tCNAME\twalled.garden.",
                                                  "walled.garden.\t30\tIN\tA\t192.0.2.9"}));
    EXPECT_TRUE(cached(a)->rewritten);
    EXPECT_EQ(cached(a)->info, 15);
    EXPECT_FALSE(cached(garden)->rewritten);
    auto second = ask(a);
    EXPECT_EQ(woken(second).addresses, Hosts{"192.0.2.9"});
    EXPECT_EQ(network.sent.size(), 1u);
    EXPECT_EQ(question_name(network.sent[0]), "walled.garden.");
}

TEST_F(AliasTest, ManyNamesAndTheTargetItselfShareOneQuestion) {
    auto rule = alias("walled.garden");
    std::vector<std::uint64_t> clients;
    for (int i = 0; i < 50; ++i) add("n" + std::to_string(i) + ".com", rule);
    use();
    serve_zone({{"walled.garden.", {"walled.garden. 30 IN A 192.0.2.9"}}});
    for (int i = 0; i < 100; ++i) clients.push_back(ask(make_key("n" + std::to_string(i % 50) + ".com", 1)));
    clients.push_back(ask(garden));
    run(20ms);
    for (auto client : clients) EXPECT_EQ(woken(client).addresses, Hosts{"192.0.2.9"});
    EXPECT_EQ(network.sent.size(), 1u);
}

TEST_F(AliasTest, ATargetThatIsAnsweredHereNeedsNoQuestion) {
    add("a.com", alias("b.com", false));
    add("b.com", alias("here.lan", false));
    add("here.lan", records(7));
    use();
    auto client = ask(a);
    EXPECT_EQ(woken(client).addresses, Hosts{"192.0.2.7"});
    EXPECT_EQ(lines(a).size(), 3u) << "both aliases and the address";
    EXPECT_TRUE(network.sent.empty());
}

TEST_F(AliasTest, ATargetThatDoesNotExist) {
    add("a.com", alias("nowhere.com"));
    use();
    serve_zone({});
    auto client = ask(a);
    run(20ms);
    EXPECT_EQ(woken(client).rcode, 3);
    EXPECT_EQ(lines(a).front(), "a.com.\t30\tIN\tCNAME\tnowhere.com.");
}

TEST_F(AliasTest, RulesInACircleAndFailingTargetsAreServfail) {
    add("a.com", alias("b.com", false));
    add("b.com", alias("a.com", false));
    add("c.com", alias("dead.com"));
    use();
    silence(0);
    EXPECT_EQ(woken(ask(a)).rcode, 2);
    auto over_tcp = ask(make_key("c.com", 1), true);
    run(5s);
    EXPECT_EQ(woken(over_tcp).rcode, 2);
    EXPECT_EQ(cached(make_key("c.com", 1)), nullptr) << "the failure is the target's";
}

TEST_F(AliasTest, ABlockedNameInAChainEndsIt) {
    add("tracker.net", deny());
    use();
    serve_zone({{"a.com.", {"a.com. 60 IN CNAME tracker.net.", "tracker.net. 60 IN A 192.0.2.66"}},
                {"b.com.", {"b.com. 60 IN CNAME good.net.", "good.net. 60 IN A 192.0.2.1"}}});
    auto blocked = ask(a), good = ask(b);
    run(20ms);
    EXPECT_EQ(woken(blocked).rcode, 3);
    EXPECT_EQ(lines(a), std::vector<std::string>{"a.com.\t60\tIN\tCNAME\ttracker.net."});
    EXPECT_EQ(cached(a)->info, 15);
    EXPECT_EQ(woken(good).addresses, Hosts{"192.0.2.1"});
    EXPECT_EQ(fetches.counters().chains_blocked, 1u);
}

TEST_F(AliasTest, SoDoesOneThatADnameLeadsTo) {
    add("tracker.net", deny());
    use();
    serve_zone({{"tracker.a.com.", {"a.com. 60 IN DNAME net."}}});
    cache::Key below = make_key("tracker.a.com", LDNS_RR_TYPE_A);
    auto blocked = ask(below);
    run(20ms);
    EXPECT_EQ(woken(blocked).rcode, 3);
    EXPECT_EQ(lines(below), (std::vector<std::string>{"a.com.\t60\tIN\tDNAME\tnet.",
                                                      "tracker.a.com.\t60\tIN\tCNAME\ttracker.net."}));
    EXPECT_EQ(cached(below)->info, 15);
}

TEST_F(AliasTest, ANameInAChainThatARuleLeadsElsewhere) {
    add("tracker.net", alias("walled.garden"));
    use();
    serve_zone({{"a.com.", {"a.com. 60 IN CNAME tracker.net.", "tracker.net. 60 IN A 192.0.2.66"}},
                {"walled.garden.", {"walled.garden. 30 IN A 192.0.2.9"}}});
    auto client = ask(a);
    run(20ms);
    EXPECT_EQ(woken(client).addresses, Hosts{"192.0.2.9"});
    EXPECT_EQ(lines(a).size(), 3u);
    EXPECT_EQ(lines(a)[1], "tracker.net.\t30\tIN\tCNAME\twalled.garden.");
}

/// What passes, and what denies, by name and source; source 0 is `local: forward`.
class PassingTest : public AliasTest {
  protected:
    void pass(const std::string& name, unsigned source) { add(name, names.forward(source, source > 0)); }
    void deny(const std::string& name, unsigned source) {
        add(name, names.deny(source, true, LocalNames::Action::nxdomain, 15, test::bare_entry(3)));
    }
    /// Without rules, and with nothing cached.
    void begin_anew() {
        flushes.flush_all([](std::size_t) {});
        while (flushes.is_waiting()) flushes.tick();
        names = Builder();
    }
    /// Asks for a.com, which leads to mid.net, and that to end.net.
    int rcode_of_chain() {
        use();
        serve_zone({{"a.com.",
                     {"a.com. 60 IN CNAME mid.net.", "mid.net. 60 IN CNAME end.net.",
                      "end.net. 60 IN A 192.0.2.66"}}});
        auto client = ask(a);
        run(20ms);
        return woken(client).rcode;
    }
};

TEST_F(PassingTest, TheNameThatWasAskedDecidesForItsWholeChain) {
    for (unsigned passing : {0u, 1u, 2u}) {
        for (unsigned denying : {1u, 2u}) {
            names = Builder();
            pass("a.com", passing);
            deny("mid.net", denying);
            deny("end.net", denying);
            EXPECT_EQ(rcode_of_chain(), 0) << passing << denying;
            EXPECT_EQ(lines(a).size(), 3u);
            EXPECT_FALSE(cached(a)->rewritten);
            std::optional<std::size_t> flushed;
            ASSERT_TRUE(flushes.flush_outdated({.local = true, .rules = rules.current()},
                                               [&](std::size_t n) { flushed = n; }));
            while (!flushed) flushes.tick();
            EXPECT_EQ(*flushed, 0u) << "the same rules concern nothing of it";
            flushes.flush_all([](std::size_t) {});
            for (int i = 0; i < 10; ++i) flushes.tick();
        }
    }
    EXPECT_EQ(fetches.counters().chains_blocked, 0u);
}

TEST_F(PassingTest, ThenTheEarliestNameOfTheChainThatARuleKnows) {
    pass("mid.net", 2);
    deny("end.net", 1);
    EXPECT_EQ(rcode_of_chain(), 0);
    begin_anew();
    deny("mid.net", 2);
    pass("end.net", 1);
    EXPECT_EQ(rcode_of_chain(), 3);
}

TEST_F(PassingTest, OneNameOnTwoListsIsTheEarlierOnes) {
    pass("mid.net", 1);
    deny("mid.net", 2);
    EXPECT_EQ(rcode_of_chain(), 0);
    begin_anew();
    deny("mid.net", 1);
    pass("mid.net", 2);
    EXPECT_EQ(rcode_of_chain(), 3);
}

TEST_F(PassingTest, ANameThatPassesNoLongerIsEmptied) {
    pass("a.com", 1);
    deny("end.net", 2);
    EXPECT_EQ(rcode_of_chain(), 0);
    names = Builder();
    deny("end.net", 2);
    use();
    std::optional<std::size_t> flushed;
    ASSERT_TRUE(flushes.flush_outdated({.local = true, .rules = rules.current()},
                                       [&](std::size_t n) { flushed = n; }));
    while (!flushed) flushes.tick();
    EXPECT_EQ(*flushed, 2u) << "both flavours";
}

TEST_F(AliasTest, WhoAsksForTheCnameItselfGetsIt) {
    add("a.com", alias("walled.garden"));
    use();
    cache::Key cname = make_key("a.com", LDNS_RR_TYPE_CNAME);
    auto client = ask(cname);
    EXPECT_EQ(woken(client).rcode, 0);
    EXPECT_EQ(lines(cname), std::vector<std::string>{"a.com.\t60\tIN\tCNAME\twalled.garden."});
    EXPECT_TRUE(network.sent.empty());
}

TEST_F(AliasTest, ARuleOfABlockListAppliesOnce) {
    names.add(cache::parse_name("com")->bytes(), Builder::below, alias("safe.com"));
    use();
    serve_zone({{"safe.com.", {"safe.com. 30 IN A 192.0.2.9"}}});
    auto client = ask(a), itself = ask(make_key("safe.com", 1));
    run(20ms);
    EXPECT_EQ(woken(client).addresses, Hosts{"192.0.2.9"});
    EXPECT_EQ(woken(itself).addresses, Hosts{"192.0.2.9"});
}

/// A rule leads to a name whose reply a block list leads elsewhere.
class TwoAliases : public AliasTest {
  protected:
    TwoAliases() {
        add("a.com", alias("b.com", false));
        add("tracker.net", alias("walled.garden"));
        use();
    }
    std::map<std::string, std::vector<std::string>> zone{
        {"b.com.", {"b.com. 60 IN CNAME tracker.net.", "tracker.net. 60 IN A 192.0.2.66"}},
        {"walled.garden.", {"walled.garden. 30 IN A 192.0.2.9"}}};
};

TEST_F(TwoAliases, EachWaitsForTheNext) {
    serve_zone(zone);
    auto first = ask(a), second = ask(b);
    run(30ms);
    EXPECT_EQ(woken(first).addresses, Hosts{"192.0.2.9"});
    EXPECT_EQ(woken(second).addresses, Hosts{"192.0.2.9"});
    EXPECT_EQ(lines(a).size(), 4u);
    EXPECT_EQ(network.sent.size(), 2u);
}

TEST_F(TwoAliases, AnEndThatFailsEndsThemAll) {
    network.serve(server(0), [this](FakeNetwork& net, const Sent& sent) {
        ReplySpec spec;
        if (question_name(sent) == "b.com.")
            spec.answer = zone["b.com."];
        else
            spec.rcode = 2;
        net.reply(sent, make_reply(sent.message, spec), 5ms);
    });
    auto first = ask(a, true), second = ask(b, true);
    run(4s);
    EXPECT_EQ(woken(first).rcode, 2);
    EXPECT_EQ(woken(second).rcode, 2);
    EXPECT_LT(network.sent.size(), 8u) << "nobody asks round and round";
}

TEST_F(TwoAliases, ACircleOfRulesAndChainsEnds) {
    zone["b.com."] = {"b.com. 60 IN CNAME back.net.", "back.net. 60 IN A 192.0.2.66"};
    names = Builder();
    add("a.com", alias("b.com", false));
    add("back.net", alias("a.com"));
    use();
    serve_zone(zone);
    auto client = ask(a, true);
    run(4s);
    EXPECT_EQ(woken(client).rcode, 2);
    EXPECT_LT(network.sent.size(), 8u);
}

TEST_F(AliasTest, ClientsOfAnAliasHaveTheirTimers) {
    add("a.com", alias("walled.garden"));
    use();
    silence(0);
    auto udp = ask(a);
    run(2s);
    EXPECT_EQ(woken(udp).kind, dataplane::Wake::Kind::abandon);
    EXPECT_LT(woken(udp).at - start, 2s);
    run(10s);
    serve_zone({{"walled.garden.", {"walled.garden. 2 IN A 192.0.2.9"}}});
    run(300s); // the failure's back-off is over
    auto first = ask(a);
    run(10s);
    EXPECT_EQ(woken(first).addresses, Hosts{"192.0.2.9"});
    silence(0);
    Time asked = clock.now;
    auto stale = ask(a);
    run(2s);
    EXPECT_EQ(woken(stale).kind, dataplane::Wake::Kind::stale);
    EXPECT_EQ(woken(stale).addresses, Hosts{"192.0.2.9"});
    EXPECT_LT(woken(stale).at - asked, 1900ms);
    run(10s);
}

TEST_F(AliasTest, WhereNoMoreCanWaitStaleDataIsBetterThanServfail) {
    add("a.com", alias("walled.garden"));
    add("b.com", alias("walled.garden"));
    use();
    serve_zone({{"walled.garden.", {"walled.garden. 2 IN A 192.0.2.9"}}});
    ask(a);
    run(10s);
    silence(0);
    for (unsigned i = 0; i < limits::waiters_per_fetch; ++i) {
        for (const auto& key : {a, b}) ask(key, true);
    }
    auto stale = ask(a, true), none = ask(b, true);
    EXPECT_EQ(woken(stale).kind, dataplane::Wake::Kind::stale);
    EXPECT_EQ(woken(stale).addresses, Hosts{"192.0.2.9"});
    EXPECT_EQ(woken(none).rcode, LDNS_RCODE_SERVFAIL);
    run(5s);
}

TEST_F(AliasTest, ATargetThatGaveWayIsAskedAgainAtOnce) {
    add("a.com", alias("walled.garden"));
    use();
    serve_zone({{"walled.garden.", {"walled.garden. 2 IN A 192.0.2.9"}}});
    ask(a);
    run(10s);
    silence(0);
    upstreams.set_policy({.outstanding = 1, .rate = 10'000});
    dataplane::Endpoint client{*dataplane::parse_address("10.1.1.1"), 1024};
    auto first = ask_as(client, 1, a);
    run(1s); // overdue
    ask_as(client, 2, b);
    EXPECT_EQ(fetches.counters().displaced, 1u);
    EXPECT_EQ(woken(first).kind, dataplane::Wake::Kind::stale);
    EXPECT_EQ(woken(first).addresses, Hosts{"192.0.2.9"});
    EXPECT_LE(Time(cached(a)->refresh_after.load()), clock.now) << "it has not failed";
    run(5s);
}

TEST_F(AliasTest, ATargetThatHasFailedIsNotAskedAgainSoSoon) {
    add("a.com", alias("walled.garden"));
    use();
    network.serve(server(0), [](FakeNetwork& net, const Sent& sent) {
        net.reply(sent, make_reply(sent.message, {.rcode = 2}), 1ms);
    });
    ask(a);
    run(100ms);
    std::size_t sent = network.sent.size();
    for (int i = 0; i < 5; ++i) EXPECT_EQ(woken(ask(a)).rcode, 2);
    EXPECT_EQ(network.sent.size(), sent);
}

TEST_F(AliasTest, WhoAsksMeanwhileJoinsAtNoCost) {
    test::RulesInEffect limited{dataplane::ClientPolicy{{}, {.fetches = 1}}};
    add("a.com", alias("walled.garden"));
    limited.replace_local(names.build(), grace);
    fetches.set_rules(limited.current());
    serve_zone({{"walled.garden.", {"walled.garden. 30 IN A 192.0.2.9"}}});
    std::vector<std::uint64_t> clients;
    for (int i = 0; i < 20; ++i) clients.push_back(ask(a));
    run(20ms);
    for (auto client : clients) EXPECT_EQ(woken(client).addresses, Hosts{"192.0.2.9"});
    EXPECT_EQ(fetches.counters().limited, 0u);
    fetches.set_rules(rules.current());
}

TEST_F(AliasTest, AFlushMovesThoseWhoWaitForATarget) {
    add("a.com", alias("walled.garden"));
    use();
    serve_zone({{"walled.garden.", {"walled.garden. 30 IN A 192.0.2.9"}}}, 50ms);
    auto client = ask(a);
    run(20ms);
    ASSERT_TRUE(flushes.flush_name(garden.name, [](std::size_t) {}));
    run(20ms);
    EXPECT_FALSE(clients.woken.contains(client)) << "the first question's answer would be here in 10 ms";
    run(60ms);
    EXPECT_EQ(woken(client).addresses, Hosts{"192.0.2.9"});
    EXPECT_EQ(network.sent.size(), 2u);
}

TEST_F(AliasTest, NewRulesEmptyWhatTheyConcernAndNothingElse) {
    add("a.com", alias("walled.garden"));
    use();
    serve_zone({{"walled.garden.", {"walled.garden. 300 IN A 192.0.2.9"}},
                {"a.com.", {"a.com. 300 IN A 192.0.2.1"}},
                {"b.com.", {"b.com. 300 IN CNAME tracker.net.", "tracker.net. 300 IN A 192.0.2.66"}},
                {"c.com.", {"c.com. 300 IN CNAME good.net.", "good.net. 300 IN A 192.0.2.3"}},
                {"d.com.", {"d.com. 300 IN A 192.0.2.4"}}});
    cache::Key c = make_key("c.com", 1), d = make_key("d.com", 1);
    for (const auto& key : {a, b, c, d}) ask(key);
    run(20ms);
    std::optional<std::size_t> flushed;
    names = Builder();
    add("tracker.net", deny());
    add("d.com", alias("walled.garden"));
    ASSERT_TRUE(flushes.flush_outdated({.local = true, .rules = rules.current()},
                                       [&](std::size_t n) { flushed = n; }));
    use();
    while (!flushed) flushes.tick();
    EXPECT_EQ(*flushed, 3u + 2u) << "two of them with DO=1, too";
    EXPECT_EQ(cached(a), nullptr) << "made by a rule";
    EXPECT_EQ(cached(b), nullptr) << "its chain is blocked now";
    EXPECT_NE(cached(c), nullptr);
    EXPECT_EQ(cached(d), nullptr) << "has an alias now";
    EXPECT_NE(cached(garden), nullptr);
    auto back = ask(a), blocked = ask(b), moved = ask(d);
    run(20ms);
    EXPECT_EQ(woken(back).addresses, Hosts{"192.0.2.1"});
    EXPECT_EQ(woken(blocked).rcode, 3);
    EXPECT_EQ(woken(moved).addresses, Hosts{"192.0.2.9"});
}

TEST_F(AliasTest, TheEndAbandonsThoseWhoWaitForATarget) {
    add("a.com", alias("walled.garden"));
    use();
    silence(0);
    auto client = ask(a);
    run(10ms);
    fetches.close();
    EXPECT_EQ(woken(client).kind, dataplane::Wake::Kind::abandon);
}

} // namespace
} // namespace millrace::control
