#include "control/daemon/upstream_verbs.hpp"

#include <algorithm>
#include <cmath>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "cache/dns.hpp"
#include "control/limits.hpp"

namespace millrace::control {

using nlohmann::json;

namespace {

/// A server of a group.
struct Place {
    unsigned group, upstream;
};

/// A server given by name is as many as it has addresses, or one without.
std::vector<Place> all_of(const NamedGroups& named) {
    std::vector<Place> places;
    for (unsigned group = 0; group < named.size(); ++group) {
        const Upstreams& upstreams = named.groups[group];
        for (unsigned i = 0, count = 1; i < upstreams.size(); i += count) {
            count = upstreams.config(i).is_named() ? 2 * limits::name_addresses : 1;
            std::size_t before = places.size();
            for (unsigned place = i; place < i + count; ++place) {
                if (!upstreams.is_vacant(place)) places.push_back({group, place});
            }
            if (places.size() == before) places.push_back({group, i});
        }
    }
    return places;
}

/// What both `status` and `upstream list` say.
json row_of(const NamedGroups& named, const Place& place, Time now) {
    const Upstreams& upstreams = named.groups[place.group];
    unsigned i = place.upstream;
    const UpstreamCounters& n = upstreams.counters(i);
    json one = {{"address", upstreams.is_vacant(i) ? json() : json(to_string(upstreams.endpoint(i)))},
                {"group", named.name(place.group)},
                {"sent", n.sent},
                {"replies", n.replies},
                {"timeouts", n.timeouts},
                {"failures", n.failures},
                {"probes", n.probes},
                {"outstanding", upstreams.outstanding(i)},
                {"breaker", upstreams.is_vacant(i) ? json() : json(to_string(upstreams.breaker(i)))},
                {"override", to_string(upstreams.override_of(i))},
                {"opened", n.opened},
                {"over_outstanding", n.over_outstanding},
                {"over_rate", n.over_rate}};
    if (upstreams.config(i).is_named()) {
        one["name"] = to_string(upstreams.config(i));
        one["name_override"] = to_string(upstreams.name_override(i));
    }
    bool is_tried = upstreams.breaker(i) == Breaker::open && upstreams.next_probe(i) != Time::max();
    if (is_tried) one["probe_s"] = in_seconds(std::max(Time{}, upstreams.next_probe(i) - now));
    if (upstreams.is_measured(i)) one["srtt_ms"] = double(upstreams.srtt(i).count()) / 1000;
    return one;
}

json listed(const NamedGroups& named, const Place& place) {
    const Upstreams& upstreams = named.groups[place.group];
    Time now = boot_time();
    json one = row_of(named, place, now);
    one["priority"] = upstreams.priority(place.upstream);
    one["weight"] = upstreams.weight(place.upstream);
    one["tcp_only"] = upstreams.is_tcp_only(place.upstream);
    if (auto loss = upstreams.loss(place.upstream)) one["loss"] = std::round(*loss * 1000) / 1000;
    if (const auto& changed = upstreams.changed(place.upstream)) {
        one["changed_s"] = in_seconds(now - changed->at);
        one["reason"] = changed->reason;
    }
    return one;
}

json list(const NamedGroups& named) {
    json rows = json::array();
    for (const Place& place : all_of(named)) rows.push_back(listed(named, place));
    return {{"upstreams", std::move(rows)}};
}

/// In every group that has the server.
void set_override(const NamedGroups& named, Override word, const std::vector<std::string>& args,
                  const Responder& responder) {
    if (args.size() != 1) return responder.fail("usage: upstream up|down|auto NAME");
    auto endpoint = dataplane::parse_endpoint(args[0], dns::port);
    json rows = json::array();
    std::string all_down; // groups
    for (const Place& place : all_of(named)) {
        Upstreams& upstreams = named.groups[place.group];
        bool is_named = is_name_of(upstreams.config(place.upstream), args[0]);
        bool is_meant = endpoint && upstreams.endpoint(place.upstream) == *endpoint;
        if (!is_named && (!is_meant || upstreams.is_vacant(place.upstream))) continue;
        if (is_named) {
            upstreams.set_name_override(place.upstream, word, boot_time());
        } else {
            upstreams.set_override(place.upstream, word, boot_time());
        }
        rows.push_back(listed(named, place));
        if (upstreams.is_all_down()) all_down += (all_down.empty() ? "" : ", ") + named.name(place.group);
    }
    if (rows.empty()) {
        return responder.fail("'" + args[0] + "' is no upstream's address or name; see `upstream list`");
    }
    json reply = rows.size() == 1 ? std::move(rows[0]) : json{{"upstreams", std::move(rows)}};
    if (!all_down.empty()) {
        std::string of = named.size() == 1 ? "" : " of " + all_down;
        reply["warning"] = "all upstreams" + of + " are down: clients get stale data, or SERVFAIL";
    }
    responder.respond(reply);
}

} // namespace

bool is_name_of(const Config::Server& server, std::string text) {
    std::ranges::transform(text, text.begin(), [](char c) { return char(cache::fold(std::uint8_t(c))); });
    std::string with_port = to_string(server);
    return server.is_named() &&
           (text == server.name || text == with_port || text == with_port.substr(0, with_port.rfind(':')));
}

json upstreams_of(const NamedGroups& named) {
    json rows = json::array();
    Time now = boot_time();
    for (const Place& place : all_of(named)) {
        const Habits& habits = named.groups[place.group].habits(place.upstream);
        bool lacks_edns = habits.lacks_edns(now);
        json one = row_of(named, place, now);
        one["edns"] = lacks_edns ? "lacking" : habits.is_edns_proved() ? "spoken" : "unproved";
        one["letter_case"] = to_string(habits.letter_case());
        rows.push_back(std::move(one));
    }
    return rows;
}

Top::Totals asked_of(const NamedGroups& named) {
    Top::Totals totals;
    for (unsigned group = 0; group < named.size(); ++group) {
        const Upstreams& upstreams = named.groups[group];
        for (unsigned i = 0; i < upstreams.size(); ++i)
            totals[fmt::format("{} ({})", to_string(upstreams.endpoint(i)), named.name(group))] +=
                upstreams.counters(i).sent;
    }
    return totals;
}

void add_upstream_verbs(CommandServer& server, const NamedGroups& named) {
    server.on_look("upstream list", [named] { return list(named); });
    for (Override word : {Override::automatic, Override::up, Override::down}) {
        server.on("upstream " + std::string(to_string(word)),
                  [named, word](auto args, const Responder& responder) {
                      set_override(named, word, args, responder);
                  });
    }
}

} // namespace millrace::control
