// What the control socket shows of the upstreams, and its verbs about them: upstream list, up, down, auto.
// These three take an address, or a name from the configuration: all addresses that it has or gets.
//
// Control thread only.
#pragma once

#include <span>

#include <nlohmann/json_fwd.hpp>

#include "control/command/server.hpp"
#include "control/config/config.hpp"
#include "control/traffic/top.hpp"
#include "control/upstream/upstreams.hpp"

namespace millrace::control {

/// The groups, and what is configured of them: their names. Both by Key::group.
struct NamedGroups {
    std::span<Upstreams> groups;
    const Config::Live& live;

    const std::string& name(unsigned group) const { return live.upstreams[group].name; }
    unsigned size() const { return unsigned(live.upstreams.size()); }
};

/// Whether the text names the server: "dns.example.net", with any port, or "dns.example.net:53".
bool is_name_of(const Config::Server& server, std::string text);

/// Of `status`: one object for each server.
nlohmann::json upstreams_of(const NamedGroups& named);

/// Questions to each server of each group since the start, for `top`: "192.0.2.1:53 (default)".
Top::Totals asked_of(const NamedGroups& named);

/// The upstreams and the configuration outlive the server.
void add_upstream_verbs(CommandServer& server, const NamedGroups& named);

} // namespace millrace::control
