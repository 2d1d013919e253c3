// The watchdog over the workers.
#include <gtest/gtest.h>

#include "control/daemon/workers.hpp"
#include "tests/support/memory_port.hpp"

namespace millrace::control {
namespace {

TEST(Watchdog, NamesAWorkerWhoseLoopDoesNotTurnAndSaysWhenItGoesOn) {
    cache::Grace grace;
    cache::Table table({.entries = 10, .bytes = 1 << 20}, grace);
    dataplane::Access access({});
    support::MemoryPort port;
    Workers workers(table, grace, access);
    ASSERT_TRUE(workers.add(port, "worker", {}, nullptr)); // never started: it does not turn
    workers.watch(1h);
    workers.watch(1h + limits::stall);
    workers.watch(1h + 4 * limits::stall);
    EXPECT_EQ(workers.view(0).stalled, Time{}) << "the machine was suspended: nobody could turn";
    workers.watch(1h + 5 * limits::stall);
    workers.watch(1h + 5 * limits::stall + 1s);
    EXPECT_GT(workers.view(0).stalled, Time{});
    ASSERT_TRUE(workers.start());
    for (Time later = 1h + 5 * limits::stall + 2s; // may still be before its first turn
         workers.view(0).stalled > Time{} && later < 2h; later += 1s) {
        std::this_thread::sleep_for(1ms);
        workers.watch(later);
    }
    EXPECT_EQ(workers.view(0).stalled, Time{});
    workers.stop();
}

} // namespace
} // namespace millrace::control
