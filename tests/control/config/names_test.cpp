// Configuration: servers given by name, and who is asked for their addresses.
#include "tests/control/config/config_text.hpp"

namespace millrace::control {
namespace {

std::string group_of(const std::string& servers, const std::string& more = ", bootstrap: ['192.0.2.9:53']") {
    return "upstreams: [{group: g, servers: [" + servers + "]" + more + "}]\n";
}

TEST(ConfigNames, AreOfOneServerEachWithItsPort) {
    Config config = parsed(group_of("'dns.Example.net:53', {address: 'dns.example.net.:5353', trusted: true}",
                                    ", bootstrap: [192.0.2.9, '[2001:db8::9]:5353']"));
    const Config::Group& group = config.live.upstreams.at(0);
    ASSERT_EQ(group.servers.size(), 2u);
    EXPECT_EQ(group.servers[0].name, "dns.example.net.");
    EXPECT_EQ(group.servers[0].endpoint, (dataplane::Endpoint{{}, 53}));
    EXPECT_EQ(to_string(group.servers[1]), "dns.example.net:5353");
    EXPECT_TRUE(group.servers[1].trusted);
    ASSERT_EQ(group.bootstrap.size(), 2u);
    EXPECT_EQ(to_string(group.bootstrap[0]), "192.0.2.9:53");
    std::string printed = to_yaml(config);
    EXPECT_EQ(parsed(printed), config);
    EXPECT_NE(
        printed.find("servers: [\"dns.example.net:53\", {address: \"dns.example.net:5353\", trusted: true"),
        std::string::npos)
        << printed;
    EXPECT_NE(printed.find("bootstrap: [\"192.0.2.9:53\", \"[2001:db8::9]:5353\"]"), std::string::npos)
        << printed;
}

TEST(ConfigNames, AreNotTakenForOurOwnWildcard) {
    EXPECT_EQ(
        complaint("listen: ['[::]:53']\n" + group_of("'dns.example.net:53'", ", bootstrap: [192.0.2.9]")),
        "no complaint");
}

TEST(ConfigNames, OneMayHaveAllThatAQuorumNeeds) {
    parsed(group_of("'dns.example.net:53'") + "merge: {policy: quorum, quorum: 8}\n");
    EXPECT_NE(complaint(group_of("'dns.example.net:53'") + "merge: {policy: quorum, quorum: 9}\n"),
              "no complaint");
}

TEST(ConfigNames, AreCountedByTheirPlaces) {
    std::string seven;
    for (int i = 0; i < 7; ++i) seven += "'n" + std::to_string(i) + ".example.net:53', ";
    EXPECT_EQ(complaint(group_of(seven + "'n7.example.net:53'")), "no complaint");
    EXPECT_EQ(
        complaint(group_of(seven + "'n7.example.net:53', 192.0.2.1")),
        "t:1: upstreams[0].servers[8]: expected at most 64 servers, of which one given by name counts as "
        "8, found more");
}

TEST(ConfigNames, NeedServersThatKnowThem) {
    EXPECT_EQ(complaint("upstreams:\n- group: g\n  servers: ['dns.example.net:53']\n"),
              "t:2: upstreams[0].bootstrap: expected addresses and ports of servers that know "
              "dns.example.net:53, found nothing");
    EXPECT_NE(complaint(group_of("'dns.example.net:53'", ", bootstrap: []")), "no complaint");
}

class ConfigRefusesNames : public testing::TestWithParam<const char*> {};

TEST_P(ConfigRefusesNames, WithTheseWords) {
    std::string text = GetParam();
    std::string form = "expected an address and port, or a name and port, such as \"192.0.2.1:53\", "
                       "\"[2001:db8::1]:53\" or \"dns.example.net:53\", found ";
    EXPECT_EQ(complaint(group_of("'" + text + "'")),
              "t:1: upstreams[0].servers[0]: " + form + "\"" + text + "\"");
}

const char* const refused[] = {
    "dns.example.net",
    "dns.example.net:0",
    "dns.example.net:65536",
    "dns.example.net:",
    "localhost:53",
    "192.0.2.300:53",
    "192.0.2.1.2:53",
    ".:53",
    ":53",
    "a..b:53",
    "dns example.net:53",
    "[dns.example.net]:53",
    "dns.example.net:53:53",
};
INSTANTIATE_TEST_SUITE_P(Names, ConfigRefusesNames, testing::ValuesIn(refused));

TEST(ConfigNames, BootstrapServersAreAddressesEachOnceAndNotMillraced) {
    const std::string name = "'dns.example.net:53'";
    EXPECT_EQ(complaint(group_of(name, ", bootstrap: ['dns.example.org:53']")),
              "t:1: upstreams[0].bootstrap[0]: expected an address and port, such as \"192.0.2.1:53\" or "
              "\"[2001:db8::1]:53\", found \"dns.example.org:53\"");
    EXPECT_EQ(complaint(group_of(name, ", bootstrap: [192.0.2.9, '192.0.2.9:53']")),
              "t:1: upstreams[0].bootstrap[1]: expected each server once, found \"192.0.2.9:53\"");
    EXPECT_EQ(complaint(group_of(name, ", bootstrap: ['127.0.0.1:53']") + "listen: ['127.0.0.1:53']\n"),
              "t:1: upstreams: expected servers other than millraced itself, found \"127.0.0.1:53\"");
    EXPECT_EQ(complaint(group_of(name + ", 'Dns.example.net.:53'")),
              "t:1: upstreams[0].servers[1]: expected each server once, found \"dns.example.net:53\"");
    std::string nine;
    for (int i = 1; i < 10; ++i) nine += (i > 1 ? ", 192.0.2." : "192.0.2.") + std::to_string(i);
    EXPECT_NE(complaint(group_of(name, ", bootstrap: [" + nine + "]")), "no complaint");
}

} // namespace
} // namespace millrace::control
