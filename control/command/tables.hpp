// A JSON object as a table for people.
#pragma once

#include <string>

#include <nlohmann/json_fwd.hpp>

namespace millrace::control {

/// One line per member, keys and values aligned; objects within indented, lists joined by commas, lists of
/// objects as rows under a header. Whatever could move a terminal's cursor is escaped. Ends with a newline.
std::string to_table(const nlohmann::json& object);

/// A text without its control characters (C0, DEL, C1): \xNN in their place.
std::string printable(const std::string& text);

} // namespace millrace::control
