// The rules of DNS64: NAT64 prefixes, and whose answers are made with them.
#include <algorithm>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "cache/limits.hpp"
#include "control/config/readers.hpp"
#include "dataplane/dns64.hpp"

namespace millrace::control {

using yaml::Value;

namespace {

/// Of 0000::/8 the prefixes for translation alone (RFC 6052 2.1, RFC 8215).
bool is_routed(const dataplane::Prefix& prefix) {
    static const auto translation = *dataplane::parse_prefix("64:ff9b::/32");
    const dataplane::Address& address = prefix.address;
    return address.is_unicast() && !address.is_link_local() &&
           (address.octets[0] != 0 || translation.contains(address));
}

dataplane::Prefix read_nat64_prefix(const Value& at) {
    constexpr const char* form =
        "an IPv6 prefix of 32, 40, 48, 56, 64 or 96 bits, bits 64 to 71 of which are "
        "zero, such as \"64:ff9b::/96\"";
    auto prefix = dataplane::parse_prefix(at.text(form));
    if (prefix && dataplane::Dns64::is_nat64(*prefix) && is_routed(*prefix)) return *prefix;
    bool is_nat64 = prefix && dataplane::Dns64::is_nat64(*prefix);
    at.fail(is_nat64 ? "a prefix of unicast addresses that are routed, such as \"64:ff9b::/96\"" : form);
    return Config::default_dns64_prefix();
}

/// Of what is not IPv6 no record is an AAAA.
std::vector<dataplane::Prefix> read_excluded(const Value& at) {
    constexpr const char* form = "a prefix of IPv6 without host bits, such as \"2001:db8::/32\"";
    return read_distinct<dataplane::Prefix>(at, bounds::items, form, [](const std::string& text) {
        return text.find(':') == text.npos ? std::nullopt : dataplane::parse_prefix(text);
    });
}

/// Whether the later rule never counts. One with another prefix does, for names of its addresses (PTR).
bool leaves_nothing(const Config::Dns64& earlier, const Config::Dns64& later) {
    auto has_client = [&](const dataplane::Prefix& client) {
        return std::ranges::any_of(earlier.clients, [&](const dataplane::Prefix& other) {
            return other.bits <= client.bits && other.contains(client.address);
        });
    };
    auto has_group = [&](const std::string& group) {
        return std::ranges::find(earlier.groups, group) != earlier.groups.end();
    };
    bool has_groups =
        earlier.groups.empty() || (!later.groups.empty() && std::ranges::all_of(later.groups, has_group));
    return earlier.prefix == later.prefix && has_groups && std::ranges::all_of(later.clients, has_client);
}

Config::Dns64 read_rule(const Value& at) {
    Config::Dns64 out;
    at.map({
        {"prefix", [&](const Value& v) { out.prefix = read_nat64_prefix(v); }},
        {"clients", [&](const Value& v) { out.clients = read_allow(v); }},
        {"exclude", [&](const Value& v) { out.exclude = read_excluded(v); }},
        {"groups",
         [&](const Value& v) {
             v.list(cache::limits::groups,
                    [&](const Value& item) { out.groups.push_back(item.text("the name of a group")); });
         }},
    });
    if (out.clients.empty()) at.at("clients").fail("at least one prefix");
    return out;
}

} // namespace

dataplane::Prefix Config::default_dns64_prefix() {
    return dataplane::Dns64::well_known();
}

std::vector<dataplane::Prefix> Config::default_dns64_exclude() {
    return {*dataplane::parse_prefix("::ffff:0:0/96")};
}

std::vector<Config::Dns64> read_dns64(const Value& at) {
    std::vector<Config::Dns64> out;
    at.list(cache::limits::dns64_rules, [&](const Value& item) {
        Config::Dns64 rule = read_rule(item);
        auto covers = [&](const Config::Dns64& earlier) { return leaves_nothing(earlier, rule); };
        auto earlier = std::ranges::find_if(out, covers);
        if (item.ok() && earlier != out.end()) {
            item.fail("clients or groups that no earlier rule with this prefix has",
                      fmt::format("what dns64[{}] has", earlier - out.begin()));
        }
        out.push_back(std::move(rule));
    });
    return out;
}

void check_dns64(const Value& at, const Config::Live& live) {
    if (live.dns64.empty()) return;
    at.at("dns64").list(cache::limits::dns64_rules, [&](const Value& rule) {
        if (!rule.is_map() || rule.at("groups").is_null()) return;
        rule.at("groups").list(cache::limits::groups, [&](const Value& item) {
            constexpr const char* form = "the name of a group of upstreams";
            std::string name = item.text(form);
            auto known = std::ranges::find(live.upstreams, name, &Config::Group::name);
            if (known == live.upstreams.end()) item.fail(form);
        });
    });
}

} // namespace millrace::control
