#include "control/config/yaml.hpp"

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>

#include <fmt/format.h>

namespace millrace::control::yaml {

namespace {

struct Unit {
    std::string_view name;
    std::uint64_t factor;
};

// Largest first: the first that divides a value is the one it is printed in.
constexpr std::array<Unit, 5> time_units{
    {{"d", 86'400'000'000}, {"h", 3'600'000'000}, {"m", 60'000'000}, {"s", 1'000'000}, {"ms", 1'000}}};
constexpr std::array<Unit, 4> byte_units{{{"GiB", 1u << 30}, {"MiB", 1u << 20}, {"KiB", 1u << 10}, {"", 1}}};

/// Digits and a unit of `units`, nothing else; nothing when it does not fit 63 bits.
template <std::size_t N>
std::optional<std::uint64_t> parse_scaled(std::string_view text, const std::array<Unit, N>& units) {
    std::uint64_t count = 0;
    auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), count);
    if (error != std::errc{}) return std::nullopt;
    std::string_view suffix = text.substr(std::size_t(end - text.data()));
    auto unit = std::find_if(units.begin(), units.end(), [&](const Unit& u) { return u.name == suffix; });
    if (unit == units.end() || count > std::uint64_t(INT64_MAX) / unit->factor) return std::nullopt;
    return count * unit->factor;
}

template <std::size_t N>
const Unit& largest_unit(std::uint64_t value, const std::array<Unit, N>& units) {
    auto unit =
        std::find_if(units.begin(), units.end(), [&](const Unit& u) { return value % u.factor == 0; });
    return unit == units.end() ? units.back() : *unit;
}

int line_of(const YAML::Node& node, int fallback) {
    int line = node.Mark().line;
    return line < 0 ? fallback : line + 1;
}

std::string describe(const YAML::Node& node) {
    if (!node.IsDefined() || node.IsNull()) return "nothing";
    if (node.IsMap()) return "a map";
    if (node.IsSequence()) return "a list";
    return quote(node.Scalar());
}

/// How a value that stands where a list should is written as the only item of one.
std::string as_item(const YAML::Node& node) {
    if (node.IsDefined() && node.IsMap()) return ", such as [{...}]";
    if (!node.IsDefined() || !node.IsScalar() || node.Scalar().empty()) return "";
    const std::string& text = node.Scalar();
    bool needs_quotes =
        !std::ranges::all_of(text, [](unsigned char c) { return std::isalnum(c) || c == '.' || c == '/'; });
    return fmt::format(", such as [{}]", needs_quotes ? quote(text) : text);
}

bool is_plain(char c) {
    return c >= ' ' && c <= '~';
}

} // namespace

Value::Value(Document& document, YAML::Node node, std::string path, int line)
    : document_(&document), node_(std::move(node)), path_(std::move(path)), line_(line) {}

void Value::map(std::initializer_list<Member> members) const {
    std::string names;
    for (const auto& [name, read] : members) names += (names.empty() ? "" : ", ") + std::string(name);
    if (!node_.IsMap()) return fail("a map with the keys " + names);
    std::vector<std::string> seen;
    for (const auto& entry : node_) {
        if (!entry.first.IsScalar()) return fail("a map with the keys " + names, "a key that is not a word");
        const std::string& key = entry.first.Scalar();
        auto member =
            std::find_if(members.begin(), members.end(), [&](const Member& m) { return key == m.first; });
        if (member == members.end()) {
            std::string path = path_ + (path_.empty() ? "" : ".") + quote(key);
            return fail_at(line_of(entry.first, line_), path, "one of the keys " + names, "an unknown key");
        }
        if (is_new(key, entry.first, seen)) member->second(child(key, entry.first, entry.second));
    }
}

void Value::list(std::size_t most, const Read& read) const {
    if (!node_.IsSequence()) return fail("a list" + as_item(node_));
    if (node_.size() > most) {
        return fail(fmt::format("at most {} items", most), fmt::format("{}", node_.size()));
    }
    std::size_t index = 0;
    for (const auto& item : node_) {
        read(Value(*document_, item, fmt::format("{}[{}]", path_, index++), line_of(item, line_)));
    }
}

std::string Value::text(const char* expected, Emptiness empty) const {
    bool absent = !node_.IsScalar() || (node_.Scalar().empty() && empty == Emptiness::refused);
    if (absent) {
        fail(expected);
        return {};
    }
    const std::string& text = node_.Scalar();
    if (std::all_of(text.begin(), text.end(), is_plain)) return text;
    fail(expected + std::string(", in printable ASCII"));
    return {};
}

std::uint64_t Value::number(std::uint64_t least, std::uint64_t most) const {
    std::string expected = fmt::format("a whole number from {} to {}", least, most);
    constexpr std::array<Unit, 1> none{{{"", 1}}};
    // yaml-cpp tags a quoted scalar "!": that is a string, not a number.
    bool plain = node_.IsScalar() && node_.Tag() != "!";
    auto value = plain ? parse_scaled(node_.Scalar(), none) : std::nullopt;
    if (!value || *value < least || *value > most) {
        fail(expected);
        return least;
    }
    return *value;
}

bool Value::flag() const {
    bool plain = node_.IsScalar() && node_.Tag() != "!";
    bool is_true = plain && node_.Scalar() == "true";
    if (!is_true && !(plain && node_.Scalar() == "false")) fail("true or false");
    return is_true;
}

Time Value::duration(Time least, Time most) const {
    auto value = node_.IsScalar() ? parse_scaled(node_.Scalar(), time_units) : std::nullopt;
    if (!value || Time(*value) < least || Time(*value) > most) {
        fail(fmt::format("a duration from {} to {} (units ms, s, m, h, d)", duration_text(least),
                         duration_text(most)));
        return least;
    }
    return Time(*value);
}

std::size_t Value::bytes(std::size_t least, std::size_t most) const {
    auto value = node_.IsScalar() ? parse_scaled(node_.Scalar(), byte_units) : std::nullopt;
    if (!value || *value < least || *value > most) {
        fail(fmt::format("a size from {} to {} (units KiB, MiB, GiB, or none for bytes)", bytes_text(least),
                         bytes_text(most)));
        return least;
    }
    return *value;
}

Value Value::at(const char* key) const {
    if (node_.IsMap()) {
        for (const auto& entry : node_) {
            if (entry.first.IsScalar() && entry.first.Scalar() == key) {
                return child(key, entry.first, entry.second);
            }
        }
    }
    return Value(*document_, YAML::Node(), path_.empty() ? key : path_ + "." + key, line_);
}

void Value::fail(std::string expected, std::string found) const {
    fail_at(line_, path_, std::move(expected), found.empty() ? describe(node_) : std::move(found));
}

Value Value::child(const std::string& key, const YAML::Node& key_node, const YAML::Node& value) const {
    int line = line_of(value, 0);
    // An absent value is marked where the next token stands; its key is where the operator must look.
    if (line == 0 || value.IsNull()) line = line_of(key_node, line_);
    return Value(*document_, value, path_.empty() ? key : path_ + "." + key, line);
}

bool Value::is_new(const std::string& key, const YAML::Node& key_node, std::vector<std::string>& seen) const {
    if (std::find(seen.begin(), seen.end(), key) == seen.end()) {
        seen.push_back(key);
        return true;
    }
    std::string path = path_.empty() ? key : path_ + "." + key;
    fail_at(line_of(key_node, line_), path, "each key once", "a second one");
    return false;
}

void Value::fail_at(int line, const std::string& key, std::string expected, std::string found) const {
    if (ok())
        document_->error = ConfigError{document_->file, line, key, std::move(expected), std::move(found)};
}

std::string quote(std::string_view text) {
    constexpr std::size_t longest = 80;
    std::string out = "\"";
    for (char c : text.substr(0, longest)) {
        if (!is_plain(c))
            out += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
        else if (c == '"' || c == '\\')
            out += std::string("\\") + c;
        else
            out += c;
    }
    return out + (text.size() > longest ? "...\"" : "\"");
}

std::string duration_text(Time value) {
    auto count = std::uint64_t(value.count());
    if (count == 0) return "0s";
    const Unit& unit = largest_unit(count, time_units);
    return fmt::format("{}{}", count / unit.factor, unit.name);
}

std::string bytes_text(std::size_t value) {
    const Unit& unit = value ? largest_unit(value, byte_units) : byte_units.back();
    return fmt::format("{}{}", value / unit.factor, unit.name);
}

} // namespace millrace::control::yaml
