// What is read out of the kernel's messages. They are written here, as rtnetlink(7) and the kernel's
// fib_dump_info, rt6_fill_node and vlan_fill_info have them: not every kernel that runs the tests has VLANs.
#include <functional>

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <libmnl/libmnl.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include "dataplane/netlink_message.hpp"
#include "tests/dataplane/frames.hpp"

namespace millrace::tests {

namespace {

using namespace dataplane;

class Message {
  public:
    template <class Header>
    Message(std::uint16_t type, const Header& fixed) {
        mnl_nlmsg_put_header(buffer_)->nlmsg_type = type;
        std::memcpy(mnl_nlmsg_put_extra_header(header(), sizeof fixed), &fixed, sizeof fixed);
    }
    Message& u16(std::uint16_t type, std::uint16_t value) {
        mnl_attr_put_u16(header(), type, value);
        return *this;
    }
    Message& u32(std::uint16_t type, std::uint32_t value) {
        mnl_attr_put_u32(header(), type, value);
        return *this;
    }
    Message& text(std::uint16_t type, const char* value) {
        mnl_attr_put_strz(header(), type, value);
        return *this;
    }
    Message& octets(std::uint16_t type, const Bytes& value) {
        mnl_attr_put(header(), type, value.size(), value.data());
        return *this;
    }
    Message& at(std::uint16_t type, std::string_view text) { return octets(type, raw(text)); }
    Message& within(std::uint16_t type, const std::function<void(Message&)>& fill) {
        nlattr* nest = mnl_attr_nest_start(header(), type);
        fill(*this);
        mnl_attr_nest_end(header(), nest);
        return *this;
    }
    /// One of RTA_MULTIPATH.
    Message& path(std::uint32_t interface, std::uint8_t weight, std::uint8_t flags,
                  std::string_view gateway) {
        auto* hop = static_cast<rtnexthop*>(mnl_nlmsg_get_payload_tail(header()));
        *hop = {0, flags, std::uint8_t(weight - 1), int(interface)};
        header()->nlmsg_len += sizeof *hop;
        at(RTA_GATEWAY, gateway);
        hop->rtnh_len = std::uint16_t(static_cast<char*>(mnl_nlmsg_get_payload_tail(header())) -
                                      reinterpret_cast<char*>(hop));
        return *this;
    }
    const nlmsghdr* get() const { return reinterpret_cast<const nlmsghdr*>(buffer_); }

    static Bytes raw(std::string_view text) {
        Address a = address(text);
        return {a.octets.begin() + (a.is_v4() ? 12 : 0), a.octets.end()};
    }

  private:
    nlmsghdr* header() { return reinterpret_cast<nlmsghdr*>(buffer_); }

