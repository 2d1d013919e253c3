// The rules of DNS64: NAT64 prefixes, and whose answers are made with them.
#include <algorithm>
#include <string>
#include <vector>

#include "cache/limits.hpp"
#include "control/config/readers.hpp"
#include "dataplane/dns64.hpp"

namespace millrace::control {

using yaml::Value;

namespace {

dataplane::Prefix read_nat64_prefix(const Value& at) {
    constexpr const char* form =
        "an IPv6 prefix of 32, 40, 48, 56, 64 or 96 bits, bits 64 to 71 of which are "
        "zero, such as \"64:ff9b::/96\"";
    auto prefix = dataplane::parse_prefix(at.text(form));
    if (prefix && dataplane::Dns64::is_nat64(*prefix)) return *prefix;
    at.fail(form);
    return Config::default_dns64_prefix();
}

Config::Dns64 read_rule(const Value& at) {
    Config::Dns64 out;
    at.map({
        {"prefix", [&](const Value& v) { out.prefix = read_nat64_prefix(v); }},
        {"clients", [&](const Value& v) { out.clients = read_allow(v); }},
        {"exclude", [&](const Value& v) { out.exclude = read_allow(v); }},
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
    at.list(cache::limits::dns64_rules, [&](const Value& item) { out.push_back(read_rule(item)); });
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
