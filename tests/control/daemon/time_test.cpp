// Popular names are refreshed ahead of their expiry, and expired ones answered at once where the operator
// wants that: real workers, control, and a clock that the test moves.
#include <set>

#include "tests/control/daemon/appliance_fixture.hpp"

namespace millrace::control {
namespace {

class TimeTest : public Appliance {
  protected:
    TimeTest() { serve("192.0.2.1", 1ms, 10); }

    void set(const TtlPolicy& ttl) {
        FetchPolicy policy;
        policy.ttl = ttl;
        publisher.set_policy(0, ttl);
        fetches.set_policy(0, policy);
    }
    void deny() {
        network.serve(upstream, [](FakeNetwork& net, const Sent& sent) {
            ReplySpec spec{.authority = {"com. 5 IN SOA ns.com. h.com. 1 2 3 4 5"}, .rcode = 3};
            net.reply(sent, make_reply(sent.message, spec), 1ms);
        });
    }
    test::Bytes ask_with_opt(Time wait = 0ms) {
        using test::operator+;
        return ask(test::header(7, 0x0100, 1, 0, 0, 1) + test::question("a.com") + test::opt(), wait);
    }
    /// The extended error at the reply's end; 0: there is none.
    static unsigned info(const test::Bytes& reply) {
        std::size_t at = reply.size() - 6;
        bool is_error = reply[at] == 0 && reply[at + 1] == 15 && reply[at + 3] == 2;
        return is_error ? unsigned(reply[at + 4] << 8 | reply[at + 5]) : 0;
    }
    std::uint64_t asked() const { return fetches.counters().fetches; }
};

TEST_F(TimeTest, AHitInTheLastTenthAsksWhenThereWereEnoughBeforeIt) {
    struct {
        unsigned prefetch, hits_before;
        bool refreshes;
    } rows[] = {{1, 0, true}, {3, 1, false}, {3, 2, true}, {0, 9, false}};
    for (const auto& row : rows) {
        set({.prefetch = row.prefetch});
        bool done = false;
        flushes.flush_all([&](std::size_t) { done = true; });
        while (!done) run(1ms);
        ask_with_opt(10ms);
        for (unsigned i = 0; i < row.hits_before; ++i) ask_with_opt();
        run(9500ms);
        std::uint64_t before = asked();
        EXPECT_EQ(info(ask_with_opt(10ms)), 0u);
        EXPECT_EQ(asked() > before, row.refreshes) << row.prefetch << " " << row.hits_before;
    }
}

TEST_F(TimeTest, AtOnceWhoAsksForWhatHasExpiredIsAnsweredAndOneQuestionGoesOut) {
    set({.stale_at_once = true});
    ask_with_opt(10ms);
    run(20s);
    serve("192.0.2.2", 50ms, 10);
    std::uint64_t before = asked();
    for (int i = 0; i < 5; ++i) {
        auto reply = ask_with_opt();
        ASSERT_FALSE(reply.empty()) << "without waiting";
        EXPECT_EQ(info(reply), dns::ede::stale_answer);
    }
    run(100ms);
    EXPECT_EQ(asked(), before + 1);
    EXPECT_EQ(info(ask_with_opt()), 0u) << "and it is fresh again";
    EXPECT_EQ(count(dataplane::Event::stale_hit), 5u);
}

TEST_F(TimeTest, AtOnceNeverBeyondTheConfiguredAge) {
    set({.stale = 60s, .stale_at_once = true});
    ask_with_opt(10ms);
    run(71s);
    silence();
    EXPECT_TRUE(ask_with_opt().empty());
    run(4s); // its end
}

TEST_F(TimeTest, AtOnceANameThatIsDeniedIsNotAnsweredWithItsOldAddressAgain) {
    set({.stale_at_once = true});
    ask_with_opt(10ms);
    run(20s);
    deny();
    EXPECT_EQ(info(ask_with_opt(10ms)), dns::ede::stale_answer);
    auto denied = ask_with_opt();
    EXPECT_EQ(rcode(denied), 3u);
    EXPECT_EQ(info(denied), 0u);
    silence();
    run(20s);
    auto stale = ask_with_opt();
    EXPECT_EQ(rcode(stale), 3u);
    EXPECT_EQ(info(stale), dns::ede::stale_nxdomain);
    run(10s); // all have failed
    EXPECT_EQ(rcode(ask_with_opt()), 3u);
}

TEST_F(TimeTest, AtOnceWhatMayNotBeKeptTakesThePlaceOfStaleDataAllTheSame) {
    set({.stale_at_once = true});
    ask_with_opt(10ms);
    run(20s);
    serve("192.0.2.2", 1ms, 0);
    EXPECT_EQ(info(ask_with_opt(10ms)), dns::ede::stale_answer);
    EXPECT_EQ(info(ask_with_opt(10ms)), 0u) << "it is asked for, and waited for";
}

TEST_F(TimeTest, AtOnceSilenceHoldsTheNextQuestionBack) {
    set({.stale_at_once = true});
    ask_with_opt(10ms);
    run(20s);
    silence();
    for (int i = 0; i < 60; ++i) {
        EXPECT_FALSE(ask_with_opt(100ms).empty());
    }
    EXPECT_LE(asked(), 3u) << "the first, the refresh, and none for half a minute after its end";
}

TEST_F(TimeTest, WithoutThatItIsWaitedFor) {
    ask_with_opt(10ms);
    run(20s);
    silence();
    EXPECT_TRUE(ask_with_opt(1700ms).empty());
    run(200ms);
    EXPECT_EQ(replies().size(), 1u) << "after the client's timer";
}

} // namespace
} // namespace millrace::control
