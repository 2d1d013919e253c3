#include "control/daemon/figures.hpp"

#include <algorithm>

#include <unistd.h>

#include <nlohmann/json.hpp>

#include "control/daemon/config_verbs.hpp"
#include "control/daemon/counter_rows.hpp"
#include "control/message/record_text.hpp"

namespace millrace::control {

using dataplane::Counters;
using dataplane::Event;
using dataplane::Verdict;
using nlohmann::json;

namespace {

json workers_of(const Context& c) {
    json list = json::array();
    for (std::size_t i = 0; i < c.workers.size(); ++i) {
        Workers::View worker = c.workers.view(i);
        json one = {{"name", worker.name},
                    {"received", worker.counters.received()},
                    {"busy_cycles", worker.busy_cycles}};
        if (worker.lcore) one["lcore"] = *worker.lcore;
        if (worker.stalled > Time{}) one["stalled_s"] = in_seconds(worker.stalled);
        list.push_back(std::move(one));
    }
    return list;
}

/// Frames between each port and its kernel interface, as the exception thread counts them.
json kernels_of(const Context& c) {
    json list = json::array();
    if (!c.eal) return list;
    for (const auto& kernel : c.eal->kernels()) {
        list.push_back({{"interface", kernel.interface},
                        {"port", kernel.port},
                        {"written", kernel.counts->written()},
                        {"refused", kernel.counts->refused()},
                        {"read", kernel.counts->read()},
                        {"too_long", kernel.counts->too_long()}});
    }
    return list;
}

/// Sums over the workers and the TCP connections.
class Totals {
  public:
    explicit Totals(const Context& c) {
        add(c.tcp.counters());
        for (std::size_t i = 0; i < c.workers.size(); ++i) add(c.workers.view(i).counters);
    }
    std::uint64_t of(Verdict v) const { return verdicts_[std::size_t(v)]; }
    std::uint64_t of(Event e) const { return events_[std::size_t(e)]; }

  private:
    void add(const Counters& one) {
        for (std::size_t v = 0; v < dataplane::verdicts; ++v) verdicts_[v] += one.get(Verdict(v));
        for (std::size_t e = 0; e < dataplane::events; ++e) events_[e] += one.get(Event(e));
    }

