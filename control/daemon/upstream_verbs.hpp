// What the control socket shows of the upstreams, and its verbs about them: upstream list, up, down, auto.
// Control thread only.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include "control/command/server.hpp"
#include "control/upstream/upstreams.hpp"

namespace millrace::control {

/// Of `status`: one object for each.
nlohmann::json upstreams_of(const Upstreams& upstreams);

/// The upstreams outlive the server.
void add_upstream_verbs(CommandServer& server, Upstreams& upstreams);

} // namespace millrace::control
