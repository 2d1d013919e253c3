#include "control/local/block_list.hpp"

#include <cerrno>
#include <cstring>

#include <fmt/format.h>

#include "cache/dns.hpp"
#include "cache/keyed_hash.hpp"
#include "control/config/yaml.hpp"
#include "control/local/entry.hpp"
#include "control/local/lines.hpp"
#include "control/local/list_line.hpp"
#include "control/local/policy_zone.hpp"

namespace millrace::control {

using dataplane::LocalNames;
using Builder = LocalNames::Builder;

namespace {

using Result = tl::expected<BlockListResult, ConfigError>;

tl::unexpected<ConfigError> error(const Config::BlockList& list, int line, std::string expected,
                                  std::string found) {
    return tl::unexpected(ConfigError{list.file, line, "", std::move(expected), std::move(found)});
}

Result read_names(const Config::BlockList& list, std::FILE* file, unsigned source, Builder& names,
                  std::size_t most) {
    bool nodata = list.answer == Config::BlockList::Denial::nodata;
    using Action = LocalNames::Action;
    auto rule = denial(names, source, list, nodata ? Action::nodata : Action::nxdomain);
    BlockListResult result;
    auto take = [&](const cache::Name& name) {
        result.names += names.add(name.bytes(), Builder::both, rule);
        result.digest += cache::keyed_hash(name.bytes());
    };
    for (Lines lines(file); lines.next();) {
        if (!read_list_line(lines.text(), lines.is_cut(), take)) {
            result.skip(lines.number(), "no name", lines.text());
        }
        if (result.names > most)
            return error(list, lines.number(), fmt::format("at most {} names", most), "more");
        if (names.is_full()) return error(list, lines.number(), no_room, "more");
    }
    return result;
}

} // namespace

void BlockListResult::skip(int line, std::string_view why, std::string_view what) {
    if (++skipped > limits::named_lines) return;
    first.push_back({line, fmt::format("{}: {}", why, yaml::quote(what))});
}

std::uint16_t info_of(Config::BlockList::Reason reason) {
    switch (reason) {
    case Config::BlockList::Reason::blocked: return dns::ede::blocked;
    case Config::BlockList::Reason::censored: return dns::ede::censored;
    case Config::BlockList::Reason::filtered: return dns::ede::filtered;
    }
    return cache::Entry::no_info;
}

Builder::RuleId denial(Builder& names, unsigned source, const Config::BlockList& list,
                       LocalNames::Action action) {
    unsigned rcode = action == LocalNames::Action::nxdomain ? LDNS_RCODE_NXDOMAIN : LDNS_RCODE_NOERROR;
    return names.deny(source, true, action, info_of(list.reason), make_denial(rcode, limits::denial_ttl));
}

Result read_block_list(const Config::BlockList& list, std::FILE* file, unsigned source, Builder& names,
                       std::size_t most) {
    bool is_rpz = list.format == Config::BlockList::Format::rpz;
    Result result = (is_rpz ? read_policy_zone : read_names)(list, file, source, names, most);
    if (result && std::ferror(file)) return error(list, 0, "a readable file", std::strerror(errno));
    return result;
}

Result read_block_list(const Config::BlockList& list, unsigned source, Builder& names) {
    auto file = open_list(list.file);
    if (!file) return tl::unexpected(file.error());
    return read_block_list(list, file->get(), source, names);
}

} // namespace millrace::control
