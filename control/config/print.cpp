// The configuration in effect, in the shape of the sample (deploy/millrace.yaml).
#include <fmt/format.h>
#include <yaml-cpp/yaml.h>

#include "control/config/choices.hpp"
#include "control/config/config.hpp"
#include "control/config/yaml.hpp"

namespace millrace::control {

namespace {

void print(YAML::Emitter& out, const std::string& text) {
    out << YAML::DoubleQuoted << text;
}
void print(YAML::Emitter& out, unsigned number) {
    out << number;
}
void print(YAML::Emitter& out, const dataplane::Address& value) {
    print(out, to_string(value));
}
void print(YAML::Emitter& out, const dataplane::Endpoint& value) {
    print(out, to_string(value));
}
void print(YAML::Emitter& out, const dataplane::Prefix& value) {
    print(out, to_string(value));
}
void print_word(YAML::Emitter& out, const char* key, const std::string& word) {
    out << YAML::Key << key << YAML::Value << word;
}
void print(YAML::Emitter& out, const Config::Server& server) {
    Config::Server plain(server.endpoint);
    plain.name = server.name;
    if (server == plain) return print(out, to_string(server));
    out << YAML::Flow << YAML::BeginMap << YAML::Key << "address" << YAML::Value;
    print(out, to_string(server));
    print_word(out, "trusted", server.trusted ? "true" : "false");
    print_word(out, "randomise-case", server.randomise_case ? "true" : "false");
    print_word(out, "priority", std::to_string(server.priority));
    print_word(out, "weight", std::to_string(server.weight));
    print_word(out, "tcp-only", server.tcp_only ? "true" : "false");
    out << YAML::EndMap;
}

template <class Item>
void print(YAML::Emitter& out, const char* key, const std::vector<Item>& items) {
    out << YAML::Key << key << YAML::Value << YAML::Flow << YAML::BeginSeq;
    for (const auto& item : items) print(out, item);
    out << YAML::EndSeq;
}

void print_text(YAML::Emitter& out, const char* key, const std::string& text) {
    out << YAML::Key << key << YAML::Value << YAML::DoubleQuoted << text;
}

void begin_map(YAML::Emitter& out, const char* key) {
    out << YAML::Key << key << YAML::Value << YAML::BeginMap;
}

void print_ports(YAML::Emitter& out, const std::vector<Config::Port>& ports) {
    out << YAML::Key << "ports" << YAML::Value;
    if (ports.empty()) out << YAML::Flow;
    out << YAML::BeginSeq;
    for (const auto& port : ports) {
        out << YAML::BeginMap;
        print_text(out, "device", port.device);
        print(out, "lcores", port.lcores);
        print(out, "addresses", port.addresses);
        print_text(out, "next-hop", next_hop_text(port));
        print_word(out, "idle", name_of(port.idle, idles));
        begin_map(out, "kernel");
        print_text(out, "interface", port.kernel.name);
        print(out, "addresses", port.kernel.addresses);
        print_word(out, "mtu", std::to_string(port.kernel.mtu));
        print_word(out, "rate", std::to_string(port.kernel.rate));
        out << YAML::EndMap;
        out << YAML::EndMap;
    }
    out << YAML::EndSeq;
}

enum class Owner : bool { file, group };

void print_fanout(YAML::Emitter& out, const Config::Fanout& fanout, Owner owner) {
    begin_map(out, "fanout");
    print_word(out, "strategy", name_of(fanout.strategy, strategies));
    print_word(out, "active", std::to_string(fanout.active));
    print_word(out, "batch", std::to_string(fanout.batch));
    print_word(out, "stagger", yaml::duration_text(fanout.stagger));
    print_word(out, "fallback", yaml::duration_text(fanout.fallback));
    print_word(out, "deadline", yaml::duration_text(fanout.deadline));
    if (owner == Owner::file) print_word(out, "patience", yaml::duration_text(fanout.patience));
    print_word(out, "outstanding", std::to_string(fanout.outstanding));
    print_word(out, "rate", std::to_string(fanout.rate));
    print_text(out, "probe", fanout.probe);
    print_word(out, "probe-interval", yaml::duration_text(fanout.probe_interval));
    print_word(out, "probe-fall", std::to_string(fanout.probe_fall));
    print_word(out, "probe-rise", std::to_string(fanout.probe_rise));
    out << YAML::EndMap;
}

void print_merge(YAML::Emitter& out, const Config::Merge& merge) {
    begin_map(out, "merge");
    print_word(out, "policy", name_of(merge.policy, policies));
    print_word(out, "quorum", std::to_string(merge.quorum));
    out << YAML::EndMap;
}

void print_upstreams(YAML::Emitter& out, const std::vector<Config::Group>& groups,
                     const decltype(Config::Boot::ways)& ways) {
    out << YAML::Key << "upstreams" << YAML::Value << YAML::BeginSeq;
    for (const auto& group : groups) {
        out << YAML::BeginMap;
        print_text(out, "group", group.name);
        print(out, "servers", group.servers);
        if (!group.bootstrap.empty()) print(out, "bootstrap", group.bootstrap);
        if (auto way = ways.find(group.name); way != ways.end()) {
            print_text(out, "via", way->second.port);
            print(out, "source", way->second.sources);
        }
        if (group.fanout) print_fanout(out, *group.fanout, Owner::group);
        if (group.merge) print_merge(out, *group.merge);
        out << YAML::EndMap;
    }
    out << YAML::EndSeq;
}

void print_routes(YAML::Emitter& out, const std::vector<Config::Route>& routes) {
    out << YAML::Key << "routes" << YAML::Value;
    if (routes.empty()) out << YAML::Flow;
    out << YAML::BeginSeq;
    for (const auto& route : routes) {
        out << YAML::Flow << YAML::BeginMap;
        print_text(out, "suffix", route.suffix);
        print_text(out, "group", route.group);
        out << YAML::EndMap;
    }
    out << YAML::EndSeq;
}

void print_limits(YAML::Emitter& out, const dataplane::RateLimits& limits) {
    begin_map(out, "limits");
    print_word(out, "queries", std::to_string(limits.queries));
    print_word(out, "errors", std::to_string(limits.errors));
    print_word(out, "responses", std::to_string(limits.responses));
    print_word(out, "fetches", std::to_string(limits.fetches));
    print_word(out, "fetches-per-client", std::to_string(limits.fetches_per_client));
    print_word(out, "fetches-per-question", std::to_string(limits.fetches_per_question));
    print_word(out, "fetches-per-zone", std::to_string(limits.fetches_per_zone));
    print_word(out, "slip", std::to_string(limits.slip));
    print_word(out, "ipv4-prefix", std::to_string(limits.ipv4_prefix));
    print_word(out, "ipv6-prefix", std::to_string(limits.ipv6_prefix));
    print_word(out, "client-ipv4-prefix", std::to_string(limits.client_ipv4_prefix));
    print_word(out, "client-ipv6-prefix", std::to_string(limits.client_ipv6_prefix));
    print_word(out, "dry-run", limits.dry_run ? "true" : "false");
    out << YAML::EndMap;
}

void print_tcp(YAML::Emitter& out, const Config::Tcp& tcp) {
    begin_map(out, "tcp");
    print_word(out, "connections", std::to_string(tcp.connections));
    print_word(out, "per-client", std::to_string(tcp.per_client));
    print_word(out, "pipeline", std::to_string(tcp.pipeline));
    print_word(out, "idle", yaml::duration_text(tcp.idle));
    out << YAML::EndMap;
}

void print_local(YAML::Emitter& out, const Config::Local& local) {
    begin_map(out, "local");
    print_text(out, "version", local.version);
    print_text(out, "id", local.id);
    print_word(out, "special-names", local.special_names ? "true" : "false");
    print(out, "forward", local.forward);
    print(out, "records", local.records);
    out << YAML::EndMap;
}

void print_block(YAML::Emitter& out, const std::vector<Config::BlockList>& lists) {
    out << YAML::Key << "block" << YAML::Value;
    if (lists.empty()) out << YAML::Flow;
    out << YAML::BeginSeq;
    for (const auto& list : lists) {
        out << YAML::BeginMap;
        print_text(out, "file", list.file);
        print(out, "names", list.names);
        print_word(out, "format", name_of(list.format, list_formats));
        print_word(out, "answer", name_of(list.answer, denials));
        print_word(out, "reason", name_of(list.reason, list_reasons));
        out << YAML::EndMap;
    }
    out << YAML::EndSeq;
}

/// IPv6 prefixes that lie within the form of IPv4 addresses: as those of AAAA records.
std::string ipv6_text(const dataplane::Prefix& prefix) {
    if (!prefix.address.is_v4()) return to_string(prefix);
    return "::ffff:" + to_string(prefix.address) + "/" + std::to_string(prefix.bits);
}

void print_dns64(YAML::Emitter& out, const std::vector<Config::Dns64>& rules) {
    out << YAML::Key << "dns64" << YAML::Value;
    if (rules.empty()) out << YAML::Flow;
    out << YAML::BeginSeq;
    for (const auto& rule : rules) {
        out << YAML::BeginMap;
        print_text(out, "prefix", to_string(rule.prefix));
        print(out, "clients", rule.clients);
        std::vector<std::string> excluded;
        for (const auto& prefix : rule.exclude) excluded.push_back(ipv6_text(prefix));
        print(out, "exclude", excluded);
        print(out, "groups", rule.groups);
        out << YAML::EndMap;
    }
    out << YAML::EndSeq;
}

void print_ranking(YAML::Emitter& out, const Config::Ranking& ranking) {
    begin_map(out, "ranking");
    print(out, "ports", ranking.ports);
    print_word(out, "icmp", ranking.icmp ? "true" : "false");
    print_word(out, "rate", std::to_string(ranking.rate));
    print_word(out, "cache", yaml::duration_text(ranking.cache));
    print_word(out, "max-addresses", std::to_string(ranking.max_addresses));
    print(out, "allow", ranking.allow);
    out << YAML::EndMap;
}

void print_dnstap(YAML::Emitter& out, const Config& config) {
    begin_map(out, "dnstap");
    print_text(out, "to", to_string(config.boot.dnstap_to));
    print_text(out, "identity", config.boot.dnstap_identity);
    std::vector<std::string> messages, codes;
    for (auto kind : config.live.dnstap.messages) messages.push_back(name_of(kind, logged_messages));
    for (unsigned rcode : config.live.dnstap.rcodes) codes.push_back(name_of(rcode, rcodes));
    print(out, "messages", messages);
    print_word(out, "sample", std::to_string(config.live.dnstap.sample));
    print(out, "clients", config.live.dnstap.clients);
    print(out, "rcodes", codes);
    out << YAML::EndMap;
}

void print_cache(YAML::Emitter& out, const Config& config) {
    begin_map(out, "cache");
    print_word(out, "entries", std::to_string(config.boot.cache_entries));
    print_word(out, "memory", yaml::bytes_text(config.boot.cache_memory));
    print_word(out, "min-ttl", yaml::duration_text(config.live.min_ttl));
    print_word(out, "max-ttl", yaml::duration_text(config.live.max_ttl));
    print_word(out, "negative-ttl", yaml::duration_text(config.live.negative_ttl));
    print_word(out, "stale", yaml::duration_text(config.live.stale));
    print_word(out, "stale-answer", name_of(config.live.stale_answer, stale_answers));
    print_word(out, "prefetch", std::to_string(config.live.prefetch));
    print_text(out, "keep-warm", config.live.keep_warm);
    print_word(out, "keep-warm-rate", std::to_string(config.live.keep_warm_rate));
    print_text(out, "file", config.live.file);
    print_word(out, "save-interval", yaml::duration_text(config.live.save_interval));
    print_word(out, "rotate", config.live.rotate ? "true" : "false");
    print_word(out, "max-rrset", std::to_string(config.live.max_rrset));
    print_word(out, "harden-below-nxdomain", config.live.harden_below_nxdomain ? "true" : "false");
    out << YAML::EndMap;
}

} // namespace

std::string to_yaml(const Config& config) {
    YAML::Emitter out;
    out << YAML::BeginMap;
    print(out, "eal", config.boot.eal);
    print_ports(out, config.boot.ports);
    print(out, "listen", config.boot.listen);
    print(out, "allow", config.live.allow);
    print_limits(out, config.live.limits);
    print_tcp(out, config.live.tcp);
    print_local(out, config.live.local);
    print_block(out, config.live.block);
    print_dns64(out, config.live.dns64);
    print_upstreams(out, config.live.upstreams, config.boot.ways);
    print_routes(out, config.live.routes);
    print_fanout(out, config.live.fanout, Owner::file);
    print_merge(out, config.live.merge);
    print_ranking(out, config.live.ranking);
    print_cache(out, config);
    print_dnstap(out, config);
    begin_map(out, "control");
    print_text(out, "socket", config.boot.control_socket);
    print_text(out, "mode", fmt::format("{:04o}", config.boot.control_access.mode));
    print_text(out, "group", config.boot.control_access.group);
    out << YAML::EndMap;
    begin_map(out, "log");
    print_word(out, "level", name_of(config.live.log_level, log_levels));
    print_word(out, "format", name_of(config.boot.log_format, log_formats));
    out << YAML::EndMap;
    begin_map(out, "metrics");
    print_text(out, "listen", config.boot.metrics ? to_string(*config.boot.metrics) : "");
    out << YAML::EndMap << YAML::EndMap;
    return std::string(out.c_str()) + "\n";
}

} // namespace millrace::control
