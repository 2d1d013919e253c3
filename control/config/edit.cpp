// Basic algorithm: find the value's place in the text, put the new one there, and compare what that means
// with the same change done to the tree of the text before.
#include "control/config/edit.hpp"

#include <charconv>
#include <optional>
#include <span>

#include <fmt/format.h>

#include "control/config/readers.hpp"
#include "control/config/yaml_tree.hpp"

namespace millrace::control {

using yaml::Tree;

namespace {

struct Step {
    std::string key;
    std::optional<std::size_t> index; ///< instead
};
using Steps = std::span<const Step>;

tl::unexpected<std::string> no_key(const std::string& key) {
    return tl::unexpected(fmt::format("'{}' is no key, such as cache.stale or upstreams[0].servers[1]", key));
}

tl::expected<std::vector<Step>, std::string> steps_of(const std::string& key) {
    std::vector<Step> steps;
    for (std::size_t at = 0; at < key.size();) {
        if (key[at] == '[') {
            std::size_t index = 0;
            const char* begin = key.data() + at + 1;
            auto [end, error] = std::from_chars(begin, key.data() + key.size(), index);
            if (error != std::errc{} || end == key.data() + key.size() || *end != ']' || steps.empty())
                return no_key(key);
            at = std::size_t(end - key.data()) + 1;
            steps.push_back({"", index});
        } else {
            if (!steps.empty() && key[at] == '.') ++at;
            std::size_t end = std::min(key.find_first_of(".[", at), key.size());
            bool is_word =
                end > at && key.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789-", at) >= end;
            if (!is_word) return no_key(key);
            steps.push_back({key.substr(at, end - at), std::nullopt});
            at = end;
        }
        bool goes_on = at == key.size() || key[at] == '.' || key[at] == '[';
        if (!goes_on || (at + 1 == key.size() && key[at] == '.')) return no_key(key);
    }
    if (steps.empty()) return no_key(key);
    return steps;
}

std::string key_of(Steps steps) {
    std::string key;
    for (const Step& step : steps) {
        if (step.index)
            key += fmt::format("[{}]", *step.index);
        else
            key += (key.empty() ? "" : ".") + step.key;
    }
    return key;
}

/// Of a step that does not go with what stands there.
std::string misfit(const Tree& node, Steps taken, const Step& step) {
    std::string key = key_of(taken);
    if (step.index) return key + " is no list";
    if (node.kind == Tree::Kind::list)
        return fmt::format("{} is a list: {}[0] is its first item, of which {}[0].{} may be a key", key, key,
                           key, step.key);
    return key.empty() ? "the file is no map" : key + " is no map";
}

/// Where a path ends, or the last place on it that is there.
struct Place {
    Tree* node;
    Tree* parent = nullptr;
    std::size_t at = 0;    ///< in its parent
    std::size_t taken = 0; ///< steps
};

tl::expected<Place, std::string> find(Tree& root, Steps steps) {
    Place place{&root};
    for (; place.taken < steps.size(); ++place.taken) {
        const Step& step = steps[place.taken];
        Tree& node = *place.node;
        if (node.kind == Tree::Kind::null && !step.index) return place;
        auto kind = step.index ? Tree::Kind::list : Tree::Kind::map;
        Steps taken = steps.first(place.taken);
        if (node.kind != kind) return tl::unexpected(misfit(node, taken, step));
        std::size_t at = step.index ? *step.index : node.index_of(step.key);
        if (at >= node.items.size() && step.index)
            return tl::unexpected(fmt::format("{} has {} items, counted from 0; for one more set {} whole",
                                              key_of(taken), node.items.size(), key_of(taken)));
        if (at == node.items.size()) return place;
        place = {&node.items[at], &node, at, place.taken};
    }
    return place;
}

/// The same on the tree. What find() has refused does not come here.
void put(Tree& node, Steps steps, const Tree& value) {
    if (steps.empty()) {
        node = value;
        return;
    }
    if (steps[0].index) return put(node.items[*steps[0].index], steps.subspan(1), value);
    node.kind = Tree::Kind::map;
    std::size_t at = node.index_of(steps[0].key);
    if (at == node.items.size()) {
        node.keys.push_back({.kind = Tree::Kind::scalar, .scalar = steps[0].key});
        node.items.emplace_back();
    }
    put(node.items[at], steps.subspan(1), value);
}

/// "{a: {b: value}}" for the steps a, b behind those that are there.
tl::expected<std::string, std::string> nested(Steps steps, std::size_t there, std::string value) {
    for (std::size_t i = steps.size(); i-- > there;) {
        if (steps[i].index) {
            // A default is not there either, and one item alone would replace it.
            return tl::unexpected(
                fmt::format("the file has no {0}, so no item of it can be set; set it whole, "
                            "such as {0} '[{1}]'",
                            key_of(steps.first(i)), value));
        }
        value = fmt::format("{{{}: {}}}", steps[i].key, value);
    }
    return value;
}

/// The text in the making.
class Draft {
  public:
    explicit Draft(const std::string& text) : text_(text) {}

