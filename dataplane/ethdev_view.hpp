// What an operator wants to see of a port that the kernel no longer shows: the device, its link, its queues,
// and what its driver has counted.
//
// Threads: the control thread. It asks the driver, which for AF_XDP is a system call for each queue.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "dataplane/ethdev_offloads.hpp"
#include "dataplane/xdp_sockets.hpp"

namespace millrace::dataplane {

struct EthdevView {
    std::string name;       ///< DPDK's, such as "0000:00:03.0" or "net_memif0"
    std::string driver;     ///< such as "net_ixgbe"
    std::string mac;        ///< lower-case hexadecimal with colons
    bool is_up = false;     ///< the link
    std::uint32_t mbit = 0; ///< its speed per second; 0: not known
    std::uint16_t mtu = 0;
    int numa_node = -1; ///< -1: none, or any
    std::uint16_t queues = 0;
    std::uint16_t receive_ring = 0,
                  send_ring = 0;       ///< descriptors of a queue, as the driver made them; 0: not told
    std::vector<std::string> offloads; ///< enabled, receive and send
    /// rte_eth_stats: frames, their octets. `missed`: the NIC had no free descriptor; `no_buffer`: the driver
    /// had no mbuf.
    std::uint64_t received = 0, sent = 0, received_octets = 0, sent_octets = 0;
    std::uint64_t missed = 0, no_buffer = 0, receive_errors = 0, send_errors = 0;
    std::vector<std::pair<std::string, std::uint64_t>>
        more;                   ///< xstats that are not 0, under the driver's names
    std::optional<XdpMode> xdp; ///< of an AF_XDP port

    /// Of another ethdev of the same port, whose one queue is the next one: what is counted is added.
    void add(const EthdevView& other);
};

/// What an ethdev was set up with, which drivers do not tell.
struct EthdevSetup {
    Offloads offloads;                             ///< that are on
    std::uint16_t receive_ring = 0, send_ring = 0; ///< descriptors of a queue, as the driver has made them
};

/// What its driver does not tell stays as above.
EthdevView view_ethdev(std::uint16_t port, const EthdevSetup& setup);

/// Whether its link is up, without waiting.
bool has_link(std::uint16_t port);

} // namespace millrace::dataplane
