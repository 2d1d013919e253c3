// Flushes while their work is not yet done: what is forbidden at once, and what the
// acknowledgement waits for.
#include "control/limits.hpp"
#include "tests/control/fetch/scenarios_fixture.hpp"
#include "tests/support/entries.hpp"

namespace millrace::control {
namespace {

using WakeKind = dataplane::Wake::Kind;

class UnderTheFloor : public Scenarios {
  protected:
    /// The floor is raised; the slots are not yet emptied.
    void begin_to_flush_everything() {
        ASSERT_TRUE(flushes.flush_all([](std::size_t) {}));
    }
};

TEST_F(UnderTheFloor, AQuestionIsNotAnsweredFromTheTable) {
    serve(0, {"1.1.1.1"}, 1ms);
    ask(a);
    run(3s);
    begin_to_flush_everything();
    serve(0, {"2.2.2.2"}, 1ms);
    auto client = ask(a);
    run(3s);
    EXPECT_EQ(woken(client).addresses, Hosts{"2.2.2.2"});
}

TEST_F(UnderTheFloor, NobodyGetsStaleDataByTheTimerOrByAFailure) {
    make_stale(a);
    make_stale(b);
    begin_to_flush_everything();
    for (unsigned i : {0u, 1u, 2u}) silence(i);
    auto unheard = ask(a);
    run(3s);
    for (unsigned i : {0u, 1u, 2u}) script(i, servfail, 1ms);
    auto failed = ask(b);
    run(3s);
    EXPECT_EQ(woken(unheard).kind, WakeKind::abandon);
    EXPECT_EQ(woken(failed).kind, WakeKind::answer);
    EXPECT_EQ(woken(failed).rcode, 2);
}

/// a.com leads through x.net to its address.
class FlushOfATarget : public Scenarios {
  protected:
    void serve_chain(unsigned i, const char* host, Time delay) {
        script(i, {.answer = {"a.com. 600 IN CNAME x.net.", std::string("x.net. 600 IN A ") + host}}, delay);
    }
    std::size_t flush(bool zone) {
        std::size_t removed = 0;
        auto done = [&](std::size_t emptied) { removed = emptied; };
        bool begun = zone ? flushes.flush_zone(*cache::parse_name("net"), done)
                          : flushes.flush_name(*cache::parse_name("x.net"), done);
        EXPECT_TRUE(begun);
        while (flushes.is_waiting()) flushes.tick();
        return removed;
    }
};

TEST_F(FlushOfATarget, TakesTheNamesThatLeadThere) {
    for (bool zone : {false, true}) {
        serve_chain(0, "1.1.1.1", 1ms);
        ask(a);
        run(3s);
        ASSERT_TRUE(cached(a));
        EXPECT_EQ(flush(zone), 2u) << "both flavours";
        EXPECT_FALSE(cached(a));
    }
    serve(0, {"1.1.1.1"}, 1ms);
    ask(a);
    run(3s);
    EXPECT_EQ(flush(true), 0u);
}

TEST_F(FlushOfATarget, NothingThatAFetchHasCollectedAppearsAfterIt) {
    serve_chain(0, "1.1.1.1", 1ms);
    serve_chain(1, "2.2.2.2", 300ms);
    silence(2);
    ask(a);
    run(100ms);
    ASSERT_EQ(cached_addresses(a), Hosts{"1.1.1.1"});
    flush(false);
    run(3s);
    EXPECT_FALSE(cached(a)) << "the merge of what was collected before";
}

class FlushOfNegatives : public Scenarios {
  protected:
    std::size_t flush() {
        std::size_t removed = 0;
        EXPECT_TRUE(flushes.flush_negative([&](std::size_t emptied) { removed = emptied; }));
        for (int turn = 0; flushes.is_waiting() && turn < 1000; ++turn) {
            run(1ms);
            flushes.tick();
        }
        return removed;
    }
    void ask_all(const cache::Key& key, const ReplySpec& reply) {
        for (unsigned i : {0u, 1u, 2u}) script(i, reply, 1ms);
        ask(key);
        run(3s);
        ASSERT_TRUE(cached(key));
    }
};

TEST_F(FlushOfNegatives, TakesWhatThereIsNoneOfAndFailures) {
    const cache::Key c = test::key_of("c.com"), d = test::key_of("d.com");
    ask_all(a, {.answer = {"a.com. 600 IN A 1.1.1.1"}});
    ask_all(b, nxdomain);
    ask_all(c, nodata);
    ask_all(d, servfail);
    EXPECT_GE(flush(), 3u);
    EXPECT_TRUE(cached(a));
    EXPECT_FALSE(cached(b));
    EXPECT_FALSE(cached(c));
    EXPECT_FALSE(cached(d));
}

TEST_F(FlushOfNegatives, WhatWasSaidBeforeItIsNotPublishedAfterIt) {
    for (unsigned i : {0u, 1u, 2u}) script(i, nxdomain, 100ms);
    auto client = ask(a);
    run(50ms);
    for (unsigned i : {0u, 1u, 2u}) script(i, {.answer = {"a.com. 600 IN A 2.2.2.2"}}, 100ms);
    flush();
    run(3s);
    EXPECT_EQ(woken(client).addresses, Hosts{"2.2.2.2"});
    EXPECT_EQ(cached_addresses(a), Hosts{"2.2.2.2"});
}

class ManyShards : public FetchTest {
  protected:
    ManyShards() : FetchTest(3, {}, shards * (cache::limits::shard_fill * 3 / 4)) {} // a quarter may be dead

    static constexpr std::size_t shards = limits::flush_slots_per_tick + 1;
};

TEST_F(ManyShards, TheAcknowledgementWaitsForWhatWasSentWhileSlotsWereStillEmptied) {
    ASSERT_EQ(table.shard_count(), shards);
    cache::Grace::Reader& worker = *grace.add_reader();
    worker.online();
    bool acknowledged = false;
    ASSERT_TRUE(flushes.flush_name(a.name, [&](std::size_t) { acknowledged = true; }));
    flushes.tick();
    worker.sent(); // of an Entry that the next tick flushes
    for (int i = 0; i < 3; ++i) {
        worker.quiescent();
        EXPECT_FALSE(flushes.tick()) << "there is nothing to do but to wait";
    }
    EXPECT_TRUE(flushes.is_waiting());
    EXPECT_FALSE(acknowledged);
    worker.finish(1);
    worker.quiescent();
    flushes.tick();
    EXPECT_TRUE(acknowledged);
    EXPECT_FALSE(flushes.is_waiting());
    worker.offline();
}

} // namespace
} // namespace millrace::control
