// What thousands of names may bring about at once is worked off in pieces, and what a flush has forbidden
// stays forbidden meanwhile. Pieces are counted, not timed.
#include "control/limits.hpp"
#include "tests/control/fetch/scenarios_fixture.hpp"

namespace millrace::control {
namespace {

using WakeKind = dataplane::Wake::Kind;

class Pieces : public Scenarios {
  protected:
    static constexpr unsigned many = 1500;

    Pieces() : Scenarios(1, {}, 20'000, 4096) {
        upstreams.set_policy({.outstanding = 20'000, .rate = 1'000'000});
        network.serve(server(0), [this](FakeNetwork& net, const Sent& sent) {
            if (question_name(sent) == held_back) {
                held.push_back(sent);
            } else if (!held_back.empty()) {
                auto line = question_name(sent) + " 60 IN CNAME x.net.";
                net.reply(sent, make_reply(sent.message, {.answer = {line}}), 1ms);
            } else if (holds_all) {
                held.push_back(sent);
            } else {
                net.reply(sent, make_reply(sent.message, {.answer = {record(sent, "2.2.2.2", 60)}}), 1ms);
            }
        });
    }

    cache::Key name(unsigned i) { return make_key("n" + std::to_string(i) + ".com", LDNS_RR_TYPE_A); }
    /// Over TCP: no worker's credits, no patience.
    void ask_many(bool tcp = true) {
        for (unsigned i = 0; i < many; ++i) ask(name(i), tcp);
    }
    /// What was asked so far and held back is answered with the old address.
    void release() {
        for (const Sent& sent : std::exchange(held, {})) {
            network.reply(sent, make_reply(sent.message, {.answer = {record(sent, "1.1.1.1", 60)}}), 0ms);
        }
    }
    std::size_t told(const std::string& host) {
        return std::size_t(std::ranges::count_if(
            clients.woken, [&](const auto& w) { return w.second.addresses == Hosts{host}; }));
    }

    /// Runs, and notes the largest number of wakes in one tick, and outside of one.
    struct Counting {
        Pieces& test;
        std::size_t last, most = 0;
        void look() {
            most = std::max(most, test.clients.woken.size() - last);
            last = test.clients.woken.size();
        }
        void tick(Time now) {
            look();
            test.fetches.tick(now);
            look();
            test.flushes.tick();
        }
        Time next_timer() const { return test.fetches.next_timer(); }
    };
    std::size_t most_wakes(Time span) {
        Counting counting{*this, clients.woken.size()};
        network.run_until(clock.now + span, counting);
        return counting.most;
    }

    std::string held_back; ///< all other names lead to x.net
    bool holds_all = false;
    std::vector<Sent> held;
};

TEST_F(Pieces, FollowersOfOneNameAreToldSomeInATick) {
    held_back = "x.net.";
    ask_many();
    run(500ms);
    ASSERT_TRUE(clients.woken.empty());
    release();
    EXPECT_EQ(most_wakes(1s), limits::followers_per_tick);
    EXPECT_EQ(told("1.1.1.1"), many);
    EXPECT_EQ(cached_addresses(name(many - 1)), Hosts{"1.1.1.1"});
}

TEST_F(Pieces, ThoseWhoAreNotYetToldHearNothingThatAFlushForbids) {
    held_back = "x.net.";
    ask_many();
    run(500ms);
    release();
    while (network.step()) {
    }
    std::size_t before = clients.woken.size();
    ASSERT_EQ(before, limits::followers_per_tick);
    bool acknowledged = false;
    ASSERT_TRUE(flushes.flush_name(*cache::parse_name("x.net"), [&](std::size_t) { acknowledged = true; }));
    held_back = "";
    most_wakes(2s);
    EXPECT_TRUE(acknowledged);
    EXPECT_EQ(told("1.1.1.1"), before);
    EXPECT_EQ(told("2.2.2.2"), many - before);
    for (unsigned i = 0; i < many; ++i) EXPECT_NE(cached_addresses(name(i)), Hosts{"1.1.1.1"});
}

TEST_F(Pieces, PatienceOfFollowersEndsForSomeInATick) {
    held_back = "x.net.";
    ask_many(false);
    EXPECT_EQ(most_wakes(2500ms), limits::timers_per_tick);
    EXPECT_EQ(clients.woken.size(), many);
    for (const auto& [token, woken] : clients.woken) EXPECT_EQ(woken.kind, WakeKind::abandon);
    release();
    run(1s);
}

TEST_F(Pieces, AFlushEndsSomeFetchesInATickAndTheOthersSayNothingMore) {
    using Flush = std::function<bool(Flushes::Done)>;
    const Flush all = [&](auto done) { return flushes.flush_all(done); };
    const Flush zone = [&](auto done) { return flushes.flush_zone(*cache::parse_name("com"), done); };
    for (const Flush& flush : {all, zone}) {
        clients.woken.clear();
        clients.keys.clear();
        holds_all = true;
        ask_many();
        while (network.step()) {
        }
        ASSERT_EQ(fetches.live(), many);
        ASSERT_EQ(held.size(), many);
        bool acknowledged = false;
        ASSERT_TRUE(flush([&](std::size_t) { acknowledged = true; }));
        EXPECT_EQ(fetches.live(), many - limits::supersedes_per_tick);
        EXPECT_TRUE(flushes.tick()) << "there is more to be done";
        release();
        while (network.step()) {
        }
        EXPECT_EQ(told("1.1.1.1"), 0u) << "collected before";
        holds_all = false;
        most_wakes(2s);
        EXPECT_TRUE(acknowledged);
        EXPECT_EQ(told("2.2.2.2"), many);
        for (unsigned i = 0; i < many; ++i) EXPECT_EQ(cached_addresses(name(i)), Hosts{"2.2.2.2"});
        flushes.flush_all([](std::size_t) {});
        while (flushes.is_waiting()) flushes.tick();
    }
}

TEST_F(Pieces, WhatIsChangedInTheMiddleOfAFlushFindsNoFetchAtWork) {
    holds_all = true;
    ask_many();
    while (network.step()) {
    }
    std::size_t asked = network.sent.size();
    bool is_changed = false;
    auto change = [&] {
        is_changed = true;
        EXPECT_EQ(fetches.live(), 0u);
        EXPECT_EQ(exchanges.open_count(), 0u);
        EXPECT_EQ(network.sent.size(), asked) << "nobody may be asked in the old way";
    };
    ASSERT_TRUE(flushes.flush_all([](std::size_t) {}, change));
    EXPECT_FALSE(is_changed) << "there is more to be ended";
    ask(a, true);
    EXPECT_EQ(network.sent.size(), asked);
    holds_all = false;
    most_wakes(2s);
    EXPECT_TRUE(is_changed);
    EXPECT_EQ(told("2.2.2.2"), many + 1);
}

} // namespace
} // namespace millrace::control
