// What gives way to what when places, questions in flight or the rate run short: collections go first.
#include "tests/control/upstream/exchange_fixture.hpp"

namespace millrace::control {
namespace {

/// Eight slots; at most eight questions in flight to one upstream.
class Pressure : public ExchangeTest {
  protected:
    Pressure() { groups[0].set_policy({.outstanding = 8, .rate = 10'000}); }

    bool open(std::uint32_t number, Purpose purpose, unsigned upstream = 0) {
        cache::Key question = make_key("n" + std::to_string(number) + ".com", LDNS_RR_TYPE_A);
        return exchanges->open({number, number}, question, upstream, clock.now + 3s, clock.now, purpose);
    }
    /// How many of a kind find a place.
    unsigned fill(Purpose purpose, unsigned upstream = 0) {
        unsigned opened = 0;
        while (opened < 1000 && open(++number_, purpose, upstream)) ++opened;
        return opened;
    }

  private:
    std::uint32_t number_ = 100;
};

TEST_F(Pressure, CollectionsLeaveAQuarterToOthers) {
    EXPECT_EQ(fill(Purpose::collection), 6u);
    EXPECT_EQ(fill(Purpose::collection, 1), 0u) << "of the slots too";
    EXPECT_EQ(counters().refused_full, 2u);
    EXPECT_EQ(counters().displaced, 0u);
}

TEST_F(Pressure, AQuestionTakesThePlaceOfTheOldestCollection) {
    ASSERT_EQ(fill(Purpose::collection), 6u);
    ASSERT_TRUE(open(1, Purpose::answer));
    ASSERT_TRUE(open(2, Purpose::answer));
    ASSERT_TRUE(open(3, Purpose::answer)) << "the eight are in use";
    EXPECT_EQ(counters().displaced, 1u);
    EXPECT_TRUE(failures.empty()) << "told in the next tick, never from inside open()";
    EXPECT_EQ(network.open_count(), 8u) << "its socket is gone at once";
    exchanges->tick(clock.now);
    ASSERT_EQ(failures.size(), 1u);
    EXPECT_EQ(failures[0].fetch, (FetchId{101, 101})) << "the oldest";
    EXPECT_EQ(failures[0].failure, ExchangeFailure::no_room);
    EXPECT_EQ(health().failures + health().timeouts, 0u) << "not the upstream's doing";
}

TEST_F(Pressure, QuestionsDoNotDisplaceEachOther) {
    EXPECT_EQ(fill(Purpose::answer), 8u);
    EXPECT_EQ(counters().displaced, 0u);
    EXPECT_EQ(exchanges->open_count(), 8u);
}

TEST_F(Pressure, OneThatBeganForAClientAndNowCollectsGivesWayToo) {
    ASSERT_TRUE(open(1, Purpose::answer));
    exchanges->collect({1, 1}, 0, clock.now + 2s);
    EXPECT_EQ(fill(Purpose::answer), 8u);
    EXPECT_EQ(counters().displaced, 1u);
    exchanges->tick(clock.now);
    EXPECT_EQ(failures.at(0).fetch, (FetchId{1, 1}));
}

TEST_F(Pressure, TheCapOfOneUpstreamTakesFromItsOwnCollections) {
    groups[0].set_policy({.outstanding = 2, .rate = 10'000});
    ASSERT_TRUE(open(1, Purpose::collection, 0));
    ASSERT_TRUE(open(2, Purpose::collection, 1));
    ASSERT_TRUE(open(3, Purpose::answer, 1));
    ASSERT_TRUE(open(4, Purpose::answer, 1));
    exchanges->tick(clock.now);
    ASSERT_EQ(failures.size(), 1u);
    EXPECT_EQ(failures[0].fetch, (FetchId{2, 2}));
    EXPECT_FALSE(open(5, Purpose::answer, 1)) << "nothing of its own left to displace";
}

TEST_F(Pressure, ACapThatWasLoweredWithMoreInFlightRefuses) {
    ASSERT_EQ(fill(Purpose::collection), 6u);
    groups[0].set_policy({.outstanding = 2, .rate = 10'000});
    EXPECT_FALSE(open(1, Purpose::answer));
    EXPECT_EQ(exchanges->open_count(), 5u);
    EXPECT_EQ(health().over_outstanding, 1u);
}

TEST_F(Pressure, ASmallRateStillCollects) {
    groups[0].set_policy({.outstanding = 8, .rate = 1});
    EXPECT_EQ(fill(Purpose::collection), 1u);
    run(1s);
    EXPECT_EQ(fill(Purpose::collection), 1u);
}

TEST_F(Pressure, WithoutAFreePlaceTheOldestCollectionOfAnyUpstreamGoes) {
    ASSERT_EQ(fill(Purpose::collection, 0), 6u);
    EXPECT_EQ(fill(Purpose::answer, 1), 8u) << "two that were free, and the six";
    EXPECT_EQ(counters().displaced, 6u);
    exchanges->tick(clock.now);
    ASSERT_EQ(failures.size(), 6u);
    EXPECT_EQ(failures[0].fetch, (FetchId{101, 101}));
}

TEST_F(Pressure, TheRateIsKeptAndCollectionsLeaveAShareOfIt) {
    groups[0].set_policy({.outstanding = 8, .rate = 4}); // as many at once
    EXPECT_EQ(fill(Purpose::collection), 3u);
    EXPECT_EQ(health().over_rate, 0u) << "what gives way is not counted";
    EXPECT_EQ(fill(Purpose::answer), 1u);
    EXPECT_EQ(health().over_rate, 1u);
    run(250ms); // one more
    EXPECT_EQ(fill(Purpose::collection), 0u);
    EXPECT_EQ(fill(Purpose::answer), 1u);
    EXPECT_EQ(counters().displaced, 0u) << "a place is not what is short";
}

TEST_F(Pressure, ACollectionThatEndsIsNoLongerDisplaced) {
    network.serve(one, answering({.answer = {"n1.com. 60 IN A 192.0.2.7"}}, 1ms));
    ASSERT_TRUE(open(1, Purpose::collection));
    run(5ms);
    ASSERT_EQ(answers.size(), 1u);
    network.serve(one, [](FakeNetwork&, const Sent&) {});
    EXPECT_EQ(fill(Purpose::answer), 8u);
    EXPECT_EQ(counters().displaced, 0u);
}

} // namespace
} // namespace millrace::control
