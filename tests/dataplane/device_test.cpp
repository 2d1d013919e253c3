// An ethdev's device is reset, removed and comes back, under an lcore that goes on polling: net_ring and
// net_null, and the events that their drivers do not raise sent by way of DPDK's own functions.
#define ALLOW_EXPERIMENTAL_API
#include <thread>

#include <rte_dev.h>
#include <rte_ethdev.h>

#include "dataplane/worker.hpp"
#include "tests/dataplane/ethdev_fixture.hpp"
#include "tests/support/ethdev_events.hpp"
#include "tests/support/messages.hpp"
#include "tests/support/rules.hpp"

namespace millrace::tests {

namespace {

using Wish = Device::Wish;

std::string name_of(std::uint16_t port) {
    std::array<char, RTE_ETH_NAME_MAX_LEN> name{};
    rte_eth_dev_get_name_by_port(port, name.data());
    return name.data();
}
std::string device_of(std::uint16_t port) {
    rte_eth_dev_info info{};
    rte_eth_dev_info_get(port, &info);
    return rte_dev_name(info.device);
}
void raise(std::uint16_t port, rte_eth_event_type event) {
    test::raise(name_of(port), event);
}

using DeviceTest = EthdevTest;

TEST_F(DeviceTest, ASuspendedPortLeavesTheDriverAloneAndDropsWhatItSends) {
    arrive(Query{});
    arrive(Query{});
    port_->receive(burst_, counters_);
    ReturnPath path;
    port_->save(burst_.packets[0], path);
    answer(burst_.packets[0], 44);
    EXPECT_EQ(port_->wait_descriptor(), Port::polled);
    port_->suspend();
    EXPECT_EQ(port_->wait_descriptor(), Port::away);
    arrive(Query{});
    port_->send(burst_, counters_);
    EXPECT_EQ(counters_.get(Event::send_failed), 1U);
    port_->receive(burst_, counters_);
    EXPECT_EQ(burst_.count, 0U);
    EXPECT_EQ(rte_ring_count(to_port_), 1U);
    ASSERT_TRUE(port_->compose(burst_, path)); // a waiter is woken
    answer(burst_.packets[0], 44);
    port_->send(burst_, counters_);
    EXPECT_EQ(counters_.get(Event::send_failed), 2U);
    EXPECT_EQ(counters_.get(Event::sent), 0U);
    EXPECT_TRUE(sent().empty());
    port_->resume(ethdev_->port(), ethdev_->offload());
    port_->receive(burst_, counters_);
    EXPECT_EQ(burst_.count, 1U);
    port_->send(burst_, counters_);
    expect_service();
}

TEST_F(DeviceTest, AfterAResetItServesAsBefore) {
    ethdev_->set_receive_ring(256);
    for (int i = 0; i < 3; ++i) {
        expect_service();
        port_->suspend();
        auto done = ethdev_->reset();
        ASSERT_TRUE(done) << done.error();
        port_->resume(ethdev_->port(), ethdev_->offload());
        expect_service();
        EXPECT_EQ(ethdev_->pool(0), pool_) << "the buffers in others' hands are of it";
        EXPECT_EQ(ethdev_->receive_ring(), 256U) << "what its driver does not tell stays as it was told";
    }
}

TEST_F(DeviceTest, WhatDriverAndKernelWantIsNotedTheWeightiestOfAll) {
    std::uint16_t id = ethdev_->port();
    EthdevEvents* events = ethdev_->events();
    EXPECT_EQ(events->take(), Wish::none);
    raise(id, RTE_ETH_EVENT_INTR_RESET);
    EXPECT_EQ(events->take(), Wish::reset);
    EXPECT_EQ(events->take(), Wish::none);
    rte_dev_event_callback_process(device_of(id).c_str(), RTE_DEV_EVENT_REMOVE);
    raise(id, RTE_ETH_EVENT_INTR_RESET);
    EXPECT_EQ(events->take(), Wish::removal);
    rte_dev_event_callback_process(device_of(id).c_str(), RTE_DEV_EVENT_ADD);
    EXPECT_EQ(events->take(), Wish::none);
    raise(id, RTE_ETH_EVENT_INTR_RMV);
    EXPECT_EQ(events->take(), Wish::loss);
    ASSERT_TRUE(ethdev_->reset());
    raise(id, RTE_ETH_EVENT_INTR_RESET);
    EXPECT_EQ(events->take(), Wish::reset) << "once, after a reset too";
}

TEST_F(DeviceTest, ARemovedDeviceIsUnknownToDpdkAndMayComeBackAsAnother) {
    expect_service();
    std::string name = name_of(ethdev_->port());
    port_->suspend();
    auto removed = ethdev_->remove();
    ASSERT_TRUE(removed) << removed.error();
    std::uint16_t id = 0;
    EXPECT_NE(rte_eth_dev_get_port_by_name(name.c_str(), &id), 0);
    EXPECT_EQ(ethdev_->events(), nullptr);
    auto* other = make_ring(name + "other"); // so that it gets another number
    int first = rte_eth_from_rings((name + "first").c_str(), &other, 1, &other, 1, 0);
    int back = rte_eth_from_rings((name + "back").c_str(), &to_port_, 1, &from_port_, 1, 0);
    ASSERT_GE(back, 0);
    auto attached = ethdev_->attach(std::uint16_t(back));
    ASSERT_TRUE(attached) << attached.error();
    port_->resume(ethdev_->port(), ethdev_->offload());
    expect_service();
    raise(ethdev_->port(), RTE_ETH_EVENT_INTR_RESET);
    EXPECT_EQ(ethdev_->events()->take(), Wish::reset);
    rte_eth_dev_close(std::uint16_t(first));
    rte_ring_free(other);
}

TEST_F(DeviceTest, ARemovedOneIsClosedWithoutItsDevice) {
    ASSERT_TRUE(ethdev_->remove());
}

/// net_null draws an address for each device.
TEST(DeviceMacTest, WhatComesBackKeepsTheAddressThatItsNeighboursKnow) {
    auto probe = [] {
        std::uint16_t id = 0;
        EXPECT_EQ(rte_dev_probe("net_null7"), 0);
        EXPECT_EQ(rte_eth_dev_get_port_by_name("net_null7", &id), 0);
        return id;
    };
    unsigned lcore = rte_get_main_lcore();
    auto ethdev = Ethdev::start(probe(), "net_null7", {&lcore, 1});
    ASSERT_TRUE(ethdev) << ethdev.error();
    Mac mac = ethdev->mac();
    ASSERT_TRUE(ethdev->remove());
    auto attached = ethdev->attach(probe());
    ASSERT_TRUE(attached) << attached.error();
    EXPECT_EQ(to_string(ethdev->mac()), to_string(mac));
    EXPECT_TRUE(ethdev->remove());
}

/// A worker in a thread of its own, asked all the time.
class ResetUnderTraffic : public DeviceTest {
  protected:
    static constexpr Time patience = 60s;