    /// False: it is not known where what is to be replaced ends.
    bool replace(std::size_t from, std::size_t to, const std::string& with) {
        if (from == Tree::unknown || to == Tree::unknown || from > to || to > text_.size()) return false;
        lost_ = yaml::comments_of(std::string_view(text_).substr(from, to - from));
        text_.replace(from, to - from, with);
        return true;
    }
    bool insert(std::size_t at, const std::string& what) { return replace(at, at, what); }
    /// Behind the line that `at` is on, in the column of `beside`.
    bool insert_line(std::size_t at, std::size_t beside, const std::string& what) {
        if (at == Tree::unknown) return false;
        std::size_t end = std::min(text_.find('\n', at), text_.size());
        return insert(end, "\n" + std::string(beside - line_of(beside), ' ') + what);
    }
    /// The whole line that holds `from`, to the end of the one that holds `to`.
    bool remove_lines(std::size_t from, std::size_t to) {
        if (to == Tree::unknown) return false;
        std::size_t end = text_.find('\n', to);
        std::string own = text_.substr(to, end == text_.npos ? end : end - to);
        bool removed = replace(line_of(from), end == text_.npos ? text_.size() : end + 1, "");
        if (!yaml::comments_of(own).empty() && !lost_.empty()) lost_.pop_back();
        return removed;
    }
    std::size_t line_of(std::size_t at) const { return at == 0 ? 0 : text_.rfind('\n', at - 1) + 1; }
    const std::string& text() const { return text_; }

    EditResult finish(bool is_known, const Tree& meant) && {
        if (text_.size() > bounds::file_octets)
            return tl::unexpected(std::string("the configuration would be longer than 1 MiB"));
        auto tree = is_known ? yaml::parse_tree(text_) : tl::unexpected(std::string());
        if (tree && yaml::is_same(*tree, meant)) return Edited{std::move(text_), std::move(lost_)};
        return tl::unexpected(std::string("the text of the file cannot be changed there without touching the "
                                          "rest of it; change it by hand and `config reload`"));
    }

