// Configuration: the servers of an upstream group, and what is special about each.
#include "control/config/config.hpp"

#include <gtest/gtest.h>

namespace millrace::control {
namespace {

std::string group_of(const std::string& servers) {
    return "upstreams:\n - group: g\n   servers:\n" + servers;
}

Config parsed(const std::string& text) {
    auto config = parse_config(text, "t");
    EXPECT_TRUE(config) << text << (config ? "" : to_string(config.error()));
    return config.value_or(Config{});
}

TEST(ConfigServers, AreEndpointsOrMaps) {
    Config config = parsed(group_of("    - 192.0.2.1\n"
                                    "    - {address: '192.0.2.2:54', trusted: true}\n"
                                    "    - {address: 192.0.2.3, randomise-case: false}\n"));
    const auto& servers = config.live.upstreams.at(0).servers;
    ASSERT_EQ(servers.size(), 3u);
    EXPECT_TRUE(!servers[0].trusted && servers[0].randomise_case);
    EXPECT_EQ(to_string(servers[1].endpoint), "192.0.2.2:54");
    EXPECT_TRUE(servers[1].trusted && servers[1].randomise_case);
    EXPECT_TRUE(!servers[2].trusted && !servers[2].randomise_case);
    EXPECT_EQ(parsed(to_yaml(config)), config);
}

TEST(ConfigServers, HaveAPriorityAWeightAndAWay) {
    Config config =
        parsed(group_of("    - 192.0.2.1\n"
                        "    - {address: 192.0.2.2, priority: 255, weight: 1000, tcp-only: true}\n"
                        "    - {address: 192.0.2.3, priority: 0, weight: 1, tcp-only: false}\n"));
    const auto& servers = config.live.upstreams.at(0).servers;
    ASSERT_EQ(servers.size(), 3u);
    EXPECT_TRUE(servers[0].priority == 0 && servers[0].weight == 1 && !servers[0].tcp_only);
    EXPECT_TRUE(servers[1].priority == 255 && servers[1].weight == 1000 && servers[1].tcp_only);
    EXPECT_EQ(servers[2], Config::Server(servers[2].endpoint));
    EXPECT_EQ(parsed(to_yaml(config)), config);
    std::string printed = "{address: \"192.0.2.2:53\", trusted: false, randomise-case: true, priority: 255, "
                          "weight: 1000, tcp-only: true}";
    EXPECT_NE(to_yaml(config).find(printed), std::string::npos) << to_yaml(config);
}

TEST(ConfigServers, AsManyAgreeAsThereAreOfTheFirstPriority) {
    std::string servers = "    - {address: 192.0.2.1, priority: 1}\n    - 192.0.2.2\n    - 192.0.2.3\n";
    parsed(group_of(servers) + "merge: {policy: quorum, quorum: 2}\n");
    auto config = parse_config(group_of(servers) + "merge: {policy: quorum, quorum: 3}\n", "t");
    ASSERT_FALSE(config);
    EXPECT_EQ(to_string(config.error()),
              "t:7: merge.quorum: expected at most the number of servers of the first priority, 2, found 3");
}

TEST(ConfigServers, AMapOfDefaultsIsItsEndpoint) {
    Config plain = parsed(group_of("    - 192.0.2.1\n"));
    Config map = parsed(group_of("    - {address: 192.0.2.1, trusted: false, randomise-case: true}\n"));
    EXPECT_EQ(map, plain);
    EXPECT_EQ(to_yaml(map), to_yaml(plain));
    EXPECT_NE(to_yaml(map).find("servers: [\"192.0.2.1:53\"]"), std::string::npos) << to_yaml(map);
}

TEST(ConfigServers, ALinkLocalAddressHasAZone) {
    Config config = parsed(group_of("    - fe80::1%lo\n"
                                    "    - '[fe80::1%lo]:5353'\n"
                                    "    - '[fe80::2%1]'\n"
                                    "    - {address: 'fe80::3%lo', trusted: true}\n"));
    const auto& servers = config.live.upstreams.at(0).servers;
    ASSERT_EQ(servers.size(), 4u);
    EXPECT_EQ(to_string(servers[0].endpoint), "[fe80::1%lo]:53");
    EXPECT_EQ(to_string(servers[1].endpoint), "[fe80::1%lo]:5353");
    EXPECT_EQ(to_string(servers[2].endpoint), "[fe80::2%lo]:53");
    EXPECT_EQ(to_string(servers[3].endpoint), "[fe80::3%lo]:53");
    EXPECT_EQ(servers[3].endpoint.zone, 1u);
    EXPECT_EQ(parsed(to_yaml(config)), config);
}

struct RefusedServers {
    std::string servers, words;
};
class ConfigRefusesServers : public testing::TestWithParam<RefusedServers> {};

TEST_P(ConfigRefusesServers, WithTheseWords) {
    auto config = parse_config(group_of(GetParam().servers), "t");
    ASSERT_FALSE(config);
    EXPECT_EQ(to_string(config.error()), GetParam().words);
}

const std::string server_form =
    "expected an address and port, or a name and port, such as \"192.0.2.1:53\", \"[2001:db8::1]:53\" or "
    "\"dns.example.net:53\", found ";
const std::string zone_form =
    "expected a link-local address with an interface of this machine, such as \"[fe80::1%eth0]:53\", found ";
const RefusedServers servers[] = {
    {"    - fe80::1", "t:4: upstreams[0].servers[0]: " + zone_form + "\"fe80::1\""},
    {"    - address: '[febf::1]:53'",
     "t:4: upstreams[0].servers[0].address: " + zone_form + "\"[febf::1]:53\""},
    {"    - fe80::1%nowhere0", "t:4: upstreams[0].servers[0]: " + zone_form + "\"fe80::1%nowhere0\""},
    {"    - fe80::1%", "t:4: upstreams[0].servers[0]: " + zone_form + "\"fe80::1%\""},
    {"    - fe80::1%lo:53", "t:4: upstreams[0].servers[0]: " + zone_form + "\"fe80::1%lo:53\""},
    {"    - 2001:db8::1%lo", "t:4: upstreams[0].servers[0]: " + zone_form + "\"2001:db8::1%lo\""},
    {"    - 192.0.2.1%lo", "t:4: upstreams[0].servers[0]: " + zone_form + "\"192.0.2.1%lo\""},
    {"    - fe80::1%lo\n    - '[fe80::1%1]:53'",
     "t:5: upstreams[0].servers[1]: expected each server once, found \"[fe80::1%lo]:53\""},
    {"    - 192.0.2.1\n    - {address: 192.0.2.1, trusted: true}",
     "t:5: upstreams[0].servers[1]: expected each server once, found \"192.0.2.1:53\""},
    {"    - {trusted: true}", "t:4: upstreams[0].servers[0].address: " + server_form + "nothing"},
    {"    - address: 224.0.0.1", "t:4: upstreams[0].servers[0].address: " + server_form + "\"224.0.0.1\""},
    {"    - address: 192.0.2.1\n      trusted: yes",
     "t:5: upstreams[0].servers[0].trusted: expected true or false, found \"yes\""},
    {"    - address: 192.0.2.1\n      randomise-case: 'false'",
     "t:5: upstreams[0].servers[0].randomise-case: expected true or false, found \"false\""},
    {"    - address: 192.0.2.1\n      speed: 1",
     "t:5: upstreams[0].servers[0].\"speed\": expected one of the keys address, trusted, randomise-case, "
     "priority, weight, tcp-only, found an unknown key"},
    {"    - address: 192.0.2.1\n      priority: 256",
     "t:5: upstreams[0].servers[0].priority: expected a whole number from 0 to 255, found \"256\""},
    {"    - address: 192.0.2.1\n      priority: -1",
     "t:5: upstreams[0].servers[0].priority: expected a whole number from 0 to 255, found \"-1\""},
    {"    - address: 192.0.2.1\n      weight: 0",
     "t:5: upstreams[0].servers[0].weight: expected a whole number from 1 to 1000, found \"0\""},
    {"    - address: 192.0.2.1\n      weight: 1001",
     "t:5: upstreams[0].servers[0].weight: expected a whole number from 1 to 1000, found \"1001\""},
    {"    - address: 192.0.2.1\n      tcp-only: only",
     "t:5: upstreams[0].servers[0].tcp-only: expected true or false, found \"only\""},
    {"    - [192.0.2.1]", "t:4: upstreams[0].servers[0]: " + server_form + "a list"},
};
INSTANTIATE_TEST_SUITE_P(Servers, ConfigRefusesServers, testing::ValuesIn(servers));

} // namespace
} // namespace millrace::control
