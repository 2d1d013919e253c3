#include "control/daemon/metrics.hpp"

#include <chrono>

#include <asio/post.hpp>

namespace millrace::control {

using dataplane::Event;
using dataplane::Verdict;

namespace {

constexpr const char* text_format = "text/plain; version=0.0.4; charset=utf-8";

Snapshot::Worker counts_of(const std::string& name, const dataplane::Counters& counters) {
    Snapshot::Worker out;
    out.name = name;
    for (std::size_t v = 0; v < dataplane::verdicts; ++v) out.verdicts[v] = counters.get(Verdict(v));
    for (std::size_t e = 0; e < dataplane::events; ++e) out.events[e] = counters.get(Event(e));
    out.hit_time = counters.hit_time.read();
    out.miss_time = counters.miss_time.read();
    return out;
}

HttpServer::Page health_page(std::string_view reason) {
    if (reason.empty()) return {200, "text/plain", "healthy\n"};
    return {503, "text/plain", std::string(reason) + "\n"};
}

} // namespace

Metrics::Metrics(HttpServer& server, const Parts& parts, const Config::Boot& boot, const Reload& reload,
                 Loop& loop, std::uint64_t tsc_hz)
    : server_(server), p_(parts), boot_(boot), reload_(reload), loop_(loop), tsc_hz_(tsc_hz),
      started_(double(std::chrono::duration_cast<std::chrono::milliseconds>(
                          std::chrono::system_clock::now().time_since_epoch())
                          .count()) /
               1000) {
    const Health& health = loop.health();
    server.on("/health", [&health] { return health_page(health.seen_from_outside(boot_time())); });
    server.on_asked("/metrics", text_format,
                    [this] { asio::post(p_.io, [this] { take_step(std::make_shared<Snapshot>(), 0); }); });
}

Snapshot Metrics::take() const {
    Snapshot out;
    for (std::size_t step = 0; step < steps(); ++step) take_piece(out, step);
    return out;
}

void Metrics::take_step(const std::shared_ptr<Snapshot>& out, std::size_t step) {
    if (step == steps()) return server_.deliver("/metrics", [out] { return metrics_text(*out); });
    take_piece(*out, step);
    asio::post(p_.io, [this, out, step] { take_step(out, step + 1); });
}

/// Groups may come and go with a reload between two steps: they come last, so that no port is taken twice.
std::size_t Metrics::steps() const {
    return 2 + p_.ports.size() + cache::limits::groups;
}

void Metrics::take_piece(Snapshot& out, std::size_t step) const {
    if (step == 0) return take_workers(out);
    if (step == 1) return take_counters(out);
    std::size_t rest = step - 2;
    if (rest < p_.ports.size()) return take_port(out, rest);
    rest -= p_.ports.size();
    if (rest < reload_.current().upstreams.size()) take_group(out, unsigned(rest));
}

void Metrics::take_workers(Snapshot& out) const {
    for (std::size_t i = 0; i < p_.workers.size(); ++i) {
        Workers::View view = p_.workers.view(i);
        Snapshot::Worker worker = counts_of(view.name, view.counters);
        worker.lcore = view.lcore;
        worker.stalled = view.stalled;
        if (view.lcore && tsc_hz_ > 0) worker.busy_seconds = double(view.busy_cycles) / double(tsc_hz_);
        out.workers.push_back(std::move(worker));
    }
    out.workers.push_back(counts_of("tcp", p_.tcp.counters()));
    out.workers.back().hit_time.reset(); // control answers those, between its other work
}

void Metrics::take_counters(Snapshot& out) const {
    out.fetches = p_.fetches.counters();
    out.exchanges = p_.exchanges.counters();
    out.publications = p_.publisher.counters();
    out.ranking = p_.prober.counters();
    out.tcp = p_.tcp.connections();
    out.dnstap = p_.dnstap.counters();
    out.generations = p_.fetches.last_generation();
    out.evicted = p_.table.evicted();
    out.rebuilt = p_.table.rebuilt();
    out.warm_asked = p_.warm.asked();
    out.ticks = loop_.ticks();
    out.started = started_;
    take_gauges(out.gauges);
    if (!p_.eal) return;
    for (const auto& kernel : p_.eal->kernels()) {
        out.kernels.push_back({kernel.interface, kernel.port, kernel.counts->written(),
                               kernel.counts->refused(), kernel.counts->read(), kernel.counts->too_long()});
    }
}

void Metrics::take_gauges(Snapshot::Gauges& out) const {
    out.is_healthy = loop_.health().is_good();
    out.is_drained = loop_.health().is_drained();
    out.cache_entries = p_.table.entries();
    out.cache_entries_limit = boot_.cache_entries;
    out.cache_slots = p_.table.slots();
    out.cache_bytes = p_.table.bytes();
    out.cache_bytes_limit = boot_.cache_memory;
    out.limbo_entries = p_.grace.limbo_entries();
    out.limbo_bytes = p_.grace.limbo_bytes();
    out.reserve_bytes = p_.publisher.reserve().bytes();
    out.live_fetches = p_.fetches.live();
    out.waiting = p_.fetches.waiting();
    out.tcp_connections = p_.tcp.open();
    out.probes_open = p_.prober.open();
    out.measured = p_.prober.measured();
    out.local_names = p_.local.get().size();
    out.local_bytes = p_.local.get().bytes();
    out.warm_questions = p_.warm.questions();
    out.warm_fresh = p_.warm.fresh();
    out.longest_tick = loop_.longest_tick();
}

void Metrics::take_port(Snapshot& out, std::size_t index) const {
    out.ports.push_back({boot_.ports[index].device, p_.ports.view_of(index),
                         p_.ports.device(index).is_serving, p_.ports.device(index).resets,
                         p_.ports.device(index).removals, p_.eal->pools(index)});
}

/// Places of a server given by name that have no address are left out.
void Metrics::take_group(Snapshot& out, unsigned group) const {
    const Upstreams& upstreams = p_.groups[group];
    for (unsigned i = 0; i < upstreams.size(); ++i) {
        if (upstreams.is_vacant(i)) continue;
        Snapshot::Upstream one{reload_.current().upstreams[group].name,
                               upstreams.endpoint(i),
                               {},
                               upstreams.counters(i),
                               upstreams.outstanding(i),
                               upstreams.breaker(i) == Breaker::closed,
                               upstreams.override_of(i) == Override::down,
                               {},
                               upstreams.loss(i)};
        if (upstreams.config(i).is_named()) one.name = to_string(upstreams.config(i));
        if (upstreams.is_measured(i)) one.srtt = upstreams.srtt(i);
        out.upstreams.push_back(std::move(one));
    }
}

} // namespace millrace::control
