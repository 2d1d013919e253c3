// Where a port's replies go: what `next-hop` may be.
#include <gtest/gtest.h>

#include "tests/control/config/config_text.hpp"

namespace millrace::control {
namespace {

TEST(NextHopConfig, WhatIsReadIsPrintedAndParsesBack) {
    EXPECT_FALSE(parsed(upstreams + port).boot.ports.at(0).is_routed);
    for (const char* device : {"net_af_xdp0,iface=e0", "net_af_packet0,iface=e0"}) {
        Config config = parsed(port_on(device, "next-hop: routed"));
        EXPECT_TRUE(config.boot.ports.at(0).is_routed);
        EXPECT_FALSE(config.boot.ports.at(0).next_hop);
        EXPECT_EQ(parsed(to_yaml(config)), config);
        EXPECT_NE(to_yaml(config).find("next-hop: \"routed\""), std::string::npos);
    }
    Config config = parsed(port_on("0000:03:00.0", "next-hop: routed, kernel: {interface: dns0}"));
    EXPECT_TRUE(config.boot.ports.at(0).is_routed);
}

TEST(NextHopConfig, WhatCannotBeIsRefused) {
    const struct {
        std::string device, more, said;
    } rows[] = {
        {"net_tap0", "next-hop: router", "ports[0].next-hop: expected sender, routed, or a MAC address"},
        {"net_memif0", "next-hop: routed", "ports[0].next-hop: expected sender or a MAC address: the kernel"},
        {"0000:03:00.0", "next-hop: routed", "this port gets one with `kernel: {interface: ...}`"},
    };
    for (const auto& [device, more, said] : rows) {
        std::string words = complaint(port_on(device, more));
        EXPECT_NE(words.find(said), std::string::npos) << more << ": " << words;
    }
}

} // namespace
} // namespace millrace::control
