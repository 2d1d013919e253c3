// Basic algorithm: one reader per map of the file, each a table of its keys; then the relations between keys.
#include "control/config/read.hpp"

#include <algorithm>
#include <cctype>
#include <optional>
#include <set>
#include <utility>

#include <fmt/format.h>
#include <sys/un.h>

#include "cache/dns.hpp"
#include "cache/limits.hpp"
#include "cache/name.hpp"
#include "control/config/own_endpoints.hpp"
#include "control/config/readers.hpp"
#include "control/limits.hpp"
#include "control/message/record_text.hpp"
#include "dataplane/eal_arguments.hpp"
#include "dataplane/eal_plan.hpp"
#include "dataplane/limits.hpp"

namespace millrace::control {

using dataplane::Endpoint;
using yaml::Value;

namespace bounds {
constexpr std::size_t eal_arguments = 64;
constexpr std::size_t entries = std::size_t(1) << 28;
constexpr std::size_t least_memory = std::size_t(1) << 20;
constexpr std::size_t most_memory = std::size_t(1) << 40;
constexpr unsigned slip = 100;
constexpr unsigned least_kernel_rate = 100;
constexpr unsigned connections = 65535;
constexpr unsigned rrset = 65535;  ///< more than a message has room for
constexpr unsigned prefetch = 255; ///< an Entry counts in one octet
constexpr Time idle = 600s;
constexpr std::size_t group_name = 32; ///< useradd(8)
constexpr Time week = 168h;            ///< RFC 8767 4 and 5: more than a week helps nobody
} // namespace bounds

namespace {

std::vector<std::string> read_eal(const Value& at) {
    std::vector<std::string> out;
    at.list(bounds::eal_arguments, [&](const Value& item) {
        out.push_back(item.text("an EAL argument"));
        for (const std::string& argument : dataplane::split_eal_arguments({out.back()})) {
            const char* refusal = dataplane::refusal_of(argument);
            if (refusal)
                item.fail("no argument that millraced derives itself",
                          yaml::quote(argument) + ": " + refusal);
        }
    });
    return out;
}

std::vector<unsigned> read_lcores(const Value& at) {
    std::vector<unsigned> out;
    at.list(dataplane::limits::lcores, [&](const Value& item) {
        out.push_back(unsigned(item.number(0, dataplane::limits::lcores - 1)));
    });
    return out;
}

std::optional<dataplane::Address> parse_unicast(const std::string& text) {
    auto address = dataplane::parse_address(text);
    return address && address->is_unicast() ? address : std::nullopt;
}

/// A port's addresses lie in the network; loopback never leaves this machine.
void refuse_loopback(const Value& at, const std::vector<dataplane::Address>& addresses) {
    for (const auto& address : addresses) {
        bool is_loopback =
            address.is_v4() ? address.v4_octets()[0] == 127 : address == dataplane::parse_address("::1");
        if (is_loopback)
            at.fail("addresses of the port's network; loopback is for `listen`",
                    yaml::quote(to_string(address)));
    }
}

/// What may have been meant by the name of a kernel interface.
std::string interface_form(const std::string& name) {
    return fmt::format(
        "the PCI address of a NIC (`deploy/nic list` shows them), or \"net_af_xdp0,iface={}\" for "
        "an interface that the kernel keeps",
        name);
}

void read_next_hop(const Value& at, Config::Port& out) {
    constexpr const char* form = "sender, routed, or a MAC address such as \"02:00:00:00:00:01\"";
    std::string text = at.text(form);
    out.is_routed = text == to_routed;
    if (text == to_sender || out.is_routed) return;
    out.next_hop = dataplane::parse_mac(text);
    if (!out.next_hop) at.fail(form);
}

dataplane::KernelInterface read_kernel(const Value& at) {
    constexpr const char* name_form = "the name of an interface, such as dns0, of 15 letters at most";
    constexpr const char* address_form = "a unicast address and its prefix length, such as \"192.0.2.1/24\"";
    dataplane::KernelInterface out;
    at.map({
        {"interface",
         [&](const Value& v) {
             out.name = v.text(name_form, Value::Emptiness::allowed);
             if (out.is_wanted() && !dataplane::is_interface_name(out.name)) v.fail(name_form);
         }},
        {"addresses",
         [&](const Value& v) {
             out.addresses = read_distinct<dataplane::Prefix>(
                 v, bounds::items, address_form, [](const std::string& text) {
                     auto address = dataplane::parse_interface_address(text);
                     return address && address->address.is_unicast() ? address : std::nullopt;
                 });
         }},
        {"mtu", [&](const Value& v) { out.mtu = unsigned(v.number(1280, dataplane::limits::kernel_mtu)); }},
        {"rate",
         [&](const Value& v) { out.rate = unsigned(v.number(bounds::least_kernel_rate, bounds::rate)); }},
    });
    if (!out.is_wanted() && out != dataplane::KernelInterface{}) at.at("interface").fail(name_form);
    return out;
}

/// Some drivers leave to the kernel what is not theirs, on the interface that they work on.
void check_kernel(const Value& at, const Config::Port& port) {
    bool keeps_the_rest =
        dataplane::is_driver(port.device, "net_af_xdp") || dataplane::is_driver(port.device, "net_af_packet");
    if (!port.kernel.is_wanted() || !keeps_the_rest) return;
    at.at("kernel").fail("nothing, as the kernel keeps the rest of what comes on this port's own interface",
                         yaml::quote(port.kernel.name));
}

/// Routes and neighbours are those of an interface that the kernel knows.
void check_routed(const Value& at, const Config::Port& port) {
    if (!port.is_routed || !dataplane::routing_interface(port.device, port.kernel).empty()) return;
    at.at("next-hop")
        .fail("sender or a MAC address: the kernel knows routes by its own interfaces, and this "
              "port gets one with `kernel: {interface: ...}`",
              to_routed);
}

Config::Port read_port(const Value& at) {
    static constexpr const char* device_form =
        "a PCI address such as \"0000:01:00.0\" or a vdev string such as \"net_af_xdp0,iface=edge0\"";
    Config::Port out;
    at.map({
        {"device",
         [&](const Value& v) {
             out.device = v.text(device_form);
             bool is_interface = out.device.find_first_of("_:., ") == std::string::npos;
             if (dataplane::ethdev_name(out.device).empty())
                 v.fail(is_interface ? interface_form(out.device) : device_form);
         }},
        {"lcores", [&](const Value& v) { out.lcores = read_lcores(v); }},
        {"addresses",
         [&](const Value& v) {
             out.addresses = read_distinct<dataplane::Address>(
                 v, bounds::items, "a unicast IPv4 or IPv6 address, without a port", parse_unicast);
             refuse_loopback(v, out.addresses);
         }},
        {"next-hop", [&](const Value& v) { read_next_hop(v, out); }},
        {"idle", [&](const Value& v) { out.idle = read_choice(v, idles); }},
        {"kernel", [&](const Value& v) { out.kernel = read_kernel(v); }},
    });
    check_kernel(at, out);
    check_routed(at, out);
    if (out.device.empty()) at.at("device").fail(device_form);
    if (out.lcores.empty()) at.at("lcores").fail("at least one lcore");
    if (out.addresses.empty()) at.at("addresses").fail("at least one address");
    return out;
}

std::vector<Config::Port> read_ports(const Value& at) {
    std::vector<Config::Port> out;
    std::set<std::string> devices, interfaces;
    std::set<unsigned> lcores;
    at.list(dataplane::limits::ports, [&](const Value& item) {
        Config::Port port = read_port(item);
        if (!devices.insert(dataplane::ethdev_name(port.device)).second) {
            item.at("device").fail("each device once (a vdev is known by its name before the first comma)");
        }
        if (port.kernel.is_wanted() && !interfaces.insert(port.kernel.name).second) {
            item.at("kernel").fail("each kernel interface once", yaml::quote(port.kernel.name));
        }
        for (unsigned lcore : port.lcores) {
            if (!lcores.insert(lcore).second) {
                item.at("lcores").fail("each lcore once, in all ports together",
                                       fmt::format("{} twice", lcore));
            }
        }
        out.push_back(std::move(port));
    });
    return out;
}

std::vector<Endpoint> read_listen(const Value& at) {
    return read_distinct<Endpoint>(at, bounds::items, endpoint_form, [](const std::string& t) {
        auto endpoint = dataplane::parse_endpoint(t, dns::port);
        return endpoint && endpoint->zone == 0 ? endpoint : std::nullopt;
    });
}

void read_limits(const Value& at, dataplane::RateLimits& out) {
    auto rate = [](unsigned& limit) {
        return [&limit](const Value& v) { limit = unsigned(v.number(0, bounds::rate)); };
    };
    at.map({
        {"queries", rate(out.queries)},
        {"errors", rate(out.errors)},
        {"responses", rate(out.responses)},
        {"fetches", rate(out.fetches)},
        {"fetches-per-client", rate(out.fetches_per_client)},
        {"fetches-per-question", rate(out.fetches_per_question)},
        {"fetches-per-zone", rate(out.fetches_per_zone)},
        {"slip", [&](const Value& v) { out.slip = unsigned(v.number(0, bounds::slip)); }},
        {"ipv4-prefix", [&](const Value& v) { out.ipv4_prefix = unsigned(v.number(8, 32)); }},
        {"ipv6-prefix", [&](const Value& v) { out.ipv6_prefix = unsigned(v.number(16, 128)); }},
        {"client-ipv4-prefix", [&](const Value& v) { out.client_ipv4_prefix = unsigned(v.number(8, 32)); }},
        {"client-ipv6-prefix", [&](const Value& v) { out.client_ipv6_prefix = unsigned(v.number(16, 128)); }},
        {"dry-run", [&](const Value& v) { out.dry_run = v.flag(); }},
    });
    auto check = [&](const char* key, unsigned bits, const char* other, unsigned least) {
        bool is_wider = out.fetches_per_client > 0 && bits < least;
        if (is_wider) at.at(key).fail(fmt::format("at least {}, {}", other, least), std::to_string(bits));
    };
    check("client-ipv4-prefix", out.client_ipv4_prefix, "ipv4-prefix", out.ipv4_prefix);
    check("client-ipv6-prefix", out.client_ipv6_prefix, "ipv6-prefix", out.ipv6_prefix);
}

void read_tcp(const Value& at, Config::Tcp& out) {
    auto count = [](unsigned& limit) {
        return [&limit](const Value& v) { limit = unsigned(v.number(1, bounds::connections)); };
    };
    at.map({
        {"connections", count(out.connections)},
        {"per-client", count(out.per_client)},
        {"pipeline", count(out.pipeline)},
        {"idle", [&](const Value& v) { out.idle = v.duration(100ms, bounds::idle); }},
    });
}

std::string read_chaos(const Value& at) {
    constexpr std::size_t longest = 255; // of a character string, RFC 1035 3.3
    std::string expected = fmt::format("a text of at most {} octets, or \"\" for none", longest);
    std::string text = at.text(expected.c_str(), yaml::Value::Emptiness::allowed);
    if (text.size() > longest) at.fail(expected);
    return text;
}

std::vector<std::string> read_names(const Value& at) {
    std::vector<std::string> out;
    at.list(bounds::items, [&](const Value& item) {
        out.push_back(item.text("a domain name"));
        if (!cache::parse_name(out.back())) item.fail("a domain name");
    });
    return out;
}

void read_local(const Value& at, Config::Local& out) {
    constexpr const char* record_form = "a record, such as \"router.lan. 300 IN A 192.0.2.1\"";
    at.map({
        {"version", [&](const Value& v) { out.version = read_chaos(v); }},
        {"id", [&](const Value& v) { out.id = read_chaos(v); }},
        {"special-names", [&](const Value& v) { out.special_names = read_choice(v, switches); }},
        {"forward", [&](const Value& v) { out.forward = read_names(v); }},
        {"records",
         [&](const Value& v) {
             v.list(bounds::items, [&](const Value& item) {
                 out.records.push_back(item.text(record_form));
                 if (!parse_local_record(out.records.back())) item.fail(record_form);
             });
         }},
    });
}

std::string read_file_or_none(const Value& at) {
    constexpr const char* form = "an absolute path, or nothing";
    std::string path = at.text(form, Value::Emptiness::allowed);
    if (!path.empty() && path.front() != '/') at.fail(form);
    return path;
}

Config::BlockList read_block_list(const Value& at) {
    Config::BlockList out;
    at.map({
        {"file", [&](const Value& v) { out.file = read_file_or_none(v); }},
        {"names", [&](const Value& v) { out.names = read_names(v); }},
        {"format", [&](const Value& v) { out.format = read_choice(v, list_formats); }},
        {"answer", [&](const Value& v) { out.answer = read_choice(v, denials); }},
        {"reason", [&](const Value& v) { out.reason = read_choice(v, list_reasons); }},
    });
    if (out.file.empty() && out.names.empty()) at.at("file").fail("an absolute path, or `names`");
    if (!out.file.empty() && !out.names.empty()) at.at("names").fail("a file or names, not both");
    return out;
}

void read_cache(const Value& at, Config& out) {
    at.map({
        {"entries", [&](const Value& v) { out.boot.cache_entries = v.number(1, bounds::entries); }},
        {"memory",
         [&](const Value& v) { out.boot.cache_memory = v.bytes(bounds::least_memory, bounds::most_memory); }},
        {"min-ttl", [&](const Value& v) { out.live.min_ttl = v.duration(0s, bounds::day); }},
        {"max-ttl", [&](const Value& v) { out.live.max_ttl = v.duration(1s, bounds::week); }},
        {"negative-ttl", [&](const Value& v) { out.live.negative_ttl = v.duration(0s, bounds::day); }},
        {"stale", [&](const Value& v) { out.live.stale = v.duration(0s, bounds::week); }},
        {"stale-answer", [&](const Value& v) { out.live.stale_answer = read_choice(v, stale_answers); }},
        {"prefetch", [&](const Value& v) { out.live.prefetch = unsigned(v.number(0, bounds::prefetch)); }},
        {"keep-warm", [&](const Value& v) { out.live.keep_warm = read_file_or_none(v); }},
        {"keep-warm-rate",
         [&](const Value& v) { out.live.keep_warm_rate = unsigned(v.number(1, limits::keep_warm_rate)); }},
        {"file", [&](const Value& v) { out.live.file = read_file_or_none(v); }},
        {"save-interval", [&](const Value& v) { out.live.save_interval = v.duration(0s, bounds::day); }},
        {"rotate", [&](const Value& v) { out.live.rotate = v.flag(); }},
        {"max-rrset", [&](const Value& v) { out.live.max_rrset = unsigned(v.number(1, bounds::rrset)); }},
        {"harden-below-nxdomain", [&](const Value& v) { out.live.harden_below_nxdomain = v.flag(); }},
    });
    if (out.live.min_ttl > out.live.max_ttl) {
        at.at("min-ttl").fail("at most max-ttl, " + yaml::duration_text(out.live.max_ttl),
                              yaml::duration_text(out.live.min_ttl));
    }
}

std::string read_socket_path(const Value& at) {
    constexpr std::size_t longest = sizeof(sockaddr_un::sun_path) - 1;
    std::string expected = fmt::format("an absolute path of at most {} octets", longest);
    std::string path = at.text(expected.c_str());
    if (path.empty() || path.front() != '/' || path.back() == '/' || path.size() > longest) at.fail(expected);
    return path;
}

/// As chmod(1) has it. Its owner must be able to, and a socket is not executed.
unsigned read_mode(const Value& at) {
    constexpr const char* form =
        "a mode in quotes, of digits 0, 2, 4 and 6, such as \"0660\"; the owner's is 6";
    std::string text = at.text(form);
    if (text.size() == 4 && text.front() == '0') text.erase(0, 1);
    bool fits = text.size() == 3 && text.front() == '6' && text.find_first_not_of("0246") == text.npos;
    if (!fits) at.fail(form);
    return fits ? unsigned((text[0] - '0') << 6 | (text[1] - '0') << 3 | (text[2] - '0')) : 0;
}

std::string read_group(const Value& at) {
    constexpr const char* form = "the name of a group, or \"\" for the daemon's own";
    std::string name = at.text(form, Value::Emptiness::allowed);
    bool fits = std::ranges::all_of(
        name, [](unsigned char c) { return std::isalnum(c) || c == '_' || c == '-' || c == '.'; });
    if (!fits || name.size() > bounds::group_name) at.fail(form);
    return name;
}

void read_control(const Value& at, Config::Boot& out) {
    at.map({
        {"socket", [&](const Value& v) { out.control_socket = read_socket_path(v); }},
        {"mode", [&](const Value& v) { out.control_access.mode = read_mode(v); }},
        {"group", [&](const Value& v) { out.control_access.group = read_group(v); }},
    });
}

void read_log(const Value& at, Config& out) {
    at.map({
        {"level", [&](const Value& v) { out.live.log_level = read_choice(v, log_levels); }},
        {"format", [&](const Value& v) { out.boot.log_format = read_choice(v, log_formats); }},
    });
}

std::optional<Endpoint> read_metrics_endpoint(const Value& at) {
    static const std::string expected =
        std::string(endpoint_form) + ", with a port of its own, or \"\" for none";
    std::string text = at.text(expected.c_str(), Value::Emptiness::allowed);
    if (text.empty()) return std::nullopt;
    auto endpoint = dataplane::parse_endpoint(text, 0);
    if (!endpoint || endpoint->port == 0 || endpoint->zone != 0) at.fail(expected);
    return endpoint;
}

/// What no single map can see: that something is served, that every worker has a place, that nothing loops.
void check_relations(const Value& at, const Config& config) {
    const Config::Boot& boot = config.boot;
    std::size_t workers = boot.listen.size();
    for (const auto& port : boot.ports) workers += port.lcores.size();
    if (workers == 0) at.at("listen").fail("a port or an endpoint to listen on", "neither");
    if (workers > cache::limits::workers) {
        at.at("ports").fail(
            fmt::format("at most {} lcores and endpoints of listen together", cache::limits::workers),
            fmt::format("{}", workers));
    }
    bool shares_metrics =
        boot.metrics && std::find(boot.listen.begin(), boot.listen.end(), *boot.metrics) != boot.listen.end();
    if (shares_metrics) {
        at.at("metrics").at("listen").fail("an endpoint that DNS is not served on",
                                           yaml::quote(to_string(*boot.metrics)));
    }
    std::vector<Endpoint> served = boot.listen;
    for (const auto& port : boot.ports) {
        for (const auto& address : port.addresses) {
            Endpoint endpoint{address, dns::port};
            if (std::find(boot.listen.begin(), boot.listen.end(), endpoint) != boot.listen.end()) {
                at.at("listen").fail("endpoints that no port serves", yaml::quote(to_string(endpoint)));
            }
            served.push_back(endpoint);
        }
    }
    for (const auto& group : config.live.upstreams) {
        std::vector<Endpoint> asked = group.bootstrap;
        for (const auto& server : group.servers) {
            if (!server.is_named()) asked.push_back(server.endpoint);
        }
        for (const auto& endpoint : asked) {
            if (!answers_at(served, endpoint)) continue;
            at.at("upstreams").fail("servers other than millraced itself", yaml::quote(to_string(endpoint)));
        }
    }
}

} // namespace

std::vector<dataplane::Prefix> read_allow(const Value& at) {
    return read_distinct<dataplane::Prefix>(
        at, bounds::items, "a prefix without host bits, such as \"10.0.0.0/8\"", dataplane::parse_prefix);
}

Config read_config(const Value& at) {
    Config out;
    at.map({
        {"eal", [&](const Value& v) { out.boot.eal = read_eal(v); }},
        {"ports", [&](const Value& v) { out.boot.ports = read_ports(v); }},
        {"listen", [&](const Value& v) { out.boot.listen = read_listen(v); }},
        {"allow", [&](const Value& v) { out.live.allow = read_allow(v); }},
        {"limits", [&](const Value& v) { read_limits(v, out.live.limits); }},
        {"tcp", [&](const Value& v) { read_tcp(v, out.live.tcp); }},
        {"local", [&](const Value& v) { read_local(v, out.live.local); }},
        {"block",
         [&](const Value& v) {
             v.list(limits::block_lists,
                    [&](const Value& item) { out.live.block.push_back(read_block_list(item)); });
         }},
        {"dns64", [&](const Value& v) { out.live.dns64 = read_dns64(v); }},
        {"upstreams", [&](const Value& v) { out.live.upstreams = read_upstreams(v); }},
        {"routes", [&](const Value& v) { out.live.routes = read_routes(v); }},
        {"fanout", [&](const Value& v) { read_fanout(v, out.live.fanout); }},
        {"merge", [&](const Value& v) { read_merge(v, out.live.merge); }},
        {"ranking", [&](const Value& v) { read_ranking(v, out.live.ranking); }},
        {"cache", [&](const Value& v) { read_cache(v, out); }},
        {"dnstap", [&](const Value& v) { read_dnstap(v, out); }},
        {"control", [&](const Value& v) { read_control(v, out.boot); }},
        {"log", [&](const Value& v) { read_log(v, out); }},
        {"metrics",
         [&](const Value& v) {
             v.map({{"listen", [&](const Value& p) { out.boot.metrics = read_metrics_endpoint(p); }}});
         }},
    });
    if (out.live.upstreams.empty()) at.at("upstreams").fail("a list of groups of upstream servers");
    read_policies_of_groups(at, out.live);
    read_ways(at, out);
    check_relations(at, out);
    check_quorum(at, out.live);
    check_routes(at, out.live);
    check_dns64(at, out.live);
    return out;
}

} // namespace millrace::control
