// The other end of the control socket: asks one question and waits for the whole answer.
#pragma once

#include <chrono>
#include <string>
#include <string_view>

#include <nlohmann/json_fwd.hpp>
#include <tl/expected.hpp>

namespace millrace::control {

/// Sends `words`, a line, to the daemon at `path` and reads its reply, an object. Blocks for about `patience`
/// at most, by default longer than the daemon's own limit. The error is a sentence: no daemon, no permission,
/// no reply, not JSON.
tl::expected<nlohmann::json, std::string> request(const std::string& path, std::string_view words,
                                                  std::chrono::seconds patience = std::chrono::seconds(70));

} // namespace millrace::control
