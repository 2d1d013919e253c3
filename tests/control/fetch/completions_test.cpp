// Answers that were completed from another name's go when a validator finds that one bogus.
#include "control/fetch/completions.hpp"

#include <array>

#include "control/limits.hpp"
#include "tests/control/fetch/scenarios_fixture.hpp"
#include "tests/support/entries.hpp"

namespace millrace::control {
namespace {

/// Server 0 validates, and takes longest. c.com leads to b.com, that to a.com, and that to x.net.
class RevokedEnd : public Scenarios {
  protected:
    RevokedEnd() {
        upstreams.replace({{server(0), true}, server(1), server(2)});
        for (unsigned i : {0u, 1u, 2u}) end_is(i, {.answer = {"x.net. 600 IN A 6.6.6.6"}});
    }
    void end_is(unsigned i, const ReplySpec& end) {
        network.serve(server(i), [=, this](FakeNetwork& net, const Sent& sent) {
            const std::map<std::string, std::string> chain{
                {"c.com.", "b.com."}, {"b.com.", "a.com."}, {"a.com.", "x.net."}};
            std::string name = question_name(sent);
            bool is_end = !chain.contains(name);
            ReplySpec bare;
            if (!is_end) bare.answer = {name + " 600 IN CNAME " + chain.at(name)};
            Time delay = is_end && i == 0 ? 900ms : name == slow ? 300ms : 5ms;
            net.reply(sent, make_reply(sent.message, is_end ? end : bare), delay);
        });
    }
    std::string slow;
    void say_bogus() { end_is(0, {.rcode = 2, .info = 6, .info_text = "forged"}); }
    cache::Key x = make_key("x.net", LDNS_RR_TYPE_A), c = make_key("c.com", LDNS_RR_TYPE_A);
};

TEST_F(RevokedEnd, TakesEveryNameOfTheChainWithIt) {
    say_bogus();
    auto quick = ask(b);
    run(500ms);
    EXPECT_EQ(woken(quick).addresses, Hosts{"6.6.6.6"});
    auto later = ask(c); // of b.com's answer, when that was there
    run(100ms);
    EXPECT_EQ(woken(later).addresses, Hosts{"6.6.6.6"});
    for (const auto& key : {a, b, c}) ASSERT_EQ(cached_addresses(key), Hosts{"6.6.6.6"});
    run(1s);
    ASSERT_TRUE(cached(x) && cached(x)->failure);
    for (const auto& key : {a, b, c}) EXPECT_FALSE(cached(key));
    auto client = ask(c, true);
    run(1s);
    EXPECT_EQ(woken(client).info, 6);
}

/// As it is where the table has lost what it had with DO=1.
TEST_F(RevokedEnd, TakesWhatWasCompletedWhileANameBetweenWasAskedAfresh) {
    say_bogus();
    ask(a);
    run(100ms);
    ASSERT_EQ(cached_addresses(a), Hosts{"6.6.6.6"});
    cache::Key secure = make_key("a.com", LDNS_RR_TYPE_A, cache::dnssec_ok);
    table.withdraw(secure, hash(secure));
    slow = "a.com.";
    ask(secure);
    ask(b);
    run(100ms);
    ASSERT_EQ(cached_addresses(b), Hosts{"6.6.6.6"});
    run(2s);
    ASSERT_TRUE(cached(x) && cached(x)->failure);
    EXPECT_FALSE(cached(b));
}

TEST_F(RevokedEnd, StandsWhereItIsNotRevoked) {
    ask(b);
    run(500ms);
    for (const auto& key : {a, b}) ASSERT_EQ(cached_addresses(key), Hosts{"6.6.6.6"});
    run(3s);
    EXPECT_EQ(fetches.live(), 0u);
    say_bogus();
    ask(make_key("other.net", LDNS_RR_TYPE_A));
    run(3s);
    for (const auto& key : {a, b}) EXPECT_EQ(cached_addresses(key), Hosts{"6.6.6.6"});
}

/// Names that lead to a.com, which leads to x.net, are told that in several ticks. Server 0 validates.
class LateFollowers : public Scenarios {
  protected:
    static constexpr unsigned many = 3 * limits::followers_per_tick;