    std::array<std::uint64_t, dataplane::verdicts> verdicts_{};
    std::array<std::uint64_t, dataplane::events> events_{};
};

json dropped_of(const Totals& totals, std::uint64_t& received) {
    constexpr std::string_view prefix = "drop_";
    json dropped = json::object();
    for (std::size_t v = 0; v < dataplane::verdicts; ++v) {
        received += totals.of(Verdict(v));
        std::string_view name = to_string(Verdict(v));
        if (name.starts_with(prefix))
            dropped[std::string(name.substr(prefix.size()))] = totals.of(Verdict(v));
    }
    return dropped;
}

/// Adds to what the keys have: see CounterRow::stat.
void count(json& all, std::string_view keys, std::uint64_t number) {
    while (!keys.empty()) {
        std::string_view key = keys.substr(0, keys.find(", "));
        keys.remove_prefix(std::min(keys.size(), key.size() + 2));
        json* place = &all;
        std::size_t dot = key.find('.');
        if (dot != key.npos) place = &all[std::string(key.substr(0, dot))];
        json& sum = (*place)[std::string(dot == key.npos ? key : key.substr(dot + 1))];
        sum = (sum.is_null() ? 0 : sum.get<std::uint64_t>()) + number;
    }
}

template <class Counts, std::size_t N>
void count(json& all, const CounterRow<Counts> (&rows)[N], const Counts& counts) {
    for (const auto& row : rows) count(all, row.stat, counts.*row.count);
}

void count(json& all, const Totals& totals) {
    for (const EventRow& row : event_rows) {
        std::string keys = row.stat;
        constexpr std::string_view place = "LIMIT";
        if (*row.limit) keys.replace(keys.find(place), place.size(), row.limit);
        count(all, keys, totals.of(row.event));
    }
}

json sizes_of(const Context& c) {
    return {{"entries", c.table.entries()},
            {"slots", c.table.slots()},
            {"bytes", c.table.bytes()},
            {"limbo_bytes", c.grace.limbo_bytes()},
            {"limbo_entries", c.grace.limbo_entries()},
            {"reserve_bytes", c.publisher.reserve().bytes()}};
}

json by_limit(const FetchCounters::ByLimit& counts) {
    using Limit = FetchCounters::Limit;
    auto of = [&](Limit limit) { return counts[std::size_t(limit)]; };
    return {{"fetches", of(Limit::prefix)},
            {"fetches_per_client", of(Limit::client)},
            {"fetches_per_question", of(Limit::question)},
            {"fetches_per_zone", of(Limit::zone)}};
}

} // namespace

Traffic traffic_of(const Parts& parts) {
    Traffic all;
    auto add = [&](const Counters& one) {
        // Of clients: upstreams' replies are no traffic of theirs.
        for (std::size_t v = 0; v < dataplane::verdicts; ++v) {
            auto verdict = Verdict(v);
            bool is_reply = verdict == Verdict::to_control || verdict == Verdict::drop_reply_full ||
                            verdict == Verdict::drop_unasked;
            if (!is_reply) all.received += one.get(verdict);
        }
        all.hits += one.get(Event::hit) + one.get(Event::stale_hit);
        all.misses += one.get(Verdict::missed);
        all.hit_time += one.hit_time.read();
        all.miss_time += one.miss_time.read();
    };
    add(parts.tcp.counters());
    for (std::size_t i = 0; i < parts.workers.size(); ++i) add(parts.workers.view(i).counters);
    return all;
}

json health(const Context& c) {
    json one = {{"healthy", c.loop.health().is_good()}};
    if (!c.loop.health().is_good()) one["reason"] = c.loop.health().reason();
    return one;
}

json status(const Context& c) {
    return {{"version", MILLRACE_VERSION},
            {"pid", getpid()},
            {"uptime", in_seconds(boot_time() - c.started)},
            {"health", health(c)},
            {"config", config_status(c.reload)},
            {"workers", workers_of(c)},
            {"ports", c.ports.summary()},
            {"kernel_interfaces", kernels_of(c)},
            {"upstreams", upstreams_of(c.named())},
            {"cache", sizes_of(c)},
            {"local", {{"names", c.rules.get().local->size()}, {"bytes", c.rules.get().local->bytes()}}},
            {"keep_warm",
             {{"questions", c.warm.questions()},
              {"fresh", c.warm.fresh()},
              {"waiting", c.warm.questions() - c.warm.fresh()},
              {"asked", c.warm.asked()}}},
            {"fetches", c.fetches.live()},
            {"waiting", c.fetches.waiting()},
            {"longest_tick_ms", double(c.loop.longest_tick().count()) / 1000}};
}

json stats(const Context& c) {
    Totals totals(c);
    std::uint64_t received = 0;
    json dropped = dropped_of(totals, received);
    const FetchCounters& fetches = c.fetches.counters();
    const Dnstap::Counters log = c.dnstap.counters();
    json all = {
        {"received", received},
        {"answered", totals.of(Verdict::answered)},
        {"misses", totals.of(Verdict::missed)},
        {"refused", totals.of(Verdict::refused)},
        {"to_kernel", totals.of(Verdict::to_kernel)},
        {"to_control", totals.of(Verdict::to_control)},
        {"dropped", dropped},
        {"ports", c.ports.losses()},
        {"limbo", c.grace.limbo_entries()},
        {"evicted", c.table.evicted()},
        {"rebuilt", c.table.rebuilt()},
        {"limited", fetches.limited},
        {"limited_by", by_limit(fetches.limited_by)},
        {"dry_run", by_limit(fetches.dry_run)},
        {"ranking", {{"open", c.prober.open()}, {"measured", c.prober.measured()}}},
        {"tcp", {{"open", c.tcp.open()}}},
        {"dnstap", {{"connected", log.is_connected}, {"written", log.written}, {"dropped", log.dropped}}}};
    count(all, totals);
    count(all, fetch_rows, fetches);
    count(all, exchange_rows, c.exchanges.counters());
    count(all, port_network_rows, c.ways.counters());
    count(all, publish_rows, c.publisher.counters());
    count(all, ranking_rows, c.prober.counters());
    count(all, tcp_rows, c.tcp.connections());
    all["breakers_opened"] = 0; // without servers, too
    for (const Upstreams& upstreams : c.groups) {
        for (unsigned i = 0; i < upstreams.size(); ++i) count(all, upstream_rows, upstreams.counters(i));
    }
    return all;
}

json cache_stats(const Context& c) {
    Traffic traffic = traffic_of(c);
    std::uint64_t all = traffic.hits + traffic.misses;
    json one = sizes_of(c);
    one.update({{"most_entries", c.reload.boot().cache_entries},
                {"most_bytes", c.reload.boot().cache_memory},
                {"hits", traffic.hits},
                {"misses", traffic.misses},
                {"hit_ratio", all == 0 ? json() : json(double(traffic.hits) / double(all))},
                {"evicted", c.table.evicted()},
                {"rebuilt", c.table.rebuilt()}});
    count(one, publish_rows, c.publisher.counters());
    return one;
}

json inflight(const Context& c) {
    json list = json::array();
    Time now = boot_time();
    // Bounded by what a tick may take: about a thousand upstream states.
    unsigned servers = std::ranges::max_element(c.groups, {}, &Upstreams::size)->size(); // of one Fetch
    for (const InflightFetch& f : c.fetches.inflight(limits::inflight / servers)) {
        json states = json::object();
        for (const Fetch::Attempt& a : f.attempts) {
            states[to_string(c.groups[f.key.group].endpoint(a.candidate.upstream))] = to_string(a.phase);
        }
        list.push_back({{"generation", f.generation},
                        {"name", cache::to_string(f.key.name.bytes())},
                        {"type", type_text(f.key.qtype)},
                        {"group", c.named().name(f.key.group)},
                        {"flavour", f.key.flavour & cache::checking_disabled ? "CD" : ""},
                        {"state", to_string(f.state)},
                        {"age_ms", double((now - f.started).count()) / 1000},
                        {"waiters", f.waiters},
                        {"upstreams", std::move(states)}});
    }
    return {{"live", c.fetches.live()}, {"fetches", std::move(list)}};
}

} // namespace millrace::control
