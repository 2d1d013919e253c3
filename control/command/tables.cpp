#include "control/command/tables.hpp"

#include <algorithm>
#include <map>

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

std::string rows(const Json& items, std::size_t indent) {
    std::map<std::string, std::size_t> widths;
    for (const auto& item : items) {
        for (const auto& [key, value] : item.items()) {
            widths[key] = std::max({widths[key], width(printable(key)), width(cell(value))});
        }
    }
    std::string header(indent, ' '), body;
    for (const auto& [key, columns] : widths) header += pad(printable(key), columns + gap);
    for (const auto& item : items) {
        std::string row(indent, ' ');
        for (const auto& [key, columns] : widths) row += pad(cell(item.value(key, Json())), columns + gap);
        body += line(row);
    }
    return line(header) + body;
}

std::string members(const Json& object, std::size_t indent) {
    std::size_t columns = 0;
    for (const auto& [key, value] : object.items()) columns = std::max(columns, width(printable(key)));
    std::string out;
    for (const auto& [key, value] : object.items()) {
        std::string start = std::string(indent, ' ') + pad(printable(key), columns + gap);
        if (is_rows(value))
            out += line(start) + rows(value, indent + gap);
        else if (value.is_object() && !value.empty())
            out += line(start) + members(value, indent + gap);
        else
            out += line(start + cell(value));
    }
    return out;
}

} // namespace

std::string to_table(const nlohmann::json& object) {
    return members(object, 0);
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