  private:
    std::string text_;
    std::vector<std::string> lost_;
};

bool replace(Draft& draft, const Place& place, const std::string& value) {
    const Tree& node = *place.node;
    if (place.parent->kind != Tree::Kind::map) return draft.replace(node.start, node.end, value);
    std::size_t key_end = place.parent->keys[place.at].end;
    if (key_end == Tree::unknown) return false;
    std::size_t colon = draft.text().find(':', key_end);
    if (colon == std::string::npos) return false;
    if (node.kind == Tree::Kind::null) return draft.insert(colon + 1, " " + value);
    bool is_beside = !node.is_block() && draft.line_of(node.start) == draft.line_of(colon);
    return draft.replace(is_beside ? node.start : colon + 1, node.end, is_beside ? value : " " + value);
}

/// "key: value", or an item, into a map or list as its last.
bool insert(Draft& draft, const Tree& into, const std::string& what) {
    if (into.is_flow) {
        if (into.items.empty()) return draft.insert(into.start + 1, what);
        return draft.insert(into.items.back().end, ", " + what);
    }
    return draft.insert_line(into.end, into.start, into.kind == Tree::Kind::list ? "- " + what : what);
}

tl::expected<Tree, std::string> parse_value(const std::string& value) {
    // One would pile up behind the value with each change.
    if (!yaml::comments_of(value).empty()) return tl::unexpected(std::string("the value has a comment"));
    return yaml::parse_tree(value).map_error([](const std::string& why) { return "the value is " + why; });
}

EditResult put_text(const std::string& text, Steps steps, const std::string& value) {
    auto root = yaml::parse_tree(text);
    if (!root) return tl::unexpected(root.error());
    auto meant = parse_value(value);
    if (!meant) return tl::unexpected(meant.error());
    auto place = find(*root, steps);
    if (!place) return tl::unexpected(place.error());
    bool is_there = place->taken == steps.size(), is_null = place->node->kind == Tree::Kind::null;
    auto all = nested(steps, place->taken + (is_there || is_null ? 0 : 1), value);
    if (!all) return tl::unexpected(all.error());
    Draft draft(text);
    bool is_known;
    if (!place->parent && is_null) { // a text without anything
        std::string end = text.empty() || text.back() == '\n' ? "" : "\n";
        is_known = draft.insert(text.size(), end + all->substr(1, all->size() - 2) + "\n");
    } else if (is_there || is_null) {
        is_known = replace(draft, *place, *all);
    } else {
        is_known = insert(draft, *place->node, steps[place->taken].key + ": " + *all);
    }
    Tree after = std::move(*root);
    put(after, steps, *meant);
    return std::move(draft).finish(is_known, after);
}

/// The text in which a server that stands there as its address alone is a map, if one of its keys is meant.
EditResult with_server_map(const std::string& text, Steps steps) {
    bool is_servers = steps.size() == 5 && steps[0].key == "upstreams" && steps[2].key == "servers";
    auto root = is_servers ? yaml::parse_tree(text) : tl::unexpected(std::string());
    auto place = root ? find(*root, steps.first(4)) : tl::unexpected(std::string());
    bool is_alone = place && place->taken == 4 && place->node->kind == Tree::Kind::scalar;
    if (!is_alone) return Edited{text, {}};
    std::string address = text.substr(place->node->start, place->node->end - place->node->start);
    return put_text(text, steps.first(4), "{address: " + address + "}");
}

} // namespace

EditResult set_value(const std::string& text, const std::string& key, const std::string& value) {
    auto steps = steps_of(key);
    if (!steps) return tl::unexpected(steps.error());
    auto mapped = with_server_map(text, *steps);
    return mapped ? put_text(mapped->text, *steps, value) : mapped;
}

EditResult append_item(const std::string& text, const std::string& key, const std::string& value) {
    auto steps = steps_of(key);
    if (!steps) return tl::unexpected(steps.error());
    auto root = yaml::parse_tree(text);
    if (!root) return tl::unexpected(root.error());
    auto item = parse_value(value);
    if (!item) return tl::unexpected(item.error());
    auto place = find(*root, *steps);
    if (!place) return tl::unexpected(place.error());
    bool is_list = place->taken == steps->size() && place->node->kind == Tree::Kind::list;
    if (!is_list) return put_text(text, *steps, "[" + value + "]");
    Draft draft(text);
    bool is_known = insert(draft, *place->node, value);
    place->node->items.push_back(*item);
    return std::move(draft).finish(is_known, *root);
}

EditResult remove_item(const std::string& text, const std::string& item) {
    auto steps = steps_of(item);
    if (!steps) return tl::unexpected(steps.error());
    if (!steps->back().index) return no_key(item);
    auto root = yaml::parse_tree(text);
    if (!root) return tl::unexpected(root.error());
    auto place = find(*root, *steps);
    if (!place) return tl::unexpected(place.error());
    Tree& list = *place->parent;
    std::size_t at = place->at, count = list.items.size();
    if (count == 1) return put_text(text, Steps(*steps).first(steps->size() - 1), "[]");
    Draft draft(text);
    bool is_known;
    if (list.is_flow) {
        bool is_last = at + 1 == count;
        is_known = is_last ? draft.replace(list.items[at - 1].end, list.items[at].end, "")
                           : draft.replace(list.items[at].start, list.items[at + 1].start, "");
    } else {
        is_known = draft.remove_lines(place->node->start, place->node->end);
    }
    list.items.erase(list.items.begin() + std::ptrdiff_t(at));
    return std::move(draft).finish(is_known, *root);
}

bool has_key(const std::string& text, const std::string& key) {
    auto steps = steps_of(key);
    auto root = yaml::parse_tree(text);
    if (!steps || !root) return false;
    auto place = find(*root, *steps);
    return place && place->taken == steps->size() && place->node->kind != Tree::Kind::null;
}

std::string in_quotes(std::string_view text) {
    std::string out = "\"";
    for (char c : text) {
        if (c == '"' || c == '\\') out += '\\';
        out += c;
    }
    return out + "\"";
}

} // namespace millrace::control
