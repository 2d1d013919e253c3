// The configuration of what is asked upstream: servers, fan-out, merge, ranking.
#include <algorithm>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_set>
#include <utility>

#include <fmt/format.h>

#include "cache/dns.hpp"
#include "cache/limits.hpp"
#include "control/config/own_endpoints.hpp"
#include "control/config/readers.hpp"
#include "control/limits.hpp"
#include "dataplane/eal_plan.hpp"

namespace millrace::control {

using dataplane::Endpoint;
using yaml::Value;

namespace bounds {
constexpr unsigned outstanding = 65535;
constexpr unsigned ranking_rate = 1000; ///< probes per second
constexpr unsigned probes = 100;
constexpr unsigned priority = 255;
constexpr unsigned weight = 1000;
constexpr Time probe_interval = 1h;
constexpr Time deadline = 30s;
} // namespace bounds

namespace {

constexpr const char* server_form = "an address and port, or a name and port, such as \"192.0.2.1:53\", "
                                    "\"[2001:db8::1]:53\" or \"dns.example.net:53\"";
constexpr const char* probe_form = "a name and a type, such as \"example.com A\"";
constexpr const char* zone_form =
    "a link-local address with an interface of this machine, such as \"[fe80::1%eth0]:53\"";

Endpoint read_server_address(const Value& at, const char* form) {
    std::string text = at.text(form);
    auto endpoint = dataplane::parse_endpoint(text, dns::port);
    bool valid = endpoint && endpoint->address.is_unicast();
    bool link_local = valid ? endpoint->address.is_link_local() : text.find('%') != text.npos;
    if (valid && link_local == (endpoint->zone != 0)) return *endpoint;
    at.fail(link_local ? zone_form : form);
    return {};
}

/// "dns.example.net:53": a host name (RFC 1123 2.1) of several labels, of which the last is no number, so
/// that no address with a slip of the pen is taken for one.
std::optional<Config::Server> parse_server_name(const std::string& text) {
    auto colon = text.rfind(':');
    std::string host = text.substr(0, colon);
    bool is_host = host.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                          "0123456789-_.") == host.npos;
    auto name = is_host ? cache::parse_name(host) : std::nullopt;
    auto port =
        colon == text.npos ? std::nullopt : dataplane::parse_endpoint("192.0.2.1" + text.substr(colon), 0);
    if (!name || !port) return std::nullopt;
    Config::Server out(Endpoint{{}, port->port});
    out.name = cache::to_string(name->bytes());
    auto last = out.name.rfind('.', out.name.size() - 2);
    if (last == out.name.npos || last + 1 == out.name.size()) return std::nullopt;
    bool is_number = out.name.find_first_not_of("0123456789", last + 1) == out.name.size() - 1;
    return is_number ? std::nullopt : std::optional(out);
}

/// "192.0.2.1:53", a name and port, or a map with what is special about the server.
Config::Server read_server(const Value& at) {
    Config::Server out;
    auto read_endpoint = [&](const Value& v) {
        auto named = parse_server_name(v.text(server_form));
        out.endpoint = named ? named->endpoint : read_server_address(v, server_form);
        if (named) out.name = named->name;
    };
    if (!at.is_map()) {
        read_endpoint(at);
        return out;
    }
    at.map({
        {"address", read_endpoint},
        {"trusted", [&](const Value& v) { out.trusted = v.flag(); }},
        {"randomise-case", [&](const Value& v) { out.randomise_case = v.flag(); }},
        {"priority", [&](const Value& v) { out.priority = unsigned(v.number(0, bounds::priority)); }},
        {"weight", [&](const Value& v) { out.weight = unsigned(v.number(1, bounds::weight)); }},
        {"tcp-only", [&](const Value& v) { out.tcp_only = v.flag(); }},
    });
    if (out.endpoint == Endpoint{}) at.at("address").fail(server_form);
    return out;
}

/// What it may take of a group's.
std::size_t places_of(const Config::Server& server) {
    return server.is_named() ? 2 * limits::name_addresses : 1;
}

std::vector<Config::Server> read_servers(const Value& at) {
    std::vector<Config::Server> out;
    std::size_t places = 0;
    at.list(limits::upstreams, [&](const Value& item) {
        Config::Server server = read_server(item);
        auto is_same = [&](const Config::Server& s) {
            return s.endpoint == server.endpoint && s.name == server.name;
        };
        if (std::ranges::any_of(out, is_same)) item.fail("each server once", yaml::quote(to_string(server)));
        places += places_of(server);
        if (places > limits::upstreams) {
            item.fail(fmt::format("at most {} servers, of which one given by name counts as {}",
                                  limits::upstreams, 2 * limits::name_addresses),
                      "more");
        }
        out.push_back(server);
    });
    return out;
}

std::vector<Endpoint> read_bootstrap(const Value& at) {
    std::vector<Endpoint> out;
    at.list(limits::bootstraps, [&](const Value& item) {
        Endpoint endpoint = read_server_address(item, endpoint_form);
        if (std::ranges::find(out, endpoint) != out.end()) item.fail("each server once");
        out.push_back(endpoint);
    });
    return out;
}

Config::Group read_group(const Value& at) {
    Config::Group out;
    auto require_map = [](const Value& v) {
        if (!v.is_map()) v.fail("a map");
    };
    at.map({
        {"group", [&](const Value& v) { out.name = v.text("the group's name"); }},
        {"servers", [&](const Value& v) { out.servers = read_servers(v); }},
        {"bootstrap", [&](const Value& v) { out.bootstrap = read_bootstrap(v); }},
        {"via", [](const Value& v) { v.text("the name of a port"); }}, // read_ways
        {"source", [](const Value&) {}},
        {"fanout", require_map}, // read_policies_of_groups
        {"merge", require_map},
    });
    if (out.name.empty()) at.at("group").fail("the group's name");
    if (out.servers.empty()) at.at("servers").fail("at least one server");
    auto named = std::ranges::find_if(out.servers, &Config::Server::is_named);
    if (out.bootstrap.empty() && named != out.servers.end()) {
        at.at("bootstrap").fail("addresses and ports of servers that know " + to_string(*named));
    }
    return out;
}

std::vector<std::uint16_t> read_probed_ports(const Value& at) {
    std::vector<std::uint16_t> out;
    at.list(limits::ranking_ports, [&](const Value& item) {
        auto port = std::uint16_t(item.number(1, 65535));
        if (std::ranges::find(out, port) != out.end()) item.fail("each port once");
        out.push_back(port);
    });
    return out;
}

} // namespace

