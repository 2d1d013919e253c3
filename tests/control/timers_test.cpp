#include "control/timers.hpp"

#include <random>
#include <set>
#include <utility>

#include <gtest/gtest.h>

namespace millrace::control {
namespace {

TEST(Timers, TheFirstIsTheEarliestThenTheLowestPlace) {
    Timers timers(4);
    EXPECT_EQ(timers.next(), Time::max());
    timers.set(3, 5s);
    timers.set(1, 5s);
    timers.set(2, 9s);
    EXPECT_EQ(timers.next(), 5s);
    EXPECT_EQ(timers.first(), 1u);
    timers.set(2, 1s);
    EXPECT_EQ(timers.first(), 2u);
    timers.set(2, Time::max());
    timers.set(1, Time::max());
    timers.set(1, Time::max());
    EXPECT_EQ(timers.first(), 3u);
    timers.set(3, Time::max());
    EXPECT_EQ(timers.next(), Time::max());
}

TEST(Timers, AreInTheOrderOfASet) {
    constexpr std::uint32_t places = 50;
    std::mt19937 random(1);
    Timers timers(places);
    std::set<std::pair<Time, std::uint32_t>> ordered;
    std::vector<Time> of(places, Time::max());
    for (int step = 0; step < 20'000; ++step) {
        std::uint32_t place = random() % places;
        Time when = random() % 3 == 0 ? Time::max() : Time(random() % 100);
        ordered.erase({of[place], place});
        if (when != Time::max()) ordered.emplace(when, place);
        timers.set(place, of[place] = when);
        ASSERT_EQ(timers.next(), ordered.empty() ? Time::max() : ordered.begin()->first);
        if (ordered.empty()) continue;
        ASSERT_EQ(timers.first(), ordered.begin()->second);
    }
}

} // namespace
} // namespace millrace::control
