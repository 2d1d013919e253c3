// A JSON object as a table for people.
#pragma once

#include <cstddef>
#include <string>

#include <nlohmann/json_fwd.hpp>

namespace millrace::control {

/// One line per member, keys and values aligned; objects within indented, lists joined by commas, lists of
/// objects as rows under a header, a column that is wide last. Whatever could move a terminal's cursor is
/// escaped. Ends with a newline.
///
/// `width`: columns to fit into; 0: any. Longer values go on below themselves; rows that have more columns
/// than fit become members, one object below the other; a key that does not fit is cut, with a mark.
std::string to_table(const nlohmann::json& object, std::size_t width = 0);

/// A text without its control characters (C0, DEL, C1): \xNN in their place.
std::string printable(const std::string& text);

} // namespace millrace::control
