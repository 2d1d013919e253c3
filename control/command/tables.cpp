#include "control/command/tables.hpp"

#include <algorithm>
#include <map>
#include <string_view>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace millrace::control {

namespace {

using Json = nlohmann::json;

constexpr std::size_t gap = 2; ///< spaces between columns, and of each indentation

/// A value within one line.
std::string cell(const Json& value) {
    if (value.is_null() || (value.is_structured() && value.empty())) return "-";
    if (value.is_boolean()) return value.get<bool>() ? "yes" : "no";
    if (value.is_string()) return printable(value.get_ref<const std::string&>());
    if (!value.is_structured()) return value.dump();
    std::string out;
    for (const auto& [key, item] : value.items()) {
        out += (out.empty() ? "" : ", ") + (value.is_object() ? printable(key) + " " : "") + cell(item);
    }
    return out;
}

std::size_t width(const std::string& text) {
    return std::size_t(std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xc0) != 0x80; }));
}

std::string pad(const std::string& text, std::size_t columns) {
    return text + std::string(columns - std::min(columns, width(text)), ' ');
}

bool is_rows(const Json& value) {
    return value.is_array() && !value.empty() &&
           std::all_of(value.begin(), value.end(), [](const Json& item) { return item.is_object(); });
}

std::string line(std::string text) {
    text.erase(text.find_last_not_of(' ') + 1);
    return text + "\n";
}

/// Octets of the first `columns` characters.
std::size_t octets(std::string_view text, std::size_t columns) {
    std::size_t at = 0;
    for (; at < text.size(); ++at) {
        bool begins = (text[at] & 0xc0) != 0x80;
        if (begins && columns-- == 0) break;
    }
    return at;
}

/// In lines of at most `columns`, broken at spaces where there are any. 0: in one.
std::vector<std::string> wrap(const std::string& text, std::size_t columns) {
    std::vector<std::string> lines;
    std::string_view rest = text;
    while (columns > 0 && width(std::string(rest)) > columns) {
        std::size_t end = octets(rest, columns);
        std::size_t space = rest[end] == ' ' ? end : rest.rfind(' ', end);
        if (space != rest.npos && space > 0) end = space;
        lines.emplace_back(rest.substr(0, end));
        rest.remove_prefix(std::min(rest.find_first_not_of(' ', end), rest.size()));
    }
    lines.emplace_back(rest);
    return lines;
}

std::string cut(const std::string& text, std::size_t columns) {
    if (columns == 0 || width(text) <= columns) return text;
    return text.substr(0, octets(text, columns - 1)) + "\xe2\x80\xa6"; // ...
}

std::string members(const Json& object, std::size_t indent, std::size_t most);

struct Column {
    std::string key;
    std::size_t columns;
};

/// By key; one that is wide is last, as what stands behind it would be far away.
std::vector<Column> columns_of(const Json& items) {
    constexpr std::size_t wide = 40;
    std::map<std::string, std::size_t> widths;
    for (const auto& item : items) {
        for (const auto& [key, value] : item.items()) {
            widths[key] = std::max({widths[key], width(printable(key)), width(cell(value))});
        }
    }
    std::vector<Column> out;
    for (const auto& [key, columns] : widths) out.push_back({key, columns});
    auto widest = std::ranges::max_element(out, {}, &Column::columns);
    if (widest != out.end() && widest->columns > wide) std::rotate(widest, widest + 1, out.end());
    return out;
}

/// Takes from the widest what is too much. False: none would be left wide enough to be read.
bool fit(std::vector<Column>& columns, std::size_t room) {
    constexpr std::size_t narrow = 12;
    std::size_t sum = 0;
    for (const Column& c : columns) sum += c.columns + gap;
    while (sum > room + gap) {
        auto widest = std::ranges::max_element(columns, {}, &Column::columns);
        if (widest->columns <= std::max(narrow, width(printable(widest->key)))) return false;
        --widest->columns;
        --sum;
    }
    return true;
}

/// One row, on as many lines as its longest cell takes.
std::string row(const Json& item, const std::vector<Column>& columns, std::size_t indent) {
    std::vector<std::vector<std::string>> cells;
    std::size_t height = 0;
    for (const Column& c : columns) {
        cells.push_back(wrap(cell(item.value(c.key, Json())), c.columns));
        height = std::max(height, cells.back().size());
    }
    std::string out;
    for (std::size_t i = 0; i < height; ++i) {
        std::string text(indent, ' ');
        for (std::size_t c = 0; c < columns.size(); ++c)
            text += pad(i < cells[c].size() ? cells[c][i] : "", columns[c].columns + gap);
        out += line(text);
    }
    return out;
}

std::string rows(const Json& items, std::size_t indent, std::size_t most) {
    std::vector<Column> columns = columns_of(items);
    std::string out;
    if (most > 0 && !fit(columns, most - std::min(most, indent))) {
        for (const auto& item : items) out += (out.empty() ? "" : "\n") + members(item, indent, most);
        return out;
    }
    std::string header(indent, ' ');
    for (const Column& c : columns) header += pad(printable(c.key), c.columns + gap);
    out = line(header);
    for (const auto& item : items) out += row(item, columns, indent);
    return out;
}

std::string members(const Json& object, std::size_t indent, std::size_t most) {
    constexpr std::size_t least = 16; // left for values, whatever the keys
    std::size_t columns = 0;
    for (const auto& [key, value] : object.items()) columns = std::max(columns, width(printable(key)));
    if (most > 0) columns = std::min(columns, std::max(least, most - std::min(most, indent + gap + least)));
    std::size_t start = indent + columns + gap;
    std::size_t room = most == 0 ? 0 : std::max(least, most - std::min(most, start));
    std::string out;
    for (const auto& [key, value] : object.items()) {
        std::string text =
            std::string(indent, ' ') + pad(cut(printable(key), most ? columns : 0), columns + gap);
        if (is_rows(value)) {
            out += line(text) + rows(value, indent + gap, most);
        } else if (value.is_object() && !value.empty()) {
            out += line(text) + members(value, indent + gap, most);
        } else {
            for (const std::string& part : wrap(cell(value), room)) {
                out += line(text + part);
                text.assign(start, ' ');
            }
        }
    }
    return out;
}

} // namespace

std::string to_table(const nlohmann::json& object, std::size_t width) {
    return members(object, 0, width);
}

std::string printable(const std::string& text) {
    std::string out;
    for (std::size_t i = 0; i < text.size(); ++i) {
        auto c = static_cast<unsigned char>(text[i]);
        bool c1 = c == 0xc2 && i + 1 < text.size() && static_cast<unsigned char>(text[i + 1]) < 0xa0;
        if (c1) c = static_cast<unsigned char>(text[++i]);
        if (c1 || c < 0x20 || c == 0x7f)
            out += fmt::format("\\x{:02x}", c);
        else
            out += text[i];
    }
    return out;
}

} // namespace millrace::control
