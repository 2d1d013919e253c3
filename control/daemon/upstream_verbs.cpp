#include "control/daemon/upstream_verbs.hpp"

#include <algorithm>
#include <cmath>
#include <optional>

#include <nlohmann/json.hpp>

#include "cache/dns.hpp"

namespace millrace::control {

using nlohmann::json;

namespace {

double seconds(Time t) {
    return double(t.count()) / 1e6;
}

/// What both `status` and `upstream list` say.
json row_of(const Upstreams& upstreams, unsigned i, Time now) {
    const UpstreamCounters& n = upstreams.counters(i);
    json one = {{"address", to_string(upstreams.endpoint(i))},
                {"sent", n.sent},
                {"replies", n.replies},
                {"timeouts", n.timeouts},
                {"failures", n.failures},
                {"probes", n.probes},
                {"outstanding", upstreams.outstanding(i)},
                {"breaker", to_string(upstreams.breaker(i))},
                {"override", to_string(upstreams.override_of(i))},
                {"opened", n.opened}};
    bool is_tried = upstreams.breaker(i) == Breaker::open && upstreams.next_probe(i) != Time::max();
    if (is_tried) one["probe_s"] = seconds(std::max(Time{}, upstreams.next_probe(i) - now));
    if (upstreams.is_measured(i)) one["srtt_ms"] = double(upstreams.srtt(i).count()) / 1000;
    return one;
}

json listed(const Upstreams& upstreams, unsigned i) {
    Time now = boot_time();
    json one = row_of(upstreams, i, now);
    if (auto loss = upstreams.loss(i)) one["loss"] = std::round(*loss * 1000) / 1000;
    if (const auto& changed = upstreams.changed(i)) {
        one["changed_s"] = seconds(now - changed->at);
        one["reason"] = changed->reason;
    }
    return one;
}

json list(const Upstreams& upstreams) {
    json rows = json::array();
    for (unsigned i = 0; i < upstreams.size(); ++i) rows.push_back(listed(upstreams, i));
    return {{"upstreams", std::move(rows)}};
}

std::optional<unsigned> find(const Upstreams& upstreams, const std::string& name) {
    auto endpoint = dataplane::parse_endpoint(name, dns::port);
    for (unsigned i = 0; endpoint && i < upstreams.size(); ++i) {
        if (upstreams.endpoint(i) == *endpoint) return i;
    }
    return std::nullopt;
}

void set_override(Upstreams& upstreams, Override word, const std::vector<std::string>& args,
                  Responder responder) {
    if (args.size() != 1) return responder.fail("usage: upstream up|down|auto NAME");
    auto upstream = find(upstreams, args[0]);
    if (!upstream) return responder.fail("'" + args[0] + "' is no upstream's address; see `upstream list`");
    upstreams.set_override(*upstream, word, boot_time());
    json reply = listed(upstreams, *upstream);
    if (upstreams.is_all_down()) {
        reply["warning"] = "all upstreams are down: clients get stale data, or SERVFAIL";
    }
    responder.respond(reply);
}

} // namespace

json upstreams_of(const Upstreams& upstreams) {
    json rows = json::array();
    Time now = boot_time();
    for (unsigned i = 0; i < upstreams.size(); ++i) {
        const Habits& habits = upstreams.habits(i);
        bool lacks_edns = habits.lacks_edns(now);
        json one = row_of(upstreams, i, now);
        one["edns"] = lacks_edns ? "lacking" : habits.is_edns_proved() ? "spoken" : "unproved";
        one["letter_case"] = to_string(habits.letter_case());
        rows.push_back(std::move(one));
    }
    return rows;
}

void add_upstream_verbs(CommandServer& server, Upstreams& upstreams) {
    server.on("upstream list", [&upstreams](auto args, Responder responder) {
        args.empty() ? responder.respond(list(upstreams))
                     : responder.fail("upstream list takes no arguments");
    });
    for (Override word : {Override::automatic, Override::up, Override::down}) {
        server.on("upstream " + std::string(to_string(word)),
                  [&upstreams, word](auto args, Responder responder) {
                      set_override(upstreams, word, args, std::move(responder));
                  });
    }
}

} // namespace millrace::control
