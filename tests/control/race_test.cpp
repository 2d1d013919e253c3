// The races that this project exists for, as far as publication and collection go (shared scenarios S1 to
// S11).
#include "tests/control/fetch_fixture.hpp"

namespace millrace::control {
namespace {

using cache::Version;

using RaceTest = FetchTest;

TEST_F(RaceTest, CollectionsOfTwoNamesDoNotMixInAnyOrder) {
    // The upstreams answer by name; every order of the four collected replies.
    std::vector<int> order{0, 1, 2, 3};
    cache::Generation generation = 0;
    do {
        auto fast = [](const std::string& name) { return name == "a.com." ? "1.1.1.1" : "3.3.3.3"; };
        auto slow = [](const std::string& name, unsigned i) {
            return (name == "a.com." ? "5.5.5." : "7.7.7.") + std::to_string(i);
        };
        for (unsigned i : {0u, 1u, 2u}) {
            network.serve(server(i), [=, this](FakeNetwork& net, const Sent& sent) {
                std::string name = question_name(sent);
                std::string host = i == 0 ? fast(name) : slow(name, i);
                int place = order[(name == "a.com." ? 0u : 2u) + (i ? i - 1 : 0)];
                Time delay = i == 0 ? Time(1ms) : Time(20ms + place * 10ms);
                net.reply(sent, make_reply(sent.message, {.answer = {name + " 5 IN A " + host}}), delay);
            });
        }
        ask(a);
        ask(b);
        run(1s);
        auto sorted = [&](const cache::Key& key) {
            Hosts hosts = cached_addresses(key);
            std::ranges::sort(hosts);
            return hosts;
        };
        EXPECT_EQ(sorted(a), (Hosts{"1.1.1.1", "5.5.5.1", "5.5.5.2"}));
        EXPECT_EQ(sorted(b), (Hosts{"3.3.3.3", "7.7.7.1", "7.7.7.2"}));
        generation += 2;
        EXPECT_EQ(fetches.last_generation(), generation);
        run(10s);
    } while (std::ranges::next_permutation(order).found);
    EXPECT_EQ(publisher.counters().superseded, 0u);
}

TEST_F(RaceTest, AnOlderCollectionNeverOverwritesANewerAnswer) {
    // Generation 1 collects while its one-second entry expires; its collected reply comes after generation
    // 2's answer.
    serve(0, {"1.1.1.1"}, 1ms, 1);
    network.serve(server(1), [this](FakeNetwork& net, const Sent& sent) {
        bool first = clock.now < start + 1500ms;
        Time delay = first ? Time(2500ms) : Time(5ms);
        const char* host = first ? "6.6.6.6" : "2.2.2.2";
        net.reply(sent, make_reply(sent.message, {.answer = {record(sent, host, 60)}}), delay);
    });
    silence(2);
    for (int i = 0; i < 12; ++i) upstreams.measured(1, 900ms); // slow, so that its collection limit is long
    ask(a);
    run(1500ms);
    EXPECT_EQ(cached(a)->version, (Version{1, 0}));
    EXPECT_EQ(fetches.live(), 1u) << "still collecting";
    ask(a);
    run(3s);
    EXPECT_EQ(cached(a)->version.generation, 2u);
    EXPECT_EQ(cached_addresses(a), (Hosts{"1.1.1.1", "2.2.2.2"}));
    EXPECT_EQ(publisher.counters().superseded, 1u);
}

TEST_F(RaceTest, NothingCollectedBeforeAFlushAppearsAfterIt) {
    serve(0, {"1.1.1.1"}, 1ms);
    serve(1, {"5.5.5.5"}, 100ms);
    silence(2);
    ask(a);
    run(50ms);
    bool flushed = false;
    ASSERT_TRUE(flushes.flush_name(a.name, [&](std::size_t emptied) { flushed = emptied == 1; }));
    while (flushes.tick()) {
    }
    EXPECT_TRUE(flushed);
    run(3s);
    EXPECT_EQ(cached(a), nullptr);
    EXPECT_EQ(fetches.live(), 0u);
}

TEST_F(RaceTest, WaitersOfAFlushedFetchGetTheirAnswerFromItsSuccessor) {
    serve(0, {"1.1.1.1"}, 100ms);
    auto client = ask(a);
    run(50ms);
    ASSERT_TRUE(flushes.flush_all([](std::size_t) {}));
    run(60ms);
    EXPECT_FALSE(clients.woken.contains(client))
        << "the first Fetch's reply comes too late: it is superseded";
    run(100ms);
    EXPECT_EQ(woken(client).addresses, Hosts{"1.1.1.1"});
    EXPECT_EQ(cached(a)->version.generation, 2u);
    EXPECT_EQ(table.floor(0), 1u);
}

TEST_F(RaceTest, WaitersOfManyFlushedFetchesAllGetTheirAnswers) {
    for (unsigned i : {0u, 1u, 2u}) silence(i);
    std::vector<std::uint64_t> waiting;
    for (int i = 0; i < 30; ++i)
        waiting.push_back(ask(make_key("n" + std::to_string(i) + ".com", LDNS_RR_TYPE_A)));
    ASSERT_TRUE(flushes.flush_all([](std::size_t) {}));
    EXPECT_EQ(fetches.live(), 0u);
    EXPECT_EQ(fetches.waiting(), 30u) << "nobody is forgotten";
    EXPECT_EQ(exchanges.open_count(), 0u);
    for (unsigned i : {0u, 1u, 2u}) serve(i, {"1.1.1.1"}, 5ms);
    run(1s);
    for (auto client : waiting) EXPECT_EQ(woken(client).addresses, Hosts{"1.1.1.1"});
}

TEST_F(RaceTest, AFlushIsAcknowledgedOnlyAfterTheWorkers) {
    cache::Grace::Reader& worker = *grace.add_reader();
    worker.online();
    serve(0, {"1.1.1.1"}, 1ms);
    ask(a);
    run(1s);
    bool done = false;
    ASSERT_TRUE(flushes.flush_all([&](std::size_t) { done = true; }));
    for (int i = 0; i < 10; ++i) flushes.tick();
    EXPECT_FALSE(done) << "the worker may still hold the old Entry";
    worker.quiescent();
    flushes.tick();
    EXPECT_TRUE(done);
    worker.offline();
}

TEST_F(RaceTest, ChainsAreNeverMixed) {
    auto through = [](const char* target, const char* host) {
        return ReplySpec{.answer = {std::string("a.com. 60 IN CNAME ") + target,
                                    std::string(target) + " 60 IN A " + host}};
    };
    script(0, through("x.net.", "1.1.1.1"), 1ms);
    script(1, through("y.net.", "2.2.2.2"), 5ms);
    script(2, through("x.net.", "3.3.3.3"), 5ms);
    ask(a);
    run(2s);
    EXPECT_EQ(cached_addresses(a), Hosts{"1.1.1.1"});
}

TEST_F(RaceTest, TheSameChainIsMerged) {
    auto through = [](const char* host) {
        return ReplySpec{.answer = {"a.com. 60 IN CNAME X.net.", std::string("x.NET. 60 IN A ") + host}};
    };
    script(0, through("1.1.1.1"), 1ms);
    script(1, through("2.2.2.2"), 5ms);
    silence(2);
    ask(a);
    run(2s);
    EXPECT_EQ(cached_addresses(a), (Hosts{"1.1.1.1", "2.2.2.2"}));
}

TEST_F(RaceTest, SignedAnswersStayWhole) {
    std::string signature = "a.com. 60 IN RRSIG A 8 2 60 20300101000000 20200101000000 1 com. AAAA";
    script(0, {.answer = {"a.com. 60 IN A 1.1.1.1", signature}}, 1ms);
    serve(1, {"2.2.2.2"}, 5ms);
    ask(a);
    run(2s);
    EXPECT_EQ(cached_addresses(a), Hosts{"1.1.1.1"});
    serve(0, {"1.1.1.1"}, 1ms);
    script(1,
           {.answer = {"b.com. 60 IN A 2.2.2.2",
                       "b.com. 60 IN RRSIG A 8 2 60 20300101000000 20200101000000 1 com. AAAA"}},
           5ms);
    silence(2);
    ask(b);
    run(2s);
    EXPECT_EQ(cached_addresses(b), Hosts{"1.1.1.1"});
}

TEST_F(RaceTest, PrivateAddressesAreNeverAddedByAMerge) {
    serve(0, {"1.1.1.1"}, 1ms);
    serve(1, {"10.0.0.1", "192.168.1.1", "127.0.0.1", "169.254.1.1", "2.2.2.2"}, 5ms);
    silence(2);
    ask(a);
    run(2s);
    EXPECT_EQ(cached_addresses(a), (Hosts{"1.1.1.1", "2.2.2.2"}));
}

TEST_F(RaceTest, MoreThanSixteenAddressesAreNotMerged) {
    Hosts many;
    for (int i = 0; i < 16; ++i) many.push_back("9.9.9." + std::to_string(i));
    serve(0, {"1.1.1.1"}, 1ms);
    serve(1, many, 5ms);
    silence(2);
    ask(a);
    run(2s);
    EXPECT_EQ(cached_addresses(a), Hosts{"1.1.1.1"});
}

TEST_F(RaceTest, AMergeLivesNoLongerThanItsShortestContributor) {
    serve(0, {"1.1.1.1"}, 1ms, 60);
    serve(1, {"2.2.2.2"}, 101ms, 10);
    silence(2);
    ask(a);
    run(2s);
    EXPECT_EQ(cached_addresses(a).size(), 2u);
    EXPECT_EQ(cached(a)->born, start + 1ms);
    EXPECT_LE(cached(a)->expiry, start + 101ms + 10s);
    EXPECT_GE(cached(a)->expiry, start + 10s);
    serve(0, {"1.1.1.1"}, 1ms, 10);
    serve(1, {"2.2.2.2"}, 101ms, 600);
    ask(b);
    Time asked = clock.now;
    run(2s);
    EXPECT_LE(cached(b)->expiry, asked + 1ms + 10s) << "a later reply never lengthens a life";
}

TEST_F(RaceTest, PositiveAgainstNegativeKeepsTheEarlierForThirtySeconds) {
    serve(0, {"1.1.1.1"}, 1ms, 3600);
    script(1, {.authority = {"com. 900 IN SOA ns.com. h.com. 1 2 3 4 300"}, .rcode = 3}, 5ms);
    silence(2);
    ask(a);
    run(2s);
    EXPECT_EQ(cached_addresses(a), Hosts{"1.1.1.1"});
    EXPECT_EQ(cached(a)->expiry, start + 1ms + 30s);
    EXPECT_EQ(fetches.counters().disagreements, 1u);
}

class NoMergeTest : public FetchTest {
  protected:
    NoMergeTest() : FetchTest(3, {{}, Config::MergePolicy::off}) {}
};

TEST_F(NoMergeTest, PolicyOffAsksNobodyElse) {
    serve(0, {"1.1.1.1"}, 1ms);
    serve(1, {"2.2.2.2"}, 5ms);
    ask(a);
    run(2s);
    EXPECT_EQ(cached_addresses(a), Hosts{"1.1.1.1"});
    EXPECT_EQ(queries_to(2), 0u);
    EXPECT_EQ(cached(a)->version, (Version{1, 0}));
}

} // namespace
} // namespace millrace::control
