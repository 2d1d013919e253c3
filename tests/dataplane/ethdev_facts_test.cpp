// What is judged of a device without one: its offloads, its ring, its place, its groups.
#include <string_view>

#include <gtest/gtest.h>
#include <rte_ethdev.h>

#include "dataplane/ethdev.hpp"
#include "dataplane/ethdev_offloads.hpp"
#include "dataplane/idle.hpp"
#include "dataplane/xdp_sockets.hpp"

namespace millrace::tests {

using namespace dataplane;

namespace {

constexpr Offloads all{RTE_ETH_RX_OFFLOAD_IPV4_CKSUM | RTE_ETH_RX_OFFLOAD_UDP_CKSUM,
                       RTE_ETH_TX_OFFLOAD_IPV4_CKSUM | RTE_ETH_TX_OFFLOAD_UDP_CKSUM |
                           RTE_ETH_TX_OFFLOAD_MBUF_FAST_FREE};

rte_eth_dev_info device(const char* driver, std::uint64_t receive = ~0ULL, std::uint64_t send = ~0ULL) {
    rte_eth_dev_info info{};
    info.driver_name = driver;
    info.rx_offload_capa = receive;
    info.tx_offload_capa = send;
    return info;
}

TEST(Offloads, AreAskedForWhereTheyAreOffered) {
    EXPECT_EQ(wanted_offloads(device("net_ixgbe"), false), all);
    EXPECT_EQ(wanted_offloads(device("net_ring", 0, 0), false), Offloads{});
    EXPECT_EQ(wanted_offloads(
                  device("net_ixgbe", RTE_ETH_RX_OFFLOAD_VLAN_STRIP, RTE_ETH_TX_OFFLOAD_VLAN_INSERT), false),
              Offloads{})
        << "tags stay where they are";
    EXPECT_EQ(wanted_offloads(device("net_virtio"), false), all);
    Offloads beside_kernel = wanted_offloads(device("net_virtio"), true);
    EXPECT_EQ(beside_kernel.receive, RTE_ETH_RX_OFFLOAD_IPV4_CKSUM);
    EXPECT_EQ(beside_kernel.send, all.send & ~RTE_ETH_TX_OFFLOAD_MBUF_FAST_FREE);
}

TEST(Offloads, WhatADriverLeavesOutInSilenceIsNotCountedOn) {
    auto agreed = agree_on(all, [](const Offloads& wanted) -> tl::expected<Offloads, int> {
        return Offloads{wanted.receive & ~RTE_ETH_RX_OFFLOAD_UDP_CKSUM,
                        wanted.send & ~RTE_ETH_TX_OFFLOAD_UDP_CKSUM};
    });
    ASSERT_TRUE(agreed);
    EXPECT_EQ(agreed->on.send & RTE_ETH_TX_OFFLOAD_UDP_CKSUM, 0U);
    EXPECT_NE(agreed->on.send & RTE_ETH_TX_OFFLOAD_IPV4_CKSUM, 0U);
    EXPECT_EQ(agreed->left_out, (std::vector<std::string>{"udp_cksum", "udp_cksum"}));
}

TEST(Offloads, WhatADriverRefusesIsDoneInSoftware) {
    unsigned asked = 0;
    auto agreed = agree_on(all, [&](const Offloads& wanted) -> tl::expected<Offloads, int> {
        if (++asked == 1) return tl::unexpected(-95); // as virtio's of what its host does not do
        return wanted;
    });
    ASSERT_TRUE(agreed);
    EXPECT_EQ(agreed->on, (Offloads{0, RTE_ETH_TX_OFFLOAD_MBUF_FAST_FREE}));
    EXPECT_EQ(agreed->left_out.size(), 4U);

    asked = 0;
    auto refused = agree_on({}, [&](const Offloads&) -> tl::expected<Offloads, int> {
        ++asked;
        return tl::unexpected(-22);
    });
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error(), -22);
    EXPECT_EQ(asked, 1U) << "there was nothing to leave out";
}

TEST(Offloads, WhatWasNotAskedForIsNotShown) {
    auto agreed = agree_on({}, [](const Offloads&) -> tl::expected<Offloads, int> { return all; });
    ASSERT_TRUE(agreed);
    EXPECT_EQ(agreed->on, Offloads{});
    EXPECT_TRUE(agreed->left_out.empty());
}

/// For every ring: what comes at the promised rate while the lcore naps and wakes finds room.
TEST(Rest, ThePromiseFollowsFromTheRing) {
    for (unsigned ring : {1U, 8U, 64U, 256U, 512U, 1024U, 2048U, 4096U, 65535U}) {
        Rest rest = rest_of(ring);
        EXPECT_LE(std::uint64_t(rest.packets_per_ms) * (rest.longest_nap + limits::waking).count(),
                  ring * 1000ULL)
            << ring;
        EXPECT_GE(rest.longest_nap, limits::first_nap);
        EXPECT_LE(rest.longest_nap, limits::longest_nap);
    }
    EXPECT_EQ(rest_of(1024).longest_nap, limits::longest_nap);
    EXPECT_GE(rest_of(1024).packets_per_ms, limits::packets_per_us * 1000);
    EXPECT_EQ(rest_of(256).longest_nap, 25us) << "virtio's";
    EXPECT_EQ(rest_of(256).packets_per_ms, 2048U);
    EXPECT_EQ(rest_of(4096).longest_nap, limits::longest_nap);
}

TEST(Nodes, LcoresFarFromTheirNicAreNamed) {
    const LcoreNode lcores[] = {{2, 0}, {3, 1}, {5, 1}};
    EXPECT_EQ(warning_of_nodes("0000:03:00.0", 0, lcores),
              "port 0000:03:00.0 is on NUMA node 0, but not its lcore(s) 3 (node 1), 5 (node 1): each packet "
              "crosses "
              "between the nodes; take CPUs of /sys/devices/system/node/node0/cpulist");
    EXPECT_EQ(warning_of_nodes("p", 0, std::span(lcores).first(1)), "");
    EXPECT_EQ(warning_of_nodes("p", -1, lcores), "") << "a machine without nodes, or a virtual device";
}

TEST(Groups, AreThoseThatAHostListensTo) {
    const Address addresses[] = {*parse_address("198.18.0.53"), *parse_address("2001:db8::1:2345"),
                                 *parse_address("2001:db8:1::1:2345")};
    std::vector<std::string> names;
    for (const Mac& group : groups_of(addresses, {{2, 0, 0, 0xaa, 0xbb, 0xcc}}))
        names.push_back(to_string(group));
    EXPECT_EQ(names, (std::vector<std::string>{"01:00:5e:00:00:01", "33:33:00:00:00:01", "33:33:ff:01:23:45",
                                               "33:33:ff:aa:bb:cc"}));
}

TEST(EthdevView, SeveralOfOnePortAreOne) {
    EthdevView all;
    all.queues = 1;
    all.missed = 1;
    all.more = {{"rx_q0_packets", 5}, {"rx_good_packets", 5}};
    EthdevView other = all;
    other.received = 7;
    all.add(other);
    EXPECT_EQ(all.queues, 2);
    EXPECT_EQ(all.missed, 2U);
    EXPECT_EQ(all.received, 7U);
    using Counts = std::vector<std::pair<std::string, std::uint64_t>>;
    EXPECT_EQ(all.more, (Counts{{"rx_q0_packets", 5}, {"rx_good_packets", 10}, {"rx_q1_packets", 5}}));
}

TEST(XdpMode, IsToldInWords) {
    EXPECT_EQ(to_string(XdpMode{"native", true, true}), "native XDP, zero copy, need_wakeup, busy polling");
    EXPECT_EQ(to_string(XdpMode{"generic", false, false}),
              "generic XDP, packets copied, need_wakeup, no busy polling");
    EXPECT_FALSE(mode_of({}).zero_copy);
}

} // namespace

} // namespace millrace::tests