std::vector<Config::Group> read_upstreams(const Value& at) {
    std::vector<Config::Group> out;
    at.list(cache::limits::groups, [&](const Value& item) {
        Config::Group group = read_group(item);
        if (std::ranges::find(out, group.name, &Config::Group::name) != out.end()) {
            item.at("group").fail("each group's name once");
        }
        out.push_back(std::move(group));
    });
    if (out.empty()) at.fail("a list of groups of upstream servers");
    return out;
}

std::vector<Config::Route> read_routes(const Value& at) {
    constexpr const char* suffix_form = "a domain name, such as \"corp.example\"";
    std::vector<Config::Route> out;
    std::unordered_set<std::string> seen;
    at.list(limits::routes, [&](const Value& item) {
        Config::Route& route = out.emplace_back();
        item.map({
            {"suffix",
             [&](const Value& v) {
                 auto name = cache::parse_name(v.text(suffix_form));
                 if (!name) return v.fail(suffix_form);
                 bool is_wildcard = name->octets[0] == 1 && name->octets[1] == '*';
                 if (is_wildcard)
                     return v.fail("the suffix alone, without \"*.\": all names below it follow");
                 route.suffix = cache::to_string(name->bytes());
                 if (!seen.insert(route.suffix).second) v.fail("each suffix once");
             }},
            {"group", [&](const Value& v) { route.group = v.text("a group's name"); }},
        });
        if (route.suffix.empty()) item.at("suffix").fail(suffix_form);
        if (route.group.empty()) item.at("group").fail("a group's name");
    });
    return out;
}

void read_policies_of_groups(const Value& at, Config::Live& live) {
    if (!at.ok()) return;
    auto group = live.upstreams.begin();
    at.at("upstreams").list(cache::limits::groups, [&](const Value& item) {
        Value fanout = item.at("fanout"), merge = item.at("merge");
        if (fanout.is_map()) read_fanout(fanout, group->fanout.emplace(live.fanout));
        if (merge.is_map()) read_merge(merge, group->merge.emplace(live.merge));
        if (!fanout.at("patience").is_null()) {
            fanout.at("patience").fail("patience in the file's own fanout: clients know of no groups");
        }
        ++group;
    });
}

