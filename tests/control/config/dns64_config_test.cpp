// `dns64` in the configuration: what it means, and what is refused.
#include "control/daemon/reload.hpp"
#include "tests/control/config/config_text.hpp"

namespace millrace::control {
namespace {

TEST(Dns64Config, Defaults) {
    EXPECT_TRUE(parsed(upstreams).live.dns64.empty());
    auto rule = parsed(upstreams + dns64).live.dns64.at(0);
    EXPECT_EQ(to_string(rule.prefix), "64:ff9b::/96");
    ASSERT_EQ(rule.exclude.size(), 1u);
    EXPECT_EQ(rule.exclude[0], *dataplane::parse_prefix("::ffff:0:0/96"));
    EXPECT_TRUE(rule.groups.empty());
}

TEST(Dns64Config, IsPrintedAsItIsRead) {
    Config config = parsed(dns64_map("prefix: '2001:db8:1::/48', exclude: ['2001:db8:2::/48', "
                                     "'::ffff:10.0.0.0/104'], groups: [g]"));
    std::string text = to_yaml(config);
    EXPECT_EQ(parsed(text), config) << text;
    EXPECT_NE(text.find("::ffff:10.0.0.0/104"), text.npos) << text;
}

TEST(Dns64Config, ALaterRuleHasSomethingThatNoEarlierOneHas) {
    for (const char* rule : {"clients: ['2001:db8::/31']", "clients: ['2001:db8:1::/48', '2001:db9::/32']",
                             "clients: ['2001:db8::/32'], prefix: '64:ff9b:1::/48'"}) {
        parsed(upstreams + "dns64:\n - {clients: ['2001:db8::/32']}\n - {" + rule + "}\n");
    }
    parsed(upstreams +
           "dns64:\n - {clients: ['2001:db8::/32'], groups: [g]}\n - {clients: ['2001:db8::/32']}\n");
}

TEST(Dns64Config, WhatIsRefused) {
    const std::string routed =
        "t:2: dns64[0].prefix: expected a prefix of unicast addresses that are routed, such "
        "as \"64:ff9b::/96\", found ";
    const struct {
        std::string text, words;
    } rows[] = {
        {upstreams + "dns64: [{prefix: '64:ff9b::/96'}]",
         "t:2: dns64[0].clients: expected at least one prefix"},
        {dns64_map("prefix: '2001:db8::/33'"),
         "t:2: dns64[0].prefix: expected an IPv6 prefix of 32, 40, 48, 56, 64 or 96 bits"},
        {dns64_map("prefix: '2001:db8::1/96'"), "dns64[0].prefix: expected an IPv6 prefix"},
        {dns64_map("prefix: '2001:db8:0:0:ff00::/96'"), "dns64[0].prefix: expected an IPv6 prefix"},
        {dns64_map("prefix: '10.0.0.0/8'"), "dns64[0].prefix: expected an IPv6 prefix"},
        {dns64_map("exclude: [x]"), "dns64[0].exclude[0]: expected a prefix of IPv6 without host bits"},
        {dns64_map("exclude: [10.0.0.0/8]"),
         "dns64[0].exclude[0]: expected a prefix of IPv6 without host bits"},
        {dns64_map("prefix: 'ff02::/96'"), routed + "\"ff02::/96\""},
        {dns64_map("prefix: '::/96'"), routed + "\"::/96\""},
        {dns64_map("prefix: 'fe80::/64'"), routed + "\"fe80::/64\""},
        {upstreams +
             "dns64:\n - {clients: ['2001:db8::/32']}\n - {clients: ['2001:db8:1::/48'], groups: [g]}",
         "t:4: dns64[1]: expected clients or groups that no earlier rule with this prefix has, found what "
         "dns64[0] has"},
        {dns64_map("groups: [g, h]"),
         "t:2: dns64[0].groups[1]: expected the name of a group of upstreams, found \"h\""},
        {dns64_map("groups: g"), "dns64[0].groups: expected a list"},
    };
    for (const auto& row : rows) {
        EXPECT_NE(complaint(row.text).find(row.words), std::string::npos) << complaint(row.text);
    }
    std::string many = upstreams + "dns64: [";
    for (int i = 0; i < 16; ++i) many += "{clients: [10.0.0.0/8]},";
    EXPECT_NE(complaint(many + "]").find("dns64: expected at most 15 items, found 16"), std::string::npos);
}

TEST(Dns64Config, GroupsBecomeNumbers) {
    auto policy = client_policy(parsed(dns64_map("groups: [g]")).live);
    ASSERT_EQ(policy.dns64.size(), 1u);
    EXPECT_EQ(policy.dns64[0].groups, std::vector<std::uint8_t>{0});
    EXPECT_EQ(policy.dns64[0].clients.size(), 1u);
}

} // namespace
} // namespace millrace::control
