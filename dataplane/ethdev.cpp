#define ALLOW_EXPERIMENTAL_API // rte_eth_dev_conf_get
#include "dataplane/ethdev.hpp"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <cstring>
#include <set>
#include <string_view>
#include <thread>
#include <utility>

#include <rte_bus.h>
#include <rte_dev.h>
#include <rte_ethdev.h>
#include <rte_mbuf.h>
#include <rte_mbuf_pool_ops.h>
#include <rte_mempool.h>

#include "cache/time.hpp"
#include "dataplane/limits.hpp"

namespace millrace::dataplane {

namespace {

constexpr Time vdev_patience = 200ms; // a virtual device's peer comes when it comes
constexpr Time link_interval = 20ms;
constexpr std::uint16_t lowest_mtu = 1280; // replies are at most that long

static_assert(limits::mbuf_octets >= limits::mbuf_room + sizeof(rte_mbuf) + sizeof(rte_mempool_objhdr));

constexpr std::uint64_t wanted_hashes =
    RTE_ETH_RSS_IPV4 | RTE_ETH_RSS_IPV6 | RTE_ETH_RSS_NONFRAG_IPV4_UDP | RTE_ETH_RSS_NONFRAG_IPV6_UDP;

bool is_virtual(const rte_eth_dev_info& info) {
    return info.device == nullptr || std::strcmp(rte_bus_name(rte_dev_bus(info.device)), "pci") != 0;
}

/// EAL loads it as it starts. A pool is made with these operations even if it gets others.
bool has_pool_plugin() {
    const auto& table = rte_mempool_ops_table;
    return std::any_of(table.ops, table.ops + table.num_ops,
                       [](const rte_mempool_ops& ops) { return std::strcmp(ops.name, "ring_mp_mc") == 0; });
}

QueueOffer offer_of(const rte_eth_dev_info& info) {
    bool virtio = info.driver_name != nullptr && std::strstr(info.driver_name, "virtio") != nullptr;
    return {std::min(info.max_rx_queues, info.max_tx_queues),
            (wanted_hashes & info.flow_type_rss_offloads) != 0, virtio || is_virtual(info)};
}

/// Clients are spread over the queues by their addresses and ports. A device that does not announce it leaves
/// the choice to its peer.
void spread(rte_eth_conf& conf, const rte_eth_dev_info& info, std::size_t queues) {
    std::uint64_t possible = wanted_hashes & info.flow_type_rss_offloads;
    if (queues < 2 || possible == 0) return;
    conf.rxmode.mq_mode = RTE_ETH_MQ_RX_RSS;
    conf.rx_adv_conf.rss_conf.rss_hf = possible;
}

/// virtio's driver always negotiates a filter of VLANs, which begins empty: every tagged frame would be lost,
/// and counted nowhere. Others filter when they are asked to.
bool filters_vlans(const rte_eth_dev_info& info) {
    return std::string_view(info.driver_name) == "net_virtio" &&
           info.rx_offload_capa & RTE_ETH_RX_OFFLOAD_VLAN_FILTER;
}

} // namespace

std::string fault_of_queues(const std::string& name, const QueueOffer& offer, std::size_t lcores) {
    std::string count = std::to_string(lcores);
    if (lcores > offer.queues) {
        return "port " + name + " has " + std::to_string(offer.queues) + " queue(s) but " + count +
               " lcores; give it one lcore per queue";
    }
    if (lcores < 2 || offer.spreads || offer.peer_spreads) return "";
    return "port " + name + " has " + count +
           " lcores, but its NIC or driver does not spread what it receives over queues (RSS), so that all "
           "but "
           "the first would get nothing; give it one lcore";
}

std::string warning_of_nodes(const std::string& name, int nic_node, std::span<const LcoreNode> lcores) {
    std::string far;
    for (const LcoreNode& one : lcores) {
        if (nic_node < 0 || one.node == unsigned(nic_node)) continue;
        far += (far.empty() ? "" : ", ") + std::to_string(one.lcore) + " (node " + std::to_string(one.node) +
               ")";
    }
    if (far.empty()) return "";
    std::string node = std::to_string(nic_node);
    return "port " + name + " is on NUMA node " + node + ", but not its lcore(s) " + far +
           ": each packet crosses between the nodes; take CPUs of "
           "/sys/devices/system/node/node" +
           node + "/cpulist";
}

std::vector<Mac> groups_of(std::span<const Address> addresses, const Mac& mac) {
    auto solicited = [](const std::uint8_t* last_three) {
        return Mac{{0x33, 0x33, 0xff, last_three[0], last_three[1], last_three[2]}};
    };
    std::set<std::array<std::uint8_t, 6>> groups = {
        {0x01, 0x00, 0x5e, 0, 0, 1}, {0x33, 0x33, 0, 0, 0, 1}, solicited(&mac.octets[3]).octets};
    for (const Address& address : addresses) {
        if (!address.is_v4()) groups.insert(solicited(&address.octets[13]).octets);
    }
    std::vector<Mac> out;
    for (const auto& octets : groups) out.push_back({octets});
    return out;
}

tl::expected<Ethdev, std::string> Ethdev::start(std::uint16_t port, std::string name,
                                                std::span<const unsigned> lcores, bool has_kernel,
                                                std::span<const Address> addresses) {
    Ethdev ethdev(port, std::move(name), lcores, has_kernel, addresses);
    if (Result done = ethdev.set_up(); !done) return tl::unexpected(done.error());
    ethdev.mac_ = ethdev.mac();
    return ethdev;
}

Ethdev::Result Ethdev::set_up() {
    warnings_.clear();
    rte_eth_dev_info info{};
    if (int error = rte_eth_dev_info_get(port_, &info); error != 0)
        return failure("no description of", error);
    device_ = info.device;
    virtual_ = is_virtual(info);
    Result done = configure(info);
    if (done) done = add_queues();
    if (!done) return done;
    if (int error = rte_eth_dev_start(port_); error != 0) return failure("cannot start", error);
    if (Result mtu = check_mtu(); !mtu) return mtu;
    if (filters_vlans(info)) pass_all_vlans();
    read_rings();
    if (has_kernel_) join_groups();
    if (!events_) events_ = std::make_unique<EthdevEvents>(port_, device_ ? rte_dev_name(device_) : name_);
    return {};
}

Ethdev::Ethdev(Ethdev&& other) noexcept
    : port_(other.port_), name_(std::move(other.name_)), lcores_(std::move(other.lcores_)),
      addresses_(std::move(other.addresses_)), pools_(std::exchange(other.pools_, {})),
      device_(other.device_), events_(std::move(other.events_)), mac_(other.mac_), offload_(other.offload_),
      setup_(other.setup_), told_receive_ring_(other.told_receive_ring_),
      warnings_(std::move(other.warnings_)), has_kernel_(other.has_kernel_), virtual_(other.virtual_),
      owns_(std::exchange(other.owns_, false)) {}

Ethdev::~Ethdev() {
    events_.reset();
    if (owns_) {
        rte_eth_dev_stop(port_);
        rte_eth_dev_close(port_);
    }
    for (rte_mempool* pool : pools_) rte_mempool_free(pool);
}

Ethdev::Result Ethdev::reset() {
    int error = rte_eth_dev_reset(port_);
    if (error == -ENOTSUP) error = rte_eth_dev_stop(port_); // a driver without: set up anew
    if (error != 0) return failure("cannot reset", error);
    return set_up().and_then([this] { return keep_mac(); });
}

Ethdev::Result Ethdev::remove() {
    events_.reset();
    rte_eth_dev_stop(port_);
    rte_eth_dev_close(port_);
    owns_ = false;
    rte_device* device = std::exchange(device_, nullptr);
    int error = device ? rte_dev_remove(device) : 0;
    return error == 0 ? Result() : failure("DPDK does not let go of", error);
}

Ethdev::Result Ethdev::attach(std::uint16_t port) {
    port_ = port;
    Result done = set_up().and_then([this] { return keep_mac(); });
    if (!done) (void)remove();
    return done;
}

/// Another card in the same slot has another one, and so may a virtual function that was made or reset anew.
/// The neighbours, and the kernel interface, know the old one.
Ethdev::Result Ethdev::keep_mac() const {
    if (mac() == mac_) return {};
    rte_ether_addr before{};
    std::memcpy(before.addr_bytes, mac_.octets.data(), mac_.octets.size());
    int error = rte_eth_dev_default_mac_addr_set(port_, &before);
    return error == 0 ? Result()
                      : failure("no way to keep the MAC address " + to_string(mac_) + " of", error);
}

Ethdev::Result Ethdev::configure(const rte_eth_dev_info& info) {
    std::size_t queues = lcores_.size();
    if (std::string fault = fault_of_queues(name_, offer_of(info), queues); !fault.empty())
        return tl::unexpected(std::move(fault));
    auto agreed = agree_on(wanted_offloads(info, has_kernel_),
                           [&](const Offloads& wanted) { return apply(info, queues, wanted); });
    if (!agreed) return failure("cannot configure", agreed.error());
    owns_ = true;
    setup_.offloads = agreed->on;
    offload_.ipv4_header = agreed->on.send & RTE_ETH_TX_OFFLOAD_IPV4_CKSUM;
    offload_.udp = agreed->on.send & RTE_ETH_TX_OFFLOAD_UDP_CKSUM;
    std::string names;
    for (const std::string& one : agreed->left_out) names += (names.empty() ? "" : ", ") + one;
    if (!names.empty()) {
        warnings_.push_back("port " + name_ + " does not do what its driver has announced (" + names +
                            "): it is done in software");
    }
    return {};
}

/// Configures the ethdev; what is on then, the driver's own corrections included.
tl::expected<Offloads, int> Ethdev::apply(const rte_eth_dev_info& info, std::size_t queues,
                                          const Offloads& wanted) {
    rte_eth_conf conf{}, on{};
    conf.rxmode.offloads = wanted.receive;
    conf.txmode.offloads = wanted.send;
    if (filters_vlans(info)) conf.rxmode.offloads |= RTE_ETH_RX_OFFLOAD_VLAN_FILTER;
    spread(conf, info, queues);
    conf.intr_conf.rmv = (*info.dev_flags & RTE_ETH_DEV_INTR_RMV) != 0; // others refuse to be asked for it
    auto count = std::uint16_t(queues);
    if (int error = rte_eth_dev_configure(port_, count, count, &conf); error != 0)
        return tl::unexpected(error);
    if (int error = rte_eth_dev_conf_get(port_, &on); error != 0) return tl::unexpected(error);
    return Offloads{on.rxmode.offloads, on.txmode.offloads};
}

Ethdev::Result Ethdev::add_queues() {
    std::uint16_t receive = limits::rx_descriptors, send = limits::tx_descriptors;
    if (int error = rte_eth_dev_adjust_nb_rx_tx_desc(port_, &receive, &send); error != 0) {
        return failure("cannot size the rings of", error);
    }
    setup_.receive_ring = receive;
    setup_.send_ring = send;
    for (std::uint16_t queue = 0; queue < lcores_.size(); ++queue) {
        if (queue == pools_.size()) { // else it is set up again
            if (Result pool = create_pool(lcores_[queue]); !pool) return pool;
        }
        unsigned socket = rte_lcore_to_socket_id(lcores_[queue]);
        int error = rte_eth_rx_queue_setup(port_, queue, receive, socket, nullptr, pools_[queue]);
        if (error != 0) return failure("cannot set up a receive queue of", error);
        error = rte_eth_tx_queue_setup(port_, queue, send, socket, nullptr);
        if (error != 0) return failure("cannot set up a send queue of", error);
    }
    return {};
}

/// On the lcore's NUMA node, not the NIC's, where the two differ: the NIC's writes and reads are on their way
/// while others follow, whereas the lcore waits for each line that it reads of a header.
///
/// Virtual devices read buffers by their virtual addresses, so theirs need no contiguous IOVA and lie one
/// right behind the other. AF_XDP depends on it: the memory it shows the kernel is (number of buffers) x
/// (size of one), and the padding between pages would leave the last buffers outside.
Ethdev::Result Ethdev::create_pool(unsigned lcore) {
    if (!has_pool_plugin())
        return tl::unexpected(
            std::string("DPDK's plugin for buffer pools is missing; install Debian's package "
                        "librte-mempool-ring23"));
    std::string name = "port" + std::to_string(port_) + "-queue" + std::to_string(pools_.size());
    rte_mempool* pool = rte_mempool_create_empty(
        name.c_str(), limits::mbufs_per_queue, sizeof(rte_mbuf) + limits::mbuf_room, limits::mbuf_cache,
        sizeof(rte_pktmbuf_pool_private), int(rte_lcore_to_socket_id(lcore)),
        virtual_ ? RTE_MEMPOOL_F_NO_IOVA_CONTIG : 0U);
    if (pool == nullptr) return failure("cannot create the buffer pool of", -rte_errno);
    pools_.push_back(pool);
    rte_mempool_set_ops_byname(pool, rte_mbuf_best_mempool_ops(), nullptr);
    rte_pktmbuf_pool_private sizes{};
    sizes.mbuf_data_room_size = limits::mbuf_room;
    rte_pktmbuf_pool_init(pool, &sizes);
    if (int count = rte_mempool_populate_default(pool); count < 0) {
        return failure("not enough memory for the packet buffers of", count);
    }
    rte_mempool_obj_iter(pool, rte_pktmbuf_init, nullptr);
    return {};
}

Mac Ethdev::mac() const {
    rte_ether_addr address{};
    rte_eth_macaddr_get(port_, &address);
    Mac mac;
    std::ranges::copy(address.addr_bytes, mac.octets.begin());
    return mac;
}

unsigned Ethdev::mtu() const {
    std::uint16_t mtu = 0;
    return rte_eth_dev_get_mtu(port_, &mtu) == 0 ? mtu : 0;
}

Ethdev::Result Ethdev::check_mtu() const {
    if (mtu() == 0 || mtu() >= lowest_mtu) return {};
    return tl::unexpected("port " + name_ + " has an MTU of " + std::to_string(mtu()) +
                          "; replies need at least " + std::to_string(lowest_mtu));
}

/// What the driver has made of the rings, where it tells, or somebody else did.
void Ethdev::read_rings() {
    rte_eth_rxq_info receive{};
    rte_eth_txq_info send{};
    if (rte_eth_rx_queue_info_get(port_, 0, &receive) == 0 && receive.nb_desc > 0)
        setup_.receive_ring = receive.nb_desc;
    if (rte_eth_tx_queue_info_get(port_, 0, &send) == 0 && send.nb_desc > 0) setup_.send_ring = send.nb_desc;
    if (told_receive_ring_ > 0) setup_.receive_ring = told_receive_ring_;
}

/// Neighbour discovery goes to groups. A virtual function that is not trusted may be refused all of them, but
/// not those that it lists. A virtual device that can do neither gets everything anyway: it has no filter.
void Ethdev::join_groups() {
    if (rte_eth_allmulticast_enable(port_) == 0 || rte_eth_promiscuous_enable(port_) == 0) return;
    std::vector<rte_ether_addr> list;
    for (const Mac& group : groups_of(addresses_, mac())) {
        std::memcpy(list.emplace_back().addr_bytes, group.octets.data(), group.octets.size());
    }
    int error = rte_eth_dev_set_mc_addr_list(port_, list.data(), std::uint32_t(list.size()));
    if (error == 0 || virtual_) return;
    warnings_.push_back(
        "port " + name_ +
        " may not receive group addresses, which neighbour discovery needs; have its host trust "
        "it (`ip link set PF vf N trust on`), or tell the network its IPv6 addresses statically");
}

void Ethdev::pass_all_vlans() const {
    for (std::uint16_t vlan = 0; vlan < 4095; ++vlan) rte_eth_dev_vlan_filter(port_, vlan, 1);
}

bool Ethdev::wait_for_link() const {
    rte_eth_link link{};
    Time patience = virtual_ ? vdev_patience : link_patience;
    for (Time waited{};; waited += link_interval) {
        if (rte_eth_link_get_nowait(port_, &link) == 0 && link.link_status == RTE_ETH_LINK_UP) return true;
        if (waited >= patience) return false;
        std::this_thread::sleep_for(link_interval);
    }
}

tl::unexpected<std::string> Ethdev::failure(const std::string& what, int error) const {
    // Many drivers know but one error, -1, which would read as "not permitted".
    const char* why = error == -1 ? "its driver's own words are above" : std::strerror(std::abs(error));
    return tl::unexpected(what + " port " + name_ + ": " + why);
}

} // namespace millrace::dataplane
