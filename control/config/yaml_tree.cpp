#include "control/config/yaml_tree.hpp"

#include <algorithm>
#include <sstream>
#include <stdexcept>

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/yaml.h>

namespace millrace::control::yaml {

namespace {

/// What yaml-cpp's parser says, put together.
class Builder : public YAML::EventHandler {
  public:
    Tree root;

    void OnDocumentStart(const YAML::Mark&) override {}
    void OnDocumentEnd() override {}
    void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
        refuse(anchor);
        add({.kind = Tree::Kind::null, .start = std::size_t(mark.pos)});
    }
    void OnAlias(const YAML::Mark&, YAML::anchor_t) override { refuse(1); }
    void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                  const std::string& value) override {
        refuse(anchor);
        if (tag != "!" && tag != "?") refuse(1);
        add({.kind = Tree::Kind::scalar,
             .is_quoted = tag == "!",
             .scalar = value,
             .start = std::size_t(mark.pos)});
    }
    void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                         YAML::EmitterStyle::value style) override {
        begin(Tree::Kind::list, mark, tag, anchor, style);
    }
    void OnSequenceEnd() override { finish(); }
    void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                    YAML::EmitterStyle::value style) override {
        begin(Tree::Kind::map, mark, tag, anchor, style);
    }
    void OnMapEnd() override { finish(); }

  private:
    static void refuse(YAML::anchor_t anchor) {
        if (anchor != 0) throw std::runtime_error("anchors, aliases and tags are not edited");
    }
    void begin(Tree::Kind kind, const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
               YAML::EmitterStyle::value style) {
        refuse(anchor);
        if (!tag.empty() && tag != "?") refuse(1);
        open_.push_back(
            {.kind = kind, .is_flow = style == YAML::EmitterStyle::Flow, .start = std::size_t(mark.pos)});
    }
    void finish() {
        Tree tree = std::move(open_.back());
        open_.pop_back();
        add(std::move(tree));
    }
    void add(Tree tree) {
        if (open_.empty()) {
            root = std::move(tree);
            return;
        }
        Tree& parent = open_.back();
        bool is_key = parent.kind == Tree::Kind::map && parent.keys.size() == parent.items.size();
        (is_key ? parent.keys : parent.items).push_back(std::move(tree));
    }

    std::vector<Tree> open_;
};

bool is_blank(std::string_view text, std::size_t at) {
    return at >= text.size() || text[at] == ' ' || text[at] == '\t' || text[at] == '\n' || text[at] == '\r';
}

bool is_comment(std::string_view text, std::size_t at) {
    return text[at] == '#' && (at == 0 || is_blank(text, at - 1));
}

/// Behind the quote that ends what the one at `at` begins.
std::size_t end_of_quoted(std::string_view text, std::size_t at) {
    char quote = text[at];
    for (++at; at < text.size(); ++at) {
        if (quote == '"' && text[at] == '\\') {
            ++at;
        } else if (text[at] == quote) {
            bool is_doubled = quote == '\'' && at + 1 < text.size() && text[at + 1] == quote;
            if (!is_doubled) return at + 1;
            ++at;
        }
    }
    return Tree::unknown;
}

/// Rather than being a letter of a plain word, such as the one in "it's".
bool is_opening_quote(std::string_view text, std::size_t at) {
    bool is_quote = text[at] == '"' || text[at] == '\'';
    return is_quote && (at == 0 || is_blank(text, at - 1) ||
                        std::string_view("[{,:").find(text[at - 1]) != std::string_view::npos);
}

/// Behind the bracket that closes the one at `at`.
std::size_t end_of_flow(std::string_view text, std::size_t at) {
    unsigned depth = 0;
    while (at < text.size()) {
        char c = text[at];
        if (is_opening_quote(text, at)) {
            at = end_of_quoted(text, at);
            continue;
        }
        if (is_comment(text, at)) {
            at = std::min(text.find('\n', at), text.size());
            continue;
        }
        depth += c == '[' || c == '{';
        depth -= c == ']' || c == '}';
        ++at;
        if (depth == 0) return at;
    }
    return Tree::unknown;
}

/// Of an unquoted scalar on one line. Where it goes on, is_same() will tell.
std::size_t end_of_plain(std::string_view text, std::size_t at, bool in_flow) {
    std::size_t end = at;
    for (; at < text.size() && text[at] != '\n'; ++at) {
        bool is_over = is_comment(text, at) || (text[at] == ':' && is_blank(text, at + 1));
        if (in_flow) is_over = is_over || std::string_view(",[]{}").find(text[at]) != std::string_view::npos;
        if (is_over) break;
        if (!is_blank(text, at)) end = at + 1;
    }
    return end;
}

void find_end(Tree& tree, std::string_view text, bool in_flow) {
    for (Tree& key : tree.keys) find_end(key, text, in_flow || tree.is_flow);
    for (Tree& item : tree.items) find_end(item, text, in_flow || tree.is_flow);
    if (tree.kind == Tree::Kind::null || tree.start >= text.size()) return;
    char first = text[tree.start];
    if (tree.is_block()) {
        if (!tree.items.empty()) tree.end = tree.items.back().end;
        bool ends_empty =
            tree.kind == Tree::Kind::map && !tree.items.empty() && tree.items.back().kind == Tree::Kind::null;
        if (ends_empty && tree.keys.back().end != Tree::unknown)
            tree.end = text.find(':', tree.keys.back().end) + 1;
    } else if (tree.is_flow) {
        if (first == '[' || first == '{') tree.end = end_of_flow(text, tree.start);
    } else if (first == '"' || first == '\'') {
        tree.end = end_of_quoted(text, tree.start);
    } else if (!tree.is_quoted) { // those that are and have no quotes are blocks of text
        tree.end = end_of_plain(text, tree.start, in_flow);
    }
}

} // namespace

std::size_t Tree::index_of(std::string_view key) const {
    return std::size_t(std::ranges::find(keys, key, &Tree::scalar) - keys.begin());
}

tl::expected<Tree, std::string> parse_tree(const std::string& text) {
    try {
        std::istringstream in(text);
        YAML::Parser parser(in);
        Builder builder;
        parser.HandleNextDocument(builder);
        find_end(builder.root, text, false);
        return std::move(builder.root);
    } catch (const YAML::Exception& error) {
        return tl::unexpected("not well-formed YAML: " + error.msg);
    } catch (const std::runtime_error& error) {
        return tl::unexpected(std::string(error.what()));
    }
}

std::vector<std::string> comments_of(std::string_view text) {
    std::vector<std::string> comments;
    for (std::size_t at = 0; at < text.size();) {
        if (is_opening_quote(text, at)) {
            at = end_of_quoted(text, at);
        } else if (is_comment(text, at)) {
            std::size_t end = std::min(text.find_first_of("\r\n", at), text.size());
            comments.emplace_back(text.substr(at, end - at));
            at = end;
        } else {
            ++at;
        }
    }
    return comments;
}

bool is_same(const Tree& one, const Tree& other) {
    return one.kind == other.kind && one.is_quoted == other.is_quoted && one.scalar == other.scalar &&
           std::ranges::equal(one.keys, other.keys, is_same) &&
           std::ranges::equal(one.items, other.items, is_same);
}

} // namespace millrace::control::yaml