    alignas(8) char buffer_[4096]{};
};

Message link(int index, const char* name) {
    ifinfomsg fixed{};
    fixed.ifi_index = index;
    Message message(RTM_NEWLINK, fixed);
    message.text(IFLA_IFNAME, name);
    return message;
}

std::vector<KernelLink> links_of(const Message& message) {
    std::vector<KernelLink> links;
    read_link(message.get(), links);
    return links;
}

TEST(NetlinkMessage, ALinkAndWhatItIsAVlanOf) {
    EXPECT_EQ(links_of(link(3, "dns0")), (std::vector<KernelLink>{{3, "dns0"}}));
    auto vlan = [](const char* kind) {
        return [kind](Message& info) {
            info.text(IFLA_INFO_KIND, kind);
            info.within(IFLA_INFO_DATA, [](Message& data) {
                data.u16(IFLA_VLAN_ID, 7).u16(IFLA_VLAN_PROTOCOL, htons(0x88a8));
            });
        };
    };
    auto made = link(4, "dns0.7");
    made.u32(IFLA_LINK, 3).within(IFLA_LINKINFO, vlan("vlan"));
    EXPECT_EQ(links_of(made), (std::vector<KernelLink>{{4, "dns0.7", KernelLink::Vlan{3, 0x88a8, 7}}}));

    auto elsewhere = link(4, "dns0.7");
    elsewhere.u32(IFLA_LINK, 3).u32(IFLA_LINK_NETNSID, 0).within(IFLA_LINKINFO, vlan("vlan"));
    EXPECT_EQ(links_of(elsewhere), (std::vector<KernelLink>{{4, "dns0.7"}})) << "of another namespace's link";
    auto macvlan = link(4, "dns0.7");
    macvlan.u32(IFLA_LINK, 3).within(IFLA_LINKINFO, vlan("macvlan"));
    EXPECT_EQ(links_of(macvlan), (std::vector<KernelLink>{{4, "dns0.7"}}));
}

std::vector<KernelNeighbour> neighbours_of(std::uint16_t state, std::string_view at, const Bytes& mac,
                                           std::uint8_t flags = 0) {
    ndmsg fixed{};
    fixed.ndm_ifindex = 3;
    fixed.ndm_state = state;
    fixed.ndm_flags = flags;
    std::vector<KernelNeighbour> neighbours;
    read_neighbour(Message(RTM_NEWNEIGH, fixed).at(NDA_DST, at).octets(NDA_LLADDR, mac).get(), neighbours);
    return neighbours;
}

TEST(NetlinkMessage, ANeighbourWhoseMacAddressIsKnown) {
    const Bytes octets = {2, 0, 0, 0, 0, 9};
    const Mac mac{{2, 0, 0, 0, 0, 9}};
    for (std::uint16_t state : {NUD_REACHABLE, NUD_PERMANENT, NUD_NOARP, NUD_DELAY, NUD_PROBE}) {
        EXPECT_EQ(neighbours_of(state, "fe80::1", octets),
                  (std::vector<KernelNeighbour>{{3, address("fe80::1"), mac, true}}));
    }
    EXPECT_EQ(neighbours_of(NUD_STALE, "192.0.2.1", octets),
              (std::vector<KernelNeighbour>{{3, address("192.0.2.1"), mac, false}}));
    for (std::uint16_t state : {NUD_INCOMPLETE, NUD_FAILED, NUD_NONE})
        EXPECT_TRUE(neighbours_of(state, "192.0.2.1", octets).empty());
    EXPECT_TRUE(neighbours_of(NUD_PERMANENT, "192.0.2.1", octets, NTF_PROXY).empty());
    EXPECT_TRUE(neighbours_of(NUD_PERMANENT, "192.0.2.1", {2, 0, 0, 0}).empty()) << "no Ethernet";
    EXPECT_TRUE(neighbours_of(NUD_NOARP, "192.0.2.1", {1, 0, 0x5e, 0, 0, 9}).empty()) << "of a group";
    EXPECT_TRUE(neighbours_of(NUD_NOARP, "192.0.2.1", Bytes(6)).empty()) << "loopback";
}

Message route(int family, unsigned bits, std::uint8_t type = RTN_UNICAST, unsigned flags = 0) {
    rtmsg fixed{};
    fixed.rtm_family = std::uint8_t(family);
    fixed.rtm_dst_len = std::uint8_t(bits);
    fixed.rtm_table = RT_TABLE_MAIN;
    fixed.rtm_type = type;
    fixed.rtm_flags = flags;
    return {RTM_NEWROUTE, fixed};
}

/// After the route, behind a default one that says "nothing else is known". `size`: how many there are then.
std::vector<KernelHop> hops_of(const Message& message, std::string_view client, std::size_t size = 2) {
    KernelRoutes routes;
    EXPECT_TRUE(
        read_route(route(address(client).is_v4() ? AF_INET : AF_INET6, 0).u32(RTA_OIF, 99).get(), routes));
    EXPECT_TRUE(read_route(message.get(), routes));
    EXPECT_EQ(routes.size(), size);
    routes.seal();
    auto hops = routes.hops(address(client));
    return {hops.begin(), hops.end()};
}

using Hops = std::vector<KernelHop>;
const Hops another = {{99}}, nowhere = {};

TEST(NetlinkMessage, ARoute) {
    auto v4 = route(AF_INET, 8);
    v4.at(RTA_DST, "10.0.0.0").u32(RTA_OIF, 3).at(RTA_GATEWAY, "192.0.2.1");
    EXPECT_EQ(hops_of(v4, "10.1.1.1"), (Hops{{3, address("192.0.2.1")}}));
    EXPECT_EQ(hops_of(v4, "11.1.1.1"), another);
    auto v6 = route(AF_INET6, 32);
    v6.at(RTA_DST, "2001:db8::").u32(RTA_OIF, 3).at(RTA_GATEWAY, "fe80::1").u32(RTA_PRIORITY, 1024);
    EXPECT_EQ(hops_of(v6, "2001:db8::9"), (Hops{{3, address("fe80::1")}}));
    auto on_link = route(AF_INET, 24);
    on_link.at(RTA_DST, "10.0.0.0").u32(RTA_OIF, 3);
    EXPECT_EQ(hops_of(on_link, "10.0.0.9"), (Hops{{3}}));
}

TEST(NetlinkMessage, AnIPv4RouteByAnIPv6Gateway) {
    auto message = route(AF_INET, 8);
    Bytes via = {AF_INET6, 0}, gateway = Message::raw("fe80::1");
    via.insert(via.end(), gateway.begin(), gateway.end());
    message.at(RTA_DST, "10.0.0.0").u32(RTA_OIF, 3).octets(RTA_VIA, via);
    EXPECT_EQ(hops_of(message, "10.1.1.1"), (Hops{{3, address("fe80::1")}}));
}

TEST(NetlinkMessage, SeveralPathsButForTheDead) {
    auto message = route(AF_INET, 8);
    message.at(RTA_DST, "10.0.0.0").within(RTA_MULTIPATH, [](Message& paths) {
        paths.path(3, 2, 0, "192.0.2.1")
            .path(4, 1, RTNH_F_DEAD, "192.0.2.2")
            .path(5, 1, RTNH_F_LINKDOWN, "192.0.2.3");
    });
    EXPECT_EQ(hops_of(message, "10.1.1.1"), (Hops{{3, address("192.0.2.1"), 2}, {5, address("192.0.2.3")}}));
}

TEST(NetlinkMessage, WhatTheKernelSkipsIsNotThere) {
    auto dead = route(AF_INET, 8, RTN_UNICAST, RTNH_F_DEAD);
    dead.at(RTA_DST, "10.0.0.0").u32(RTA_OIF, 3).at(RTA_GATEWAY, "192.0.2.1");
    EXPECT_EQ(hops_of(dead, "10.1.1.1", 1), another);
    auto cloned = route(AF_INET6, 128, RTN_UNICAST, RTM_F_CLONED);
    cloned.at(RTA_DST, "2001:db8::9").u32(RTA_OIF, 3);
    EXPECT_EQ(hops_of(cloned, "2001:db8::9", 1), another);
    auto other_table = route(AF_INET, 8);
    other_table.at(RTA_DST, "10.0.0.0").u32(RTA_OIF, 3).u32(RTA_TABLE, 1000);
    EXPECT_EQ(hops_of(other_table, "10.1.1.1", 1), another);
    auto mapped = route(AF_INET6, 96);
    mapped.at(RTA_DST, "::ffff:0:0").u32(RTA_OIF, 3);
    EXPECT_EQ(hops_of(mapped, "10.1.1.1", 1), another);
}

TEST(NetlinkMessage, WhatGoesNowhereOrInATunnelHasNoHops) {
    for (std::uint8_t type : {RTN_BLACKHOLE, RTN_UNREACHABLE, RTN_PROHIBIT, RTN_THROW}) {
        auto message = route(AF_INET, 8, type);
        message.at(RTA_DST, "10.0.0.0");
        EXPECT_EQ(hops_of(message, "10.1.1.1"), nowhere);
    }
    auto tunnel = route(AF_INET, 8);
    tunnel.at(RTA_DST, "10.0.0.0").u32(RTA_OIF, 3).at(RTA_GATEWAY, "192.0.2.1").octets(RTA_ENCAP, Bytes(4));
    EXPECT_EQ(hops_of(tunnel, "10.1.1.1"), nowhere);
    auto object = route(AF_INET, 8);
    object.at(RTA_DST, "10.0.0.0").u32(RTA_NH_ID, 5);
    EXPECT_EQ(hops_of(object, "10.1.1.1"), nowhere);
}

} // namespace

} // namespace millrace::tests
