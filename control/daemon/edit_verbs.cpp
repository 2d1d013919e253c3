#include "control/daemon/edit_verbs.hpp"

#include <algorithm>
#include <set>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "cache/dns.hpp"
#include "control/config/choices.hpp"
#include "control/config/differences.hpp"
#include "control/daemon/config_verbs.hpp"
#include "control/daemon/upstream_verbs.hpp"
#include "control/message/record_text.hpp"

namespace millrace::control {

using dataplane::LocalNames;
using nlohmann::json;

namespace {

using Args = std::vector<std::string>;

tl::unexpected<std::string> none(const std::string& what) {
    return tl::unexpected(what);
}

// acl

EditResult add_prefix(const std::string& text, const Config::Live& running, const std::string& prefix) {
    if (has_key(text, "allow")) return append_item(text, "allow", in_quotes(prefix));
    std::string all; // the default does not stand in the file
    for (const dataplane::Prefix& p : running.allow) all += in_quotes(to_string(p)) + ", ";
    return set_value(text, "allow", "[" + all + in_quotes(prefix) + "]");
}

EditResult remove_prefix(const std::string& text, const Config::Live& running, const std::string& prefix) {
    auto parsed = dataplane::parse_prefix(prefix);
    auto found = parsed ? std::ranges::find(running.allow, *parsed) : running.allow.end();
    if (found == running.allow.end()) return none(prefix + " is not in the list; see `acl list`");
    if (!has_key(text, "allow")) {
        std::string rest;
        for (const dataplane::Prefix& p : running.allow) {
            if (p != *parsed) rest += (rest.empty() ? "" : ", ") + in_quotes(to_string(p));
        }
        return set_value(text, "allow", "[" + rest + "]");
    }
    return remove_item(text, fmt::format("allow[{}]", found - running.allow.begin()));
}

json list_prefixes(const Config::Live& live) {
    json list = json::array();
    for (const dataplane::Prefix& prefix : live.allow) list.push_back(to_string(prefix));
    return {{"allow", std::move(list)}};
}

/// All prefixes that have the address; one is enough.
void test_address(const Config::Live& live, const Args& args, const Responder& responder) {
    auto address = args.size() == 1 ? dataplane::parse_address(args[0]) : std::nullopt;
    if (!address) return responder.fail("usage: acl test ADDRESS, such as 192.0.2.1");
    json within = json::array();
    for (std::size_t i = 0; i < live.allow.size(); ++i) {
        if (live.allow[i].contains(*address))
            within.push_back(fmt::format("{} (allow[{}])", to_string(live.allow[i]), i));
    }
    responder.respond(
        {{"address", to_string(*address)}, {"allowed", !within.empty()}, {"by", std::move(within)}});
}

// block

std::string canonical(const std::string& name) {
    auto parsed = cache::parse_name(name);
    return parsed ? cache::to_string(parsed->bytes()) : "";
}

EditResult block_name(const std::string& text, const Config::Live& running, const std::string& name) {
    auto own = std::ranges::find_if(running.block, [](const auto& list) { return list.file.empty(); });
    if (own == running.block.end())
        return append_item(text, "block", fmt::format("{{names: [{}]}}", in_quotes(name)));
    if (std::ranges::find(own->names, canonical(name), canonical) != own->names.end())
        return none(name + " is there already");
    return append_item(text, fmt::format("block[{}].names", own - running.block.begin()), in_quotes(name));
}

EditResult unblock_name(const std::string& text, const Config::Live& running, const std::string& name) {
    for (std::size_t i = 0; i < running.block.size(); ++i) {
        const auto& names = running.block[i].names;
        auto found = std::ranges::find(names, canonical(name), canonical);
        if (found == names.end()) continue;
        if (names.size() == 1) return remove_item(text, fmt::format("block[{}]", i));
        return remove_item(text, fmt::format("block[{}].names[{}]", i, found - names.begin()));
    }
    return none(name +
                " is not among the names of the configuration; `block test` says where a name is from");
}

json list_blocks(const Reload& reload) {
    json rows = json::array();
    for (const Config::BlockList& list : reload.current().block) {
        json row{{"file", list.file},
                 {"format", name_of(list.format, list_formats)},
                 {"answer", name_of(list.answer, denials)},
                 {"reason", name_of(list.reason, list_reasons)},
                 {"count", list.names.size()}};
        auto read = std::ranges::find(reload.lists(), list.file, &ReadList::file);
        if (read != reload.lists().end()) {
            row["count"] = read->names;
            row["skipped"] = read->skipped;
        }
        if (!list.names.empty()) row["names"] = list.names;
        rows.push_back(std::move(row));
    }
    return {{"lists", std::move(rows)}};
}

const char* word_of(LocalNames::Action action) {
    switch (action) {
    case LocalNames::Action::forward: return "asked upstream";
    case LocalNames::Action::nxdomain: return "NXDOMAIN";
    case LocalNames::Action::nodata: return "NODATA";
    case LocalNames::Action::records: return "records";
    case LocalNames::Action::alias: return "alias";
    }
    return "?";
}

/// Which rule decides on the name, of lists or any other.
void test_name(const Config::Live& live, const LocalNames& names, const Args& args,
               const Responder& responder) {
    auto name = args.size() == 1 ? cache::parse_name(args[0]) : std::nullopt;
    if (!name) return responder.fail("usage: block test NAME");
    json reply{{"name", cache::to_string(name->bytes())}, {"blocked", false}, {"action", "asked upstream"}};
    if (auto match = names.find(name->bytes())) {
        auto action = names.action(*match);
        reply["blocked"] = names.is_blocked(*match) && action != LocalNames::Action::forward;
        reply["action"] = word_of(action);
        reply["rule"] = cache::to_string(name->bytes().subspan(match->above));
        reply["from"] = source_text(live, names.source(*match));
        if (action == LocalNames::Action::alias)
            reply["target"] = cache::to_string(names.target(*match).bytes());
    }
    responder.respond(reply);
}

// local

/// One more edit of the text. What it takes of comments goes with what the earlier ones took.
bool add(Edited& all, EditResult next, std::string& why) {
    if (!next) {
        why = next.error();
        return false;
    }
    next->lost.insert(next->lost.begin(), all.lost.begin(), all.lost.end());
    all = std::move(*next);
    return true;
}

/// A record's place, by its text or by its owner's name; from the last to the first.
EditResult remove_records(const std::string& text, const Config::Live& running, const std::string& what) {
    Edited edited{text};
    std::string why = "there is no such record; see `local list`";
    bool is_found = false;
    for (std::size_t i = running.local.records.size(); i-- > 0;) {
        const std::string& record = running.local.records[i];
        std::string owner = canonical(record.substr(0, record.find_first_of(" \t")));
        if (record != what && (owner.empty() || owner != canonical(what))) continue;
        is_found = add(edited, remove_item(edited.text, fmt::format("local.records[{}]", i)), why);
        if (!is_found) break;
    }
    return is_found ? EditResult(std::move(edited)) : none(why);
}

// upstream

std::string group_key(const Config::Live& running, std::size_t group) {
    return group < running.upstreams.size() ? fmt::format("upstreams[{}].servers", group) : "";
}

/// What is behind the server: a group, and the server's other keys as KEY=VALUE, each a change of its own, so
/// that no value can be taken for more than one.
EditResult add_server(const std::string& text, const Config::Live& running, const Args& args) {
    bool has_group = args.size() > 1 && args[1].find('=') == std::string::npos;
    std::size_t group = has_group ? running.index_of(args[1]) : 0;
    std::string key = group_key(running, group);
    if (key.empty()) return none("'" + args[1] + "' is no group of upstreams");
    EditResult added = append_item(text, key, in_quotes(args[0]));
    if (!added) return added;
    Edited edited = std::move(*added);
    std::string place = fmt::format("{}[{}].", key, running.upstreams[group].servers.size()), why;
    std::set<std::string> given = {"address"};
    for (std::size_t i = has_group ? 2 : 1; i < args.size(); ++i) {
        std::size_t sign = args[i].find('=');
        if (sign == std::string::npos) return none("'" + args[i] + "' is not KEY=VALUE");
        std::string name = args[i].substr(0, sign);
        if (!given.insert(name).second) return none("'" + name + "' is given twice");
        if (!add(edited, set_value(edited.text, place + name, args[i].substr(sign + 1)), why))
            return none(fmt::format("{}: {}", name, why));
    }
    return edited;
}

EditResult remove_server(const std::string& text, const Config::Live& running, const Args& args) {
    if (args.size() > 2) return none("one server and its group, no more");
    const std::string& server = args[0];
    std::string group = args.size() > 1 ? args[1] : "";
    auto endpoint = dataplane::parse_endpoint(server, dns::port);
    auto is_meant = [&](const Config::Server& s) {
        return is_name_of(s, server) || (endpoint && !s.is_named() && s.endpoint == *endpoint);
    };
    Edited edited{text};
    std::string why = "there is no such server; see `upstream list`";
    bool is_found = false;
    for (std::size_t g = 0; g < running.upstreams.size(); ++g) {
        if (!group.empty() && running.upstreams[g].name != group) continue;
        const auto& servers = running.upstreams[g].servers;
        auto found = std::ranges::find_if(servers, is_meant);
        if (found == servers.end()) continue;
        std::string place = fmt::format("{}[{}]", group_key(running, g), found - servers.begin());
        is_found = add(edited, remove_item(edited.text, place), why);
        if (!is_found) break;
    }
    return is_found ? EditResult(std::move(edited)) : none(why);
}

/// A verb that edits: its arguments are given to `edit` as one text.
using EditWord = EditResult (*)(const std::string& text, const Config::Live& running,
                                const std::string& word);

void on_edit(CommandServer& server, Reload& reload, const std::string& verb, const char* key, EditWord edit) {
    server.on(
        verb, [&reload, verb, key = std::string(key), edit](const Args& args, const Responder& responder) {
            if (args.empty()) return responder.fail("usage: " + verb + " WHAT");
            auto apply = [edit, what = joined(args)](const std::string& text, const Config::Live& running) {
                return edit(text, running, what);
            };
            answer_edit(reload, key, apply, json::object(), responder);
        });
}

using EditServer = EditResult (*)(const std::string&, const Config::Live&, const Args&);

void on_server(CommandServer& server, Reload& reload, const std::string& verb, const std::string& more,
               EditServer edit) {
    server.on(verb, [&reload, usage = "usage: " + verb + " SERVER " + more,
                     edit](const Args& args, const Responder& responder) {
        if (args.empty()) return responder.fail(usage);
        auto apply = [edit, args](const std::string& text, const Config::Live& running) {
            return edit(text, running, args);
        };
        answer_edit(reload, "upstreams", apply, json::object(), responder);
    });
}

void set_limit(Reload& reload, const Args& args, const Responder& responder) {
    if (args.size() != 2) return responder.fail("usage: ratelimit set KEY VALUE; see `ratelimit show`");
    set_key(reload, "limits." + args[0], args[1], responder);
}

void show_limits(Reload& reload, const Responder& responder) {
    auto make = [](const Document&, const Config& running) -> tl::expected<json, std::string> {
        json limits = json::object();
        constexpr std::string_view prefix = "limits.";
        for (const auto& [key, value] : values_of(running)) {
            if (key.starts_with(prefix)) limits[key.substr(prefix.size())] = json::parse(value);
        }
        return limits;
    };
    answer_look(reload, make, responder);
}

} // namespace

void add_edit_verbs(CommandServer& server, Reload& reload,
                    const cache::Replaceable<dataplane::Rules>& rules) {
    on_edit(server, reload, "acl add", "allow", add_prefix);
    on_edit(server, reload, "acl remove", "allow", remove_prefix);
    server.on_look("acl list", [&reload] { return list_prefixes(reload.current()); });
    server.on(
        "acl test",
        [&reload](const Args& args, const Responder& responder) {
            test_address(reload.current(), args, responder);
        },
        Effect::look);
    on_edit(server, reload, "block add", "block", block_name);
    on_edit(server, reload, "block remove", "block", unblock_name);
    server.on_look("block list", [&reload] { return list_blocks(reload); });
    server.on(
        "block test",
        [&reload, &rules](const Args& args, const Responder& responder) {
            test_name(reload.current(), *rules.get().local, args, responder);
        },
        Effect::look);
    on_edit(server, reload, "local add", "local.records",
            [](const std::string& text, const Config::Live&, const std::string& record) {
                return append_item(text, "local.records", in_quotes(record));
            });
    on_edit(server, reload, "local remove", "local.records", remove_records);
    server.on_look("local list", [&reload] {
        const Config::Local& own = reload.current().local;
        return json{{"records", own.records}, {"forward", own.forward}, {"special_names", own.special_names}};
    });
    server.on("ratelimit set", [&reload](const Args& args, const Responder& responder) {
        set_limit(reload, args, responder);
    });
    server.on_plain(
        "ratelimit show", [&reload](const Responder& responder) { show_limits(reload, responder); },
        Effect::look);
    on_server(server, reload, "upstream add", "[GROUP] [KEY=VALUE]...", add_server);
    on_server(server, reload, "upstream remove", "[GROUP]", remove_server);
}

} // namespace millrace::control