    LateFollowers() {
        upstreams.replace({{server(0), true}, server(1), server(2)});
        upstreams.set_policy({.outstanding = 20'000, .rate = 1'000'000});
        for (unsigned i : {0u, 1u, 2u}) {
            network.serve(server(i), [this, i](FakeNetwork& net, const Sent& sent) {
                std::string name = question_name(sent);
                if (name == "x.net.") return held[i].push_back(sent);
                std::string target = name == "a.com." ? "x.net." : "a.com.";
                net.reply(sent, make_reply(sent.message, {.answer = {name + " 600 IN CNAME " + target}}),
                          5ms);
            });
        }
    }
    void release(unsigned i, const ReplySpec& spec) {
        for (const Sent& sent : held[i]) network.reply(sent, make_reply(sent.message, spec), 0ms);
        while (network.step()) {
        }
    }
    cache::Key name(unsigned i) { return make_key("n" + std::to_string(i) + ".com", LDNS_RR_TYPE_A); }
    std::array<std::vector<Sent>, 3> held;
};

/// That a.com is asked by itself meanwhile changes nothing.
TEST_F(LateFollowers, GoWithTheEndThatTheyWereToldOf) {
    for (unsigned i = 0; i < many; ++i) ask(name(i), true);
    run(500ms);
    release(1, {.answer = {"x.net. 600 IN A 6.6.6.6"}});
    ASSERT_EQ(cached_addresses(a), Hosts{"6.6.6.6"});
    ASSERT_FALSE(cached(name(many - 1))) << "it is yet to be told";
    fetches.refresh(a, hash(a), cached(a)->version, clock.now);
    run(1ms);
    for (unsigned i = 0; i < many; ++i) ASSERT_EQ(cached_addresses(name(i)), Hosts{"6.6.6.6"}) << i;
    release(0, {.rcode = 2, .info = 6});
    run(1s);
    for (unsigned i = 0; i < many; ++i) EXPECT_FALSE(cached(name(i))) << i;
}

class CompletionsTest : public testing::Test {
  protected:
    CompletionsTest() {
        for (cache::Generation root : {1u, 100u, 200u}) completions.begin(root);
    }
    cache::Key key(unsigned i) const { return support::make_key("n" + std::to_string(i) + ".com", 1); }
    void publish(unsigned i, cache::Generation generation) {
        cache::Hash hash = table.hasher()(key(i));
        auto entry = test::entry_of({generation, 0}, {7}, 1h, 60s);
        table.start(key(i), hash, generation);
        EXPECT_EQ(table.publish(key(i), hash, entry), cache::Publication::accepted);
        table.finish(key(i), hash, generation);
    }
    void complete(unsigned i, cache::Generation root, cache::Generation generation) {
        publish(i, generation);
        completions.note(root, key(i), table.hasher()(key(i)), generation);
    }
    bool is_cached(unsigned i) const { return table.find(key(i), table.hasher()(key(i))); }

    cache::Grace grace;
    cache::Table table{{.entries = 2 * limits::completions, .bytes = std::size_t(1) << 27}, grace};
    Completions completions{table};
};

TEST_F(CompletionsTest, WhatWasPublishedSinceStays) {
    complete(1, 100, 101);
    complete(2, 100, 102);
    publish(1, 103);       // by itself
    complete(2, 200, 201); // by way of another
    complete(3, 100, 104);
    complete(3, 100, 105); // once more
    EXPECT_EQ(completions.root_of(table.hasher()(key(2))), 200u);
    EXPECT_EQ(completions.roots_of(table.hasher()(key(2))), (std::vector<cache::Generation>{100, 200}));
    completions.revoke(100);
    completions.end(100);
    completions.tick();
    EXPECT_TRUE(is_cached(1));
    EXPECT_TRUE(is_cached(2));
    EXPECT_FALSE(is_cached(3));
    EXPECT_EQ(completions.size(), 1u) << "the other is still at work";
    completions.end(200);
    completions.tick();
    EXPECT_TRUE(is_cached(2));
    EXPECT_EQ(completions.size(), 0u);
    EXPECT_FALSE(completions.is_due());
}

TEST_F(CompletionsTest, OfARootThatHasEndedNothingIsNoted) {
    completions.end(100);
    complete(1, 100, 101);
    EXPECT_TRUE(is_cached(1));
    EXPECT_EQ(completions.size(), 0u);
    EXPECT_FALSE(completions.is_due());
}

TEST_F(CompletionsTest, WorkIsBoundedAndWhatFindsNoRoomIsNotKept) {
    for (unsigned i = 0; i < limits::completions; ++i) complete(i, 1, 2 + i);
    EXPECT_TRUE(is_cached(limits::completions - 1));
    complete(limits::completions, 1, 100'000);
    EXPECT_FALSE(is_cached(limits::completions));
    completions.end(1);
    completions.tick();
    EXPECT_EQ(completions.size(), limits::completions - limits::completions_per_tick);
    complete(limits::completions, 1, 100'001);
    EXPECT_TRUE(is_cached(limits::completions)) << "there is room again";
}

} // namespace
} // namespace millrace::control
