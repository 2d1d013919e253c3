#include "cache/grace.hpp"

#include <gtest/gtest.h>

#include "tests/support/entries.hpp"

namespace millrace::cache {
namespace {

EntryPtr any_entry() {
    return test::entry_of({1, 0}, {1}, 0s, 60s);
}

class GraceTest : public testing::Test {
  protected:
    Grace grace;
    Grace::Reader& reader = *grace.add_reader();

    /// What a tick does; twice, because a batch begins to wait in one tick and is freed in a later one.
    void ticks() {
        grace.reclaim();
        grace.reclaim();
    }
};

TEST_F(GraceTest, AnOnlineReaderHoldsTheEntryUntilItIsQuiescent) {
    reader.online();
    grace.retire(any_entry());
    ticks();
    EXPECT_EQ(grace.limbo_entries(), 1u);
    reader.quiescent();
    ticks();
    EXPECT_EQ(grace.limbo_entries(), 0u);
    EXPECT_EQ(grace.limbo_bytes(), 0u);
    reader.offline();
}

TEST_F(GraceTest, AnOfflineReaderIsNotWaitedFor) {
    grace.retire(any_entry());
    ticks();
    EXPECT_EQ(grace.limbo_entries(), 0u);
}

TEST_F(GraceTest, AWakeInTheRingHoldsTheEntryHoweverQuiescentTheReader) {
    reader.online();
    reader.sent();
    grace.retire(any_entry());
    grace.reclaim();
    for (int i = 0; i < 3; ++i) {
        reader.quiescent();
        grace.reclaim();
        EXPECT_EQ(grace.limbo_entries(), 1u);
    }
    reader.finish(1);
    reader.quiescent();
    ticks();
    EXPECT_EQ(grace.limbo_entries(), 0u);
    reader.offline();
}

TEST_F(GraceTest, WakesSentAfterRetirementAreNotWaitedFor) {
    grace.retire(any_entry());
    grace.reclaim();
    reader.sent();
    grace.reclaim();
    EXPECT_EQ(grace.limbo_entries(), 0u);
    EXPECT_EQ(reader.outstanding(), 1u);
}

TEST_F(GraceTest, WhatIsRetiredWhileABatchWaitsGetsAPeriodOfItsOwn) {
    reader.online();
    grace.retire(any_entry());
    grace.reclaim();
    reader.quiescent(); // ends the first batch's period only
    grace.retire(any_entry());
    grace.reclaim();
    EXPECT_EQ(grace.limbo_entries(), 1u) << "the first is freed, the second begins to wait";
    grace.reclaim();
    EXPECT_EQ(grace.limbo_entries(), 1u);
    reader.quiescent();
    grace.reclaim();
    EXPECT_EQ(grace.limbo_entries(), 0u);
    reader.offline();
}

TEST_F(GraceTest, WhatHasCollectedIsFreedInPiecesAndWhatComesMeanwhileWaitsForItsOwnPeriod) {
    reader.online();
    for (int i = 0; i < 10'000; ++i) grace.retire(any_entry());
    EXPECT_FALSE(grace.reclaim());
    reader.quiescent();
    constexpr std::size_t piece = limits::frees_per_tick;
    for (std::size_t left = 10'000 - piece;; left -= piece) {
        EXPECT_TRUE(grace.reclaim());
        ASSERT_EQ(grace.limbo_entries(), left);
        if (left < piece) break;
    }
    grace.retire(any_entry());
    EXPECT_FALSE(grace.reclaim());
    for (int i = 0; i < 3; ++i) {
        grace.reclaim();
        EXPECT_EQ(grace.limbo_entries(), 1u);
    }
    reader.quiescent();
    ticks();
    EXPECT_EQ(grace.limbo_bytes(), 0u);
    reader.offline();
}

TEST_F(GraceTest, AsMuchIsFreedInATickAsIsRetiredInOne) {
    constexpr std::size_t some = 3 * limits::frees_per_tick;
    for (int tick = 0; tick < 20; ++tick) {
        for (std::size_t i = 0; i < some; ++i) grace.retire(any_entry());
        grace.reclaim();
        ASSERT_LE(grace.limbo_entries(), 3 * some);
    }
    ticks();
}

TEST_F(GraceTest, APeriodWaitsForEveryReader) {
    Grace::Reader& other = *grace.add_reader();
    reader.online();
    other.online();
    auto period = grace.begin();
    reader.quiescent();
    EXPECT_FALSE(grace.passed(period));
    other.quiescent();
    EXPECT_TRUE(grace.passed(period));
    reader.offline();
    other.offline();
}

TEST(Grace, ReadersAreBounded) {
    Grace grace;
    for (std::size_t i = 0; i < limits::workers; ++i) EXPECT_NE(grace.add_reader(), nullptr);
    EXPECT_EQ(grace.add_reader(), nullptr);
}

} // namespace
} // namespace millrace::cache
