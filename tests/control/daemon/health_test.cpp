#include "control/daemon/health.hpp"

#include <gtest/gtest.h>

#include "control/limits.hpp"

namespace millrace::control {
namespace {

constexpr std::string_view broken = "a worker is stalled";

struct HealthTest : testing::Test {
    /// What is seen, ten times a second, for so long.
    void look(std::string_view fault, Time length) {
        for (Time end = now + length; now < end; now += 100ms) health.look(fault, now);
    }
    Time now = 1s;
    Health health;
};

TEST_F(HealthTest, NewDaemonIsGoodOnceItHasBeenForAWhile) {
    look("", Health::rise);
    EXPECT_FALSE(health.is_good());
    EXPECT_EQ(health.reason(), "just started");
    look("", 100ms);
    EXPECT_TRUE(health.is_good());
    EXPECT_EQ(health.reason(), "");
}

TEST_F(HealthTest, FaultCountsOnceItHasLasted) {
    look("", Health::rise + 100ms);
    look(broken, Health::fall);
    EXPECT_TRUE(health.is_good());
    look("", 100ms); // gone, and back: it has to last from the beginning
    look(broken, Health::fall);
    EXPECT_TRUE(health.is_good());
    look(broken, 100ms);
    EXPECT_FALSE(health.is_good());
    EXPECT_EQ(health.reason(), broken);
}

TEST_F(HealthTest, ItsEndCountsOnceThatHasLasted) {
    look("", Health::rise + 100ms);
    look(broken, Health::fall + 100ms);
    look("", Health::rise);
    look(broken, 100ms);
    look("", Health::rise);
    EXPECT_FALSE(health.is_good());
    look("", 100ms);
    EXPECT_TRUE(health.is_good());
}

TEST_F(HealthTest, LatestFaultIsNamed) {
    look("another", 100ms);
    EXPECT_EQ(health.reason(), "another");
    look(broken, 100ms);
    EXPECT_EQ(health.reason(), broken);
}

TEST_F(HealthTest, DrainCountsAtOnceAndHidesNothing) {
    look("", Health::rise + 100ms);
    health.drain();
    EXPECT_FALSE(health.is_good());
    EXPECT_EQ(health.reason(), "drained");
    look(broken, Health::fall + 100ms);
    health.resume();
    EXPECT_EQ(health.reason(), broken);
    look("", Health::rise + 100ms);
    EXPECT_TRUE(health.is_good());
    health.drain();
    health.resume();
    EXPECT_TRUE(health.is_good());
}

TEST_F(HealthTest, ShowsTheSameFromOutside) {
    EXPECT_EQ(health.seen_from_outside(now), "just started");
    look("", Health::rise + 100ms);
    EXPECT_EQ(health.seen_from_outside(now), "");
    health.drain();
    EXPECT_EQ(health.seen_from_outside(now), "drained");
    health.resume();
    EXPECT_EQ(health.seen_from_outside(now), "");
    look(broken, Health::fall + 200ms);
    EXPECT_EQ(health.seen_from_outside(now), broken);
}

TEST_F(HealthTest, WhoeverDoesNotLookIsNotWell) {
    EXPECT_EQ(health.seen_from_outside(1h), "just started") << "nothing is wrong before the first look";
    look("", Health::rise + 100ms);
    EXPECT_EQ(health.seen_from_outside(now + limits::stall - 200ms), "");
    EXPECT_EQ(health.seen_from_outside(now + limits::stall + 1ms), "the control thread is stalled");
}

} // namespace
} // namespace millrace::control
