// Configuration: what is refused and with which words, and the way back to YAML.
#include <fstream>
#include <string>

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>
#include <yaml-cpp/yaml.h>

#include "tests/control/config/config_text.hpp"
#include "tests/support/temporary_folder.hpp"

namespace millrace::control {
namespace {

// The issue's sample, key by key.
TEST(Config, ReadsTheIssuesSample) {
    Config config = parsed(R"(
eal: []
ports:
  - device: "net_af_xdp0,iface=edge0"
    lcores: [1]
    addresses: ["198.18.0.53", "2001:db8::53"]
listen: ["127.0.0.1:5300"]
allow: ["127.0.0.0/8", "10.0.0.0/8", "198.18.0.0/15", "::1/128", "2001:db8::/32"]
upstreams:
  - group: default
    servers: ["127.0.0.11:5301", "127.0.0.12:5301", "127.0.0.13:5301"]
fanout: {strategy: two-stage, active: 2, batch: 2, stagger: 50ms, fallback: 300ms, deadline: 3s}
merge: {policy: union}
cache: {entries: 1000000, memory: 1GiB, min-ttl: 0s, max-ttl: 1d, negative-ttl: 1h, stale: 1d, max-rrset: 256}
control: {socket: /run/millrace/control.sock}
)");
    ASSERT_EQ(config.boot.ports.size(), 1u);
    EXPECT_EQ(config.boot.ports[0].device, "net_af_xdp0,iface=edge0");
    EXPECT_EQ(to_string(config.boot.ports[0].addresses.at(1)), "2001:db8::53");
    EXPECT_EQ(config.live.allow.size(), 5u);
    EXPECT_EQ(to_string(config.live.upstreams.at(0).servers.at(2).endpoint), "127.0.0.13:5301");
    // But for these five the sample is the default.
    Config plain;
    plain.boot.ports = config.boot.ports;
    plain.live.allow = config.live.allow;
    plain.live.upstreams = config.live.upstreams;
    plain.boot.control_socket = config.boot.control_socket;
    EXPECT_EQ(config, plain);
}

TEST(Config, LocalNamesAndLists) {
    struct {
        const char* text;
        const char* words;
    } rows[] = {
        {"local: {records: ['a.lan. A']}", "t:2: local.records[0]: expected a record, such as \"router.lan. "
                                           "300 IN A 192.0.2.1\", found \"a.lan. A\""},
        {"local: {records: ['a.lan. ANY \\# 0']}", "local.records[0]: expected a record"},
        {"local: {records: ['a.lan. CH TXT x']}", "local.records[0]: expected a record"},
        {"local: {records: ['a.lan. CNAME \\# 0']}", "local.records[0]: expected a record"},
        {"local: {forward: ['a..b']}", "t:2: local.forward[0]: expected a domain name, found \"a..b\""},
        {"local: {special-names: maybe}",
         "t:2: local.special-names: expected true or false, found \"maybe\""},
        {"block: [{file: list}]",
         "t:2: block[0].file: expected an absolute path, or nothing, found \"list\""},
        {"block: [{file: /a, names: [b.example]}]",
         "t:2: block[0].names: expected a file or names, not both, found a list"},
        {"block: [{names: [a..b]}]", "t:2: block[0].names[0]: expected a domain name, found \"a..b\""},
        {"block: [{format: rpz}]", "block[0].file: expected an absolute path, or `names`, found nothing"},
        {"block: [{file: /a, format: xml}]", "t:2: block[0].format: expected names or rpz, found \"xml\""},
        {"cache: {max-rrset: 0}",
         "t:2: cache.max-rrset: expected a whole number from 1 to 65535, found \"0\""},
        {"cache: {prefetch: 256}",
         "t:2: cache.prefetch: expected a whole number from 0 to 255, found \"256\""},
        {"cache: {stale-answer: soon}",
         "t:2: cache.stale-answer: expected client-timeout or at-once, found \"soon\""},
        {"cache: {keep-warm: names}",
         "t:2: cache.keep-warm: expected an absolute path, or nothing, found \"names\""},
        {"cache: {file: cache}", "t:2: cache.file: expected an absolute path, or nothing, found \"cache\""},
        {"cache: {save-interval: 2d}",
         "t:2: cache.save-interval: expected a duration from 0s to 1d (units ms, "
         "s, m, h, d), found \"2d\""},
        {"cache: {keep-warm-rate: 0}",
         "t:2: cache.keep-warm-rate: expected a whole number from 1 to 10000, found \"0\""},
        {"tcp: {per-client: 0}", "t:2: tcp.per-client: expected a whole number from 1 to 65535, found \"0\""},
        {"limits: {ipv4-prefix: 33}",
         "t:2: limits.ipv4-prefix: expected a whole number from 8 to 32, found \"33\""},
        {"limits: {fetches-per-client: 9, ipv4-prefix: 24, client-ipv4-prefix: 20}",
         "limits.client-ipv4-prefix: expected at least ipv4-prefix, 24, found 20"},
        {"limits: {fetches-per-client: 9, ipv6-prefix: 80}",
         "limits.client-ipv6-prefix: expected at least ipv6-prefix, 80, found 64"},
        {"limits: {fetches-per-zone: -1}", "t:2: limits.fetches-per-zone: expected a whole number"},
        {"limits: {dry-run: maybe}", "t:2: limits.dry-run: expected true or false, found \"maybe\""},
    };
    for (const auto& row : rows) {
        EXPECT_NE(complaint(upstreams + row.text).find(row.words), std::string::npos)
            << complaint(upstreams + row.text);
    }
    EXPECT_EQ(complaint(upstreams + "local: {version: \"" + std::string(255, 'x') + "\"}"), "no complaint");
    EXPECT_NE(complaint(upstreams + "local: {version: \"" + std::string(256, 'x') + "\"}"), "no complaint");
}

TEST(Config, TheControlSocketOfAnOrdinaryUser) {
    const std::string of_root = "/run/millrace/control.sock";
    EXPECT_EQ(control_socket_of(true, "/run/user/1000"), of_root);
    EXPECT_EQ(control_socket_of(true, nullptr), of_root);
    EXPECT_EQ(control_socket_of(false, "/run/user/1000"), "/run/user/1000/millrace/control.sock");
    for (const char* useless : {"", "relative", "/with\nnewline"}) {
        EXPECT_EQ(control_socket_of(false, useless), of_root) << useless;
    }
    EXPECT_EQ(control_socket_of(false, nullptr), of_root);
    EXPECT_EQ(control_socket_of(false, ("/" + std::string(84, 'x')).c_str()).size(), 107u);
    EXPECT_EQ(control_socket_of(false, ("/" + std::string(85, 'x')).c_str()), of_root)
        << "longer than a path may be";
}

TEST(Config, Defaults) {
    Config config = parsed(upstreams);
    EXPECT_TRUE(config.boot.eal.empty());
    EXPECT_TRUE(config.boot.ports.empty());
    ASSERT_EQ(config.boot.listen.size(), 1u);
    EXPECT_EQ(to_string(config.boot.listen[0]), "127.0.0.1:5300");
    EXPECT_EQ(config.boot.cache_entries, 1'000'000u);
    EXPECT_EQ(config.boot.cache_memory, 1u << 30);
    EXPECT_EQ(to_string(config.boot.metrics.value()), "127.0.0.1:9153");
    EXPECT_FALSE(parsed(in_map("metrics", "listen: ''")).boot.metrics) << "none";
    EXPECT_EQ(config.live.fanout.stagger, Time(50'000));
    EXPECT_EQ(config.live.fanout.fallback, Time(300'000));
    EXPECT_EQ(config.live.fanout.deadline, Time(3'000'000));
    EXPECT_EQ(config.live.fanout.probe_interval, Time(0));
    EXPECT_EQ(config.live.fanout.probe_fall, 1u);
    EXPECT_EQ(config.live.fanout.probe_rise, 1u);
    EXPECT_EQ(config.live.max_ttl, Time(86'400'000'000));
    EXPECT_EQ(config.live.max_rrset, 256u);
    EXPECT_FALSE(config.live.harden_below_nxdomain);
    EXPECT_EQ(config.live.limits, dataplane::RateLimits{}) << "none";
    EXPECT_EQ(config.live.limits.client_ipv4_prefix, 32u);
    EXPECT_EQ(config.live.limits.client_ipv6_prefix, 64u);
    EXPECT_EQ(config.live.allow.size(), 8u);
    EXPECT_TRUE(config.live.ranking.ports.empty() && !config.live.ranking.icmp) << "nobody is probed";
    EXPECT_EQ(config.live.ranking.rate, 100u);
    EXPECT_EQ(config.live.ranking.cache, Time(10min));
    EXPECT_EQ(config.live.ranking.max_addresses, 0u);
    EXPECT_EQ(to_string(config.live.upstreams.at(0).servers.at(0).endpoint), "192.0.2.1:53");
}

TEST(Config, Units) {
    EXPECT_EQ(parsed(in_map("cache", "stale: 90s")).live.stale, Time(90s));
    EXPECT_EQ(parsed(in_map("cache", "stale: 5m")).live.stale, Time(5min));
    EXPECT_EQ(parsed(in_map("cache", "stale: 7d")).live.stale, Time(168h));
    EXPECT_EQ(parsed(in_map("cache", "memory: 2048KiB")).boot.cache_memory, 2u << 20);
    EXPECT_EQ(parsed(in_map("cache", "memory: 3MiB")).boot.cache_memory, 3u << 20);
    EXPECT_EQ(parsed(in_map("cache", "memory: 1048577")).boot.cache_memory, 1048577u);
}

struct Refused {
    std::string text, words;
};
class ConfigRefuses : public testing::TestWithParam<Refused> {};

TEST_P(ConfigRefuses, WithTheseWords) {
    EXPECT_EQ(complaint(GetParam().text), GetParam().words);
}

std::string ports_of(const std::string& items) {
    return upstreams + "ports:\n" + items;
}

const Refused shapes[] = {
    {"", "t:1: expected a map with the keys eal, ports, listen, allow, limits, tcp, local, block, "
         "dns64, upstreams, routes, fanout, merge, ranking, cache, "
         "dnstap, control, log, metrics, found "
         "nothing"},
    {"[]", "t:1: expected a map with the keys eal, ports, listen, allow, limits, tcp, local, block, "
           "dns64, upstreams, routes, fanout, merge, ranking, cache, dnstap, control, log, metrics, "
           "found a list"},
    {"allow: []", "t:1: upstreams: expected a list of groups of upstream servers, found nothing"},
    {upstreams + "fan-out: {}",
     "t:2: \"fan-out\": expected one of the keys eal, ports, listen, allow, "
     "limits, tcp, local, block, dns64, upstreams, "
     "routes, fanout, merge, ranking, cache, dnstap, control, log, metrics, found an unknown key"},
    {upstreams + "cache:\n  stale: 1d\n  \"a\\tb\": 1",
     "t:4: cache.\"a\\x09b\": expected one of the keys entries, memory, min-ttl, max-ttl, negative-ttl, "
     "stale, stale-answer, prefetch, keep-warm, keep-warm-rate, file, save-interval, rotate, max-rrset, "
     "harden-below-nxdomain, "
     "found an "
     "unknown key"},
    {upstreams + "merge: {}\nmerge: {}", "t:3: merge: expected each key once, found a second one"},
    {in_map("merge", "policy: off, policy: off"),
     "t:2: merge.policy: expected each key once, found a second one"},
    {upstreams + "? [a]\n: b",
     "t:1: expected a map with the keys eal, ports, listen, allow, limits, tcp, "
     "local, block, dns64, upstreams, routes, fanout, merge, "
     "ranking, cache, dnstap, control, log, metrics, found a key that is not a word"},
    {upstreams + "cache:",
     "t:2: cache: expected a map with the keys entries, memory, min-ttl, max-ttl, negative-ttl, "
     "stale, stale-answer, prefetch, keep-warm, keep-warm-rate, file, save-interval, rotate, max-rrset, "
     "harden-below-nxdomain, "
     "found nothing"},
    {upstreams + "listen: 127.0.0.1",
     "t:2: listen: expected a list, such as [127.0.0.1], found \"127.0.0.1\""},
    {upstreams + "listen: [[]]", "t:2: listen[0]: expected an address and port, such as \"192.0.2.1:53\" or "
                                 "\"[2001:db8::1]:53\", found a list"},
    {"a: b: c", "t:1: expected well-formed YAML, found illegal map value"},
    {upstreams + "---\n" + upstreams, "t:2: expected one YAML document, found something after its end"},
    {upstreams + "...\n,", "t:3: expected one YAML document, found something after its end"},
    {",",
     "t:1: expected one YAML document, found something after its end"}, // yaml-cpp's LoadAll would not return
    {std::string("a\0b", 3), "t: expected a text file, found a NUL octet"},
    {upstreams + "eal: *nowhere",
     "t:2: expected well-formed YAML, found the referenced anchor is not defined"},
};
INSTANTIATE_TEST_SUITE_P(Shapes, ConfigRefuses, testing::ValuesIn(shapes));

const Refused values[] = {
    {in_map("metrics", "listen: '127.0.0.1'"),
     "t:2: metrics.listen: expected an address and port, such as \"192.0.2.1:53\" or \"[2001:db8::1]:53\", "
     "with a port of its own, or \"\" for none, found \"127.0.0.1\""},
    {in_map("metrics", "listen: '127.0.0.1:5300'"),
     "t:2: metrics.listen: expected an endpoint that DNS is not served on, found \"127.0.0.1:5300\""},
    {"upstreams: [{group: \xff\xc3\xbc, servers: [192.0.2.1]}]",
     "t:1: upstreams[0].group: expected the group's name, in printable ASCII, found "
     "\"\\xff\\xc3\\xbc\""},
    {in_map("cache", "entries: '5'"),
     "t:2: cache.entries: expected a whole number from 1 to 268435456, found \"5\""},
    {in_map("cache", "entries: 0"),
     "t:2: cache.entries: expected a whole number from 1 to 268435456, found \"0\""},
    {in_map("cache", "entries: -1"),
     "t:2: cache.entries: expected a whole number from 1 to 268435456, found \"-1\""},
    {in_map("cache", "entries: 1e6"),
     "t:2: cache.entries: expected a whole number from 1 to 268435456, found \"1e6\""},
    {in_map("cache", "memory: 1GB"),
     "t:2: cache.memory: expected a size from 1MiB to 1024GiB (units KiB, MiB, GiB, or "
     "none for bytes), found \"1GB\""},
    {in_map("cache", "memory: 18446744073709551615GiB"),
     "t:2: cache.memory: expected a size from 1MiB to 1024GiB (units KiB, MiB, GiB, or none for bytes), "
     "found "
     "\"18446744073709551615GiB\""},
    {in_map("cache", "stale: 60"),
     "t:2: cache.stale: expected a duration from 0s to 7d (units ms, s, m, h, d), found \"60\""},
    {in_map("cache", "stale: 8d"),
     "t:2: cache.stale: expected a duration from 0s to 7d (units ms, s, m, h, d), found \"8d\""},
    {in_map("cache", "stale: 1.5d"),
     "t:2: cache.stale: expected a duration from 0s to 7d (units ms, s, m, h, d), found \"1.5d\""},
    {in_map("cache", "min-ttl: 2m, max-ttl: 1m"),
     "t:2: cache.min-ttl: expected at most max-ttl, 1m, found 2m"},
    {in_map("fanout", "active: 0"), "t:2: fanout.active: expected a whole number from 1 to 64, found \"0\""},
    {in_map("fanout", "fallback: 4s"), "t:2: fanout.fallback: expected at most the deadline of 3s, found 4s"},
    {in_map("fanout", "deadline: 200ms"),
     "t:2: fanout.fallback: expected at most the deadline of 200ms, found 300ms"},
    {in_map("fanout", "probe-interval: 999ms"),
     "t:2: fanout.probe-interval: expected 0s or at least 1s, found \"999ms\""},
    {in_map("fanout", "probe-interval: 2h"),
     "t:2: fanout.probe-interval: expected a duration from 0s to 1h (units ms, s, m, h, d), found \"2h\""},
    {in_map("fanout", "probe-fall: 0"),
     "t:2: fanout.probe-fall: expected a whole number from 1 to 100, found \"0\""},
    {in_map("fanout", "probe-rise: 101"),
     "t:2: fanout.probe-rise: expected a whole number from 1 to 100, found \"101\""},
    {in_map("fanout", "stagger: 4s"), "t:2: fanout.stagger: expected at most the deadline of 3s, found 4s"},
    {in_map("merge", "policy: all"),
     "t:2: merge.policy: expected union or quorum or order or off, found \"all\""},
    {in_map("merge", "policy: quorum"),
     "t:2: merge.quorum: expected at most the number of servers, 1, found 2"},
    {in_map("ranking", "ports: [443, 70000]"),
     "t:2: ranking.ports[1]: expected a whole number from 1 to 65535, found \"70000\""},
    {in_map("ranking", "ports: [443, 80, 443]"),
     "t:2: ranking.ports[2]: expected each port once, found \"443\""},
    {in_map("ranking", "ports: 443"), "t:2: ranking.ports: expected a list, such as [443], found \"443\""},
    {in_map("ranking", "icmp: maybe"), "t:2: ranking.icmp: expected true or false, found \"maybe\""},
    {in_map("ranking", "rate: 0"), "t:2: ranking.rate: expected a whole number from 1 to 1000, found \"0\""},
    {in_map("ranking", "cache: 0s"),
     "t:2: ranking.cache: expected a duration from 1s to 1d (units ms, s, m, h, d), found \"0s\""},
    {in_map("ranking", "max-addresses: 33"),
     "t:2: ranking.max-addresses: expected a whole number from 0 to 32, found \"33\""},
    {in_map("ranking", "allow: [10.0.0.1]"),
     "t:2: ranking.allow[0]: expected a prefix without host bits, such as \"10.0.0.0/8\", found "
     "\"10.0.0.1\""},
    {in_map("control", "socket: run/x"),
     "t:2: control.socket: expected an absolute path of at most 107 octets, found \"run/x\""},
    {in_map("control", ("socket: /" + std::string(107, 'x')).c_str()),
     "t:2: control.socket: expected an absolute path of at most 107 octets, found \"/" +
         std::string(79, 'x') + "...\""},
};
INSTANTIATE_TEST_SUITE_P(Values, ConfigRefuses, testing::ValuesIn(values));

const std::string endpoint_form =
    "expected an address and port, such as \"192.0.2.1:53\" or \"[2001:db8::1]:53\", found ";
const Refused addresses[] = {
    {upstreams + "listen: ['localhost:53']", "t:2: listen[0]: " + endpoint_form + "\"localhost:53\""},
    {upstreams + "listen: ['[fe80::1%lo]:53']", "t:2: listen[0]: " + endpoint_form + "\"[fe80::1%lo]:53\""},
    {upstreams + "listen: ['127.0.0.1:0']", "t:2: listen[0]: " + endpoint_form + "\"127.0.0.1:0\""},
    {upstreams + "listen:\n - '127.0.0.1'\n - 127.0.0.1:53",
     "t:4: listen[1]: expected each item once, found \"127.0.0.1:53\""},
    {upstreams + "listen: []", "t:2: listen: expected a port or an endpoint to listen on, found neither"},
    {"upstreams: [{group: g, servers: ['127.0.0.1:5300']}]\nlisten: ['0.0.0.0:5300']",
     "t:1: upstreams: expected servers other than millraced itself, found \"127.0.0.1:5300\""},
    {"upstreams: [{group: g, servers: [192.0.2.1], bootstrap: ['[::1]:5300']}]\nlisten: ['[::]:5300']",
     "t:1: upstreams: expected servers other than millraced itself, found \"[::1]:5300\""},
    {upstreams + "listen: ['192.0.2.1:53']",
     "t:1: upstreams: expected servers other than millraced itself, found \"192.0.2.1:53\""},
    {upstreams + port + "listen: ['192.0.2.9:53']",
     "t:3: listen: expected endpoints that no port serves, found \"192.0.2.9:53\""},
    {upstreams + "allow: [10.0.0.1/8]",
     "t:2: allow[0]: expected a prefix without host bits, such as \"10.0.0.0/8\", found \"10.0.0.1/8\""},
    {"upstreams: []", "t:1: upstreams: expected a list of groups of upstream servers, found a list"},
    {"upstreams:\n - {group: a, servers: [192.0.2.1]}\n - {group: a, servers: [192.0.2.2]}",
     "t:3: upstreams[1].group: expected each group's name once, found \"a\""},
    {"upstreams: [{group: a, servers: []}]",
     "t:1: upstreams[0].servers: expected at least one server, found a list"},
    {"upstreams: [{servers: [192.0.2.1]}]",
     "t:1: upstreams[0].group: expected the group's name, found nothing"},
    {"upstreams: [{group: a, servers: [192.0.2.1, '192.0.2.1:53']}]",
     "t:1: upstreams[0].servers[1]: expected each server once, found \"192.0.2.1:53\""},
    {"upstreams: [{group: a, servers: [224.0.0.1]}]",
     "t:1: upstreams[0].servers[0]: expected an address and port, or a name and port, such as "
     "\"192.0.2.1:53\", \"[2001:db8::1]:53\" or \"dns.example.net:53\", found \"224.0.0.1\""},
};
INSTANTIATE_TEST_SUITE_P(Addresses, ConfigRefuses, testing::ValuesIn(addresses));

const std::string device_form = "expected a PCI address such as \"0000:01:00.0\" or a vdev string such as "
                                "\"net_af_xdp0,iface=edge0\", found ";
const Refused ports[] = {
    {ports_of(" - lcores: [1]\n   addresses: [192.0.2.9]"),
     "t:3: ports[0].device: " + device_form + "nothing"},
    {ports_of(" - device: eth0 up\n"), "t:3: ports[0].device: " + device_form + "\"eth0 up\""},
    {ports_of(" - device: net_tap0\n   addresses: [192.0.2.9]"),
     "t:3: ports[0].lcores: expected at least one lcore, found nothing"},
    {ports_of(" - device: net_tap0\n   lcores: []\n   addresses: [192.0.2.9]"),
     "t:4: ports[0].lcores: expected at least one lcore, found a list"},
    {ports_of(" - device: net_tap0\n   lcores: [1]"),
     "t:3: ports[0].addresses: expected at least one address, found nothing"},
    {ports_of(" - device: net_tap0\n   lcores: [128]\n"),
     "t:4: ports[0].lcores[0]: expected a whole number from 0 to 127, found \"128\""},
    {ports_of(" - device: net_tap0\n   lcores: [1]\n   addresses: ['192.0.2.9:53']"),
     "t:5: ports[0].addresses[0]: expected a unicast IPv4 or IPv6 address, without a port, found "
     "\"192.0.2.9:53\""},
    {ports_of(" - device: net_tap0\n   lcores: [1]\n   addresses: ['0.0.0.0']"),
     "t:5: ports[0].addresses[0]: expected a unicast IPv4 or IPv6 address, without a port, found "
     "\"0.0.0.0\""},
    {ports_of(" - device: enp3s0\n"),
     "t:3: ports[0].device: expected the PCI address of a NIC (`deploy/nic list` shows them), or "
     "\"net_af_xdp0,iface=enp3s0\" for an interface that the kernel keeps, found \"enp3s0\""},
    {ports_of(" - {device: net_tap0, lcores: [1], addresses: [192.0.2.9, 127.0.0.1]}"),
     "t:3: ports[0].addresses: expected addresses of the port's network; loopback is for `listen`, found "
     "\"127.0.0.1\""},
    {ports_of(" - {device: net_tap0, lcores: [1], addresses: ['::1']}"),
     "t:3: ports[0].addresses: expected addresses of the port's network; loopback is for `listen`, found "
     "\"::1\""},
    {ports_of(" - device: net_tap0\n   lcores: [1]\n   addresses: ['ff02::1']"),
     "t:5: ports[0].addresses[0]: expected a unicast IPv4 or IPv6 address, without a port, found "
     "\"ff02::1\""},
    {ports_of(" - {device: net_tap0, lcores: [1, 1], addresses: [192.0.2.9]}"),
     "t:3: ports[0].lcores: expected each lcore once, in all ports together, found 1 twice"},
    {ports_of(" - {device: net_tap0, lcores: [1], addresses: [192.0.2.9]}\n"
              " - {device: net_tap1, lcores: [1], addresses: [192.0.2.9]}"),
     "t:4: ports[1].lcores: expected each lcore once, in all ports together, found 1 twice"},
    {ports_of(" - {device: '01:00.0', lcores: [1], addresses: [192.0.2.9]}\n"
              " - {device: '0000:01:00.0', lcores: [2], addresses: [192.0.2.9]}"),
     "t:4: ports[1].device: expected each device once (a vdev is known by its name before the first comma), "
     "found "
     "\"0000:01:00.0\""},
    {ports_of(" - {device: 'net_tap0,iface=a', lcores: [1], addresses: [192.0.2.9]}\n"
              " - {device: 'net_tap0,iface=b', lcores: [2], addresses: [192.0.2.9]}"),
     "t:4: ports[1].device: expected each device once (a vdev is known by its name before the first comma), "
     "found "
     "\"net_tap0,iface=b\""},
    {upstreams + "eal: [--vdev=net_tap0]",
     "t:2: eal[0]: expected no argument that millraced derives itself, found "
     "\"--vdev=net_tap0\": devices come from the device of ports"},
    {upstreams + "eal: [--no-huge -l3]",
     "t:2: eal[0]: expected no argument that millraced derives itself, found "
     "\"-l3\": lcores come from the lcores of ports"},
    {ports_of(" - {device: '01:0A.0', lcores: [1], addresses: [192.0.2.9]}\n"
              " - {device: '0000:01:0a.0', lcores: [2], addresses: [192.0.2.9]}"),
     "t:4: ports[1].device: expected each device once (a vdev is known by its name before the first comma), "
     "found "
     "\"0000:01:0a.0\""},
};
INSTANTIATE_TEST_SUITE_P(Ports, ConfigRefuses, testing::ValuesIn(ports));

TEST(Config, RefusesMoreWorkersThanTheCacheKnows) {
    std::string lcores = "0";
    for (int i = 1; i < 64; ++i) lcores += "," + std::to_string(i);
    EXPECT_EQ(complaint(ports_of(" - {device: net_tap0, lcores: [" + lcores + "], addresses: [192.0.2.9]}")),
              "t:3: ports: expected at most 64 lcores and endpoints of listen together, found 65");
}

TEST(ConfigEal, TakesWhatIsTheOperatorsToSay) {
    Config config =
        parsed(upstreams + "eal: [--file-prefix=second, --in-memory, '-m 512', --log-level=debug]");
    EXPECT_EQ(config.boot.eal.size(), 4u);
}

TEST(ConfigYaml, ParsesBackToTheSame) {
    auto sample = load_config(sample_path());
    ASSERT_TRUE(sample);
    for (const Config& config :
         {*sample, parsed(upstreams), parsed(upstreams + port + "listen: []\nallow: []"),
          parsed(upstreams + "eal: ['--no-huge', '-m', '512', \"a\\\"b: #\\\\\"]"),
          parsed("upstreams: [{group: '~', servers: ['[2001:db8::1]:5353', '::1']}]"),
          parsed(
              in_map("merge", "policy: off") +
              "cache: {memory: 1048577, stale: 61m, min-ttl: 1500ms, "
              "max-rrset: 1000, prefetch: 3, stale-answer: at-once, "
              "keep-warm: /w, keep-warm-rate: 7, file: /c, save-interval: 1h, harden-below-nxdomain: true}"),
          parsed(in_map("limits", "fetches-per-client: 1, fetches-per-question: 2, fetches-per-zone: 3, "
                                  "client-ipv4-prefix: 28, client-ipv6-prefix: 60, dry-run: true")),
          parsed(in_map("ranking", "ports: [443, 80], icmp: true, rate: 9, cache: 90s, max-addresses: 4, "
                                   "allow: [10.0.0.0/8, 'fd00::/8']"))}) {
        std::string text = to_yaml(config);
        auto again = parse_config(text, "again");
        ASSERT_TRUE(again) << to_string(again.error()) << "\n" << text;
        EXPECT_EQ(*again, config) << text;
    }
}

class ConfigFile : public testing::Test {
  protected:
    std::string load() {
        auto config = load_config(path_);
        return config ? "loaded" : to_string(config.error()).substr(path_.size());
    }
    test::TemporaryFolder folder_;
    std::string path_ = folder_ / "f";
};

TEST_F(ConfigFile, Loads) {
    std::ofstream(path_) << upstreams << std::string((1 << 20) - upstreams.size(), '\n');
    EXPECT_EQ(load(), "loaded");
}
TEST_F(ConfigFile, NamesItselfInErrors) {
    std::ofstream(path_) << "\nx: 1";
    EXPECT_EQ(load().substr(0, 21), ":2: \"x\": expected one");
}
TEST_F(ConfigFile, Missing) {
    EXPECT_EQ(load(), ": expected a readable file, found No such file or directory");
}
TEST_F(ConfigFile, Empty) {
    std::ofstream{path_};
    EXPECT_EQ(load().substr(0, 20), ":1: expected a map w");
}
TEST_F(ConfigFile, TooLarge) {
    std::ofstream(path_) << std::string((1 << 20) + 1, '\n');
    EXPECT_EQ(load(), ": expected at most 1 MiB, found more");
}
TEST_F(ConfigFile, Fifo) {
    ASSERT_EQ(::mkfifo(path_.c_str(), 0600), 0);
    EXPECT_EQ(load(), ": expected a regular file, found something else");
}
TEST_F(ConfigFile, Directory) {
    EXPECT_EQ(to_string(load_config(folder_.path()).error()),
              folder_.path().string() + ": expected a regular file, found something else");
}

} // namespace
} // namespace millrace::control