namespace {

/// Where a port's upstreams may be asked from.
std::vector<dataplane::Address> read_sources(const Value& at) {
    constexpr const char* form = "an address of millraced's own that is routed to the port";
    return read_distinct<dataplane::Address>(
        at, dataplane::limits::query_sources, form, [](const std::string& text) {
            auto address = dataplane::parse_address(text);
            bool is_fit =
                address && address->is_unicast() && !address->is_link_local() && !is_loopback(*address);
            return is_fit ? address : std::nullopt;
        });
}

/// Each server's family has a source, as far as it is known.
void check_sources(const Value& at, const Config::Group& group, const Config::Way& way) {
    for (const Config::Server& server : group.servers) {
        if (server.is_named()) continue;
        if (server.endpoint.zone != 0) {
            at.at("via").fail("servers without a zone: the kernel has no routes to link-local ones",
                              yaml::quote(to_string(server)));
        }
        bool is_v4 = server.endpoint.address.is_v4();
        bool has_source = std::ranges::any_of(way.sources, [&](auto& s) { return s.is_v4() == is_v4; });
        if (has_source) continue;
        at.at("source").fail(fmt::format("an IPv{} address, too, for {}", is_v4 ? 4 : 6, to_string(server)),
                             "none");
    }
}

void read_way(const Value& at, const Config::Group& group, Config& config) {
    Value via = at.at("via"), source = at.at("source");
    if (via.is_null() && source.is_null()) return;
    if (via.is_null()) return via.fail("the name of a port, which `source` needs");
    Config::Way way{via.text("the name of a port"), {}};
    if (!source.is_null()) way.sources = read_sources(source);
    auto port = std::ranges::find_if(config.boot.ports, [&](const Config::Port& one) {
        return dataplane::ethdev_name(one.device) == dataplane::ethdev_name(way.port);
    });
    bool is_fit = port != config.boot.ports.end() && port->is_routed &&
                  !dataplane::is_driver(port->device, "net_af_packet");
    if (!is_fit) {
        return via.fail("the name of a port with `next-hop: routed`, not of net_af_packet, whose packets the "
                        "kernel gets as well",
                        yaml::quote(way.port));
    }
    way.port = dataplane::ethdev_name(way.port);
    if (way.sources.empty()) return source.fail("the addresses that the port's upstreams are asked from");
    for (const auto& [other, its] : config.boot.ways) {
        for (const auto& address : way.sources) {
            bool is_elsewhere = its.port != way.port && std::ranges::count(its.sources, address) > 0;
            if (is_elsewhere)
                source.fail("addresses that no other port has", yaml::quote(dataplane::to_string(address)));
        }
    }
    check_sources(at, group, way);
    config.boot.ways.emplace(group.name, std::move(way));
}

} // namespace

void read_ways(const Value& at, Config& config) {
    if (!at.ok()) return;
    auto group = config.live.upstreams.begin();
    at.at("upstreams").list(cache::limits::groups, [&](const Value& item) {
        read_way(item, *group++, config);
    });
}

void check_routes(const Value& at, const Config::Live& live) {
    if (!at.ok() || live.routes.empty()) return;
    auto route = live.routes.begin();
    at.at("routes").list(limits::routes, [&](const Value& item) {
        bool is_known = live.index_of((route++)->group) < live.upstreams.size();
        if (!is_known) item.at("group").fail("the name of a group of upstreams");
    });
}

