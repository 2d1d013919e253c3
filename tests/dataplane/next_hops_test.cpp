// Where replies are routed to: the kernel's routes, neighbours and VLAN interfaces as lcores see them.
#include <algorithm>
#include <map>
#include <random>

#include <gtest/gtest.h>

#include "dataplane/next_hops.hpp"
#include "tests/dataplane/frames.hpp"

namespace millrace::tests {

namespace {

using namespace dataplane;

constexpr std::uint32_t dns0 = 3, dns0_7 = 4, dns0_7_9 = 5, eth0 = 9;
const std::vector<std::string> interfaces = {"dns0"};
const Mac mac_a{{2, 0, 0, 0, 0, 0xa}}, mac_b{{2, 0, 0, 0, 0, 0xb}}, mac_c{{2, 0, 0, 0, 0, 0xc}};

KernelHop via(std::string_view gateway, std::uint32_t interface = dns0, std::uint32_t weight = 1) {
    return {interface, address(gateway), weight};
}
KernelHop on_link(std::uint32_t interface = dns0) {
    return {interface};
}

struct RouteRow {
    std::string_view to;
    std::vector<KernelHop> hops;
    std::uint32_t priority = 0;
};

KernelRoutes routes_of(const std::vector<RouteRow>& rows) {
    KernelRoutes routes;
    for (const RouteRow& row : rows) routes.add(*parse_prefix(row.to), row.priority, row.hops);
    routes.seal();
    return routes;
}

KernelView view(const std::vector<RouteRow>& rows, std::vector<KernelNeighbour> neighbours = {}) {
    KernelView kernel;
    kernel.links = {{1, "lo"},
                    {dns0, "dns0"},
                    {dns0_7, "dns0.7", KernelLink::Vlan{dns0, 0x88a8, 7}},
                    {dns0_7_9, "dns0.7.9", KernelLink::Vlan{dns0_7, 0x8100, 9}},
                    {6, "dns0.7.9.1", KernelLink::Vlan{dns0_7_9, 0x8100, 1}},
                    {eth0, "eth0"}};
    kernel.neighbours = std::move(neighbours);
    kernel.routes = std::make_shared<KernelRoutes>(routes_of(rows));
    return kernel;
}

/// The MAC address that a reply goes to; none: back to the sender.
std::optional<Mac> goes_to(const NextHops& next_hops, std::string_view client, std::size_t interface = 0) {
    const NextHop* to = next_hops.find(interface, address(client));
    return to ? std::optional(to->mac) : std::nullopt;
}

std::string gateway_of(const KernelRoutes& routes, std::string_view client) {
    auto hops = routes.hops(address(client));
    if (hops.empty()) return "none";
    return hops[0].gateway ? to_string(*hops[0].gateway) : "on link";
}

TEST(KernelRoutes, TheLongestPrefixCounts) {
    KernelRoutes routes = routes_of({{"0.0.0.0/0", {via("192.0.2.1")}},
                                     {"10.0.0.0/8", {via("192.0.2.2")}},
                                     {"10.1.0.0/16", {via("192.0.2.3")}},
                                     {"10.1.0.0/24", {via("192.0.2.9")}},
                                     {"10.1.2.3/32", {via("192.0.2.4")}},
                                     {"255.255.255.255/32", {via("192.0.2.5")}},
                                     {"2001:db8::/32", {via("fe80::1")}},
                                     {"2001:db8:0:1::/64", {via("fe80::2")}}});
    const std::map<std::string_view, std::string> rows = {{"0.0.0.0", "192.0.2.1"},
                                                          {"9.255.255.255", "192.0.2.1"},
                                                          {"10.0.0.0", "192.0.2.2"},
                                                          {"10.0.255.255", "192.0.2.2"},
                                                          {"10.1.0.0", "192.0.2.9"},
                                                          {"10.1.2.2", "192.0.2.3"},
                                                          {"10.1.2.3", "192.0.2.4"},
                                                          {"10.1.2.4", "192.0.2.3"},
                                                          {"10.1.255.255", "192.0.2.3"},
                                                          {"10.2.0.0", "192.0.2.2"},
                                                          {"10.255.255.255", "192.0.2.2"},
                                                          {"11.0.0.0", "192.0.2.1"},
                                                          {"255.255.255.254", "192.0.2.1"},
                                                          {"255.255.255.255", "192.0.2.5"},
                                                          {"2001:db8::1", "fe80::1"},
                                                          {"2001:db8:0:1::1", "fe80::2"},
                                                          {"2001:db8:0:2::", "fe80::1"},
                                                          {"2001:db9::", "none"},
                                                          {"::1", "none"}};
    for (const auto& [client, gateway] : rows) EXPECT_EQ(gateway_of(routes, client), gateway) << client;
    EXPECT_EQ(routes.size(), 8u);
}

TEST(KernelRoutes, OfOnePrefixTheLowestPriorityThenTheFirst) {
    KernelRoutes routes = routes_of({{"10.0.0.0/8", {via("192.0.2.1")}, 200},
                                     {"10.0.0.0/8", {via("192.0.2.2")}, 100},
                                     {"10.0.0.0/8", {via("192.0.2.3")}, 100}});
    EXPECT_EQ(gateway_of(routes, "10.9.9.9"), "192.0.2.2");
}

TEST(KernelRoutes, ABlackholeHidesWhatIsAroundIt) {
    KernelRoutes routes = routes_of({{"0.0.0.0/0", {via("192.0.2.1")}}, {"10.0.0.0/8", {}}});
    EXPECT_EQ(gateway_of(routes, "10.9.9.9"), "none");
    EXPECT_EQ(gateway_of(routes, "11.9.9.9"), "192.0.2.1");
}

TEST(KernelRoutes, WithoutRoutesThereIsNoWay) {
    KernelRoutes routes;
    EXPECT_EQ(gateway_of(routes, "10.9.9.9"), "none");
    EXPECT_EQ(gateway_of(routes, "2001:db8::1"), "none");
    routes.seal();
    EXPECT_EQ(gateway_of(routes, "255.255.255.255"), "none");
}

/// Against every prefix looked at one by one.
TEST(KernelRoutes, AnyNestingOfPrefixes) {
    std::mt19937 random(7);
    for (unsigned round = 0; round < 200; ++round) {
        std::vector<Prefix> prefixes;
        KernelRoutes routes;
        for (unsigned i = 0; i < 30; ++i) {
            auto word = std::uint32_t(random() & 0x0f0f0f0f);
            unsigned bits = 96 + random() % 33;
            Prefix prefix{Address::v4(&word), bits};
            for (unsigned bit = bits; bit < 128; ++bit)
                prefix.address.octets[bit / 8] &= std::uint8_t(~(0x80 >> bit % 8));
            if (std::ranges::find(prefixes, prefix) != prefixes.end()) continue;
            prefixes.push_back(prefix);
            routes.add(prefix, 0, {{unsigned(prefixes.size())}});
        }
        routes.seal();
        for (unsigned i = 0; i < 200; ++i) {
            auto word = std::uint32_t(random() & (i % 2 ? 0x0f0f0f0f : 0xffffffff));
            Address client = Address::v4(&word);
            const Prefix* best = nullptr;
            for (const Prefix& prefix : prefixes) {
                if (prefix.contains(client) && (!best || prefix.bits > best->bits)) best = &prefix;
            }
            auto hops = routes.hops(client);
            unsigned expected = best ? unsigned(best - prefixes.data()) + 1 : 0;
            ASSERT_EQ(hops.empty() ? 0 : hops[0].interface, expected) << to_string(client);
        }
    }
}

TEST(NextHops, AGatewayOrTheNeighbourItself) {
    NextHops next_hops(view({{"192.0.2.0/24", {on_link()}}, {"0.0.0.0/0", {via("192.0.2.1")}}},
                            {{dns0, address("192.0.2.1"), mac_a}, {dns0, address("192.0.2.7"), mac_b}}),
                       interfaces);
    EXPECT_EQ(goes_to(next_hops, "198.51.100.1"), mac_a);
    EXPECT_EQ(goes_to(next_hops, "192.0.2.7"), mac_b);
    EXPECT_EQ(goes_to(next_hops, "192.0.2.8"), std::nullopt) << "a neighbour that the kernel does not know";
    EXPECT_EQ(next_hops.find(0, address("198.51.100.1"))->tag_count, 0);
}

TEST(NextHops, IPv4ByAnIPv6LinkLocalGateway) {
    NextHops next_hops(view({{"0.0.0.0/0", {via("fe80::1")}},
                             {"10.0.0.0/8", {via("fe80::2")}},
                             {"2001:db8::/32", {via("fe80::1", dns0_7)}}},
                            {{dns0, address("fe80::1"), mac_a},
                             {dns0_7, address("fe80::1"), mac_b},
                             {dns0_7, address("fe80::2"), mac_c}}),
                       interfaces);
    EXPECT_EQ(goes_to(next_hops, "198.51.100.1"), mac_a);
    EXPECT_EQ(goes_to(next_hops, "2001:db8::9"), mac_b)
        << "the same address on another link is another neighbour";
    EXPECT_EQ(goes_to(next_hops, "10.0.0.1"), std::nullopt) << "so it is when only that one is known";
}

TEST(NextHops, VlanInterfacesTagWhatLeavesByThem) {
    NextHops next_hops(view({{"10.1.0.0/16", {via("192.0.2.1", dns0_7)}},
                             {"10.2.0.0/16", {on_link(dns0_7_9)}},
                             {"10.3.0.0/16", {via("192.0.2.3", 6)}}},
                            {{dns0_7, address("192.0.2.1"), mac_a},
                             {dns0_7_9, address("10.2.0.1"), mac_b},
                             {6, address("192.0.2.3"), mac_c}}),
                       interfaces);
    const NextHop* one = next_hops.find(0, address("10.1.0.1"));
    ASSERT_TRUE(one);
    EXPECT_EQ(*one, (NextHop{mac_a, 1, {0x88, 0xa8, 0, 7}}));
    EXPECT_EQ(one->l2(), 18u);
    const NextHop* two = next_hops.find(0, address("10.2.0.1"));
    ASSERT_TRUE(two);
    EXPECT_EQ(*two, (NextHop{mac_b, 2, {0x88, 0xa8, 0, 7, 0x81, 0, 0, 9}}));
    EXPECT_EQ(goes_to(next_hops, "10.3.0.1"), std::nullopt) << "more tags than a frame has here";
}

/// The port works on the VLAN interface: its frames are tagged below it.
TEST(NextHops, OfAPortOnAVlanInterfaceTheTagIsNotOurs) {
    std::vector<std::string> vlan = {"dns0.7"};
    NextHops next_hops(view({{"0.0.0.0/0", {via("192.0.2.1", dns0_7)}}, {"10.0.0.0/8", {via("192.0.2.2")}}},
                            {{dns0_7, address("192.0.2.1"), mac_a}, {dns0, address("192.0.2.2"), mac_b}}),
                       vlan);
    ASSERT_EQ(goes_to(next_hops, "198.51.100.1"), mac_a);
    EXPECT_EQ(next_hops.find(0, address("198.51.100.1"))->tag_count, 0);
    EXPECT_EQ(goes_to(next_hops, "10.1.1.1"), std::nullopt);
}

TEST(NextHops, WhatLeadsElsewhereIsNoWay) {
    std::vector<std::string> both = {"dns0", "eth0"};
    NextHops next_hops(view({{"0.0.0.0/0", {via("192.0.2.1", eth0)}}, {"10.0.0.0/8", {via("192.0.2.1")}}},
                            {{eth0, address("192.0.2.1"), mac_a}, {dns0, address("192.0.2.1"), mac_b}}),
                       both);
    EXPECT_EQ(goes_to(next_hops, "198.51.100.1", 0), std::nullopt);
    EXPECT_EQ(goes_to(next_hops, "198.51.100.1", 1), mac_a);
    EXPECT_EQ(goes_to(next_hops, "10.0.0.1", 0), mac_b);
    EXPECT_EQ(goes_to(next_hops, "10.0.0.1", 1), std::nullopt);
}

TEST(NextHops, SeveralPathsShareTheClientsByWeight) {
    std::vector<KernelHop> hops = {via("192.0.2.1", dns0, 3), via("192.0.2.2", dns0, 1)};
    NextHops next_hops(view({{"0.0.0.0/0", hops}},
                            {{dns0, address("192.0.2.1"), mac_a}, {dns0, address("192.0.2.2"), mac_b}}),
                       interfaces);
    std::map<Mac, unsigned> taken;
    for (unsigned i = 0; i < 4000; ++i) {
        Address client =
            Address::v4(std::array<std::uint8_t, 4>{10, 0, std::uint8_t(i >> 8), std::uint8_t(i)}.data());
        const NextHop* to = next_hops.find(0, client);
        ASSERT_TRUE(to);
        EXPECT_EQ(next_hops.find(0, client), to) << "always the same";
        ++taken[to->mac];
    }
    EXPECT_NEAR(taken[mac_a], 3000, 300);
    EXPECT_NEAR(taken[mac_b], 1000, 300);
}

TEST(NextHops, AnotherPathStandsInForOneThatIsNotKnown) {
    std::vector<KernelHop> hops = {via("192.0.2.1"), via("192.0.2.2"), via("192.0.2.3", eth0)};
    NextHops next_hops(view({{"0.0.0.0/0", hops}}, {{dns0, address("192.0.2.2"), mac_b}}), interfaces);
    for (unsigned i = 0; i < 100; ++i) {
        Address client = Address::v4(std::array<std::uint8_t, 4>{10, 0, 0, std::uint8_t(i)}.data());
        const NextHop* to = next_hops.find(0, client);
        ASSERT_TRUE(to);
        EXPECT_EQ(to->mac, mac_b);
    }
}

TEST(NextHops, WhatTheOperatorSees) {
    KernelView kernel = view({{"0.0.0.0/0", {via("192.0.2.1"), via("192.0.2.2")}},
                              {"10.0.0.0/8", {via("192.0.2.1")}},
                              {"11.0.0.0/8", {via("192.0.2.9", eth0)}},
                              {"12.0.0.0/8", {via("192.0.2.3", dns0_7)}}},
                             {{dns0, address("192.0.2.1"), mac_a},
                              {dns0_7, address("192.0.2.3"), mac_c, false},
                              {eth0, address("192.0.2.9"), mac_b}});
    kernel.fault = "not told";
    NextHops next_hops(kernel, interfaces);
    EXPECT_EQ(next_hops.routes(), 4u);
    EXPECT_EQ(next_hops.fault(), "not told");
    const NextHops::Summary& summary = next_hops.summary(0);
    EXPECT_TRUE(summary.is_there);
    EXPECT_EQ(summary.neighbours, 2u);
    EXPECT_EQ(summary.gateways, 3u);
    EXPECT_EQ(summary.unresolved, 1u);
    EXPECT_EQ(summary.first_unresolved, address("192.0.2.2"));
    std::map<Address, std::pair<bool, bool>> gateways;
    for (const auto& one : next_hops.gateways()) gateways[one.at.address] = {one.is_known, one.is_confirmed};
    EXPECT_EQ(gateways, (std::map<Address, std::pair<bool, bool>>{{address("192.0.2.1"), {true, true}},
                                                                  {address("192.0.2.2"), {false, false}},
                                                                  {address("192.0.2.3"), {true, false}}}));
    kernel.links.clear();
    NextHops without(kernel, interfaces);
    EXPECT_FALSE(without.summary(0).is_there);
    EXPECT_EQ(goes_to(without, "198.51.100.1"), std::nullopt);
}

TEST(Reply, TakesTheTagsOfItsNextHopWhateverTheQuerys) {
    const NextHop hops[] = {
        {mac_a, 0, {}}, {mac_b, 1, {0x81, 0, 0, 7}}, {mac_c, 2, {0x88, 0xa8, 0, 7, 0x81, 0, 0, 9}}};
    for (bool v6 : {false, true}) {
        for (const std::vector<unsigned>& tags : {std::vector<unsigned>{}, {0x8100}, {0x88a8, 0x8100}}) {
            for (const NextHop& hop : hops) {
                Bytes query = build({.v6 = v6, .tags = tags}), headroom(8, 0xee), bytes = headroom;
                bytes.insert(bytes.end(), query.begin(), query.end());
                auto frame = Frame::parse(query, service());
                ASSERT_TRUE(frame);
                Bytes echoed = query; // what is behind the link layer is the same
                unsigned at = frame->turn_round(echoed.data());
                frame->turn_round(bytes.data() + 8, hop);
                int begin = 8 + frame->begin(hop);
                ASSERT_GE(begin, 0);
                Bytes expected(hop.mac.octets.begin(), hop.mac.octets.end());
                expected.insert(expected.end(), query.begin(), query.begin() + 6);
                expected.insert(expected.end(), hop.tags.begin(), hop.tags.begin() + 4 * hop.tag_count);
                put16(expected, v6 ? 0x86dd : 0x0800);
                expected.insert(expected.end(), echoed.begin() + at + frame->l2, echoed.end());
                EXPECT_EQ(Bytes(bytes.begin() + begin, bytes.end()), expected);
                EXPECT_TRUE(std::all_of(bytes.begin(),
                                        bytes.begin() + begin < bytes.begin() + 8 ? bytes.begin() + begin
                                                                                  : bytes.begin() + 8,
                                        [](auto octet) { return octet == 0xee; }))
                    << "nothing before it is written";
            }
        }
    }
}

/// Hosts that control names are looked after as gateways are, where they are neighbours.
TEST(NextHops, HostsThatAreNeighboursAreLookedAfter) {
    auto kernel = view({{"198.18.0.0/24", {on_link()}},
                        {"198.19.0.0/24", {on_link(eth0)}},
                        {"0.0.0.0/0", {via("198.18.0.1")}}},
                       {{dns0, address("198.18.0.7"), mac_a, false}, {dns0, address("198.18.0.8"), mac_b}});
    std::vector<Address> hosts;
    for (const char* host :
         {"198.18.0.9", "198.18.0.7", "198.18.0.8", "198.19.0.9", "192.0.2.1", "2001:db8::1"})
        hosts.push_back(address(host));
    NextHops next_hops(kernel, interfaces, hosts);
    std::map<std::string, std::pair<bool, bool>> seen;
    for (const auto& one : next_hops.gateways())
        seen[to_string(one.at.address)] = {one.is_known, one.is_confirmed};
    std::map<std::string, std::pair<bool, bool>> expected = {{"198.18.0.1", {false, false}},
                                                             {"198.18.0.7", {true, false}},
                                                             {"198.18.0.8", {true, true}},
                                                             {"198.18.0.9", {false, false}}};
    EXPECT_EQ(seen, expected) << "not those of other interfaces, nor beyond a gateway";
    EXPECT_EQ(NextHops(kernel, interfaces).gateways().size(), 1u);
}

} // namespace

} // namespace millrace::tests
