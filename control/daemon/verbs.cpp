#include "control/daemon/verbs.hpp"

#include <algorithm>

#include <nlohmann/json.hpp>

#include "control/daemon/config_verbs.hpp"
#include "control/daemon/edit_verbs.hpp"
#include "control/daemon/figures.hpp"
#include "control/daemon/top_verb.hpp"
#include "control/daemon/upstream_verbs.hpp"
#include "control/message/entry_text.hpp"
#include "control/message/record_text.hpp"

namespace millrace::control {

using nlohmann::json;

namespace {

using Args = std::vector<std::string>;

/// The key of a question, in its group.
tl::expected<cache::Key, std::string> key_of(const Context& c, const std::string& name,
                                             const std::string& type) {
    auto key = parse_question(name, type);
    if (key) key->group = c.rules.get().routes->group_of(key->name.bytes(), key->qtype);
    return key;
}

/// What is served for the key, fresh or stale. Null: nothing.
const cache::Entry* served(const Context& c, const cache::Key& key, Time now) {
    const cache::Entry* entry = c.table.find(key, c.table.hasher()(key));
    bool is_served =
        entry && entry->version.generation > c.table.floor(key.group) && now < entry->stale_until;
    return is_served ? entry : nullptr;
}

json lookup(const Context& c, const cache::Key& key) {
    Time now = boot_time();
    const cache::Entry* entry = served(c, key, now);
    if (!entry) {
        return {{"found", false},   {"generation", 0}, {"revision", 0},
                {"rcode", nullptr}, {"ttl", 0},        {"addresses", json::array()}};
    }
    char* rcode = ldns_pkt_rcode2str(ldns_pkt_rcode(entry->rcode));
    json found = {{"found", true},
                  {"generation", entry->version.generation},
                  {"revision", entry->version.revision},
                  {"rcode", rcode ? rcode : "?"},
                  {"ttl", std::max<std::int64_t>(0, (entry->expiry - now).count() / 1'000'000)},
                  {"stale", now >= entry->expiry},
                  {"failure", entry->failure},
                  {"addresses", addresses(key, *entry)},
                  {"records", record_lines(key, *entry, now)}};
    std::free(rcode);
    return found;
}

void cache_lookup(const Context& c, const Args& args, const Responder& responder) {
    if (args.size() != 2) return responder.fail("usage: cache lookup NAME TYPE");
    auto key = key_of(c, args[0], args[1]);
    key ? responder.respond(lookup(c, *key)) : responder.fail(key.error());
}

const char* ranking_state(const Prober& prober, const dataplane::Address& address) {
    const Measurement* m = prober.find(address);
    if (m) return m->is_dead() ? "dead" : "measured";
    if (prober.is_probed_now(address)) return "being probed";
    return prober.may_probe(address) ? "unknown" : "never probed";
}

json ranked(const Prober& prober, const dataplane::Address& address) {
    const Measurement* m = prober.find(address);
    json one = {{"address", to_string(address)}, {"state", ranking_state(prober, address)}};
    if (!m) return one;
    if (m->has_answered()) one["srtt_ms"] = double(m->srtt.count()) / 1000;
    one["failures"] = m->failures;
    one["probes"] = m->probes;
    one["last_port"] = m->last_port == 0 ? json("icmp") : json(m->last_port);
    one["age_s"] = in_seconds(boot_time() - m->measured);
    return one;
}

/// What is known of each address that the name is answered with, in the order of the answers.
void rank(const Context& c, const Args& args, const Responder& responder) {
    if (args.size() != 1) return responder.fail("usage: rank NAME");
    json rows = json::array();
    for (const char* type : {"A", "AAAA"}) {
        auto key = key_of(c, args[0], type);
        if (!key) return responder.fail(key.error());
        const cache::Entry* entry = served(c, *key, boot_time());
        if (!entry) continue;
        for (const std::string& text : addresses(*key, *entry)) {
            rows.push_back(ranked(c.prober, *dataplane::parse_address(text)));
        }
    }
    responder.respond({{"addresses", std::move(rows)}});
}

void cache_flush(const Context& c, const Args& args, const Responder& responder) {
    bool all = args.size() == 1 && args[0] == "--all", negative = args.size() == 1 && args[0] == "--negative";
    bool zone = args.size() == 2 && args[0] == "--zone", group = args.size() == 2 && args[0] == "--group";
    if (args.size() != 1 && !zone && !group)
        return responder.fail("usage: cache flush NAME | --zone NAME | --group GROUP | --negative | --all");
    auto name = cache::parse_name(args.back());
    if (!all && !group && !negative && (!name || args.back().starts_with("--")))
        return responder.fail("'" + args.back() + "' is not a domain name");
    std::size_t index = group ? c.reload.current().index_of(args.back()) : 0;
    if (index == c.named().size()) return responder.fail("'" + args.back() + "' is no group of upstreams");
    // What is kept over a restart must not bring it back.
    auto done = [responder, c](std::size_t emptied) {
        c.store.forget([responder, emptied](const tl::expected<void, std::string>& gone) {
            gone ? responder.respond({{"flushed", emptied}})
                 : responder.fail("flushed, but a restart may bring it back: " + gone.error());
        });
    };
    bool begun = all        ? c.flushes.flush_all(done)
                 : negative ? c.flushes.flush_negative(done)
                 : zone     ? c.flushes.flush_zone(*name, done)
                 : group    ? c.flushes.flush_outdated({.groups = 1u << index}, done)
                            : c.flushes.flush_name(*name, done);
    if (!begun) responder.fail("too many flushes are under way; try again");
}

void cache_dump(const Context& c, const Responder& responder) {
    c.store.dump([responder](const tl::expected<std::size_t, std::string>& written) {
        written ? responder.respond({{"dumped", *written}}) : responder.fail(written.error());
    });
}

void cache_load(const Context& c, const Responder& responder) {
    c.store.load([responder](const tl::expected<std::size_t, std::string>& filled) {
        filled ? responder.respond({{"loaded", *filled}}) : responder.fail(filled.error());
    });
}

json timeline(const Upstreams& upstreams, const std::vector<TraceEvent>& events) {
    json list = json::array();
    for (const TraceEvent& e : events) {
        json one = {{"at_ms", double((e.at - events.front().at).count()) / 1000}, {"event", e.what}};
        if (e.upstream) one["upstream"] = to_string(upstreams.endpoint(*e.upstream));
        if (!e.detail.empty()) one["note"] = e.detail;
        list.push_back(std::move(one));
    }
    return list;
}

void trace(const Context& c, const Args& args, const Responder& responder) {
    if (args.size() != 2) return responder.fail("usage: trace NAME TYPE");
    auto key = key_of(c, args[0], args[1]);
    if (!key) return responder.fail(key.error());
    if (!dataplane::is_data_type(key->qtype)) return responder.fail("'" + args[1] + "' is never forwarded");
    auto done = [responder, c, group = key->group](cache::Generation generation,
                                                   const std::vector<TraceEvent>& events) {
        responder.respond({{"generation", generation},
                           {"group", c.named().name(group)},
                           {"events", timeline(c.groups[group], events)}});
    };
    if (!c.fetches.trace(*key, c.table.hasher()(*key), boot_time(), done)) {
        responder.fail("too many questions are traced or in flight; try again");
    }
}

} // namespace

void add_verbs(CommandServer& server, const Parts& parts, Reload& reload, Loop& loop) {
    Context c{parts, reload, loop};
    server.on_look("status", [c] { return status(c); });
    server.on_look("stats", [c] { return stats(c); });
    server.on_look("cache stats", [c] { return cache_stats(c); });
    server.on_plain("quit", [c](const Responder& responder) {
        c.loop.stop();
        responder.respond({{"stopping", true}});
    });
    server.on_look("inflight", [c] { return inflight(c); });
    server.on_look("health", [c] { return health(c); });
    server.on_look("ports", [c] { return c.ports.show(); });
    server.on_plain("drain", [c](const Responder& responder) {
        c.loop.health().drain();
        responder.respond({{"drained", true}});
    });
    server.on_plain("resume", [c](const Responder& responder) {
        c.loop.health().resume();
        responder.respond({{"drained", false}});
    });
    server.on(
        "rank", [c](const Args& args, const Responder& responder) { rank(c, args, responder); },
        Effect::look);
    server.on("trace", [c](const Args& args, const Responder& responder) { trace(c, args, responder); });
    server.on(
        "cache lookup",
        [c](const Args& args, const Responder& responder) { cache_lookup(c, args, responder); },
        Effect::look);
    server.on("cache flush",
              [c](const Args& args, const Responder& responder) { cache_flush(c, args, responder); });
    server.on_plain("cache dump", [c](const Responder& responder) { cache_dump(c, responder); });
    server.on_plain("cache load", [c](const Responder& responder) { cache_load(c, responder); });
    add_upstream_verbs(server, c.named());
    add_top_verb(server, parts.top);
    add_config_verbs(server, reload);
    add_edit_verbs(server, reload, parts.rules);
}

} // namespace millrace::control
