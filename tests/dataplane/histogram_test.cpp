#include "dataplane/histogram.hpp"

#include <numeric>

#include <gtest/gtest.h>

#include "dataplane/clock.hpp"

namespace millrace::dataplane {
namespace {

TEST(Histogram, EachBoundIsOfItsOwnBucket) {
    EXPECT_EQ(Histogram::bucket_of(0), 0u);
    for (unsigned i = 0; i < Histogram::bounds; ++i) {
        std::uint64_t bound = Histogram::bound(i);
        EXPECT_EQ(Histogram::bucket_of(bound), i);
        EXPECT_EQ(Histogram::bucket_of(bound + 1), i + 1);
    }
    EXPECT_EQ(Histogram::bucket_of(~std::uint64_t(0)), Histogram::bounds)
        << "what took too long for a bucket";
}

TEST(Histogram, CountsLengthsAndTheirSum) {
    Histogram h;
    h.add(1ms);
    h.add(2us);
    h.add(-1s);
    EXPECT_EQ(h.sum_ns, 1'002'000u);
    EXPECT_EQ(h.counts[Histogram::bucket_of(1'000'000)], 1u);
    EXPECT_EQ(h.counts[Histogram::bucket_of(2000)], 1u);
    EXPECT_EQ(h.counts[0], 1u) << "a clock that was set back is no length";
}

TEST(Histogram, OfAWholeBurstAtOnce) {
    SharedHistogram shared;
    shared.add(1000, 32);
    shared.add(5, 0);
    Histogram h = shared.read();
    EXPECT_EQ(h.counts[Histogram::bucket_of(1000)], 32u);
    EXPECT_EQ(h.sum_ns, 32'000u);
    EXPECT_EQ(std::accumulate(h.counts.begin(), h.counts.end(), std::uint64_t(0)), 32u);
}

TEST(TscClock, TicksAreNanoseconds) {
    TscClock clock(2'000'000'000);
    EXPECT_NEAR(double(clock.nanoseconds(2'000'000'000)), 1e9, 1e3);
    EXPECT_NEAR(double(clock.nanoseconds(2'000)), 1e3, 1);
    EXPECT_NEAR(double(clock.nanoseconds(2'000'000'000ull * 3600)), 3600e9, 1e7);
}

} // namespace
} // namespace millrace::dataplane
