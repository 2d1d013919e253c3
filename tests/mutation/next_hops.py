"""Mutations: where routed replies go."""

from mutation import Mutation

MUTATIONS = [
    Mutation(
        "shorter-prefixes-come-last", "dataplane/kernel_routes.cpp",
        "        return std::tie(a.first, a.length, a.priority) < std::tie(b.first, b.length, b.priority);\n",
        "        return std::tie(a.first, b.length, a.priority) < std::tie(b.first, a.length, b.priority);\n",
        "replies to a customer's network leave by the provider's default route",
        "dataplane_test:KernelRoutes.*"),
    Mutation(
        "behind-a-prefix-there-is-nothing", "dataplane/kernel_routes.cpp",
        "            begin(behind, open.empty() ? 0 : open.back().second);\n",
        "            begin(behind, 0);\n",
        "clients behind a longer prefix lose the way that the shorter one has for them",
        "dataplane_test:KernelRoutes.*"),
    Mutation(
        "inner-tags-outside", "dataplane/next_hops.cpp",
        "        for (auto tag = tags.rbegin(); tag != tags.rend(); ++tag) {\n",
        "        for (auto tag = tags.begin(); tag != tags.end(); ++tag) {\n",
        "replies go to another customer's VLAN",
        "dataplane_test:NextHops.*"),
    Mutation(
        "by-any-port", "dataplane/next_hops.cpp",
        "        if (hop.interface != interface) continue;\n",
        "",
        "a reply leaves one network with the MAC address of a router in another",
        "dataplane_test:NextHops.*"),
    Mutation(
        "a-neighbour-on-any-link", "dataplane/next_hops.cpp",
        "    return found != neighbours_.end() && found->at == at ? &found->to : nullptr;\n",
        "    return found != neighbours_.end() && found->at.address == at.address ? &found->to : nullptr;\n",
        "fe80::1 of one VLAN gets what is for fe80::1 of another",
        "dataplane_test:NextHops.*"),
    Mutation(
        "a-path-that-is-not-known-is-the-end", "dataplane/next_hops.cpp",
        "        if (hop.is_gateway) continue;\n",
        "        if (hop.is_gateway) return nullptr;\n",
        "one of two routers fails, and half of the replies go the way that the operator has ruled out",
        "dataplane_test:NextHops.*"),
    Mutation(
        "dead-next-hops-count", "dataplane/netlink_message.cpp",
        "    if (flags & RTNH_F_DEAD || interface == 0) return std::nullopt;\n",
        "    if (interface == 0) return std::nullopt;\n",
        "replies go to a router whose link is down",
        "dataplane_test:NetlinkMessage.*"),
    Mutation(
        "headers-as-long-as-the-querys", "dataplane/ethdev_port.cpp",
        "            describe(mbuf, to->l2(), frame->l3, packet);\n",
        "            describe(mbuf, frame->l2, frame->l3, packet);\n",
        "a reply that gets a tag is written over itself",
        "ethdev_test:RoutedPortTest.*"),
    Mutation(
        "no-headroom-is-no-matter", "dataplane/ethdev_port.cpp",
        "    if (!to || frame.begin(*to) + int(rte_pktmbuf_headroom(&mbuf)) < 0) return false;\n",
        "    if (!to) return false;\n",
        "a tag is written over what lies before the buffer",
        "ethdev_test:RoutedPortTest.*"),
    Mutation(
        "going-back-is-not-counted", "dataplane/ethdev_port.cpp",
        "        counters.add(Event::unrouted); // so back to the sender, a neighbour that has reached us\n",
        "",
        "nobody sees that replies do not take the way that they should",
        "ethdev_test:RoutedPortTest.*"),
    Mutation(
        "link-local-clients-are-routed", "dataplane/ethdev_port.cpp",
        "    if (next_hops && !frame->source.address.is_link_local()) {\n",
        "    if (next_hops) {\n",
        "who asks by a link-local address is looked for beyond a router",
        "ethdev_test:RoutedPortTest.*"),
]
