// The control socket's verb top. Control thread only.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include "control/command/server.hpp"
#include "control/traffic/top.hpp"

namespace millrace::control {

/// What it answers.
nlohmann::json top_of(const Top& top, std::size_t rows);

/// `top` outlives the server.
void add_top_verb(CommandServer& server, const Top& top);

} // namespace millrace::control
