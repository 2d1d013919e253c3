// The control socket's verb top. Control thread only.
#pragma once

#include "control/command/server.hpp"
#include "control/traffic/top.hpp"

namespace millrace::control {

/// `top` outlives the server.
void add_top_verb(CommandServer& server, const Top& top);

} // namespace millrace::control
