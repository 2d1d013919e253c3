// The control socket's verbs that change one list or limit: acl, block, local, ratelimit, upstream add and
// remove. Each is an edit of the running configuration, as `config set` is, or looks at it.
//
// Control thread only.
#pragma once

#include "cache/replaceable.hpp"
#include "control/command/server.hpp"
#include "control/daemon/reload.hpp"
#include "dataplane/rules.hpp"

namespace millrace::control {

/// All outlive the server.
void add_edit_verbs(CommandServer& server, Reload& reload, const cache::Replaceable<dataplane::Rules>& rules);

} // namespace millrace::control
