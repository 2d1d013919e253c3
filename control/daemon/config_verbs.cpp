#include "control/daemon/config_verbs.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "control/command/good_reply.hpp"
#include "control/config/choices.hpp"
#include "control/config/differences.hpp"

namespace millrace::control {

using nlohmann::json;

namespace {

using Args = std::vector<std::string>;
using Answer = tl::expected<json, std::string>;

json to_json(const Reload::Changes& changes) {
    json reply{{"changed", changes.changed}, {"needs_restart", changes.needs_restart}};
    for (const auto& [file, before, names, skipped] : changes.lists) {
        reply["lists"].push_back(
            {{"file", file}, {"names_before", before}, {"names", names}, {"skipped", skipped}});
    }
    if (changes.dropped > 0) reply["edits_dropped"] = changes.dropped;
    return reply;
}

void reload_file(Reload& reload, const Responder& responder) {
    reload.begin([responder](const tl::expected<Reload::Changes, std::string>& result) {
        if (!result) return responder.fail(result.error());
        json reply = to_json(*result);
        reply["reloaded"] = true;
        responder.respond(reply);
    });
}

Answer show(const Document&, const Config& running, const std::string& prefix) {
    if (prefix.empty()) return json{{"config", to_yaml(running)}};
    json values = json::object();
    for (const auto& [key, value] : values_of(running)) {
        bool is_meant = key == prefix ||
                        (key.starts_with(prefix) && (key[prefix.size()] == '.' || key[prefix.size()] == '['));
        if (is_meant) values[key] = value;
    }
    if (values.empty())
        return tl::unexpected("there is no key " + prefix + "; `config show` has all of them");
    return values;
}

json rows_of(const std::vector<Difference>& found) {
    json rows = json::array();
    for (const Difference& d : found) {
        rows.push_back({{"key", d.key}, {"running", d.running}, {"file", d.file}});
    }
    return rows;
}

/// Against the file as it is now.
Answer diff(const Document& document, const Config& running) {
    auto file = load_config(document.path);
    if (!file) return tl::unexpected(to_string(file.error()));
    return json{{"file", document.path}, {"differences", rows_of(differences(running, *file))}};
}

Answer check(const Document& document, const Config& running) {
    auto file = read_config_file(document.path).and_then([&](const std::string& text) {
        return parse_beside(text, document.path, running.boot);
    });
    if (!file) return tl::unexpected(to_string(file.error()));
    auto local = build_local_names(file->live);
    if (!local) return tl::unexpected(to_string(local.error()));
    return good_reply(document.path, file->live, local->lists);
}

/// What to write by hand instead.
json refusal(const Document& document, const Config& running, const std::string& why) {
    json reply{{"error", "not saved: " + why}};
    auto file = load_config(document.path);
    if (!file) return reply;
    for (const Difference& d : differences(running, *file)) {
        if (!d.running.empty()) reply["by_hand"].push_back(d.key + ": " + d.running);
    }
    return reply;
}

void save(Reload& reload, const Responder& responder) {
    bool begun = reload.look([responder, &reload](const Document& document, const Config& running) {
        auto saved = save_document(document);
        json reply = saved ? json{{"file", document.path}, {"saved", document.edits.size()}}
                           : refusal(document, running, saved.error());
        return [responder, &reload, reply, text = saved ? std::optional(document.text) : std::nullopt] {
            if (text) reload.saved(*text);
            responder.respond(reply);
        };
    });
    if (!begun) responder.fail("too many changes wait; try again");
}

void set(Reload& reload, const Args& args, const Responder& responder) {
    if (args.size() < 2) return responder.fail("usage: config set KEY VALUE");
    set_key(reload, args[0], joined(args, 1), responder);
}

/// `log: level`, by a shorter name.
void log_level(Reload& reload, const Args& args, const Responder& responder) {
    if (args.size() > 1) return responder.fail("usage: log-level [LEVEL]");
    if (!args.empty()) return set_key(reload, "log.level", args[0], responder);
    responder.respond({{"level", name_of(reload.current().log_level, log_levels)}});
}

} // namespace

void set_key(Reload& reload, const std::string& key, const std::string& value, const Responder& responder) {
    auto edit = [key, value](const std::string& text, const Config::Live&) {
        return set_value(text, key, value);
    };
    answer_edit(reload, key, edit, {{"key", key}, {"value", value}}, responder);
}

json config_status(const Reload& reload) {
    const Document& document = reload.document();
    return {{"file", document.path}, {"unsaved", document.differs()}, {"edits", document.edits}};
}

void answer_edit(Reload& reload, const std::string& key, Reload::Edit edit, const json& more,
                 const Responder& responder) {
    reload.edit(key, std::move(edit),
                [responder, more, &reload](const tl::expected<Reload::Changes, std::string>& result) {
                    if (!result) return responder.fail(result.error());
                    json reply = to_json(*result);
                    reply.erase("needs_restart"); // is refused
                    reply.update(more);
                    reply["unsaved"] = reload.document().differs();
                    responder.respond(reply);
                });
}

void answer_look(Reload& reload, MakeAnswer make, const Responder& responder) {
    bool begun =
        reload.look([responder, make = std::move(make)](const Document& document, const Config& running) {
            return [responder, answer = make(document, running)] {
                answer ? responder.respond(*answer) : responder.fail(answer.error());
            };
        });
    if (!begun) responder.fail("too many changes wait; try again");
}

std::string joined(const std::vector<std::string>& words, std::size_t from) {
    return fmt::format("{}", fmt::join(words.begin() + std::ptrdiff_t(from), words.end(), " "));
}

void add_config_verbs(CommandServer& server, Reload& reload) {
    server.on(
        "config show",
        [&reload](const Args& args, const Responder& responder) {
            if (args.size() > 1) return responder.fail("usage: config show [KEY]");
            auto make = [prefix = args.empty() ? "" : args[0]](const Document& document,
                                                               const Config& running) {
                return show(document, running, prefix);
            };
            answer_look(reload, make, responder);
        },
        Effect::look);
    server.on("config set",
              [&reload](const Args& args, const Responder& responder) { set(reload, args, responder); });
    server.on("log-level", [&reload](const Args& args, const Responder& responder) {
        log_level(reload, args, responder);
    });
    server.on_plain(
        "config diff", [&reload](const Responder& r) { answer_look(reload, diff, r); }, Effect::look);
    server.on_plain(
        "config check", [&reload](const Responder& r) { answer_look(reload, check, r); }, Effect::look);
    server.on_plain("config save", [&reload](const Responder& r) { save(reload, r); });
    server.on_plain("config reload", [&reload](const Responder& r) { reload_file(reload, r); });
}

} // namespace millrace::control