    void SetUp() override {
        DeviceTest::SetUp();
        worker_.emplace(WorkerContext{*port_, table_, *reader_, handoff_, counters_, rules_.now});
        thread_ = std::thread([&] {
            cpu_set_t any; // not the one CPU of the main lcore, on which the test spins
            std::memset(&any, 0xff, sizeof any);
            sched_setaffinity(0, sizeof any, &any);
            worker_->run(stop_);
        });
    }
    void TearDown() override {
        stop_ = true;
        if (thread_.joinable()) thread_.join();
        DeviceTest::TearDown();
    }

    template <class Condition>
    static bool until(Condition condition) {
        for (Time end = boot_time() + patience; boot_time() < end; std::this_thread::yield()) {
            if (condition()) return true; // asked no more: it may take what it finds
        }
        return false;
    }
    bool is_answered() { // REFUSED, as its client is nobody's; that is answer enough
        arrive(Query{.payload = test::query("www.example")});
        void* mbuf = nullptr;
        if (!until([&] { return rte_ring_dequeue(from_port_, &mbuf) == 0; })) return false;
        rte_pktmbuf_free(static_cast<rte_mbuf*>(mbuf));
        return true;
    }

    cache::Grace grace_;
    cache::Grace::Reader* reader_ = grace_.add_reader();
    cache::Table table_{{.entries = 1000, .bytes = 1 << 22}, grace_};
    Handoff handoff_;
    test::RulesInEffect rules_{ClientPolicy{{*parse_prefix("192.0.2.0/24")}}};
    std::optional<Worker> worker_;
    std::atomic<bool> stop_{false};
    std::thread thread_;
};

TEST_F(ResetUnderTraffic, IsAnsweredBeforeAndAfterAndUntouchedBetween) {
    for (int round = 0; round < 20; ++round) {
        ASSERT_TRUE(is_answered());
        port_->suspend();
        auto period = grace_.begin();
        ASSERT_TRUE(until([&] { return grace_.passed(period); }));
        arrive(Query{.payload = test::query("www.example")});
        std::uint64_t turns = worker_->heartbeats();
        ASSERT_TRUE(until([&] { return worker_->heartbeats() > turns + 2; })) << "it goes on turning";
        EXPECT_EQ(rte_ring_count(to_port_), 1U) << "and not into the driver";
        auto done = ethdev_->reset();
        ASSERT_TRUE(done) << done.error();
        port_->resume(ethdev_->port(), ethdev_->offload());
        void* mbuf = nullptr;
        ASSERT_TRUE(until([&] { return rte_ring_dequeue(from_port_, &mbuf) == 0; }));
        rte_pktmbuf_free(static_cast<rte_mbuf*>(mbuf));
        ASSERT_TRUE(is_answered());
    }
}

} // namespace

} // namespace millrace::tests
