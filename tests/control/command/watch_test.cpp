// What `--watch` makes of counters.
#include <gtest/gtest.h>

#include "control/command/watch.hpp"

namespace millrace::control {
namespace {

using namespace std::chrono_literals;
using nlohmann::json;

TEST(Rates, AreWhatWasCountedBySeconds) {
    std::chrono::steady_clock::time_point start;
    Rates rates;
    auto first = rates.of(json{{"hits", 10}, {"dropped", {{"full", 1}}}, {"name", "x"}}, start);
    EXPECT_EQ(first.dump(), R"([{"counter":"dropped.full","total":1},{"counter":"hits","total":10}])");
    auto next = rates.of(json{{"hits", 30}, {"dropped", {{"full", 1}}}, {"new", 5}}, start + 2s);
    EXPECT_EQ(next[0]["per_second"], 0.0);
    EXPECT_EQ(next[1], (json{{"counter", "hits"}, {"total", 30}, {"per_second", 10.0}}));
    EXPECT_FALSE(next[2].contains("per_second"));
}

} // namespace
} // namespace millrace::control
