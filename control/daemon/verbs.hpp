// What the control socket's verbs do: status, stats, inflight, ports, health, drain, resume, trace, rank,
// cache lookup, stats and flush, quit, and those of the other files of verbs beside this one. On the
// control thread only.
#pragma once

#include "control/command/server.hpp"
#include "control/daemon/loop.hpp"
#include "control/daemon/parts.hpp"
#include "control/daemon/reload.hpp"

namespace millrace::control {

/// Everything outlives the server.
void add_verbs(CommandServer& server, const Parts& parts, Reload& reload, Loop& loop);

} // namespace millrace::control
