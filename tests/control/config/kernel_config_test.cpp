// The kernel interface of a port: what it may be.
#include <gtest/gtest.h>

#include "tests/control/config/config_text.hpp"

namespace millrace::control {
namespace {

std::string on(const std::string& device, const std::string& kernel) {
    return port_on(device, "kernel: {" + kernel + "}");
}

TEST(KernelConfig, APortHasNoneUnlessItIsNamed) {
    auto kernel = parsed(upstreams + port).boot.ports.at(0).kernel;
    EXPECT_FALSE(kernel.is_wanted());
    kernel = parsed(on("net_tap0", "interface: dns0")).boot.ports.at(0).kernel;
    EXPECT_TRUE(kernel.is_wanted());
    EXPECT_TRUE(kernel.addresses.empty()) << "the operator's tools may give it some";
    EXPECT_EQ(kernel.mtu, 1500u);
    EXPECT_EQ(kernel.rate, 50'000u);
}

TEST(KernelConfig, WhatIsPrintedParsesBack) {
    Config config = parsed(on("0000:03:00.0", "interface: dns0, addresses: [192.0.2.9/24, '2001:db8::9/64'], "
                                              "mtu: 1280, rate: 100"));
    EXPECT_EQ(config.boot.ports.at(0).kernel.addresses.at(0).bits, 96u + 24u);
    EXPECT_EQ(parsed(to_yaml(config)), config);
    EXPECT_NE(to_yaml(config).find("192.0.2.9/24"), std::string::npos);
}

TEST(KernelConfig, WhatCannotBeIsRefused) {
    const struct {
        std::string device, kernel, said;
    } rows[] = {
        {"net_tap0", "interface: 'a name'", "ports[0].kernel.interface: expected the name of an interface"},
        {"net_tap0", "interface: sixteen-letters-x", "ports[0].kernel.interface: expected the name"},
        {"net_tap0", "interface: dns%d", "ports[0].kernel.interface: expected the name"},
        {"net_tap0", "mtu: 1400", "ports[0].kernel.interface: expected the name"},
        {"net_tap0", "interface: dns0, mtu: 1279", "ports[0].kernel.mtu: expected"},
        {"net_tap0", "interface: dns0, mtu: 9000", "ports[0].kernel.mtu: expected"},
        {"net_tap0", "interface: dns0, rate: 99", "ports[0].kernel.rate: expected"},
        {"net_tap0", "interface: dns0, addresses: [192.0.2.9]",
         "ports[0].kernel.addresses[0]: expected a unicast"},
        {"net_tap0", "interface: dns0, addresses: [224.0.0.9/4]",
         "ports[0].kernel.addresses[0]: expected a uni"},
        {"net_tap0", "interface: dns0, addresses: [192.0.2.9/33]",
         "ports[0].kernel.addresses[0]: expected a u"},
        {"net_af_xdp0,iface=e0", "interface: dns0", "ports[0].kernel: expected nothing, as the kernel keeps"},
        {"net_af_packet0,iface=e0", "interface: dns0", "ports[0].kernel: expected nothing, as the kernel ke"},
    };
    for (const auto& [device, kernel, said] : rows) {
        std::string words = complaint(on(device, kernel));
        EXPECT_NE(words.find(said), std::string::npos) << kernel << ": " << words;
    }
    std::string two = upstreams +
                      "ports: [{device: net_tap0, lcores: [1], addresses: [192.0.2.9], kernel: "
                      "{interface: dns0}}, {device: net_tap1, lcores: [2], addresses: [192.0.2.8], "
                      "kernel: {interface: dns0}}]\n";
    EXPECT_NE(complaint(two).find("ports[1].kernel: expected each kernel interface once"), std::string::npos);
}

} // namespace
} // namespace millrace::control
