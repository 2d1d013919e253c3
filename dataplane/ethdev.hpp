// One ethdev, configured with a queue and a packet buffer pool per lcore, started, and closed at the end.
//
// Threads: the control thread's, at start and at the end; workers must have stopped before it goes.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include <tl/expected.hpp>

#include "cache/time.hpp"
#include "dataplane/ethdev_view.hpp"
#include "dataplane/frame.hpp"

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
    void set_receive_ring(unsigned places) {
        setup_.receive_ring = std::uint16_t(places);
    } ///< who knows better

    /// What the operator should know although it is no error.
    std::span<const std::string> warnings() const { return warnings_; }
    Mac mac() const;
    unsigned mtu() const; ///< octets of IP packet; 0: the driver does not say

    /// Whether the link is up; a NIC is given a few seconds.
    bool wait_for_link() const;

  private:
    using Result = tl::expected<void, std::string>;

    Ethdev(std::uint16_t port, std::string name, bool has_kernel)
        : port_(port), name_(std::move(name)), has_kernel_(has_kernel) {}
    Result configure(const rte_eth_dev_info& info, std::size_t queues);
    tl::expected<Offloads, int> apply(const rte_eth_dev_info& info, std::size_t queues,
                                      const Offloads& wanted);
    void join_groups(std::span<const Address> addresses);
    void read_rings();
    Result add_queues(std::span<const unsigned> lcores);
    Result create_pool(unsigned lcore);
    Result check_mtu() const;
    void pass_all_vlans() const;
    tl::unexpected<std::string> failure(const std::string& what, int error) const;

    std::uint16_t port_;
    std::string name_;
    std::vector<rte_mempool*> pools_; ///< one per queue
    Offload offload_;
    EthdevSetup setup_;
    std::vector<std::string> warnings_;
    bool has_kernel_;
    bool virtual_ = false; ///< no PCI device
    bool owns_ = false;    ///< the ethdev has been configured and is to be closed
};

} // namespace millrace::dataplane
