#include "control/local/warm_list.hpp"

#include <cerrno>
#include <cstring>

#include <fmt/format.h>

#include "cache/keyed_hash.hpp"
#include "control/limits.hpp"
#include "control/local/lines.hpp"
#include "control/local/list_line.hpp"
#include "control/message/record_text.hpp"
#include "dataplane/query.hpp"

namespace millrace::control {

namespace {

/// What the line asks for. None: it is to be skipped.
std::vector<cache::Key> questions_of(std::span<const std::string_view> words) {
    static constexpr std::string_view addresses[] = {"A", "AAAA"};
    auto types = words.size() > 1 ? words.subspan(1) : std::span<const std::string_view>(addresses);
    if (types.size() > limits::warm_types) return {};
    std::vector<cache::Key> keys;
    for (std::string_view type : types) {
        auto key = parse_question(std::string(words[0]), std::string(type));
        if (!key || !dataplane::is_data_type(key->qtype)) return {};
        keys.push_back(*key);
    }
    return keys;
}

} // namespace

void WarmList::add(const cache::Key& key) {
    auto name = key.name.bytes();
    bool is_same = !questions_.empty() && this->key(questions_.size() - 1).name == key.name;
    auto at = is_same ? questions_.back().name : std::uint32_t(names_.size());
    if (!is_same) names_.append(name.begin(), name.end());
    questions_.push_back({at, key.qtype, key.name.size});
}

cache::Key WarmList::key(std::size_t index) const {
    const Question& question = questions_[index];
    cache::Key key;
    key.qtype = question.qtype;
    key.qclass = std::uint16_t(LDNS_RR_CLASS_IN);
    key.name.size = question.octets;
    std::memcpy(key.name.octets.data(), names_.data() + question.name, question.octets);
    return key;
}

tl::expected<BlockListResult, ConfigError> read_warm_list(const std::string& path, WarmList& out) {
    auto file = open_list(path);
    if (!file) return tl::unexpected(file.error());
    BlockListResult result;
    for (Lines lines(file->get()); lines.next();) {
        auto words = words_of(lines.text());
        if (words.empty() && !lines.is_cut()) continue;
        auto keys = lines.is_cut() ? std::vector<cache::Key>() : questions_of(words);
        if (keys.empty()) {
            result.skip(lines.number(), "no name with types that can be looked up", lines.text());
            continue;
        }
        if (++result.names > limits::warm_names) {
            auto expected = fmt::format("at most {} names", limits::warm_names);
            return tl::unexpected(ConfigError{path, lines.number(), "", expected, "more"});
        }
        for (const cache::Key& key : keys) {
            out.add(key);
            result.digest += cache::keyed_hash(key.bytes());
        }
    }
    if (std::ferror(file->get())) {
        return tl::unexpected(ConfigError{path, 0, "", "a readable file", std::strerror(errno)});
    }
    return result;
}

} // namespace millrace::control
