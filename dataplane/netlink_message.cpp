#include "dataplane/netlink_message.hpp"

#include <algorithm>
#include <array>
#include <cstring>

#include <libmnl/libmnl.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include "dataplane/limits.hpp"

namespace millrace::dataplane {

namespace {

/// More types than any kind of message has.
constexpr std::size_t types = 1 + std::max({IFLA_MAX, IFLA_INFO_MAX, IFLA_VLAN_MAX, RTA_MAX, NDA_MAX});

/// Attributes by their types; of a type that is there twice the last. Null: not there.
class Attributes {
  public:
    Attributes(const nlmsghdr* message, std::size_t header) {
        mnl_attr_parse(message, unsigned(header), add, this);
    }
    explicit Attributes(const nlattr* nested) { mnl_attr_parse_nested(nested, add, this); }
    Attributes(const std::uint8_t* payload, std::size_t octets) {
        mnl_attr_parse_payload(payload, octets, add, this);
    }

    const nlattr* operator[](std::size_t type) const { return found_[type]; }
    template <class Value>
    std::optional<Value> value(std::size_t type) const {
        const nlattr* at = found_[type];
        if (!at || mnl_attr_get_payload_len(at) < sizeof(Value)) return std::nullopt;
        Value value;
        std::memcpy(&value, mnl_attr_get_payload(at), sizeof value);
        return value;
    }
    std::optional<Address> address(std::size_t type, std::size_t skip = 0) const {
        const nlattr* at = found_[type];
        std::size_t octets = at ? mnl_attr_get_payload_len(at) : 0;
        if (octets < skip) return std::nullopt;
        auto* from = static_cast<const std::uint8_t*>(mnl_attr_get_payload(at)) + skip;
        if (octets - skip == 4) return Address::v4(from);
        return octets - skip == 16 ? std::optional(Address::v6(from)) : std::nullopt;
    }

  private:
    static int add(const nlattr* attribute, void* to) {
        unsigned type = mnl_attr_get_type(attribute);
        if (type < types) static_cast<Attributes*>(to)->found_[type] = attribute;
        return MNL_CB_OK;
    }

