#include "control/local/build.hpp"

#include <map>

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include "control/limits.hpp"
#include "control/local/block_list.hpp"
#include "control/local/entry.hpp"
#include "control/local/special_names.hpp"
#include "control/message/record_text.hpp"
#include "control/message/records.hpp"

namespace millrace::control {

namespace {

using dataplane::LocalNames;
using Builder = LocalNames::Builder;

enum Source : unsigned { forwarded, own_records, special, lists };
static_assert(lists + limits::block_lists <= LocalNames::most_sources);

constexpr std::uint32_t denial_ttl = 60; // of types that the operator's names do not have

/// The owner's name, and whether it is of the names below it.
std::pair<std::string, unsigned> owner_of(const ldns_rr* record) {
    cache::Name name = name_of(ldns_rr_owner(record));
    bool wildcard = name.octets[0] == 1 && name.octets[1] == '*';
    auto bytes = name.bytes().subspan(wildcard ? 2 : 0);
    return {std::string(bytes.begin(), bytes.end()), wildcard ? Builder::below : Builder::exact};
}

/// The rule for all records of one owner; none when they do not go together.
std::optional<Builder::RuleId> rule_of(const std::vector<const ldns_rr*>& records, Builder& names) {
    constexpr std::uint16_t no_info = cache::Entry::no_info;
    std::map<std::uint16_t, std::vector<const ldns_rr*>> by_type;
    for (const ldns_rr* r : records) by_type[std::uint16_t(ldns_rr_get_type(r))].push_back(r);
    if (by_type.contains(LDNS_RR_TYPE_CNAME)) {
        if (records.size() > 1) return std::nullopt;
        return names.alias(own_records, false, no_info, name_of(ldns_rr_rdf(records.front(), 0)));
    }
    std::vector<std::pair<std::uint16_t, cache::EntryPtr>> entries;
    for (const auto& [type, of_type] : by_type) {
        entries.emplace_back(type, make_local_records(of_type));
        if (!entries.back().second) return std::nullopt;
    }
    entries.emplace_back(0, make_denial(LDNS_RCODE_NOERROR, denial_ttl));
    return names.records(own_records, false, no_info, std::move(entries));
}

/// False: some name has a CNAME and something else, or more than a message holds.
bool add_records(const std::vector<std::string>& lines, Builder& names) {
    std::vector<RecordHandle> records;
    std::map<std::pair<std::string, unsigned>, std::vector<const ldns_rr*>> by_owner;
    for (const std::string& line : lines) {
        records.push_back(parse_local_record(line));
        if (!records.back()) return false;
        by_owner[owner_of(records.back().get())].push_back(records.back().get());
    }
    for (const auto& [owner, of_owner] : by_owner) {
        auto rule = rule_of(of_owner, names);
        if (!rule) return false;
        std::span text(reinterpret_cast<const std::uint8_t*>(owner.first.data()), owner.first.size());
        names.add(text, owner.second, *rule);
    }
    return true;
}

void add_chaos(const Config::Local& local, Builder& names) {
    auto add = [&](const char* name, const std::string& text) {
        if (!text.empty()) names.chaos(*cache::parse_name(name), make_chaos_text(text));
    };
    add("version.bind", local.version);
    add("version.server", local.version);
    add("hostname.bind", local.id);
    add("id.server", local.id);
}

/// Of a list that stands in the configuration.
void add_names(const Config::BlockList& list, unsigned source, Builder& names) {
    bool is_nodata = list.answer == Config::BlockList::Denial::nodata;
    auto rule =
        denial(names, source, list, is_nodata ? LocalNames::Action::nodata : LocalNames::Action::nxdomain);
    for (const std::string& name : list.names)
        names.add(cache::parse_name(name)->bytes(), Builder::both, rule);
}

void log_list(const std::string& file, const BlockListResult& read) {
    if (read.skipped == 0) return spdlog::info("{}: {} names", file, read.names);
    spdlog::warn("{}: {} names, {} lines skipped{}", file, read.names, read.skipped,
                 read.skipped > read.first.size() ? fmt::format(", of which the first {}:", read.first.size())
                                                  : ":");
    for (const auto& [line, why] : read.first) spdlog::warn("{}:{}: {}", file, line, why);
}

ReadList to_read_list(const std::string& file, const BlockListResult& read) {
    std::string first;
    if (!read.first.empty()) first = fmt::format("{}:{}: {}", file, read.first[0].line, read.first[0].why);
    return {file, read.names, read.skipped, std::move(first), read.digest};
}

} // namespace

tl::expected<LocalRules, ConfigError> build_local_names(const Config::Live& live) {
    Builder names;
    auto forward = names.forward(forwarded, false);
    for (const std::string& name : live.local.forward) {
        names.add(cache::parse_name(name)->bytes(), Builder::both, forward);
    }
    if (!add_records(live.local.records, names)) {
        return tl::unexpected(ConfigError{"local.records", 0, "",
                                          "each name with a CNAME or with other records that fit a message",
                                          "a name with both, or with more"});
    }
    if (live.local.special_names) add_special_names(names, special);
    add_chaos(live.local, names);
    std::vector<ReadList> read;
    for (std::size_t i = 0; i < live.block.size(); ++i) {
        const std::string& file = live.block[i].file;
        if (file.empty()) {
            add_names(live.block[i], unsigned(lists + i), names);
            continue;
        }
        auto list = read_block_list(live.block[i], unsigned(lists + i), names);
        if (!list) return tl::unexpected(list.error());
        log_list(file, *list);
        read.push_back(to_read_list(file, *list));
    }
    auto warm = live.keep_warm.empty() ? nullptr : std::make_unique<WarmList>();
    if (warm) {
        auto list = read_warm_list(live.keep_warm, *warm);
        if (!list) {
            ConfigError error = list.error();
            error.key = "cache.keep-warm";
            return tl::unexpected(error);
        }
        log_list(live.keep_warm, *list);
        read.push_back(to_read_list(live.keep_warm, *list));
    }
    return LocalRules{names.build(), std::move(read), std::move(warm)};
}

std::string source_text(const Config::Live& live, unsigned source) {
    switch (source) {
    case forwarded: return "local.forward";
    case own_records: return "local.records";
    case special: return "local.special-names";
    }
    std::size_t list = source - lists;
    if (list >= live.block.size()) return "block";
    return live.block[list].file.empty() ? fmt::format("block[{}].names", list) : live.block[list].file;
}

std::unique_ptr<const dataplane::Routes> build_routes(const Config::Live& live) {
    std::vector<dataplane::Routes::Route> routes;
    for (const Config::Route& route : live.routes) {
        routes.push_back({*cache::parse_name(route.suffix), std::uint8_t(live.index_of(route.group))});
    }
    return std::make_unique<const dataplane::Routes>(routes);
}

} // namespace millrace::control
