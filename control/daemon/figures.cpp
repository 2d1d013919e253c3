#include "control/daemon/figures.hpp"

#include <algorithm>

#include <unistd.h>

#include <nlohmann/json.hpp>

#include "control/daemon/config_verbs.hpp"
#include "control/message/record_text.hpp"

namespace millrace::control {

using dataplane::Counters;
using dataplane::Event;
using dataplane::Verdict;
using nlohmann::json;

namespace {

double seconds(Time t) {
    return double(t.count()) / 1e6;
}

json workers_of(const Context& c) {
    json list = json::array();
    for (std::size_t i = 0; i < c.workers.size(); ++i) {
        Workers::View worker = c.workers.view(i);
        json one = {{"name", worker.name},
                    {"received", worker.counters.received()},
                    {"busy_cycles", worker.busy_cycles}};
        if (worker.lcore) one["lcore"] = *worker.lcore;
        if (worker.stalled > Time{}) one["stalled_s"] = seconds(worker.stalled);
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

std::uint64_t breakers_opened(std::span<const Upstreams> groups) {
    std::uint64_t opened = 0;
    for (const Upstreams& upstreams : groups) {
        for (unsigned i = 0; i < upstreams.size(); ++i) opened += upstreams.counters(i).opened;
    }
    return opened;
}

/// What became of questions to upstreams, and of their answers.
json upstream_stats(const Context& c) {
    const ExchangeCounters& exchanges = c.exchanges.counters();
    const PublishCounters& publications = c.publisher.counters();
    return {{"displaced", exchanges.displaced},
            {"limbo", c.grace.limbo_entries()},
            {"upstream_queries", exchanges.sent},
            {"upstream_resent", exchanges.resent},
            {"upstream_spared", exchanges.spared},
            {"upstream_without_edns", exchanges.without_edns},
            {"upstream_tcp", exchanges.tcp},
            {"upstream_tcp_tries", exchanges.tcp_tries},
            {"upstream_tcp_tries_refused", exchanges.tcp_tries_refused},
            {"upstream_tcp_displaced", exchanges.tcp_displaced},
            {"upstream_accepted", exchanges.accepted},
            {"upstream_timeouts", exchanges.timeouts},
            {"upstream_unreachable", exchanges.unreachable},
            {"upstream_icmp", exchanges.icmp},
            {"upstream_refused", exchanges.refused_full},
            {"upstream_not_asked", exchanges.refused_open},
            {"breakers_opened", breakers_opened(c.groups)},
            {"cancelled", exchanges.cancelled},
            {"late", exchanges.late},
            {"mismatched", exchanges.mismatched},
            {"malformed", exchanges.malformed},
            {"large_rrsets", exchanges.large_rrsets},
            {"published", publications.published},
            {"merged", publications.merged},
            {"superseded", publications.superseded},
            {"cache_full", publications.full},
            {"evicted", c.table.evicted()},
            {"rebuilt", c.table.rebuilt()}};
}

json ranking_stats(const Prober& prober) {
    const RankingCounters& n = prober.counters();
    return {{"rankings", n.rankings}, {"refused", n.refused},  {"ordered", n.ordered},
            {"cached", n.cached},     {"special", n.special},  {"probes", n.probes},
            {"answered", n.answered}, {"failed", n.failed},    {"limited", n.limited},
            {"unsent", n.unsent},     {"open", prober.open()}, {"measured", prober.measured()}};
}

json dnstap_stats(const Dnstap::Counters& n) {
    return {{"connected", n.is_connected}, {"written", n.written}, {"dropped", n.dropped}};
}

json by_limit(const FetchCounters::ByLimit& counts) {
    using Limit = FetchCounters::Limit;
    auto of = [&](Limit limit) { return counts[std::size_t(limit)]; };
    return {{"fetches", of(Limit::prefix)},
            {"fetches_per_client", of(Limit::client)},
            {"fetches_per_question", of(Limit::question)},
            {"fetches_per_zone", of(Limit::zone)}};
}

/// What `limits: dry-run` has let pass.
json dry_run_stats(const Totals& totals, const FetchCounters& fetches) {
    json all = by_limit(fetches.dry_run);
    all["queries"] = totals.of(Event::dry_queries);
    all["errors"] = totals.of(Event::dry_errors);
    all["responses"] = totals.of(Event::dry_responses);
    return all;
}

} // namespace

json health(const Context& c) {
    json one = {{"healthy", c.loop.health().is_good()}};
    if (!c.loop.health().is_good()) one["reason"] = c.loop.health().reason();
    return one;
}

json status(const Context& c) {
    return {{"version", MILLRACE_VERSION},
            {"pid", getpid()},
            {"uptime", seconds(boot_time() - c.started)},
            {"health", health(c)},
            {"config", config_status(c.reload)},
            {"workers", workers_of(c)},
            {"ports", c.ports.summary()},
            {"kernel_interfaces", kernels_of(c)},
            {"upstreams", upstreams_of(c.named())},
            {"cache",
             {{"entries", c.table.entries()},
              {"slots", c.table.slots()},
              {"bytes", c.table.bytes()},
              {"limbo_bytes", c.grace.limbo_bytes()},
              {"limbo_entries", c.grace.limbo_entries()},
              {"reserve_bytes", c.publisher.reserve().bytes()}}},
            {"local", {{"names", c.local.get().size()}, {"bytes", c.local.get().bytes()}}},
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
    const TcpCounters& tcp = c.tcp.connections();
    json all = upstream_stats(c);
    all.update({{"received", received},
                {"answered", totals.of(Verdict::answered)},
                {"hits", totals.of(Event::hit) + totals.of(Event::stale_hit)},
                {"stale_hits", totals.of(Event::stale_hit)},
                {"misses", totals.of(Verdict::missed)},
                {"refused", totals.of(Verdict::refused)},
                {"to_kernel", totals.of(Verdict::to_kernel)},
                {"from_kernel", totals.of(Event::from_kernel)},
                {"unrouted", totals.of(Event::unrouted)},
                {"dropped", dropped},
                {"ports", c.ports.losses()},
                {"woken", totals.of(Event::wake_answered)},
                {"abandoned", totals.of(Event::wake_abandoned)},
                {"local", totals.of(Event::local)},
                {"blocked", totals.of(Event::blocked)},
                {"chains_blocked", fetches.chains_blocked},
                {"aliased", fetches.aliased},
                {"dns64_synthesised", fetches.dns64_synthesised},
                {"rate_queries", totals.of(Event::rate_queries)},
                {"rate_errors", totals.of(Event::rate_errors)},
                {"rate_responses", totals.of(Event::rate_responses)},
                {"slipped", totals.of(Event::slipped)},
                {"rate_table_full", totals.of(Event::rate_table_full) + fetches.rate_table_full},
                {"overloaded", totals.of(Event::servfail_full)},
                {"refresh_asked", totals.of(Event::refresh_asked)},
                {"refresh_dropped", totals.of(Event::refresh_dropped) + fetches.refreshes_dropped},
                {"refreshes", fetches.refreshes},
                {"keep_warm", fetches.warmed},
                {"chains_renewed", fetches.chains_renewed},
                {"ranked_late", fetches.ranked_late},
                {"dnstap", dnstap_stats(c.dnstap.counters())},
                {"send_failed", totals.of(Event::send_failed)},
                {"buffer_exhausted", totals.of(Event::buffer_exhausted)},
                {"coalesced", fetches.coalesced},
                {"answered_late", fetches.answered_late},
                {"fetches", fetches.fetches},
                {"failed", fetches.failed},
                {"stale_served", fetches.stale},
                {"limited", fetches.refused + fetches.limited},
                {"limited_by", by_limit(fetches.limited_by)},
                {"dry_run", dry_run_stats(totals, fetches)},
                {"below_denied", fetches.below_denied},
                {"disagreements", fetches.disagreements},
                {"ranking", ranking_stats(c.prober)},
                {"loops", fetches.loops},
                {"fetches_displaced", fetches.displaced},
                {"bogus", fetches.bogus},
                {"revoked", fetches.revoked},
                {"tcp",
                 {{"open", c.tcp.open()},
                  {"accepted", tcp.accepted},
                  {"foreign", tcp.foreign},
                  {"refused", tcp.refused},
                  {"displaced", tcp.displaced},
                  {"unfinished", tcp.unfinished},
                  {"timeouts", tcp.timeouts}}}});
    return all;
}

json cache_stats(const Context& c) {
    Totals totals(c);
    std::uint64_t hits = totals.of(Event::hit) + totals.of(Event::stale_hit);
    std::uint64_t misses = totals.of(Verdict::missed);
    const PublishCounters& publications = c.publisher.counters();
    return {{"entries", c.table.entries()},
            {"most_entries", c.reload.boot().cache_entries},
            {"slots", c.table.slots()},
            {"bytes", c.table.bytes()},
            {"most_bytes", c.reload.boot().cache_memory},
            {"limbo_bytes", c.grace.limbo_bytes()},
            {"reserve_bytes", c.publisher.reserve().bytes()},
            {"hits", hits},
            {"stale_hits", totals.of(Event::stale_hit)},
            {"misses", misses},
            {"hit_ratio", hits + misses == 0 ? json() : json(double(hits) / double(hits + misses))},
            {"published", publications.published},
            {"merged", publications.merged},
            {"superseded", publications.superseded},
            {"full", publications.full},
            {"evicted", c.table.evicted()},
            {"rebuilt", c.table.rebuilt()}};
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
