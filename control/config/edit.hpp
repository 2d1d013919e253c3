// Changing one value in the text of a configuration, where it stands: comments, order and spelling of all the
// rest stay. What comes out is read again and compared with what was meant; a text that cannot be changed so
// (a value that goes over several lines without quotes, anchors, aliases, tags) is an error, and stays.
//
// A key is dotted, items of lists by index: "cache.stale", "upstreams[0].servers[1].weight". Whether the
// schema has it is for parse_config to say. Threads: pure. Errors are sentences.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include <tl/expected.hpp>

namespace millrace::control {

struct Edited {
    std::string text;
    std::vector<std::string> lost{}; ///< comments that stood within what was replaced
};
using EditResult = tl::expected<Edited, std::string>;

/// `value` is YAML of one line: "5s", "[a, b]", "{a: 1}". Maps that are missing on the way are made.
EditResult set_value(const std::string& text, const std::string& key, const std::string& value);
/// To a list; one that is missing is made.
EditResult append_item(const std::string& text, const std::string& key, const std::string& value);
/// `item` ends with an index. The comment that stands behind it on its own line goes with it.
EditResult remove_item(const std::string& text, const std::string& item);

bool has_key(const std::string& text, const std::string& key);

/// As a double-quoted scalar.
std::string in_quotes(std::string_view text);

} // namespace millrace::control
