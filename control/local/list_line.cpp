#include "control/local/list_line.hpp"

#include <algorithm>
#include <memory>
#include <optional>
#include <string>

#include <idn2.h>

#include "dataplane/address.hpp"

namespace millrace::control {

namespace {

constexpr std::string_view space = " \t\r\f\v";

std::string_view next_word(std::string_view& rest) {
    std::size_t from = std::min(rest.find_first_not_of(space), rest.size());
    std::size_t to = std::min(rest.find_first_of(space, from), rest.size());
    std::string_view word = rest.substr(from, to - from);
    rest.remove_prefix(to);
    return word;
}

/// Without what follows a '#' behind white space: "name##selector" is one word, and no name.
std::string_view without_comment(std::string_view line) {
    for (std::size_t at = line.find('#'); at != line.npos; at = line.find('#', at + 1)) {
        if (at == 0 || space.find(line[at - 1]) != space.npos) return line.substr(0, at);
    }
    return line;
}

/// fe80::1%lo0 is one as well.
bool is_address(std::string_view word) {
    return dataplane::parse_address(word.substr(0, word.find('%'))).has_value();
}

/// A-labels for U-labels. One of more than 63 characters has none that fits: libidn2, whose work grows with
/// the square of their number, need not find out.
std::optional<std::string> to_a_labels(std::string_view word) {
    constexpr unsigned most_characters = 63;
    unsigned characters = 0;
    for (char c : word) {
        bool begins = (c & 0xc0) != 0x80;
        characters = c == '.' ? 0 : characters + begins;
        if (characters > most_characters || c == '\0') return std::nullopt;
    }
    constexpr std::size_t most_octets = 4 * 255;
    if (word.size() > most_octets) return std::nullopt;
    std::uint8_t* out = nullptr;
    int result = idn2_lookup_u8(reinterpret_cast<const std::uint8_t*>(std::string(word).c_str()), &out,
                                IDN2_NFC_INPUT | IDN2_NONTRANSITIONAL);
    std::unique_ptr<std::uint8_t, void (*)(void*)> owned(out, idn2_free);
    if (result != IDN2_OK) return std::nullopt;
    return std::string(reinterpret_cast<const char*>(out));
}

/// A host name, so that a page of HTML in the place of a list is noticed.
std::optional<cache::Name> parse_host(std::string_view word) {
    constexpr std::string_view allowed = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.";
    std::optional<std::string> converted;
    if (std::ranges::any_of(word, [](char c) { return c & 0x80; })) {
        converted = to_a_labels(word);
        if (!converted) return std::nullopt;
        word = *converted;
    }
    if (word.find_first_not_of(allowed) != word.npos) return std::nullopt;
    auto name = cache::parse_name(word);
    return name && name->size > 1 ? name : std::nullopt;
}

/// A line's only word, in whichever form; it is no address as it stands.
std::optional<cache::Name> parse_entry(std::string_view word) {
    std::size_t whole = word.size();
    if (word.starts_with("||")) {
        if (!word.ends_with('^')) return std::nullopt; // with an option it would deny more than it says
        word = word.substr(2, word.size() - 3);
    }
    if (word.starts_with("*."))
        word.remove_prefix(2);
    else if (word.starts_with('.'))
        word.remove_prefix(1);
    return word.size() < whole && is_address(word) ? std::nullopt : parse_host(word);
}

/// Behind the address of a line of a hosts file.
bool read_hosts(std::string_view rest, const std::function<void(const cache::Name&)>& take) {
    bool good = true;
    std::string_view word = next_word(rest);
    if (word.empty()) return false;
    for (; !word.empty(); word = next_word(rest)) {
        bool own = word.find('.') == word.npos || word == "localhost.localdomain";
        if (own || is_address(word)) continue; // "0.0.0.0 0.0.0.0" opens many lists
        auto name = parse_host(word);
        if (name) take(*name);
        good = good && name;
    }
    return good;
}

} // namespace

std::vector<std::string_view> words_of(std::string_view line) {
    std::vector<std::string_view> words;
    std::string_view rest = without_comment(line);
    for (auto word = next_word(rest); !word.empty(); word = next_word(rest)) words.push_back(word);
    return words;
}

bool read_list_line(std::string_view line, bool is_cut, const std::function<void(const cache::Name&)>& take) {
    std::string_view rest = without_comment(line);
    bool is_whole = !is_cut || rest.size() < line.size();
    std::string_view word = next_word(rest);
    if (word.starts_with('!')) return true;
    if (!is_whole) return false;
    if (word.empty()) return true;
    if (is_address(word)) return read_hosts(rest, take);
    auto name = parse_entry(word);
    if (!name || !next_word(rest).empty()) return false;
    take(*name);
    return true;
}

} // namespace millrace::control
