// A YAML document as a tree that knows where in the text each of its values stands, from its first octet to
// its last: for those who edit the text and leave the rest of it as its author wrote it.
//
// Threads: pure. Errors are returned.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include <tl/expected.hpp>

namespace millrace::control::yaml {

struct Tree {
    enum class Kind { null, scalar, list, map };
    static constexpr std::size_t unknown = std::size_t(-1);

    Kind kind = Kind::null;
    bool is_flow = false;   ///< of a list or map: in brackets
    bool is_quoted = false; ///< of a scalar
    std::string scalar{};
    std::size_t start = 0, end = unknown; ///< octets of the text, [start, end); of null alone unknown
    std::vector<Tree> keys{};             ///< of a map, each for the item at the same place
    std::vector<Tree> items{};

    bool is_block() const { return (kind == Kind::list || kind == Kind::map) && !is_flow; }
    /// The place of the key in a map; none has it: items.size().
    std::size_t index_of(std::string_view key) const;
};

/// The first document. An error is a sentence. Anchors, aliases and tags are errors, too, as what they mean
/// stands in another place.
tl::expected<Tree, std::string> parse_tree(const std::string& text);

/// The comments within a part of a text that begins where no quote is open.
std::vector<std::string> comments_of(std::string_view text);

/// Whether they mean the same.
bool is_same(const Tree& one, const Tree& other);

} // namespace millrace::control::yaml
