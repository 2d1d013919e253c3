// Reload: which changes flush, when they are acknowledged, and that a bad file changes nothing.
#include "tests/control/daemon/reload_fixture.hpp"
#include "tests/support/failing_memory.hpp"

namespace millrace::control {
namespace {

TEST_F(ReloadTest, NewUpstreamsForbidTheOldAnswersAtOnceAndAreAcknowledgedAfterTheWorkers) {
    begin("upstreams: [{group: g, servers: [198.51.100.8]}]\n");
    EXPECT_EQ(table.floor(0), last);
    EXPECT_EQ(upstreams.endpoint(0), server(7));
    for (int i = 0; i < 3; ++i) flushes.tick();
    EXPECT_EQ(cached(a), nullptr);
    EXPECT_FALSE(result) << "the worker may still have an old answer in its hands";
    worker.quiescent();
    flushes.tick();
    ASSERT_TRUE(result && *result);
    EXPECT_EQ((*result)->changed, std::vector<std::string>{"upstreams"});
    EXPECT_TRUE((*result)->needs_restart.empty());
}

/// Group g as before, and h with a server of its own; more of each and of the file.
std::string two_groups(const std::string& h, const std::string& more_of_h = "",
                       const std::string& more = "") {
    return "upstreams:\n- {group: g, servers: [198.51.100.1, 198.51.100.2, 198.51.100.3]}\n- {group: h, "
           "servers: [" +
           h + "]" + more_of_h + "}\n" + more;
}

class ReloadOfGroups : public ReloadTest {
  protected:
    ReloadOfGroups() {
        begin_with(two_groups("198.51.100.4"));
        EXPECT_EQ(table.floor(0), last) << "keys name groups by their places";
        ask(a);
        run(3s);
        last = fetches.last_generation();
    }
    /// ... and acknowledged. Returns what has changed.
    std::vector<std::string> begin_with(const std::string& text) {
        result.reset();
        begin(text);
        acknowledge();
        return *result ? (*result)->changed : std::vector<std::string>{result->error()};
    }
    using Keys = std::vector<std::string>;
};

TEST_F(ReloadOfGroups, OnlyTheOneThatHasChangedIsFlushed) {
    EXPECT_EQ(begin_with(two_groups("198.51.100.5")), Keys{"upstreams"});
    EXPECT_EQ(groups[1].endpoint(0), server(4));
    EXPECT_EQ(table.floor(1), last);
    EXPECT_LT(table.floor(0), last);
    EXPECT_TRUE(cached(a));
    EXPECT_EQ(begin_with(two_groups("198.51.100.5", ", merge: {policy: order}")), Keys{"upstreams"});
    EXPECT_TRUE(cached(a));
    EXPECT_EQ(begin_with(two_groups("198.51.100.5", ", merge: {policy: order}, fanout: {rate: 9}")),
              Keys{"upstreams"});
    EXPECT_TRUE(cached(a));
}

TEST_F(ReloadOfGroups, AMergePolicyThatAGroupDoesNotHaveIsTheFiles) {
    const std::string own = ", merge: {policy: order}";
    begin_with(two_groups("198.51.100.4", own));
    EXPECT_EQ(begin_with(two_groups("198.51.100.4", own, "merge: {policy: off}\n")), Keys{"merge"});
    EXPECT_EQ(table.floor(0), fetches.last_generation());
    EXPECT_FALSE(cached(a));
}

TEST_F(ReloadOfGroups, WhenTheyChangePlacesAllIsFlushedAndWhatIsKnownOfServersMoves) {
    groups[1].set_override(0, Override::down, clock.now);
    std::string swapped =
        "upstreams: [{group: h, servers: [198.51.100.4]}, {group: g, servers: [198.51.100.1]}]\n";
    EXPECT_EQ(begin_with(swapped), Keys{"upstreams"});
    EXPECT_FALSE(cached(a));
    EXPECT_EQ(table.floor(0), last);
    EXPECT_EQ(table.floor(1), last);
    EXPECT_EQ(groups[0].endpoint(0), server(3));
    EXPECT_EQ(groups[0].override_of(0), Override::down);
    EXPECT_EQ(groups[1].override_of(0), Override::automatic);
    begin_with(servers);
    EXPECT_EQ(groups[0].size(), 3u);
    EXPECT_EQ(groups[1].size(), 0u) << "there is no second group any more";
}

TEST_F(ReloadOfGroups, NewRoutesLeaveWhatTheyDoNotConcern) {
    const std::string to_h = "routes: [{suffix: corp.example, group: h}]\n";
    EXPECT_EQ(begin_with(two_groups("198.51.100.4", "", to_h)), Keys{"routes"});
    EXPECT_EQ(rules.get().routes->group_of(cache::parse_name("www.corp.example")->bytes(), LDNS_RR_TYPE_A),
              1u);
    EXPECT_TRUE(cached(a));
    EXPECT_EQ(begin_with(two_groups("198.51.100.4", "", "routes: [{suffix: com, group: h}]\n")),
              Keys{"routes"});
    EXPECT_FALSE(cached(a)) << "it is another group's name now";
}

TEST_F(ReloadTest, AServersOptionsAreChangedUpstreams) {
    begin("upstreams: [{group: g, servers: [198.51.100.1, 198.51.100.2, {address: 198.51.100.3, trusted: "
          "true}]}]\n");
    EXPECT_EQ(table.floor(0), last) << "an AD that was not passed on lies in the cache";
    EXPECT_TRUE(upstreams.is_trusted(2));
    worker.quiescent();
    for (int i = 0; i < 3 && !result; ++i) flushes.tick(), worker.quiescent();
    flushes.tick();
    ASSERT_TRUE(result && *result);
    EXPECT_EQ((*result)->changed, std::vector<std::string>{"upstreams"});
}

TEST_F(ReloadTest, AServerWithAnotherPriorityWeightOrWayKeepsWhatIsKnownOfIt) {
    Time srtt = upstreams.srtt(0);
    ASSERT_TRUE(upstreams.is_measured(0));
    upstreams.set_override(1, Override::down, clock.now);
    begin("upstreams: [{group: g, servers: [{address: 198.51.100.1, priority: 3, weight: 7}, {address: "
          "198.51.100.2, weight: 5}, {address: 198.51.100.3, tcp-only: true}]}]\n");
    EXPECT_EQ(upstreams.priority(0), 3u);
    EXPECT_EQ(upstreams.weight(0), 7u);
    EXPECT_TRUE(upstreams.is_tcp_only(2));
    EXPECT_EQ(upstreams.srtt(0), srtt);
    EXPECT_EQ(upstreams.override_of(1), Override::down);
    acknowledge();
    serve(2, {"3.3.3.3"}, 1ms);
    network.sent.clear();
    auto token = ask(b);
    run(1s);
    EXPECT_EQ(woken(token).addresses, Hosts{"3.3.3.3"});
    ASSERT_EQ(network.sent.size(), 1u) << "the first has a worse priority now";
    EXPECT_TRUE(network.sent[0].tcp);
}

TEST_F(ReloadTest, ALargerRrsetIsAllowedAtOnceAndTheFailuresOfOldAreForgotten) {
    begin(servers + "cache: {max-rrset: 1000}\n");
    EXPECT_EQ(table.floor(0), last);
    EXPECT_EQ(upstreams.max_rrset(), 1000u);
    for (int i = 0; i < 4 && !result; ++i) flushes.tick(), worker.quiescent();
    flushes.tick();
    ASSERT_TRUE(result && *result);
    EXPECT_EQ((*result)->changed, std::vector<std::string>{"cache.max-rrset"});
}

TEST_F(ReloadTest, WhatAnswersAreMadeWithChangesForThoseThatAreStillToCome) {
    begin(servers + "cache: {stale-answer: at-once, prefetch: 3}\n");
    EXPECT_EQ(table.floor(0), 0u);
    for (int i = 0; i < 4 && !result; ++i) flushes.tick(), worker.quiescent();
    ASSERT_TRUE(result && *result);
    EXPECT_EQ((*result)->changed, (std::vector<std::string>{"cache.stale-answer", "cache.prefetch"}));
    EXPECT_EQ(cached_addresses(a), Hosts{"1.1.1.1"});
    EXPECT_FALSE(cached(a)->stale_at_once);
    ask(b);
    run(10ms);
    EXPECT_TRUE(cached(b)->stale_at_once);
    EXPECT_EQ(cached(b)->quiet_hits, 2);
}

TEST_F(ReloadTest, TheFileOfWarmNamesIsReadAgain) {
    std::string list = folder / "warm";
    std::ofstream(list) << "a.com A\nb.com A\n";
    std::string text = servers + "cache: {keep-warm: " + list + "}\n";
    begin(text);
    ASSERT_TRUE(reload.is_busy());
    EXPECT_EQ(warm.questions(), 2u);
    for (int i = 0; i < 4 && !result; ++i) flushes.tick(), worker.quiescent();
    result.reset();
    serve(0, {"1.1.1.1"}, 1ms, 3600);
    ask(b);
    run(3s);
    for (int i = 0; i < 3; ++i, run(1s)) warm.tick(clock.now);
    std::size_t fresh = warm.fresh();
    EXPECT_GT(fresh, 0u);
    begin(text);
    for (int i = 0; i < 4 && !result; ++i) flushes.tick(), worker.quiescent();
    result.reset();
    EXPECT_EQ(warm.fresh(), fresh) << "the same file: it goes on where it was";
    std::ofstream(list) << "c.com A\n";
    begin(text);
    for (int i = 0; i < 4 && !result; ++i) flushes.tick(), worker.quiescent();
    ASSERT_TRUE(result && *result);
    ASSERT_EQ((*result)->lists.size(), 1u);
    EXPECT_EQ((*result)->lists[0].names, 1u);
    EXPECT_EQ(warm.questions(), 1u);
    result.reset();
    unlink(list.c_str());
    begin(text);
    ASSERT_TRUE(result && !*result);
    EXPECT_EQ(result->error(),
              list + ": cache.keep-warm: expected a readable file, found No such file or directory");
    EXPECT_EQ(warm.questions(), 1u) << "nothing is lost";
}

TEST_F(ReloadTest, AnotherRankingIsInEffectAndTheOldOrdersAreGone) {
    std::vector<dataplane::Address> addresses = all({"1.0.0.1", "1.0.1.1"});
    EXPECT_FALSE(prober.rank({1, 1}, addresses));
    begin(servers + "ranking: {ports: [443]}\n");
    EXPECT_EQ(table.floor(0), last);
    EXPECT_TRUE(prober.rank({1, 1}, addresses));
    for (int i = 0; i < 4 && !result; ++i) flushes.tick(), worker.quiescent();
    flushes.tick();
    ASSERT_TRUE(result && *result);
    EXPECT_EQ((*result)->changed, std::vector<std::string>{"ranking"});
}

TEST_F(ReloadTest, WhatAnswersDoNotDependOnLeavesThem) {
    begin(servers + "fanout: {active: 1}\nallow: [192.0.2.0/24]\n");
    flushes.tick();
    EXPECT_FALSE(result) << "the workers have to see who is allowed";
    worker.quiescent();
    flushes.tick();
    ASSERT_TRUE(result && *result);
    EXPECT_EQ((*result)->changed, (std::vector<std::string>{"allow", "fanout"}));
    EXPECT_EQ(table.floor(0), 0u);
    EXPECT_EQ(cached_addresses(a), Hosts{"1.1.1.1"});
    EXPECT_TRUE(rules.get().access->allows(*dataplane::parse_address("192.0.2.1")));
}

TEST_F(ReloadTest, ProbesOfIdleServersBeginWithThePolicy) {
    std::size_t before = network.sent.size();
    run(100s);
    EXPECT_EQ(network.sent.size(), before);
    begin(servers + "fanout: {probe-interval: 10s, probe-fall: 7, probe-rise: 8}\n");
    run(100s);
    EXPECT_GT(upstreams.counters(0).probes, 5u);
    auto live = parse_config(servers + "fanout: {probe-fall: 7, probe-rise: 8}\n", "t")->live;
    UpstreamPolicy policy = upstream_policy(live, live.upstreams.front());
    EXPECT_EQ(policy.probe_fall, 7u);
    EXPECT_EQ(policy.probe_rise, 8u);
}

TEST_F(ReloadTest, WhatTheOperatorSaysOfAServerHoldsWhileItStays) {
    upstreams.set_override(1, Override::down, clock.now);
    begin("upstreams: [{group: g, servers: [198.51.100.2, {address: 198.51.100.1, trusted: true}]}]\n");
    EXPECT_EQ(upstreams.override_of(0), Override::down);
    EXPECT_EQ(upstreams.override_of(1), Override::automatic);
}

TEST_F(ReloadTest, ListsThatChangedAreNamedWithTheirNumbers) {
    std::string list = path + ".list", other = path + ".other";
    auto reloaded = [&](const std::string& keys) {
        result.reset();
        begin(servers + keys);
        while (!result) {
            flushes.tick();
            worker.quiescent();
        }
        std::string text;
        for (const auto& [file, before, names, skipped] : (*result)->lists) {
            text += file.substr(path.size()) + " " + std::to_string(before) + " " + std::to_string(names);
            text += (skipped ? " without " + std::to_string(skipped) : "") + ";";
        }
        return text;
    };
    std::string both = "block: [{file: " + list + "}, {file: " + other + "}]\n";
    std::ofstream(list) << "a.com\n";
    std::ofstream(other) << "z.com\n";
    EXPECT_EQ(reloaded(both), ".list 0 1;.other 0 1;");
    EXPECT_EQ((*result)->changed, std::vector<std::string>{"block"});
    EXPECT_EQ(reloaded(both), "");
    std::ofstream(list) << "# the same\na.com\n";
    EXPECT_EQ(reloaded(both), "");
    std::ofstream(list) << "a.com\nb.com\nc.com\n";
    EXPECT_EQ(reloaded(both), ".list 1 3;");
    EXPECT_TRUE((*result)->changed.empty());
    std::ofstream(list) << "a.com\nb.com\nd.com\n";
    EXPECT_EQ(reloaded(both), ".list 3 3;");
    std::ofstream(list) << "a.com\nb.com\nd.com\n<html>\nno..name\n";
    EXPECT_EQ(reloaded(both), ".list 3 3 without 2;") << "the same names";
    EXPECT_EQ(reload.lists()[0].first, list + ":4: no name: \"<html>\"");
    EXPECT_EQ(reloaded("block: [{file: " + list + "}]\n"), ".other 1 0;");
    unlink(list.c_str());
    unlink(other.c_str());
}

/// Whoever took the rules before goes on with all of them until the acknowledgement.
TEST_F(ReloadTest, RulesArePublishedInOneStoreAndKeptForWhoReadsThem) {
    const dataplane::Rules& before = rules.get();
    std::weak_ptr<const dataplane::LocalNames> names = before.local;
    std::weak_ptr<const dataplane::Access> clients = before.access;
    auto address = *dataplane::parse_address("192.0.2.1");
    auto name = *cache::parse_name("www.corp.example");
    begin("upstreams: [{group: g, servers: [198.51.100.1, 198.51.100.2, 198.51.100.3]},\n"
          "            {group: h, servers: [198.51.100.4]}]\n"
          "allow: [192.0.2.0/24]\nblock: [{names: [corp.example]}]\n"
          "routes: [{suffix: corp.example, group: h}]\n");
    const dataplane::Rules& after = rules.get();
    ASSERT_NE(&after, &before);
    EXPECT_TRUE(after.access->allows(address) && after.local->find(name.bytes()));
    EXPECT_EQ(after.routes->group_of(name.bytes(), LDNS_RR_TYPE_A), 1u);
    ASSERT_FALSE(names.expired() || clients.expired()) << "a worker may read them";
    EXPECT_FALSE(before.access->allows(address) || before.local->find(name.bytes()));
    EXPECT_EQ(before.routes->group_of(name.bytes(), LDNS_RR_TYPE_A), 0u);
    acknowledge();
    wait_for_helper();
    EXPECT_TRUE(names.expired() && clients.expired());
}

TEST_F(ReloadTest, ListsThatWereReplacedAreNotFreedOnTheControlThread) {
    std::string list = path + ".list";
    std::ofstream(list) << "a.com\nb.com\n";
    begin(servers + "block: [{file: " + list + "}]\n");
    acknowledge();
    result.reset();
    begin(servers);
    EXPECT_EQ(grace.limbo_bytes(), 0u);
    io.restart();
    io.poll();
    EXPECT_TRUE(reload.is_busy()) << "a worker may still look something up in them";
    acknowledge();
    wait_for_helper();
    unlink(list.c_str());
}

TEST_F(ReloadTest, WithoutMemoryItSaysSoAndChangesNothing) {
    using support::FailingMemory;
    bool has_failed = true;
    for (std::uint64_t nth = 1; has_failed; nth += 1 + nth / 64) {
        SCOPED_TRACE(nth);
        result.reset();
        wait_for_helper();
        cache::Generation floor = table.floor(0);
        {
            FailingMemory memory(FailingMemory::Of::other_threads, nth);
            begin("upstreams: [{group: g, servers: [198.51.100.8]}]\n");
            has_failed = memory.has_failed();
        }
        if (result) {
            ASSERT_FALSE(*result);
            EXPECT_EQ(result->error(), "not read: std::bad_alloc");
            ASSERT_EQ(upstreams.endpoint(0), server(0));
            ASSERT_EQ(table.floor(0), floor);
            continue;
        }
        // It could do without what there was no memory for.
        ASSERT_EQ(upstreams.endpoint(0), server(7));
        acknowledge();
        result.reset();
        begin(servers);
        acknowledge();
    }
}

TEST_F(ReloadTest, ABadFileChangesNothing) {
    begin("upstreams: nowhere\n");
    ASSERT_TRUE(result);
    EXPECT_FALSE(*result);
    EXPECT_EQ(table.floor(0), 0u);
    EXPECT_EQ(upstreams.endpoint(0), server(0));
    EXPECT_EQ(cached_addresses(a), Hosts{"1.1.1.1"});
}

} // namespace
} // namespace millrace::control
