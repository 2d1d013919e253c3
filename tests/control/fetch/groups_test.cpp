// Several groups of upstreams: each name is asked of its own; none says anything about another's names.
#include "control/message/entry_text.hpp"
#include "tests/control/fetch/scenarios_fixture.hpp"
#include "tests/support/rules.hpp"

namespace millrace::control {
namespace {

using dataplane::Routes;
using Lines = std::vector<std::string>;

/// Group 0 has servers 0 and 1, group 1, whose names are those below corp.example, servers 3 and 4.
class GroupsTest : public Scenarios {
  protected:
    GroupsTest() : Scenarios(2) {
        groups[1] = Upstreams({server(3), server(4)});
        for (unsigned i : {0u, 1u}) {
            groups[1].habits(i).heard_opt();
            groups[1].habits(i).knew_mixed_case(LetterCase::kept, clock.now);
        }
        rules.replace_local(dataplane::LocalNames::Builder().build(), grace);
        fetches.set_rules(rules.current());
        route({{"corp.example", 1}});
    }

    void route(const std::vector<std::pair<std::string, std::uint8_t>>& list) {
        std::vector<Routes::Route> made;
        for (const auto& [suffix, group] : list) made.push_back({*cache::parse_name(suffix), group});
        rules.replace_routes(std::make_shared<const Routes>(made), grace);
    }
    using Says = std::map<std::string, ReplySpec>;
    void serve_by_name(unsigned i, const Says& says, Time delay = 5ms) {
        network.serve(server(i), [=](FakeNetwork& net, const Sent& sent) {
            auto found = says.find(question_name(sent));
            if (found != says.end()) net.reply(sent, make_reply(sent.message, found->second), delay);
        });
    }
    void say(unsigned group, const Says& says) {
        for (unsigned i : {0u, 1u}) serve_by_name(3 * group + i, says);
    }
    Hosts answer_to(const cache::Key& key) {
        auto token = ask(key);
        run(2s);
        return woken(token).addresses;
    }
    Lines lines(const cache::Key& key) const {
        const cache::Entry* entry = cached(key);
        return entry ? record_lines(key, *entry, clock.now) : Lines{};
    }
    std::size_t flush(const Flushes::Outdated& what, std::function<void()> then = nullptr) {
        std::optional<std::size_t> flushed;
        EXPECT_TRUE(flushes.flush_outdated(
            what, [&](std::size_t n) { flushed = n; }, std::move(then)));
        for (int i = 0; i < 1000 && !flushed; ++i) {
            fetches.tick(clock.now);
            flushes.tick();
        }
        EXPECT_TRUE(flushed);
        return flushed.value_or(0);
    }
    static cache::Key in_group(cache::Key key, std::uint8_t group) {
        key.group = group;
        return key;
    }

