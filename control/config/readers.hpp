// What the readers of the configuration's maps have in common, and those that have a file of their own.
//
// Control and helper threads; pure but for the error that the document takes.
#pragma once

#include <algorithm>
#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "control/config/choices.hpp"
#include "control/config/config.hpp"
#include "control/config/yaml.hpp"

namespace millrace::control {

namespace bounds {
constexpr std::size_t file_octets = std::size_t(1) << 20; ///< largest configuration file
constexpr std::size_t items = 1024;                       ///< of a list of addresses or prefixes
constexpr unsigned rate = 10'000'000;
constexpr Time day = 24h;
} // namespace bounds

inline constexpr const char* endpoint_form =
    "an address and port, such as \"192.0.2.1:53\" or \"[2001:db8::1]:53\"";

template <class Enum, std::size_t N>
Enum read_choice(const yaml::Value& at, const Choice<Enum> (&choices)[N]) {
    std::string names;
    for (const auto& choice : choices) names += (names.empty() ? "" : " or ") + std::string(choice.name);
    std::string text = at.text(names.c_str());
    for (const auto& choice : choices) {
        if (text == choice.name) return choice.value;
    }
    at.fail(names);
    return choices[0].value;
}

/// Reads a list whose items `parse` understands and that must differ from each other.
template <class Item, class Parse>
std::vector<Item> read_distinct(const yaml::Value& at, std::size_t most, const char* form, Parse parse) {
    std::vector<Item> out;
    at.list(most, [&](const yaml::Value& item) {
        std::optional<Item> value = parse(item.text(form));
        if (!value) return item.fail(form);
        if (std::find(out.begin(), out.end(), *value) != out.end()) item.fail("each item once");
        out.push_back(*value);
    });
    return out;
}

std::vector<dataplane::Prefix> read_allow(const yaml::Value& at); ///< prefixes, each once

// read_dns64.cpp
std::vector<Config::Dns64> read_dns64(const yaml::Value& at);
/// `at`: the file's map. Whether the groups that rules name are there.
void check_dns64(const yaml::Value& at, const Config::Live& live);

void read_dnstap(const yaml::Value& at, Config& out); ///< read_dnstap.cpp

// read_upstreams.cpp
std::vector<Config::Group> read_upstreams(const yaml::Value& at);
std::vector<Config::Route> read_routes(const yaml::Value& at);
void read_fanout(const yaml::Value& at, Config::Fanout& out);
void read_merge(const yaml::Value& at, Config::Merge& out);
void read_ranking(const yaml::Value& at, Config::Ranking& out);
// What needs the whole file; `at` is its map.

/// `fanout` and `merge` of each group: what they do not say is the file's.
void read_policies_of_groups(const yaml::Value& at, Config::Live& live);
/// `via` and `source` of each group, and whether they can be.
void read_ways(const yaml::Value& at, Config& config);
/// Whether every policy that is asked for can come about.
void check_quorum(const yaml::Value& at, const Config::Live& live);
/// Whether each route leads to a group.
void check_routes(const yaml::Value& at, const Config::Live& live);

} // namespace millrace::control
