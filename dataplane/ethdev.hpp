// One ethdev, configured with a queue and a packet buffer pool per lcore, started, and closed at the end. Its
// device may be reset, and may go and come back: the pools stay, as buffers of theirs are in others' hands.
//
// Threads: the control thread's, at start and at the end; workers must have stopped before it goes. reset(),
// remove() and attach(): see Device; nobody uses the ethdev meanwhile.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include <tl/expected.hpp>

#include "cache/time.hpp"
#include "dataplane/ethdev_events.hpp"
#include "dataplane/ethdev_view.hpp"
#include "dataplane/frame.hpp"

struct rte_device;
struct rte_eth_dev_info;
struct rte_mempool;

namespace millrace::dataplane {

/// What a device offers to several lcores.
struct QueueOffer {
    unsigned queues = 1;       ///< in both directions
    bool spreads = true;       ///< it announces RSS
    bool peer_spreads = false; ///< it has a peer next door that chooses the queues: virtio, vdevs
};

/// Why a device cannot serve so many lcores, and what to do, as a sentence; empty when it can. One that does
/// not spread what it receives puts all into its first queue.
std::string fault_of_queues(const std::string& name, const QueueOffer& offer, std::size_t lcores);

/// An lcore and its NUMA node.
struct LcoreNode {
    unsigned lcore = 0;
    unsigned node = 0;
};

/// Which of a NIC's lcores are on another NUMA node than the NIC (-1: on none), a sentence; empty when none.
std::string warning_of_nodes(const std::string& name, int nic_node, std::span<const LcoreNode> lcores);

/// The Ethernet groups that a host with these addresses listens to: all hosts of IPv4 and of IPv6, and the
/// solicited-node group of each IPv6 address (RFC 1112 6.4, RFC 2464 7, RFC 4291 2.7.1), its link-local one,
/// which the kernel makes of `mac`, included. Ascending, each once.
std::vector<Mac> groups_of(std::span<const Address> addresses, const Mac& mac);

class Ethdev {
  public:
    static constexpr Time link_patience = 5s; ///< so long a NIC's link is waited for at start

    /// Queue i is for lcores[i]. `has_kernel`: an exception path goes by it, so the group addresses of the
    /// link are received too, at least those of `addresses`, and buffers of several pools sent. Needs EAL.
    /// The error is a sentence; the driver's own words are on stderr.
    static tl::expected<Ethdev, std::string> start(std::uint16_t port, std::string name,
                                                   std::span<const unsigned> lcores, bool has_kernel = false,
                                                   std::span<const Address> addresses = {});

    Ethdev(Ethdev&& other) noexcept;
    Ethdev(const Ethdev&) = delete;
    Ethdev& operator=(Ethdev&&) = delete;
    Ethdev& operator=(const Ethdev&) = delete;
    ~Ethdev(); ///< stops and closes

    std::uint16_t port() const { return port_; }
    rte_mempool* pool(std::size_t queue) const { return pools_[queue]; }
    Offload offload() const { return offload_; }
    EthdevView view() const { return view_ethdev(port_, setup_); }
    unsigned receive_ring() const { return setup_.receive_ring; } ///< places of a queue
    /// For good: of a driver that makes it as it likes, and says nothing about.
    void set_receive_ring(unsigned places) {
        setup_.receive_ring = told_receive_ring_ = std::uint16_t(places);
    }

    /// What the operator should know although it is no error.
    std::span<const std::string> warnings() const { return warnings_; }
    Mac mac() const;
    unsigned mtu() const; ///< octets of IP packet; 0: the driver does not say

    /// Whether the link is up; a NIC is given a few seconds.
    bool wait_for_link() const;

    using Result = Device::Result;
    Result reset();  ///< as at the start
    Result remove(); ///< closes it, and DPDK forgets the device
    /// After remove(): DPDK has the device again, as this ethdev. It keeps the MAC address that it had at the
    /// start. After an error it is removed as before.
    Result attach(std::uint16_t port);
    /// What its driver or the kernel wants of it. While it is removed: nothing.
    EthdevEvents* events() { return events_.get(); }

  private:
    Ethdev(std::uint16_t port, std::string name, std::span<const unsigned> lcores, bool has_kernel,
           std::span<const Address> addresses)
        : port_(port), name_(std::move(name)), lcores_(lcores.begin(), lcores.end()),
          addresses_(addresses.begin(), addresses.end()), has_kernel_(has_kernel) {}
    Result set_up();
    Result keep_mac() const;
    Result configure(const rte_eth_dev_info& info);
    tl::expected<Offloads, int> apply(const rte_eth_dev_info& info, std::size_t queues,
                                      const Offloads& wanted);
    void join_groups();
    void read_rings();
    Result add_queues();
    Result create_pool(unsigned lcore);
    Result check_mtu() const;
    void pass_all_vlans() const;
    tl::unexpected<std::string> failure(const std::string& what, int error) const;

    std::uint16_t port_;
    std::string name_;
    std::vector<unsigned> lcores_;    ///< one per queue
    std::vector<Address> addresses_;  ///< see start()
    std::vector<rte_mempool*> pools_; ///< likewise
    rte_device* device_ = nullptr;    ///< null: removed
    std::unique_ptr<EthdevEvents> events_;
    Mac mac_; ///< at the start
    Offload offload_;
    EthdevSetup setup_;
    std::uint16_t told_receive_ring_ = 0; ///< 0: none was
    std::vector<std::string> warnings_;
    bool has_kernel_;
    bool virtual_ = false; ///< no PCI device
    bool owns_ = false;    ///< the ethdev has been configured and is to be closed
};

} // namespace millrace::dataplane
