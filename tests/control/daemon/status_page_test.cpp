// What the status page shows of the last minutes.
#include "control/daemon/status_page.hpp"

#include <gtest/gtest.h>

namespace millrace::control {
namespace {

using dataplane::Histogram;

TEST(Quantile, OfNothingThereIsNone) {
    EXPECT_EQ(quantile(Histogram{}, 0.5), std::nullopt);
}

TEST(Quantile, WithinItsBucket) {
    Histogram counts;
    for (int i = 0; i < 100; ++i) counts.add(900us); // 524,288 ns to 1,048,576 ns
    for (int i = 0; i < 2; ++i) counts.add(100ms);
    EXPECT_GE(*quantile(counts, 0.5), 524e-6);
    EXPECT_LE(*quantile(counts, 0.5), 1049e-6);
    EXPECT_GE(*quantile(counts, 0.99), 67e-3);
    EXPECT_LE(*quantile(counts, 0.99), 135e-3);
    EXPECT_LE(*quantile(counts, 0.1), *quantile(counts, 0.5));
}

TEST(Quantile, WhatWasLongerThanAllBoundsIsTheLast) {
    Histogram counts;
    counts.add(1h);
    EXPECT_DOUBLE_EQ(*quantile(counts, 0.5), double(Histogram::bound(Histogram::bounds - 1)) / 1e9);
}

TEST(HistoryTest, PointsAreOfOneStep) {
    History history;
    Traffic counts;
    counts.received = 1000;
    history.add(counts, 5, 10);
    EXPECT_TRUE(history.points().empty()) << "what was before the first look is of no step";
    counts.received += 500;
    counts.misses += 50;
    counts.hit_time.add(20us);
    counts.miss_time.add(3ms);
    history.add(counts, 5, 10);
    counts.received += 10;
    history.add(counts, 5, 10);
    ASSERT_EQ(history.points().size(), 2u);
    EXPECT_DOUBLE_EQ(history.points()[0].queries, 100);
    EXPECT_DOUBLE_EQ(history.points()[0].misses, 10);
    ASSERT_TRUE(history.points()[0].miss_p99);
    EXPECT_NEAR(*history.points()[0].miss_p99, 3e-3, 1.2e-3);
    ASSERT_TRUE(history.points()[0].hit_p50 && history.points()[0].hit_p99);
    EXPECT_NEAR(*history.points()[0].hit_p50, 20e-6, 13e-6);
    EXPECT_NEAR(*history.points()[0].hit_p99, 20e-6, 13e-6);
    EXPECT_DOUBLE_EQ(history.points()[1].queries, 2);
    EXPECT_EQ(history.points()[1].miss_p50, std::nullopt);
    EXPECT_EQ(history.points()[1].hit_p50, std::nullopt);
    for (int i = 0; i < 20; ++i) history.add(counts, 5, 10);
    EXPECT_EQ(history.points().size(), 10u);
}

} // namespace
} // namespace millrace::control
