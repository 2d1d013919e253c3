#define ALLOW_EXPERIMENTAL_API // of 22.11, which Debian keeps
#include "dataplane/ethdev_events.hpp"

#include <cerrno>
#include <thread>
#include <utility>

#include <rte_dev.h>
#include <rte_ethdev.h>

namespace millrace::dataplane {

namespace {

int on_ethdev_event(std::uint16_t, rte_eth_event_type event, void* events, void*) {
    bool is_reset = event == RTE_ETH_EVENT_INTR_RESET;
    static_cast<EthdevEvents*>(events)->note(is_reset ? Device::Wish::reset : Device::Wish::loss);
    return 0;
}

/// VFIO's request for the device comes as its removal, before the kernel takes it away.
void on_device_event(const char*, rte_dev_event_type event, void* events) {
    if (event == RTE_DEV_EVENT_REMOVE) static_cast<EthdevEvents*>(events)->note(Device::Wish::removal);
}

} // namespace

EthdevEvents::EthdevEvents(std::uint16_t port, std::string device) : port_(port), device_(std::move(device)) {
    for (auto event : {RTE_ETH_EVENT_INTR_RESET, RTE_ETH_EVENT_INTR_RMV})
        rte_eth_dev_callback_register(port_, event, on_ethdev_event, this);
    rte_dev_event_callback_register(device_.c_str(), on_device_event, this);
}

EthdevEvents::~EthdevEvents() {
    auto until_idle = [](auto unregister) {
        while (unregister() == -EAGAIN) std::this_thread::yield(); // it runs at this moment
    };
    for (auto event : {RTE_ETH_EVENT_INTR_RESET, RTE_ETH_EVENT_INTR_RMV})
        until_idle([&] { return rte_eth_dev_callback_unregister(port_, event, on_ethdev_event, this); });
    until_idle([&] { return rte_dev_event_callback_unregister(device_.c_str(), on_device_event, this); });
}

void EthdevEvents::note(Wish wish) {
    for (Wish before = wish_.load(); before < wish && !wish_.compare_exchange_weak(before, wish);) {
    }
}

EthdevEvents::Wish EthdevEvents::take() {
    // Asked in every tick: a plain load as long as there is nothing.
    return wish_.load(std::memory_order_relaxed) == Wish::none ? Wish::none : wish_.exchange(Wish::none);
}

} // namespace millrace::dataplane
