#include "control/config/differences.hpp"

#include <map>

#include <fmt/format.h>

#include "control/config/yaml_tree.hpp"

namespace millrace::control {

namespace {

using yaml::Tree;
using Values = std::vector<std::pair<std::string, std::string>>;

void collect(const Tree& tree, const std::string& text, const std::string& path, Values& out) {
    if (!tree.is_block()) {
        out.emplace_back(path,
                         tree.end == Tree::unknown ? "" : text.substr(tree.start, tree.end - tree.start));
        return;
    }
    for (std::size_t i = 0; i < tree.items.size(); ++i) {
        bool is_list = tree.kind == Tree::Kind::list;
        std::string key =
            is_list ? fmt::format("{}[{}]", path, i) : (path.empty() ? "" : path + ".") + tree.keys[i].scalar;
        collect(tree.items[i], text, key, out);
    }
}

} // namespace

Values values_of(const Config& config) {
    std::string text = to_yaml(config);
    Values out;
    if (auto tree = yaml::parse_tree(text)) collect(*tree, text, "", out);
    return out;
}

std::vector<Difference> differences(const Config& running, const Config& file) {
    Values ours = values_of(running), theirs = values_of(file);
    std::map<std::string, std::string> by_key(theirs.begin(), theirs.end());
    std::vector<Difference> out;
    for (auto& [key, value] : ours) {
        auto other = by_key.find(key);
        if (other == by_key.end()) {
            out.push_back({key, value, ""});
        } else if (other->second != value) {
            out.push_back({key, value, other->second});
        }
        if (other != by_key.end()) by_key.erase(other);
    }
    for (auto& [key, value] : theirs) {
        if (by_key.contains(key)) out.push_back({key, "", value});
    }
    return out;
}

} // namespace millrace::control
