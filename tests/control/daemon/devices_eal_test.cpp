// Two ports of Eal's on two polling lcores, both flooded (net_null receives as fast as it is asked): one is
// reset, then taken away, as drivers and the kernel ask for it, while the other goes on.
#define ALLOW_EXPERIMENTAL_API
#include <utility> // asio 1.22 with GCC 12 needs it first

#include <thread>

#include <gtest/gtest.h>
#include <rte_cycles.h>
#include <rte_dev.h>
#include <rte_ethdev.h>

#include "control/daemon/devices.hpp"
#include "control/daemon/workers.hpp"
#include "dataplane/eal.hpp"
#include "tests/support/ethdev_events.hpp"
#include "tests/support/rules.hpp"

namespace millrace::control {
namespace {

class DevicesOnEal : public testing::Test {
  protected:
    static constexpr Time patience = 60s;

    void SetUp() override {
        std::vector<unsigned> cpus = dataplane::Machine::inspect().cpus;
        if (cpus.size() < 2) GTEST_SKIP() << "two lcores need two CPUs";
        dataplane::EalPlan plan;
        for (unsigned i : {0U, 1U})
            plan.ports.push_back(
                {"net_null" + std::to_string(i), {cpus[i]}, {*dataplane::parse_address("192.0.2.1")}});
        plan.arguments = {"--no-huge -m 256 --no-telemetry"};
        auto started = dataplane::Eal::start(plan);
        ASSERT_TRUE(started) << started.error();
        eal = std::move(*started);
        auto opened = eal->open({});
        ASSERT_TRUE(opened) << opened.error();
        clock.emplace(rte_get_tsc_hz());
        for (auto& queue : eal->queues()) {
            ASSERT_TRUE(workers.add(*queue.front, "", queue.lcore, &*clock, dataplane::Idle::sleep));
            devices.add(eal->device(queue.port), std::to_string(queue.port));
        }
        ASSERT_TRUE(workers.start());
    }
    void TearDown() override { workers.stop(); }

    std::uint64_t received(std::size_t worker) const { return workers.view(worker).counters.received(); }
    /// Control's ticks until it is so.
    template <class Condition>
    bool until(Condition condition) {
        for (Time end = boot_time() + patience; !condition() && boot_time() < end;
             std::this_thread::sleep_for(100us))
            devices.tick(boot_time());
        return condition();
    }
    bool receives(std::size_t worker) {
        std::uint64_t before = received(worker);
        return until([&] { return received(worker) > before + 1000; });
    }

    std::unique_ptr<dataplane::Eal> eal;
    std::optional<dataplane::TscClock> clock;
    cache::Grace grace;
    cache::Table table{{.entries = 1000, .bytes = 1 << 22}, grace};
    test::RulesInEffect rules{dataplane::ClientPolicy{{*dataplane::parse_prefix("192.0.2.0/24")}}};
    Workers workers{table, grace, rules.now};
    Devices devices{grace};
};

TEST_F(DevicesOnEal, OneIsResetAndTakenAwayAndTheOtherGoesOn) {
    ASSERT_TRUE(receives(0) && receives(1));
    for (unsigned round = 1; round <= 3; ++round) {
        test::raise("net_null0", RTE_ETH_EVENT_INTR_RESET);
        ASSERT_TRUE(until([&] { return devices.view(0).resets == round && devices.view(0).is_serving; }));
        ASSERT_TRUE(receives(0) && receives(1));
    }
    rte_dev_event_callback_process("net_null0", RTE_DEV_EVENT_REMOVE);
    ASSERT_TRUE(until([&] { return devices.view(0).removals == 1; }));
    EXPECT_TRUE(devices.view(0).is_removed);
    EXPECT_FALSE(test::has_ethdev("net_null0"));
    std::uint64_t at_removal = received(0);
    ASSERT_TRUE(receives(1));
    EXPECT_EQ(received(0), at_removal);
    EXPECT_EQ(devices.view(1).resets + devices.view(1).removals, 0u);
    eal->set_no_link(0);
    EXPECT_TRUE(eal->look_at_link(1));
}

} // namespace
} // namespace millrace::control
