// The watchdog over the workers.
#include <gtest/gtest.h>

#include "control/daemon/workers.hpp"
#include "tests/support/clock.hpp"
#include "tests/support/memory_port.hpp"
#include "tests/support/rules.hpp"

namespace millrace::control {
namespace {

/// One worker, never started: it does not turn.
class Watchdog : public testing::Test {
  protected:
    Watchdog() { EXPECT_TRUE(workers.add(port, "worker", {}, nullptr)); }
    Time stalled() const { return workers.view(0).stalled; }

    cache::Grace grace;
    cache::Table table{{.entries = 10, .bytes = 1 << 20}, grace};
    test::RulesInEffect rules{dataplane::ClientPolicy{}};
    support::MemoryPort port;
    Workers workers{table, grace, rules.now};
    Time start = support::clock_start();
};

TEST_F(Watchdog, NamesAWorkerWhoseLoopDoesNotTurnAndSaysWhenItGoesOn) {
    workers.watch(start);
    workers.watch(start + limits::stall);
    workers.watch(start + 4 * limits::stall);
    EXPECT_EQ(stalled(), Time{}) << "the machine was suspended: nobody could turn";
    workers.watch(start + 5 * limits::stall);
    EXPECT_EQ(stalled(), Time{}) << "not yet for longer than that";
    workers.watch(start + 5 * limits::stall + 1s);
    EXPECT_EQ(stalled(), limits::stall + 1s);
    workers.watch(start + 5 * limits::stall + 1001ms);
    EXPECT_EQ(stalled(), limits::stall + 1001ms) << "as of now, between two looks too";
    ASSERT_TRUE(workers.start());
    for (Time later = start + 5 * limits::stall + 2s; // may still be before its first turn
         stalled() > Time{} && later < start + 1h; later += 1s) {
        std::this_thread::sleep_for(1ms);
        workers.watch(later);
    }
    EXPECT_EQ(stalled(), Time{});
    workers.stop();
}

TEST_F(Watchdog, BlamesNobodyForTheTimeBeforeItsFirstLook) {
    Time first = limits::stall - 1ms; // the machine has just booted
    workers.watch(first);
    workers.watch(first + limits::stall);
    EXPECT_EQ(stalled(), Time{});
    workers.watch(first + 2 * limits::stall);
    EXPECT_EQ(stalled(), 2 * limits::stall);
}

} // namespace
} // namespace millrace::control