    test::RulesInEffect rules;
    cache::Key w = make_key("w.corp.example", LDNS_RR_TYPE_A, cache::plain, 1);
    const ReplySpec a_itself{.answer = {"a.com. 60 IN A 1.1.1.1"}};
    const ReplySpec w_itself{.answer = {"w.corp.example. 60 IN A 10.0.0.1"}};
    /// What group 0 says of a name that leads to group 1's, and would like to.
    const ReplySpec a_to_w{
        .answer = {"a.com. 60 IN CNAME w.corp.example.", "w.corp.example. 60 IN A 6.6.6.6"}};
    const ReplySpec w_to_a{.answer = {"w.corp.example. 60 IN CNAME a.com.", "a.com. 60 IN A 6.6.6.6"}};
};

TEST_F(GroupsTest, EachNameIsAskedOfItsGroupAlone) {
    for (unsigned i : {0u, 1u}) serve(i, {"1.1.1.1"}, 5ms);
    for (unsigned i : {3u, 4u}) serve(i, {"10.0.0.1"}, 5ms);
    EXPECT_EQ(answer_to(a), Hosts{"1.1.1.1"});
    EXPECT_EQ(queries_to(3) + queries_to(4), 0u);
    std::size_t before = network.sent.size();
    EXPECT_EQ(answer_to(w), Hosts{"10.0.0.1"});
    EXPECT_EQ(queries_to(3) + queries_to(4), network.sent.size() - before);
}

TEST_F(GroupsTest, AKeyMadeByTheRoutesOfBeforeIsAskedByThoseOfNow) {
    say(1, {{"w.corp.example.", w_itself}});
    for (unsigned i : {0u, 1u}) serve(i, {"6.6.6.6"}, 5ms);
    EXPECT_EQ(answer_to(in_group(w, 0)), Hosts{"10.0.0.1"});
    EXPECT_EQ(cached_addresses(w), Hosts{"10.0.0.1"});
    EXPECT_FALSE(cached(in_group(w, 0)));
}

TEST_F(GroupsTest, NorIsItRefreshed) {
    route({});
    for (unsigned i : {0u, 1u}) serve(i, {"6.6.6.6"}, 5ms);
    cache::Key before = in_group(w, 0);
    answer_to(before);
    route({{"corp.example", 1}});
    std::size_t sent = network.sent.size();
    fetches.refresh(before, hash(before), cached(before)->version, clock.now);
    run(1s);
    EXPECT_EQ(network.sent.size(), sent);
    EXPECT_EQ(fetches.counters().refreshes_dropped, 1u);
}

TEST_F(GroupsTest, WhoWaitsForAFetchThatIsSupersededIsAnsweredByTheNewGroup) {
    route({});
    silence(0), silence(1);
    auto token = ask(in_group(w, 0));
    run(10ms);
    say(1, {{"w.corp.example.", w_itself}});
    flush({.routes = true, .rules = rules.current()}, [&] { route({{"corp.example", 1}}); });
    run(1s);
    EXPECT_EQ(woken(token).addresses, Hosts{"10.0.0.1"});
}

TEST_F(GroupsTest, EachHasAPolicyOfItsOwn) {
    fetches.set_policy(1, {{}, {Config::MergePolicy::off, 2}});
    serve(0, {"1.1.1.1"}, 5ms), serve(1, {"1.1.1.2"}, 6ms);
    serve(3, {"10.0.0.1"}, 5ms), serve(4, {"10.0.0.2"}, 6ms);
    answer_to(a), answer_to(w);
    EXPECT_EQ(sorted(a), (Hosts{"1.1.1.1", "1.1.1.2"}));
    EXPECT_EQ(sorted(w), Hosts{"10.0.0.1"});
}

TEST_F(GroupsTest, EachIsRotatedByItsOwnPolicy) {
    publisher.set_policy(1, {.rotate = true});
    serve(0, {"1.1.1.1", "1.1.1.2"}, 5ms), serve(3, {"10.0.0.1", "10.0.0.2"}, 5ms);
    answer_to(a), answer_to(w);
    EXPECT_EQ(cached(a)->rotating, 0u);
    EXPECT_EQ(cached(w)->rotating, 2u);
}

TEST_F(GroupsTest, AServerThatIsOvertakenIsItsGroups) {
    FetchPolicy race;
    race.fanout.strategy = Config::Strategy::race;
    fetches.set_policy(1, race);
    serve(4, {"10.0.0.1"}, 5ms);
    silence(3);
    ask(w);
    run(60ms);
    EXPECT_EQ(cached_addresses(w), Hosts{"10.0.0.1"});
    EXPECT_EQ(groups[1].counters(0).probes, 1u);
    EXPECT_EQ(groups[0].counters(0).probes, 0u);
}

TEST_F(GroupsTest, StaleDataGoesOutAtOnceOnlyWhereTheGroupIsSilent) {
    for (unsigned i : {0u, 1u, 3u, 4u}) serve(i, {"10.0.0.9"}, 1ms, 1);
    ask(a), ask(w);
    run(3s);
    for (unsigned i : {0u, 1u, 3u, 4u}) silence(i);
    groups[1].set_override(0, Override::down, clock.now);
    groups[1].set_override(1, Override::down, clock.now);
    auto of_a = ask(a), of_w = ask(w);
    EXPECT_TRUE(clients.woken.contains(of_w));
    EXPECT_FALSE(clients.woken.contains(of_a));
    run(4s);
}

TEST_F(GroupsTest, WhatStandsBehindALinkToAnotherGroupIsThatGroupsToSay) {
    say(0, {{"a.com.", a_to_w}, {"w.corp.example.", {.answer = {"w.corp.example. 60 IN A 6.6.6.6"}}}});
    say(1, {{"w.corp.example.", w_itself}});
    EXPECT_EQ(answer_to(a), Hosts{"10.0.0.1"});
    EXPECT_EQ(cached_addresses(w), Hosts{"10.0.0.1"});
    EXPECT_FALSE(cached(in_group(w, 0)));
    EXPECT_TRUE(cached(a)->crossed);
    EXPECT_FALSE(cached(w)->crossed);
    EXPECT_EQ(lines(a),
              (Lines{"a.com.\t29\tIN\tCNAME\tw.corp.example.", "w.corp.example.\t29\tIN\tA\t10.0.0.1"}));
}

TEST_F(GroupsTest, AndTheOtherWayRound) {
    say(1, {{"w.corp.example.", w_to_a}, {"a.com.", {.answer = {"a.com. 60 IN A 6.6.6.6"}}}});
    say(0, {{"a.com.", a_itself}});
    EXPECT_EQ(answer_to(w), Hosts{"1.1.1.1"});
    EXPECT_EQ(cached_addresses(a), Hosts{"1.1.1.1"});
    EXPECT_FALSE(cached(in_group(a, 1)));
    EXPECT_TRUE(cached(w)->crossed);
    EXPECT_FALSE(cached(a)->crossed);
}

TEST_F(GroupsTest, NeitherCanDenyTheOthersNames) {
    ReplySpec denies{.answer = {"a.com. 60 IN CNAME w.corp.example."},
                     .authority = {"example. 900 IN SOA ns.example. h.example. 1 2 3 4 300"},
                     .rcode = 3};
    say(0, {{"a.com.", denies}});
    say(1, {{"w.corp.example.", w_itself}});
    EXPECT_EQ(answer_to(a), Hosts{"10.0.0.1"});
    EXPECT_EQ(cached(a)->rcode, 0);
}

TEST_F(GroupsTest, TheOtherGroupIsAskedAtOnce) {
    say(0, {{"a.com.", a_to_w}});
    say(1, {{"w.corp.example.", w_itself}});
    auto token = ask(a);
    run(20ms); // not after `fallback`, as for a chain whose end some server of the group may have
    EXPECT_EQ(woken(token).addresses, Hosts{"10.0.0.1"});
}

TEST_F(GroupsTest, ADnameLeadsThereToo) {
    cache::Key x = make_key("w.d.com", LDNS_RR_TYPE_A);
    say(0, {{"w.d.com.",
             {.answer = {"d.com. 60 IN DNAME corp.example.", "w.d.com. 60 IN CNAME w.corp.example.",
                         "w.corp.example. 60 IN A 6.6.6.6"}}}});
    say(1, {{"w.corp.example.", w_itself}});
    EXPECT_EQ(answer_to(x), Hosts{"10.0.0.1"});
    ASSERT_EQ(lines(x).size(), 3u);
    EXPECT_EQ(lines(x)[0], "d.com.\t29\tIN\tDNAME\tcorp.example.");
}

TEST_F(GroupsTest, AChainMayPassThroughSeveralAndComeBack) {
    groups[2] = Upstreams({server(5)});
    route({{"corp.example", 1}, {"lab", 2}});
    cache::Key l = make_key("l.lab", LDNS_RR_TYPE_A, cache::plain, 2);
    say(0, {{"a.com.", a_to_w}, {"b.com.", {.answer = {"b.com. 60 IN A 1.1.1.2"}}}});
    say(1,
        {{"w.corp.example.", {.answer = {"w.corp.example. 60 IN CNAME l.lab.", "l.lab. 60 IN A 6.6.6.6"}}}});
    serve_by_name(5, {{"l.lab.", {.answer = {"l.lab. 60 IN CNAME b.com.", "b.com. 60 IN A 6.6.6.6"}}}});
    EXPECT_EQ(answer_to(a), Hosts{"1.1.1.2"});
    EXPECT_EQ(lines(a).size(), 4u);
    for (const cache::Key& key : {w, l, b}) EXPECT_EQ(cached_addresses(key), Hosts{"1.1.1.2"});
    EXPECT_TRUE(cached(a)->crossed && cached(w)->crossed && cached(l)->crossed);
    EXPECT_FALSE(cached(b)->crossed);
}

TEST_F(GroupsTest, ACircleThroughTwoGroupsEnds) {
    say(0, {{"a.com.", a_to_w}});
    say(1, {{"w.corp.example.", w_to_a}});
    auto token = ask(a);
    run(2s);
    EXPECT_EQ(woken(token).rcode, 2);
    EXPECT_EQ(fetches.live(), 0u);
}

TEST_F(GroupsTest, ATrustedServersWordThatTheNameIsBogusIsWaitedFor) {
    groups[0].replace({{server(0)}, {server(1), true}});
    serve_by_name(0, {{"a.com.", a_to_w}}, 5ms);
    serve_by_name(1, {{"a.com.", {.rcode = 2, .info = 6}}}, 100ms);
    say(1, {{"w.corp.example.", w_itself}});
    auto token = ask(a);
    run(1s);
    EXPECT_EQ(woken(token).rcode, 2);
    EXPECT_EQ(queries_to(3) + queries_to(4), 0u);
}

TEST_F(GroupsTest, SignaturesAndProofsFromBehindTheLinkGo) {
    const std::string by = " 8 3 60 20400101000000 20200101000000 1 corp.example. c2ln";
    ReplySpec reply = a_to_w;
    reply.answer.push_back("a.com. 60 IN RRSIG CNAME 8 2 60 20400101000000 20200101000000 1 com. c2ln");
    reply.answer.push_back("w.corp.example. 60 IN RRSIG A" + by);
    say(0, {{"a.com.", reply}});
    say(1, {{"w.corp.example.", w_itself}});
    cache::Key secure = make_key("a.com", LDNS_RR_TYPE_A, cache::dnssec_ok);
    EXPECT_EQ(answer_to(secure), Hosts{"10.0.0.1"});
    EXPECT_EQ(lines(secure).size(), 3u) << "the CNAME, its signature, the address";
}

TEST_F(GroupsTest, AReplyThatStaysInItsGroupIsLeftAsItIs) {
    say(0, {{"a.com.", {.answer = {"a.com. 60 IN CNAME b.com.", "b.com. 60 IN A 1.1.1.2"}}}});
    EXPECT_EQ(answer_to(a), Hosts{"1.1.1.2"});
    EXPECT_FALSE(cached(a)->crossed);
    EXPECT_EQ(fetches.counters().fetches, 1u);
}

TEST_F(GroupsTest, AFlushOfOneLeavesTheOthersAnswers) {
    say(0, {{"a.com.", a_to_w}, {"b.com.", {.answer = {"b.com. 60 IN A 1.1.1.2"}}}});
    say(1, {{"w.corp.example.", w_itself}});
    answer_to(a), answer_to(b);
    cache::Generation floor = table.floor(0);
    EXPECT_EQ(flush({.groups = 1u << 1}), 4u) << "its own name and what was made of it, both flavours";
    EXPECT_FALSE(cached(w));
    EXPECT_FALSE(cached(a));
    EXPECT_EQ(cached_addresses(b), Hosts{"1.1.1.2"});
    EXPECT_EQ(table.floor(0), floor);
    EXPECT_GT(table.floor(1), floor);
}

TEST_F(GroupsTest, AFlushOfOneReachesWhatOthersAreYetToBeToldOfIt) {
    constexpr unsigned many = 3 * limits::followers_per_tick;
    auto name = [](unsigned i) { return make_key("n" + std::to_string(i) + ".com", LDNS_RR_TYPE_A); };
    for (unsigned i : {0u, 1u}) {
        network.serve(server(i), [](FakeNetwork& net, const Sent& sent) {
            std::string asked = question_name(sent), to = asked == "k.com." ? "w.corp.example." : "k.com.";
            net.reply(sent, make_reply(sent.message, {.answer = {asked + " 60 IN CNAME " + to}}), 5ms);
        });
    }
    say(1, {{"w.corp.example.", w_itself}});
    std::vector<Sent> held;
    for (unsigned i : {3u, 4u})
        network.serve(server(i), [&](FakeNetwork&, const Sent& sent) { held.push_back(sent); });
    for (unsigned i = 0; i < many; ++i) ask(name(i), true);
    run(500ms);
    ASSERT_TRUE(clients.woken.empty());
    ASSERT_FALSE(held.empty());
    for (const Sent& sent : held) network.reply(sent, make_reply(sent.message, w_itself), Time{});
    while (network.step()) {
    }
    auto told = clients.woken;
    ASSERT_FALSE(told.empty());
    ASSERT_LT(told.size(), many);
    say(1, {{"w.corp.example.", {.answer = {"w.corp.example. 60 IN A 10.0.0.2"}}}});
    flush({.groups = 1u << 1});
    run(2s);
    EXPECT_EQ(clients.woken.size(), many);
    for (const auto& [token, w] : clients.woken)
        EXPECT_EQ(w.addresses, Hosts{told.contains(token) ? "10.0.0.1" : "10.0.0.2"}) << token;
    for (unsigned i = 0; i < many; ++i) EXPECT_NE(cached_addresses(name(i)), Hosts{"10.0.0.1"}) << i;
}

TEST_F(GroupsTest, AFlushOfOneEndsItsFetchesAlone) {
    for (unsigned i : {0u, 1u, 3u, 4u}) silence(i);
    ask(a), ask(w);
    run(10ms);
    bool put = false;
    flush({.groups = 1u << 1}, [&] {
        put = true;
        EXPECT_EQ(fetches.live(), 1u);
        EXPECT_EQ(groups[1].outstanding(0) + groups[1].outstanding(1), 0u);
        EXPECT_GT(groups[0].outstanding(0), 0u);
    });
    EXPECT_TRUE(put);
    run(4s);
}

TEST_F(GroupsTest, NewRoutesEmptyNamesThatChangeTheirGroupAndChainsThroughThem) {
    route({});
    for (unsigned i : {0u, 1u}) {
        serve_by_name(i, {{"a.com.", a_to_w},
                          {"b.com.", {.answer = {"b.com. 60 IN A 1.1.1.2"}}},
                          {"w.corp.example.", w_itself}});
    }
    answer_to(a), answer_to(b), answer_to(in_group(w, 0));
    EXPECT_FALSE(cached(a)->crossed);
    flush({.routes = true, .rules = rules.current()}, [&] { route({{"corp.example", 1}}); });
    EXPECT_FALSE(cached(a)) << "its end is another group's now";
    EXPECT_FALSE(cached(in_group(w, 0)));
    EXPECT_EQ(cached_addresses(b), Hosts{"1.1.1.2"});
}

/// RFC 4035 4.2.
TEST_F(GroupsTest, DsRecordsOfARoutedZoneAreAskedOfTheGroupOfTheNameAbove) {
    const ReplySpec none{.authority = {"example. 900 IN SOA ns.example. h.example. 1 2 3 4 300"}};
    ReplySpec leads = none;
    leads.answer = {"a.com. 60 IN CNAME corp.example."};
    say(0, {{"corp.example.", none}, {"a.com.", leads}});
    cache::Key ds = make_key("corp.example", LDNS_RR_TYPE_DS), of_a = make_key("a.com", LDNS_RR_TYPE_DS);
    auto token = ask(in_group(ds, 1));
    ask(of_a);
    run(1s);
    EXPECT_EQ(woken(token).rcode, 0);
    ASSERT_TRUE(cached(ds) && cached(of_a));
    EXPECT_FALSE(cached(of_a)->crossed);
    EXPECT_EQ(queries_to(3) + queries_to(4), 0u);
    flush({.routes = true, .rules = rules.current()});
    EXPECT_TRUE(cached(ds) && cached(of_a)) << "they are where they belong";
}

TEST_F(GroupsTest, OneThatIsFullEndsNothingOfAnother) {
    for (unsigned i : {0u, 1u, 3u, 4u}) silence(i);
    groups[1].replace({{server(3)}});
    groups[1].set_policy({.outstanding = 1, .rate = 10'000'000});
    auto holder = *dataplane::parse_address("10.1.1.1"); // of most, all of it elsewhere
    ask_as({holder, 1024}, 1, a), ask_as({holder, 1025}, 2, b);
    ask(w);
    auto last = ask(make_key("x.corp.example", LDNS_RR_TYPE_A, cache::plain, 1));
    EXPECT_EQ(woken(last).rcode, 2);
    EXPECT_EQ(fetches.counters().displaced, 0u);
    EXPECT_EQ(fetches.live(), 3u);
    run(4s);
}

TEST_F(GroupsTest, WithoutItsRouteAGroupHasNoSayInOthersNamesAnyMore) {
    say(0, {{"a.com.", a_to_w}});
    say(1, {{"w.corp.example.", w_itself}});
    EXPECT_EQ(answer_to(a), Hosts{"10.0.0.1"});
    flush({.routes = true, .rules = rules.current()}, [&] { route({}); });
    EXPECT_FALSE(cached(w)) << "nobody is led to this key";
    EXPECT_FALSE(cached(a)) << "all of its chain is its own group's now, and the other said where it ends";
}

TEST_F(GroupsTest, WhenAGroupIsBackTheFailuresThatItBroughtAboutGo) {
    say(0, {{"a.com.", a_to_w}, {"b.com.", servfail}});
    for (unsigned i : {3u, 4u}) silence(i);
    auto token = ask(a, true);
    ask(b);
    run(4s);
    EXPECT_EQ(woken(token).rcode, 2);
    ASSERT_TRUE(cached(a) && cached(a)->failure && cached(a)->crossed);
    ASSERT_TRUE(cached(w) && cached(w)->failure);
    ASSERT_TRUE(cached(b) && cached(b)->failure);
    groups[1].set_override(0, Override::down, clock.now);
    groups[1].set_override(0, Override::up, clock.now);
    for (int i = 0; i < 1000; ++i) fetches.tick(clock.now);
    EXPECT_FALSE(cached(a));
    EXPECT_FALSE(cached(w));
    EXPECT_TRUE(cached(b)) << "another group's";
}

/// Its own question comes back from a server that forwards to us, whatever group the server is in.
TEST_F(GroupsTest, ALoopThroughARouteIsNoticed) {
    for (unsigned i : {3u, 4u}) silence(i);
    ask(w, true);
    run(10ms);
    auto back = ask_as({server(3).address, 4444}, 1, w);
    EXPECT_EQ(woken(back).rcode, 2);
    EXPECT_EQ(fetches.counters().loops, 1u);
    EXPECT_TRUE(exchanges.is_asking(server(3).address, in_group(w, 0)))
        << "by whatever routes it is looked at";
    EXPECT_FALSE(exchanges.is_asking(server(0).address, w));
    run(4s);
}

} // namespace
} // namespace millrace::control
