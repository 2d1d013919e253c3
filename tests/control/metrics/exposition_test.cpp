#include "control/metrics/exposition.hpp"

#include <gtest/gtest.h>

namespace millrace::control {
namespace {

TEST(Exposition, SeriesOfAFamilyStandTogether) {
    Exposition out;
    out.counter("a_total", "A.", {{"of", "x"}, {"by", ""}}, 1);
    out.gauge("b", "B.", {}, 0.5);
    out.counter("a_total", "", {{"of", "y"}}, 2);
    EXPECT_EQ(out.text(), "# HELP a_total A.\n# TYPE a_total counter\na_total{of=\"x\"} 1\n"
                          "a_total{of=\"y\"} 2\n# HELP b B.\n# TYPE b gauge\nb 0.5\n");
}

TEST(Exposition, WhatOthersNameIsEscaped) {
    Exposition out;
    out.gauge("a", "A.", {{"name", "x\"} 1\nb \\"}}, 1);
    EXPECT_NE(out.text().find("a{name=\"x\\\"} 1\\nb \\\\\"} 1\n"), std::string::npos) << out.text();
}

TEST(Exposition, BucketsAddUp) {
    dataplane::Histogram h;
    for (Time t : {1us, 1us, 3us, 1000us, 20000000us}) h.add(t);
    Exposition out;
    out.histogram("t_seconds", "T.", {}, h, {1 << 10, 1 << 12});
    EXPECT_EQ(out.text(), "# HELP t_seconds T.\n# TYPE t_seconds histogram\nt_seconds_count 5\n"
                          "t_seconds_sum 20.001005\nt_seconds_bucket{le=\"1.024e-06\"} 2\n"
                          "t_seconds_bucket{le=\"2.048e-06\"} 2\nt_seconds_bucket{le=\"4.096e-06\"} 3\n"
                          "t_seconds_bucket{le=\"+Inf\"} 5\n")
        << "what is above the range counts, too";
}

} // namespace
} // namespace millrace::control
