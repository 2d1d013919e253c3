// What a NIC is asked to do for us, and whether it does. What it does not, Frame does: the same octets.
//
// Pure but for what `apply` does. Bits are DPDK's: RTE_ETH_RX_OFFLOAD_... and RTE_ETH_TX_OFFLOAD_...
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include <tl/expected.hpp>

struct rte_eth_dev_info;

namespace millrace::dataplane {

struct Offloads {
    std::uint64_t receive = 0, send = 0;

    friend bool operator==(const Offloads&, const Offloads&) = default;
};

/// Of what the device offers. `has_kernel`: frames of the kernel's go out, too. Never that VLAN tags are
/// taken off: replies carry them.
Offloads wanted_offloads(const rte_eth_dev_info& info, bool has_kernel);

struct AgreedOffloads {
    Offloads on;
    std::vector<std::string> left_out; ///< asked for and not on, in DPDK's words, lower case
};

/// Asks for `wanted` by `apply`, which configures the device and returns what it says is on then, or DPDK's
/// error. A device that refuses checksums which it announced is asked again, without. Error: of the last try.
tl::expected<AgreedOffloads, int>
agree_on(const Offloads& wanted, const std::function<tl::expected<Offloads, int>(const Offloads&)>& apply);

/// "udp_cksum", "ipv4_cksum", ...
std::vector<std::string> names_of(const Offloads& offloads);

} // namespace millrace::dataplane