void read_fanout(const Value& at, Config::Fanout& out) {
    at.map({
        {"strategy", [&](const Value& v) { out.strategy = read_choice(v, strategies); }},
        {"active", [&](const Value& v) { out.active = unsigned(v.number(1, limits::upstreams)); }},
        {"batch", [&](const Value& v) { out.batch = unsigned(v.number(1, limits::upstreams)); }},
        {"stagger", [&](const Value& v) { out.stagger = v.duration(1ms, bounds::deadline); }},
        {"fallback", [&](const Value& v) { out.fallback = v.duration(1ms, bounds::deadline); }},
        {"deadline", [&](const Value& v) { out.deadline = v.duration(100ms, bounds::deadline); }},
        {"patience",
         [&](const Value& v) { out.patience = v.duration(limits::least_patience, bounds::deadline); }},
        {"outstanding",
         [&](const Value& v) { out.outstanding = unsigned(v.number(1, bounds::outstanding)); }},
        {"rate", [&](const Value& v) { out.rate = unsigned(v.number(1, bounds::rate)); }},
        {"probe",
         [&](const Value& v) {
             out.probe = v.text(probe_form);
             if (!parse_probe(out.probe)) v.fail(probe_form);
         }},
        {"probe-interval",
         [&](const Value& v) {
             out.probe_interval = v.duration(0s, bounds::probe_interval);
             if (out.probe_interval > Time{} && out.probe_interval < 1s) v.fail("0s or at least 1s");
         }},
        {"probe-fall", [&](const Value& v) { out.probe_fall = unsigned(v.number(1, bounds::probes)); }},
        {"probe-rise", [&](const Value& v) { out.probe_rise = unsigned(v.number(1, bounds::probes)); }},
    });
    auto within_deadline = [&](const char* key, Time value) {
        if (value <= out.deadline) return;
        at.at(key).fail("at most the deadline of " + yaml::duration_text(out.deadline),
                        yaml::duration_text(value));
    };
    within_deadline("stagger", out.stagger);
    within_deadline("fallback", out.fallback);
}

void read_merge(const Value& at, Config::Merge& out) {
    at.map({
        {"policy", [&](const Value& v) { out.policy = read_choice(v, policies); }},
        {"quorum", [&](const Value& v) { out.quorum = unsigned(v.number(2, limits::upstreams)); }},
    });
}

void read_ranking(const Value& at, Config::Ranking& out) {
    at.map({
        {"ports", [&](const Value& v) { out.ports = read_probed_ports(v); }},
        {"icmp", [&](const Value& v) { out.icmp = v.flag(); }},
        {"rate", [&](const Value& v) { out.rate = unsigned(v.number(1, bounds::ranking_rate)); }},
        {"cache", [&](const Value& v) { out.cache = v.duration(1s, bounds::day); }},
        {"max-addresses",
         [&](const Value& v) { out.max_addresses = unsigned(v.number(0, limits::ranked_addresses)); }},
        {"allow", [&](const Value& v) { out.allow = read_allow(v); }},
    });
}

namespace {

/// Those that complete each other's answers while all is well, one given by name with all that it may have.
std::size_t count_first(const std::vector<Config::Server>& servers) {
    auto first = std::ranges::min_element(servers, {}, &Config::Server::priority);
    std::size_t count = 0;
    for (const auto& server : servers) count += server.priority == first->priority ? places_of(server) : 0;
    return count;
}

/// An address that more servers must agree on than there are could never be published. `own`: the policy's
/// place in the file.
void check_quorum(const Value& own, const Config::Group& group, const Config::Live& live) {
    const Config::Merge& merge = live.merge_of(group);
    if (merge.policy != Config::MergePolicy::quorum) return;
    bool is_clear = group.merge || live.upstreams.size() == 1;
    std::string of = is_clear ? "" : fmt::format(" of group {}", yaml::quote(group.name));
    if (std::size_t most = count_first(group.servers); merge.quorum > most) {
        bool is_all = std::ranges::count(group.servers, group.servers.front().priority,
                                         &Config::Server::priority) == std::ssize(group.servers);
        std::string_view which = is_all ? "" : " of the first priority";
        own.at("quorum").fail(fmt::format("at most the number of servers{}{}, {}", of, which, most),
                              fmt::format("{}", merge.quorum));
    }
    auto strategy = live.fanout_of(group).strategy;
    bool asks_one = strategy == Config::Strategy::race || strategy == Config::Strategy::sequential;
    if (!asks_one) return;
    own.at("policy").fail(
        fmt::format("union, order or off with `strategy: {}`{}, which takes the first reply as it is",
                    name_of(strategy, strategies), of),
        "quorum");
}

} // namespace

void check_quorum(const Value& at, const Config::Live& live) {
    if (!at.ok()) return;
    auto group = live.upstreams.begin();
    at.at("upstreams").list(cache::limits::groups, [&](const Value& item) {
        check_quorum(group->merge ? item.at("merge") : at.at("merge"), *group, live);
        ++group;
    });
}

} // namespace millrace::control
