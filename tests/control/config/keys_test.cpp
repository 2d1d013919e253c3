// That every key is read, stands in the sample, and is printed.
#include <fstream>
#include <map>
#include <regex>
#include <set>
#include <string>

#include <gtest/gtest.h>
#include <yaml-cpp/yaml.h>

#include "control/config/choices.hpp"
#include "tests/control/config/config_text.hpp"

namespace millrace::control {
namespace {

/// A key of the documentation, and a document in which it differs from `base`.
struct Documented {
    const char* key;
    std::string base, changed;
};

std::string server_map(const std::string& entries) {
    return "upstreams: [{group: g, servers: [{" + entries + "}]}]\n";
}

/// What is `fanout` and `merge` of a group.
std::string with_own(const std::string& policies) {
    return "upstreams: [{group: g, servers: [192.0.2.1], " + policies + "}]\n";
}

std::string routed(const std::string& suffix, const std::string& group) {
    return "upstreams: [{group: g, servers: [192.0.2.1]}, {group: h, servers: [192.0.2.2]}]\n"
           "routes: [{suffix: " +
           suffix + ", group: " + group + "}]\n";
}

/// A group that is asked by one of two ports.
std::string asked_by(const std::string& name, const std::string& source) {
    std::string ports;
    for (const char* number : {"0", "1"}) {
        ports += std::string(ports.empty() ? "" : ", ") + "{device: net_tap" + number + ", lcores: [1" +
                 number + "], addresses: [192.0.2.9], next-hop: routed, kernel: {interface: dns" + number +
                 "}}";
    }
    return "ports: [" + ports + "]\n" + with_own("via: " + name + ", source: [" + source + "]");
}

const std::vector<Documented>& keys_of_groups() {
    static const std::vector<Documented> keys = {
        {"upstreams[].fanout", upstreams, with_own("fanout: {}")},
        {"upstreams[].merge", upstreams, with_own("merge: {}")},
        {"upstreams[].bootstrap", upstreams, with_own("bootstrap: [192.0.2.9]")},
        {"upstreams[].via", asked_by("net_tap0", "192.0.2.60"), asked_by("net_tap1", "192.0.2.60")},
        {"upstreams[].source", asked_by("net_tap0", "192.0.2.60"), asked_by("net_tap0", "192.0.2.61")},
        {"routes[].suffix", routed("corp.example", "h"), routed("example", "h")},
        {"routes[].group", routed("corp.example", "h"), routed("corp.example", "g")},
    };
    return keys;
}

const std::vector<Documented>& keys_of_ranking() {
    static const std::vector<Documented> keys = {
        {"ranking.ports", upstreams, in_map("ranking", "ports: [443]")},
        {"ranking.icmp", upstreams, in_map("ranking", "icmp: true")},
        {"ranking.rate", upstreams, in_map("ranking", "rate: 9")},
        {"ranking.cache", upstreams, in_map("ranking", "cache: 9m")},
        {"ranking.max-addresses", upstreams, in_map("ranking", "max-addresses: 2")},
        {"ranking.allow", upstreams, in_map("ranking", "allow: [10.0.0.0/8]")},
    };
    return keys;
}

const std::vector<Documented>& keys_of_dns64() {
    static const std::vector<Documented> keys = {
        {"dns64[].clients", upstreams + dns64, upstreams + "dns64: [{clients: [10.0.0.0/9]}]"},
        {"dns64[].prefix", upstreams + dns64, dns64_map("prefix: '2001:db8::/96'")},
        {"dns64[].exclude", upstreams + dns64, dns64_map("exclude: []")},
        {"dns64[].groups", upstreams + dns64, dns64_map("groups: [g]")},
    };
    return keys;
}

const std::vector<Documented>& keys_of_servers() {
    static const std::vector<Documented> keys = {
        {"upstreams[].servers[].address", upstreams, server_map("address: 192.0.2.2")},
        {"upstreams[].servers[].trusted", upstreams, server_map("address: 192.0.2.1, trusted: true")},
        {"upstreams[].servers[].randomise-case", upstreams,
         server_map("address: 192.0.2.1, randomise-case: false")},
        {"upstreams[].servers[].priority", upstreams, server_map("address: 192.0.2.1, priority: 1")},
        {"upstreams[].servers[].weight", upstreams, server_map("address: 192.0.2.1, weight: 2")},
        {"upstreams[].servers[].tcp-only", upstreams, server_map("address: 192.0.2.1, tcp-only: true")},
    };
    return keys;
}

const std::vector<Documented>& keys_of_cache() {
    static const std::vector<Documented> keys = {
        {"cache.entries", upstreams, in_map("cache", "entries: 5")},
        {"cache.memory", upstreams, in_map("cache", "memory: 2GiB")},
        {"cache.min-ttl", upstreams, in_map("cache", "min-ttl: 1s")},
        {"cache.max-ttl", upstreams, in_map("cache", "max-ttl: 2d")},
        {"cache.negative-ttl", upstreams, in_map("cache", "negative-ttl: 2h")},
        {"cache.stale", upstreams, in_map("cache", "stale: 0s")},
        {"cache.stale-answer", upstreams, in_map("cache", "stale-answer: at-once")},
        {"cache.prefetch", upstreams, in_map("cache", "prefetch: 0")},
        {"cache.keep-warm", upstreams, in_map("cache", "keep-warm: /w")},
        {"cache.file", upstreams, in_map("cache", "file: /c")},
        {"cache.save-interval", upstreams, in_map("cache", "save-interval: 0s")},
        {"cache.keep-warm-rate", upstreams, in_map("cache", "keep-warm-rate: 9")},
        {"cache.rotate", upstreams, in_map("cache", "rotate: false")},
        {"cache.max-rrset", upstreams, in_map("cache", "max-rrset: 300")},
        {"cache.harden-below-nxdomain", upstreams, in_map("cache", "harden-below-nxdomain: true")},
    };
    return keys;
}

const std::vector<Documented>& keys_of_dnstap() {
    static const std::vector<Documented> keys = {
        {"dnstap.to", upstreams, in_map("dnstap", "to: 'file:/d'")},
        {"dnstap.identity", upstreams, in_map("dnstap", "identity: edge1")},
        {"dnstap.messages", upstreams, in_map("dnstap", "messages: [client-query]")},
        {"dnstap.sample", upstreams, in_map("dnstap", "sample: 9")},
        {"dnstap.clients", upstreams, in_map("dnstap", "clients: [10.0.0.0/8]")},
        {"dnstap.rcodes", upstreams, in_map("dnstap", "rcodes: [SERVFAIL]")},
    };
    return keys;
}

const std::vector<Documented>& keys_of_limits() {
    static const std::vector<Documented> keys = {
        {"limits.queries", upstreams, in_map("limits", "queries: 9")},
        {"limits.errors", upstreams, in_map("limits", "errors: 9")},
        {"limits.responses", upstreams, in_map("limits", "responses: 9")},
        {"limits.fetches", upstreams, in_map("limits", "fetches: 9")},
        {"limits.fetches-per-client", upstreams, in_map("limits", "fetches-per-client: 9")},
        {"limits.fetches-per-question", upstreams, in_map("limits", "fetches-per-question: 9")},
        {"limits.fetches-per-zone", upstreams, in_map("limits", "fetches-per-zone: 9")},
        {"limits.slip", upstreams, in_map("limits", "slip: 0")},
        {"limits.ipv4-prefix", upstreams, in_map("limits", "ipv4-prefix: 32")},
        {"limits.ipv6-prefix", upstreams, in_map("limits", "ipv6-prefix: 64")},
        {"limits.client-ipv4-prefix", upstreams, in_map("limits", "client-ipv4-prefix: 28")},
        {"limits.client-ipv6-prefix", upstreams, in_map("limits", "client-ipv6-prefix: 60")},
        {"limits.dry-run", upstreams, in_map("limits", "dry-run: true")},
    };
    return keys;
}

/// The port with a kernel interface, and what is said of that.
std::string with_kernel(const std::string& entries) {
    return upstreams + "ports: [{device: net_tap0, lcores: [1], addresses: [192.0.2.9], kernel: {" + entries +
           "}}]\n";
}

const std::vector<Documented>& keys_of_kernel() {
    static const std::string named = with_kernel("interface: dns0");
    static const std::vector<Documented> keys = {
        {"ports[].kernel.interface", named, with_kernel("interface: dns1")},
        {"ports[].kernel.addresses", named, with_kernel("interface: dns0, addresses: [192.0.2.9/24]")},
        {"ports[].kernel.mtu", named, with_kernel("interface: dns0, mtu: 1400")},
        {"ports[].kernel.rate", named, with_kernel("interface: dns0, rate: 900")},
    };
    return keys;
}

const std::vector<Documented>& all_the_others() {
    static const std::vector<Documented> keys = {
        {"eal", upstreams, upstreams + "eal: [--no-huge]"},
        {"ports[].device", upstreams + port,
         upstreams + "ports: [{device: net_tap1, lcores: [1], addresses: [192.0.2.9]}]"},
        {"ports[].lcores", upstreams + port,
         upstreams + "ports: [{device: net_tap0, lcores: [2], addresses: [192.0.2.9]}]"},
        {"ports[].addresses", upstreams + port,
         upstreams + "ports: [{device: net_tap0, lcores: [1], addresses: [192.0.2.8]}]"},
        {"ports[].next-hop", upstreams + port,
         upstreams + "ports: [{device: net_tap0, lcores: [1], addresses: [192.0.2.9], next-hop: "
                     "'02:00:00:00:00:09'}]"},
        {"ports[].idle", upstreams + port,
         upstreams + "ports: [{device: net_tap0, lcores: [1], addresses: [192.0.2.9], idle: sleep}]"},
        {"listen", upstreams, upstreams + "listen: ['127.0.0.1:5301']"},
        {"allow", upstreams, upstreams + "allow: [192.0.2.0/24]"},
        {"tcp.connections", upstreams, in_map("tcp", "connections: 9")},
        {"tcp.per-client", upstreams, in_map("tcp", "per-client: 9")},
        {"tcp.pipeline", upstreams, in_map("tcp", "pipeline: 9")},
        {"tcp.idle", upstreams, in_map("tcp", "idle: 9s")},
        {"local.version", upstreams, in_map("local", "version: x")},
        {"local.id", upstreams, in_map("local", "id: x")},
        {"local.special-names", upstreams, in_map("local", "special-names: false")},
        {"local.forward", upstreams, in_map("local", "forward: [a.com]")},
        {"local.records", upstreams, in_map("local", "records: ['a.lan. A 192.0.2.1']")},
        {"block[].file", upstreams + block, upstreams + "block: [{file: /b}]"},
        {"block[].names", upstreams + "block: [{names: [a.com]}]", upstreams + "block: [{names: [b.com]}]"},
        {"block[].format", upstreams + block, upstreams + "block: [{file: /a, format: rpz}]"},
        {"block[].answer", upstreams + block, upstreams + "block: [{file: /a, answer: nodata}]"},
        {"block[].reason", upstreams + block, upstreams + "block: [{file: /a, reason: censored}]"},
        {"upstreams[].group", upstreams, "upstreams: [{group: h, servers: [192.0.2.1]}]"},
        {"upstreams[].servers", upstreams, "upstreams: [{group: g, servers: [192.0.2.2]}]"},
        {"fanout.strategy", upstreams, in_map("fanout", "strategy: race")},
        {"fanout.active", upstreams, in_map("fanout", "active: 3")},
        {"fanout.batch", upstreams, in_map("fanout", "batch: 3")},
        {"fanout.stagger", upstreams, in_map("fanout", "stagger: 51ms")},
        {"fanout.fallback", upstreams, in_map("fanout", "fallback: 301ms")},
        {"fanout.deadline", upstreams, in_map("fanout", "deadline: 4s")},
        {"fanout.patience", upstreams, in_map("fanout", "patience: 2s")},
        {"fanout.outstanding", upstreams, in_map("fanout", "outstanding: 9")},
        {"fanout.rate", upstreams, in_map("fanout", "rate: 9")},
        {"fanout.probe", upstreams, in_map("fanout", "probe: 'example.com A'")},
        {"fanout.probe-interval", upstreams, in_map("fanout", "probe-interval: 9s")},
        {"fanout.probe-fall", upstreams, in_map("fanout", "probe-fall: 9")},
        {"fanout.probe-rise", upstreams, in_map("fanout", "probe-rise: 9")},
        {"merge.policy", upstreams, in_map("merge", "policy: off")},
        {"merge.quorum", upstreams, in_map("merge", "quorum: 3")},
        {"control.socket", upstreams, in_map("control", "socket: /tmp/s")},
        {"control.mode", upstreams, in_map("control", "mode: '0600'")},
        {"control.group", upstreams, in_map("control", "group: operators")},
        {"log.level", upstreams, in_map("log", "level: warning")},
        {"log.format", upstreams, in_map("log", "format: json")},
        {"metrics.listen", upstreams, in_map("metrics", "listen: '127.0.0.1:9154'")},
    };
    return keys;
}

const std::vector<Documented>& documented() {
    static const std::vector<Documented> keys = [] {
        std::vector<Documented> all = all_the_others();
        for (const auto& more : {keys_of_limits(), keys_of_groups(), keys_of_servers(), keys_of_ranking(),
                                 keys_of_cache(), keys_of_dnstap(), keys_of_dns64(), keys_of_kernel()}) {
            all.insert(all.end(), more.begin(), more.end());
        }
        return all;
    }();
    return keys;
}

/// The leaves of a document: dotted keys, list items as "[]".
void collect_keys(const YAML::Node& node, const std::string& path, std::multiset<std::string>& out) {
    bool is_as_at_the_top = path == "upstreams[].fanout" || path == "upstreams[].merge";
    if (is_as_at_the_top) {
        out.insert(path);
    } else if (node.IsMap()) {
        for (const auto& entry : node) {
            collect_keys(entry.second, path + (path.empty() ? "" : ".") + entry.first.Scalar(), out);
        }
    } else if (node.IsSequence() && node.size() > 0) {
        bool has_plain = false; // a list may hold words and maps
        for (const auto& item : node) {
            if (item.IsMap()) collect_keys(item, path + "[]", out);
            has_plain = has_plain || !item.IsMap();
        }
        if (has_plain) out.insert(path);
    } else {
        out.insert(path);
    }
}

/// The keys that the parser says it knows at `prefix`, from its complaint about one that it does not.
std::set<std::string> known_keys(const std::string& document) {
    std::string words = complaint(document);
    auto begin = words.find("the keys ");
    auto end = words.find(", found");
    EXPECT_NE(begin, words.npos) << words;
    words = words.substr(begin + 9, end - begin - 9) + ", ";
    std::set<std::string> out;
    for (std::size_t at = 0, comma; (comma = words.find(", ", at)) != words.npos; at = comma + 2) {
        out.insert(words.substr(at, comma - at));
    }
    return out;
}

/// The sample's examples that are commented out, as they name a file, clients or a group, in their places.
std::string with_example(const std::string& path) {
    std::ifstream file(path);
    std::string text{std::istreambuf_iterator<char>(file), {}};
    text = std::regex_replace(text, std::regex("(block|dns64|routes): \\[\\]\n"), "$1:\n");
    return std::regex_replace(text, std::regex("\n#  ([ -]) "), "\n  $1 ");
}

TEST(ConfigKeys, EachOneChangesTheConfig) {
    for (const auto& [key, base, changed] : documented()) {
        if (changed.empty()) continue;
        EXPECT_NE(parsed(base), parsed(changed)) << key;
    }
}

TEST(ConfigKeys, Strategies) {
    for (const auto& [name, value] : strategies) {
        std::string line = "strategy: " + std::string(name);
        EXPECT_EQ(parsed(in_map("fanout", line.c_str())).live.fanout.strategy, value);
    }
    EXPECT_EQ(complaint(in_map("fanout", "strategy: random")),
              "t:2: fanout.strategy: expected two-stage or race or sequential or parallel, found \"random\"");
    std::string votes = "upstreams: [{group: g, servers: [192.0.2.1, 192.0.2.2]}]\n"
                        "merge: {policy: quorum, quorum: 2}\n";
    EXPECT_NO_THROW(parsed(votes + "fanout: {strategy: parallel}"));
    for (const char* name : {"race", "sequential"}) {
        std::string words = complaint(votes + "fanout: {strategy: " + name + "}");
        EXPECT_NE(words.find("merge.policy: expected union, order or off with"), std::string::npos) << words;
    }
}

TEST(ConfigKeys, ParserKnowsExactlyTheDocumentedOnes) {
    std::set<std::string> expected, found;
    for (const auto& item : documented()) expected.insert(item.key);
    const std::map<std::string, std::string> maps = {{"ports[].", "ports: [{x: 1}]"},
                                                     {"ports[].kernel.", "ports: [{kernel: {x: 1}}]"},
                                                     {"upstreams[].", "upstreams: [{x: 1}]"},
                                                     {"upstreams[].servers[].", server_map("x: 1")},
                                                     {"routes[].", "routes: [{x: 1}]"},
                                                     {"limits.", "limits: {x: 1}"},
                                                     {"tcp.", "tcp: {x: 1}"},
                                                     {"local.", "local: {x: 1}"},
                                                     {"block[].", "block: [{x: 1}]"},
                                                     {"dns64[].", "dns64: [{x: 1}]"},
                                                     {"fanout.", "fanout: {x: 1}"},
                                                     {"merge.", "merge: {x: 1}"},
                                                     {"ranking.", "ranking: {x: 1}"},
                                                     {"cache.", "cache: {x: 1}"},
                                                     {"dnstap.", "dnstap: {x: 1}"},
                                                     {"control.", "control: {x: 1}"},
                                                     {"log.", "log: {x: 1}"},
                                                     {"metrics.", "metrics: {x: 1}"}};
    for (const auto& [prefix, document] : maps) {
        for (const auto& key : known_keys(document)) {
            if (!maps.contains(prefix + key + ".")) found.insert(prefix + key);
        }
    }
    for (const auto& key : known_keys("x: 1")) {
        if (!maps.contains(key + ".") && !maps.contains(key + "[].")) found.insert(key);
    }
    EXPECT_EQ(found, expected);
}

TEST(ConfigKeys, SampleHasEachOnceAndIsValid) {
    auto sample = load_config(sample_path());
    ASSERT_TRUE(sample) << to_string(sample.error());
    EXPECT_EQ(sample->boot.ports.at(0).lcores, (std::vector<unsigned>{2, 3, 4, 5}));
    std::multiset<std::string> expected, found;
    for (const auto& item : documented()) expected.insert(item.key);
    collect_keys(YAML::Load(with_example(sample_path())), "", found);
    EXPECT_EQ(found, expected);
}

/// What millrace.yaml(5) says in a key's first line: "TYPE; default VALUE; live; since VERSION".
struct Facts {
    std::string type, value, life;
};

std::multimap<std::string, Facts> manual() {
    std::multimap<std::string, Facts> all;
    std::ifstream file(manual_path());
    const std::regex form("(.*); default (.*); (live|at start); since [0-9]+\\.[0-9]+\\.[0-9]+");
    for (std::string line; std::getline(file, line);) {
        if (!line.starts_with(".It Ic ")) continue;
        std::string key = line.substr(7);
        std::smatch found;
        std::getline(file, line);
        EXPECT_TRUE(std::regex_match(line, found, form)) << key << ": " << line;
        all.emplace(key, Facts{found[1], found[2], found[3]});
    }
    return all;
}

TEST(ConfigKeys, ManualHasEachOnceAndWhetherItIsLive) {
    auto manual_keys = manual();
    EXPECT_EQ(manual_keys.size(), documented().size());
    for (const auto& [key, base, changed] : documented()) {
        ASSERT_EQ(manual_keys.count(key), 1u) << key;
        bool is_live = parsed(base).boot == parsed(changed).boot;
        EXPECT_EQ(manual_keys.find(key)->second.life, is_live ? "live" : "at start") << key;
    }
}

/// Of what stands by itself in a map; the page says in its own words what lists hold.
TEST(ConfigKeys, ManualHasTypesAndRangesAsTheParser) {
    for (const auto& [key, facts] : manual()) {
        auto dot = key.find('.');
        bool is_plain = dot != key.npos && key.find("[]") == key.npos;
        if (!is_plain || facts.type.starts_with("a list")) continue;
        std::string entry = key.substr(dot + 1) + ": {}", map = key.substr(0, dot);
        std::string words = complaint(in_map(map.c_str(), entry.c_str()));
        EXPECT_NE(words.find(": expected " + facts.type), words.npos) << key << ": " << words;
    }
}

std::string inline_text(const YAML::Node& node) {
    YAML::Emitter out;
    out << YAML::Flow << YAML::DoubleQuoted;
    if (node.IsScalar() && node.Tag() != "!") return node.Scalar();
    out << node;
    return out.c_str();
}

TEST(ConfigKeys, ManualHasDefaultsAsTheyArePrinted) {
    auto printed = YAML::Load(to_yaml(parsed(upstreams)));
    for (const auto& [key, facts] : manual()) {
        if (key.find("[]") != key.npos || key == "allow" || key == "control.socket") continue;
        YAML::Node node = YAML::Clone(printed);
        for (std::size_t at = 0, dot = 0; dot != key.npos; at = dot + 1) {
            dot = key.find('.', at);
            node.reset(node[key.substr(at, dot == key.npos ? dot : dot - at)]);
        }
        EXPECT_EQ(facts.value, inline_text(node)) << key;
    }
}

TEST(ConfigKeys, PrintedOnesAreTheDocumentedOnes) {
    std::multiset<std::string> expected, found;
    for (const auto& item : documented()) expected.insert(item.key);
    std::string both = "upstreams: [{group: g, servers: [192.0.2.1, {address: 192.0.2.2, trusted: true}], "
                       "fanout: {}, merge: {}, bootstrap: [192.0.2.8], via: net_tap0, source: "
                       "[192.0.2.60]}]\nroutes: [{suffix: a, group: g}]\n";
    std::string routed = "ports: [{device: net_tap0, lcores: [1], addresses: [192.0.2.9], next-hop: routed, "
                         "kernel: {interface: dns0}}]\n";
    collect_keys(YAML::Load(to_yaml(parsed(both + routed + block + dns64))), "", found);
    EXPECT_EQ(found, expected);
}

} // namespace
} // namespace millrace::control