    std::array<const nlattr*, types> found_{};
};

std::optional<KernelLink::Vlan> vlan_of(const Attributes& link) {
    // An interface below that is in another network namespace has an index that is another's here.
    if (!link[IFLA_LINKINFO] || !link[IFLA_LINK] || link[IFLA_LINK_NETNSID]) return std::nullopt;
    Attributes info(link[IFLA_LINKINFO]);
    bool is_vlan = info[IFLA_INFO_KIND] && info[IFLA_INFO_DATA] &&
                   std::strncmp(mnl_attr_get_str(info[IFLA_INFO_KIND]), "vlan",
                                mnl_attr_get_payload_len(info[IFLA_INFO_KIND])) == 0;
    if (!is_vlan) return std::nullopt;
    Attributes vlan(info[IFLA_INFO_DATA]);
    auto protocol = vlan.value<std::uint16_t>(IFLA_VLAN_PROTOCOL),
         id = vlan.value<std::uint16_t>(IFLA_VLAN_ID);
    if (!protocol || !id) return std::nullopt;
    return KernelLink::Vlan{*link.value<std::uint32_t>(IFLA_LINK), __builtin_bswap16(*protocol), *id};
}

/// Of a route, or of one of its several next hops. None: it cannot be used now. `is_plain` becomes false when
/// it wants something around the packet (MPLS, a tunnel).
std::optional<KernelHop> hop_of(const Attributes& route, std::uint32_t interface, unsigned flags,
                                bool& is_plain) {
    is_plain = is_plain && !route[RTA_ENCAP] && !route[RTA_NEWDST];
    if (flags & RTNH_F_DEAD || interface == 0) return std::nullopt;
    KernelHop hop{interface};
    hop.gateway = route.address(RTA_GATEWAY);
    if (!hop.gateway) hop.gateway = route.address(RTA_VIA, sizeof(rtvia)); // of the other family (RFC 8950)
    return hop;
}

std::vector<KernelHop> hops_of(const Attributes& route, unsigned flags, bool& is_plain) {
    std::vector<KernelHop> hops;
    if (!route[RTA_MULTIPATH]) {
        auto hop = hop_of(route, route.value<std::uint32_t>(RTA_OIF).value_or(0), flags, is_plain);
        if (hop) hops.push_back(*hop);
        return hops;
    }
    const auto* at = static_cast<const std::uint8_t*>(mnl_attr_get_payload(route[RTA_MULTIPATH]));
    std::size_t left = mnl_attr_get_payload_len(route[RTA_MULTIPATH]);
    for (rtnexthop one; left >= sizeof one;) {
        std::memcpy(&one, at, sizeof one);
        if (one.rtnh_len < sizeof one || one.rtnh_len > left) break;
        Attributes attributes(at + sizeof one, one.rtnh_len - sizeof one);
        auto hop = hop_of(attributes, std::uint32_t(one.rtnh_ifindex), one.rtnh_flags, is_plain);
        if (hop) {
            hop->weight = one.rtnh_hops + 1U;
            hops.push_back(*hop);
        }
        std::size_t step = std::min<std::size_t>(RTNH_ALIGN(one.rtnh_len), left);
        at += step;
        left -= step;
    }
    return hops;
}

} // namespace

void read_link(const nlmsghdr* message, std::vector<KernelLink>& links) {
    if (mnl_nlmsg_get_payload_len(message) < sizeof(ifinfomsg)) return;
    Attributes link(message, sizeof(ifinfomsg));
    const auto* header = static_cast<const ifinfomsg*>(mnl_nlmsg_get_payload(message));
    if (!link[IFLA_IFNAME] || links.size() >= limits::kernel_links) return;
    std::string name(
        mnl_attr_get_str(link[IFLA_IFNAME]),
        strnlen(mnl_attr_get_str(link[IFLA_IFNAME]), mnl_attr_get_payload_len(link[IFLA_IFNAME])));
    links.push_back({std::uint32_t(header->ifi_index), std::move(name), vlan_of(link)});
}

void read_neighbour(const nlmsghdr* message, std::vector<KernelNeighbour>& neighbours) {
    if (mnl_nlmsg_get_payload_len(message) < sizeof(ndmsg)) return;
    Attributes found(message, sizeof(ndmsg));
    const auto* header = static_cast<const ndmsg*>(mnl_nlmsg_get_payload(message));
    constexpr unsigned confirmed = NUD_PERMANENT | NUD_NOARP | NUD_REACHABLE | NUD_DELAY | NUD_PROBE;
    bool is_known = header->ndm_state & (confirmed | NUD_STALE) && !(header->ndm_flags & NTF_PROXY);
    auto address = found.address(NDA_DST);
    auto mac = found.value<Mac>(NDA_LLADDR);
    if (!is_known || !address || !mac || mnl_attr_get_payload_len(found[NDA_LLADDR]) != sizeof(Mac)) return;
    if (mac->octets[0] & 1 || *mac == Mac{} || neighbours.size() >= limits::kernel_neighbours) return;
    neighbours.push_back(
        {std::uint32_t(header->ndm_ifindex), *address, *mac, (header->ndm_state & confirmed) != 0});
}

bool read_route(const nlmsghdr* message, KernelRoutes& routes) {
    if (mnl_nlmsg_get_payload_len(message) < sizeof(rtmsg)) return true;
    const auto* header = static_cast<const rtmsg*>(mnl_nlmsg_get_payload(message));
    bool is_v4 = header->rtm_family == AF_INET;
    bool concerns_us = (is_v4 || header->rtm_family == AF_INET6) && header->rtm_src_len == 0 &&
                       header->rtm_tos == 0 && !(header->rtm_flags & RTM_F_CLONED) &&
                       header->rtm_dst_len <= (is_v4 ? 32 : 128);
    if (!concerns_us) return true;
    Attributes route(message, sizeof *header);
    if (route.value<std::uint32_t>(RTA_TABLE).value_or(header->rtm_table) != RT_TABLE_MAIN) return true;
    Address any = is_v4 ? Address::v4("\0\0\0\0") : Address{};
    Prefix to{route.address(RTA_DST).value_or(any), header->rtm_dst_len + (is_v4 ? 96U : 0U)};
    if (to.address.is_v4() != is_v4) return true; // of mapped addresses, which are on no wire
    bool is_plain = true;
    std::vector<KernelHop> hops;
    // By a next hop object alone (net.ipv4.nexthop_compat_mode=0) the way is not told: there is none.
    if (header->rtm_type == RTN_UNICAST && (route[RTA_OIF] || route[RTA_MULTIPATH])) {
        hops = hops_of(route, header->rtm_flags, is_plain);
        if (hops.empty()) return true; // all are dead: the kernel looks at shorter prefixes
    }
    if (!is_plain) hops.clear();
    if (routes.size() >= limits::kernel_routes) return false;
    routes.add(to, route.value<std::uint32_t>(RTA_PRIORITY).value_or(0), std::move(hops));
    return true;
}

} // namespace millrace::dataplane
