// The control socket's verbs about the configuration as a whole: config show, set, diff, save, check,
// reload; and log-level, one of its keys.
//
// Control thread only; what takes long is done on the helper thread of Reload.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "control/command/server.hpp"
#include "control/daemon/reload.hpp"

namespace millrace::control {

/// Of `status`: the file, and whether what is in effect differs from what it said.
nlohmann::json config_status(const Reload& reload);

/// Changes the running configuration and answers with what came of that, and `more`.
void answer_edit(Reload& reload, const std::string& key, Reload::Edit edit, const nlohmann::json& more,
                 const Responder& responder);

/// One value, by its dotted key, written as in the file.
void set_key(Reload& reload, const std::string& key, const std::string& value, const Responder& responder);

/// Answers with what `make` returns on the helper thread; an error is a sentence.
using MakeAnswer =
    std::function<tl::expected<nlohmann::json, std::string>(const Document& document, const Config& running)>;
void answer_look(Reload& reload, MakeAnswer make, const Responder& responder);

/// With a space between.
std::string joined(const std::vector<std::string>& words, std::size_t from = 0);

/// `reload` outlives the server.
void add_config_verbs(CommandServer& server, Reload& reload);

} // namespace millrace::control
