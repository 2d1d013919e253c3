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

Metrics::Metrics(HttpServer& server, const Context& context, std::uint64_t tsc_hz)
    : server_(server), c_(context), tsc_hz_(tsc_hz), started_(in_seconds(wall_time())) {
    const Health& health = c_.loop.health();
    server.on("/health", [&health] { return health_page(health.seen_from_outside(boot_time())); });
    server.on_asked("/metrics", text_format, HttpServer::For::all,
                    [this] { asio::post(c_.io, [this] { take_step(std::make_shared<Snapshot>(), 0); }); });
}

void Metrics::take_step(const std::shared_ptr<Snapshot>& out, std::size_t step) {
    if (step == steps()) return server_.deliver("/metrics", [out] { return metrics_text(*out); });
    take_piece(*out, step);
    asio::post(c_.io, [this, out, step] { take_step(out, step + 1); });
}

/// Groups may come and go with a reload between two steps: they come last, so that no port is taken twice.
std::size_t Metrics::steps() const {
    return 2 + c_.ports.size() + cache::limits::groups;
}

void Metrics::take_piece(Snapshot& out, std::size_t step) const {
    if (step == 0) return take_workers(out);
    if (step == 1) return take_counters(out);
    std::size_t rest = step - 2;
    if (rest < c_.ports.size()) return take_port(out, rest);
    rest -= c_.ports.size();
    if (rest < c_.reload.current().upstreams.size()) take_group(out, unsigned(rest));
}

void Metrics::take_workers(Snapshot& out) const {
    for (std::size_t i = 0; i < c_.workers.size(); ++i) {
        Workers::View view = c_.workers.view(i);
        Snapshot::Worker worker = counts_of(view.name, view.counters);
        worker.lcore = view.lcore;
        worker.stalled = view.stalled;
        if (view.lcore && tsc_hz_ > 0) worker.busy_seconds = double(view.busy_cycles) / double(tsc_hz_);
        out.workers.push_back(std::move(worker));
    }
    out.workers.push_back(counts_of("tcp", c_.tcp.counters()));
    out.workers.back().hit_time.reset(); // control answers those, between its other work
}

void Metrics::take_counters(Snapshot& out) const {
    out.fetches = c_.fetches.counters();
    out.exchanges = c_.exchanges.counters();
    out.via_port = c_.ways.counters();
    out.publications = c_.publisher.counters();
    out.ranking = c_.prober.counters();
    out.tcp = c_.tcp.connections();
    out.dnstap = c_.dnstap.counters();
    out.generations = c_.fetches.last_generation();
    out.evicted = c_.table.evicted();
    out.rebuilt = c_.table.rebuilt();
    out.warm_asked = c_.warm.asked();
    out.ticks = c_.loop.ticks();
    out.started = started_;
    take_gauges(out.gauges);
    if (!c_.eal) return;
    for (const auto& kernel : c_.eal->kernels()) {
        out.kernels.push_back({kernel.interface, kernel.port, kernel.counts->written(),
                               kernel.counts->refused(), kernel.counts->read(), kernel.counts->too_long()});
    }
}

void Metrics::take_gauges(Snapshot::Gauges& out) const {
    out.is_healthy = c_.loop.health().is_good();
    out.is_drained = c_.loop.health().is_drained();
    out.cache_entries = c_.table.entries();
    out.cache_entries_limit = c_.reload.boot().cache_entries;
    out.cache_slots = c_.table.slots();
    out.cache_bytes = c_.table.bytes();
    out.cache_bytes_limit = c_.reload.boot().cache_memory;
    out.limbo_entries = c_.grace.limbo_entries();
    out.limbo_bytes = c_.grace.limbo_bytes();
    out.reserve_bytes = c_.publisher.reserve().bytes();
    out.live_fetches = c_.fetches.live();
    out.waiting = c_.fetches.waiting();
    out.tcp_connections = c_.tcp.open();
    out.probes_open = c_.prober.open();
    out.measured = c_.prober.measured();
    out.local_names = c_.rules.get().local->size();
    out.local_bytes = c_.rules.get().local->bytes();
    out.warm_questions = c_.warm.questions();
    out.warm_fresh = c_.warm.fresh();
    out.longest_tick = c_.loop.longest_tick();
}

void Metrics::take_port(Snapshot& out, std::size_t index) const {
    out.ports.push_back({c_.reload.boot().ports[index].device, c_.ports.view_of(index),
                         c_.ports.device(index).is_serving, c_.ports.device(index).resets,
                         c_.ports.device(index).removals, c_.eal->pools(index)});
}

/// Places of a server given by name that have no address are left out.
void Metrics::take_group(Snapshot& out, unsigned group) const {
    const Upstreams& upstreams = c_.groups[group];
    for (unsigned i = 0; i < upstreams.size(); ++i) {
        if (upstreams.is_vacant(i)) continue;
        Snapshot::Upstream one{c_.reload.current().upstreams[group].name,
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
