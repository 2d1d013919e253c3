// Groups of upstreams that are asked by a port, and what cannot be.
#include <string>

#include <gtest/gtest.h>

#include "tests/control/config/config_text.hpp"

namespace millrace::control {
namespace {

const std::string ports =
    "ports: [{device: 'net_af_xdp0,iface=a0', lcores: [1], addresses: [192.0.2.9], next-hop: routed},"
    " {device: 'net_af_xdp1,iface=a1', lcores: [2], addresses: [192.0.2.9], next-hop: routed},"
    " {device: 'net_af_xdp2,iface=a2', lcores: [3], addresses: [192.0.2.9]},"
    " {device: 'net_af_packet0,iface=a3', lcores: [4], addresses: [192.0.2.9], next-hop: routed}]\n";

std::string group(const std::string& name, const std::string& servers, const std::string& more) {
    return "{group: " + name + ", servers: [" + servers + "], " + more + "}";
}
std::string with(const std::string& groups) {
    return ports + "upstreams: [" + groups + "]\n";
}

TEST(ConfigVia, AGroupIsAskedByAPort) {
    std::string text = with(group("g", "192.0.2.1, '[2001:db8::1]:53'",
                                  "via: net_af_xdp1, source: [192.0.2.60, '2001:db8::60']") +
                            ", {group: h, servers: [192.0.2.2]}, " +
                            group("i", "192.0.2.3", "via: 'net_af_xdp1,iface=a1', source: [192.0.2.60]"));
    Config config = parsed(text);
    ASSERT_EQ(config.boot.ways.size(), 2u);
    const Config::Way& way = config.boot.ways.at("g");
    EXPECT_EQ(way.port, "net_af_xdp1");
    ASSERT_EQ(way.sources.size(), 2u);
    EXPECT_EQ(dataplane::to_string(way.sources[1]), "2001:db8::60");
    EXPECT_EQ(config.boot.ways.at("i").port, "net_af_xdp1");
    EXPECT_EQ(parsed(to_yaml(config)), config);
    EXPECT_TRUE(parsed(with("{group: g, servers: [192.0.2.1]}")).boot.ways.empty());
}

TEST(ConfigVia, AReloadHasOtherGroupsWithTheWaysOfTheStart) {
    Config boot = parsed(with(group("g", "192.0.2.1", "via: net_af_xdp0, source: [192.0.2.60]")));
    Config other = parsed(with("{group: h, servers: [192.0.2.1]}"));
    EXPECT_TRUE(parsed(to_yaml({boot.boot, other.live})).boot.ways.empty());
    Config moved = parsed(with("{group: h, servers: [192.0.2.1]}, {group: g, servers: [192.0.2.3]}"));
    EXPECT_EQ(parsed(to_yaml({boot.boot, moved.live})).boot.ways, boot.boot.ways);
    Config ipv6 = parsed(with("{group: g, servers: ['[2001:db8::1]:53']}"));
    EXPECT_NE(complaint(to_yaml({boot.boot, ipv6.live})).find("an IPv6 address, too"), std::string::npos);
}

TEST(ConfigVia, WhatCannotBe) {
    const std::pair<std::string, std::string> rows[] = {
        {group("g", "192.0.2.1", "source: [192.0.2.60]"),
         "upstreams[0].via: expected the name of a port, which `source` needs"},
        {group("g", "192.0.2.1", "via: net_af_xdp0"),
         "upstreams[0].source: expected the addresses that the port's upstreams are asked from"},
        {group("g", "192.0.2.1", "via: net_af_xdp0, source: []"),
         "upstreams[0].source: expected the addresses"},
        {group("g", "192.0.2.1", "via: net_af_xdp9, source: [192.0.2.60]"),
         "upstreams[0].via: expected the name of a port with `next-hop: routed`"},
        {group("g", "192.0.2.1", "via: net_af_xdp2, source: [192.0.2.60]"), "with `next-hop: routed`"},
        {group("g", "192.0.2.1", "via: net_af_packet0, source: [192.0.2.60]"), "not of net_af_packet"},
        {group("g", "192.0.2.1", "via: net_af_xdp0, source: [192.0.2.60, 192.0.2.60]"), "each item once"},
        {group("g", "192.0.2.1", "via: net_af_xdp0, source: [127.0.0.2]"),
         "expected an address of millraced's own"},
        {group("g", "192.0.2.1", "via: net_af_xdp0, source: ['fe80::1']"), "an address of millraced's own"},
        {group("g", "192.0.2.1", "via: net_af_xdp0, source: [224.0.0.1]"), "an address of millraced's own"},
        {group("g", "'[2001:db8::1]:53'", "via: net_af_xdp0, source: [192.0.2.60]"),
         "upstreams[0].source: expected an IPv6 address, too, for [2001:db8::1]:53"},
        {group("g", "'[fe80::1%lo]:53'", "via: net_af_xdp0, source: ['2001:db8::60']"),
         "upstreams[0].via: expected servers without a zone"},
        {group("g", "192.0.2.1", "via: net_af_xdp0, source: [192.0.2.60]") + ", " +
             group("h", "192.0.2.1", "via: net_af_xdp1, source: [192.0.2.60]"),
         "upstreams[1].source: expected addresses that no other port has, found \"192.0.2.60\""},
    };
    for (const auto& [groups, words] : rows) {
        std::string found = complaint(with(groups));
        EXPECT_NE(found.find(words), found.npos) << groups << ": " << found;
    }
}

} // namespace
} // namespace millrace::control
