// The events that a driver would raise, raised by the test: DPDK's own functions for drivers, whose header
// Debian does not install.
#pragma once

#include <string>

#include <rte_ethdev.h>

extern "C" {
struct rte_eth_dev;
rte_eth_dev* rte_eth_dev_allocated(const char* name);
int rte_eth_dev_callback_process(rte_eth_dev* dev, enum rte_eth_event_type event, void* ret_param);
}

namespace millrace::test {

inline bool has_ethdev(const std::string& name) {
    return rte_eth_dev_allocated(name.c_str()) != nullptr;
}

inline void raise(const std::string& ethdev, rte_eth_event_type event) {
    rte_eth_dev_callback_process(rte_eth_dev_allocated(ethdev.c_str()), event, nullptr);
}

} // namespace millrace::test
