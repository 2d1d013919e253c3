// A signal while something does not come back: the end of it, or later.
#include "control/daemon/signal_patience.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

namespace millrace::tests {

using namespace control;

namespace {

volatile std::sig_atomic_t handed_on = 0;

TEST(SignalPatience, ASignalIsHandedOnOnceAllIsOver) {
    auto before = std::signal(SIGTERM, [](int) { handed_on = handed_on + 1; });
    {
        SignalPatience patience(3600s);
        std::raise(SIGTERM);
        EXPECT_EQ(handed_on, 0);
    }
    EXPECT_EQ(handed_on, 1);
    EXPECT_EQ(alarm(0), 0U) << "nothing ends the process any more";
    { SignalPatience patience(3600s); }
    EXPECT_EQ(handed_on, 1);
    std::signal(SIGTERM, before);
}

TEST(SignalPatience, GrowsWithThePortsWhoseLinksAreWaitedFor) {
    EXPECT_EQ(start_patience(1), 10s);
    EXPECT_EQ(start_patience(4), 25s);
}

TEST(SignalPatienceDeathTest, WhatDoesNotComeBackIsEnded) {
    auto hang = [](Time patience, int signals) {
        SignalPatience until(patience);
        for (int i = 0; i < signals; ++i) std::raise(SIGTERM);
        for (;;) pause();
    };
    EXPECT_EXIT(hang(1s, 1), testing::ExitedWithCode(1), "ended while DPDK was starting a device");
    EXPECT_EXIT(hang(3600s, 2), testing::ExitedWithCode(1), "ended while DPDK was starting a device");
}

} // namespace

} // namespace millrace::tests
