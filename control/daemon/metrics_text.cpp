// The metrics' names, units and words. What `millracectl stats` shows too says so in its help, under the name
// that it has there: tests/system/test_metrics.py holds the two against each other.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <fstream>
#include <set>
#include <utility>

#include <fmt/format.h>
#include <sys/resource.h>
#include <unistd.h>

#include "control/daemon/counter_rows.hpp"
#include "control/daemon/snapshot.hpp"
#include "control/metrics/exposition.hpp"

namespace millrace::control {

using dataplane::Event;
using dataplane::Verdict;
using Labels = Exposition::Labels;

namespace {

// What is shown of each histogram, as each bound is a series.
constexpr Exposition::Range hit_range{256, 1 << 25};               // 256 ns to 34 ms
constexpr Exposition::Range miss_range{1 << 16, 1ull << 32};       // 66 us to 4.3 s
constexpr Exposition::Range round_trip_range{1 << 17, 1ull << 32}; // 131 us to 4.3 s
constexpr Exposition::Range tick_range{1 << 13, 1 << 27};          // 8 us to 134 ms

template <class Row>
std::string help_of(const Row& row) {
    return *row.stat ? fmt::format("{} (stats: {})", row.help, row.stat) : row.help;
}

/// Writes them under the product's name.
class Writer {
  public:
    void counter(const char* name, const std::string& help, double value, const Labels& labels = {}) {
        out_.counter(prefix + name, help, labels, value);
    }
    void gauge(const char* name, const char* help, double value, const Labels& labels = {}) {
        out_.gauge(prefix + name, help, labels, value);
    }
    void histogram(const char* name, const char* help, const dataplane::Histogram& counts,
                   Exposition::Range range, const Labels& labels = {}) {
        out_.histogram(prefix + name, help, labels, counts, range);
    }
    template <class Counts, std::size_t N>
    void rows(const CounterRow<Counts> (&rows)[N], const Counts& counts, const Labels& labels = {}) {
        for (const auto& row : rows) counter(row.name, help_of(row), double(counts.*row.count), labels);
    }
    /// One of those that every process has.
    Exposition& plain() { return out_; }
    std::string text() const { return out_.text(); }

  private:
    static inline const std::string prefix = "millrace_";
    Exposition out_;
};

void write_worker(Writer& out, const Snapshot::Worker& worker) {
    Labels labels = {{"worker", worker.name}, {"lcore", worker.lcore ? std::to_string(*worker.lcore) : ""}};
    auto with = [&](const char* label, std::string_view value) {
        Labels more = labels;
        more.emplace_back(label, value);
        return more;
    };
    for (std::size_t v = 0; v < dataplane::verdicts; ++v) {
        out.counter("packets_total", "Packets received, by what became of them: each has one verdict",
                    double(worker.verdicts[v]), with("verdict", to_string(Verdict(v))));
    }
    for (const EventRow& row : event_rows) {
        double count = double(worker.events[std::size_t(row.event)]);
        out.counter(row.name, help_of(row), count, *row.limit ? with("limit", row.limit) : labels);
    }
    if (worker.hit_time) {
        out.histogram("hit_duration_seconds",
                      "From receiving a burst to sending its replies, for each hit in it; not over TCP",
                      *worker.hit_time, hit_range, labels);
    }
    out.histogram("miss_duration_seconds", "From asking control to the answer, for each miss that got one",
                  worker.miss_time, miss_range, labels);
    out.gauge("worker_stalled_seconds", "How long it has not turned; 0: it turns", in_seconds(worker.stalled),
              labels);
    if (worker.busy_seconds) {
        out.counter("lcore_busy_seconds_total", "Time of turns that had something to do",
                    *worker.busy_seconds, labels);
    }
}

void write_limits(Writer& out, const FetchCounters& fetches) {
    using Limit = FetchCounters::Limit;
    constexpr std::pair<Limit, const char*> limits[] = {{Limit::prefix, "fetches"},
                                                        {Limit::client, "fetches_per_client"},
                                                        {Limit::question, "fetches_per_question"},
                                                        {Limit::zone, "fetches_per_zone"}};
    std::uint64_t rest = fetches.limited;
    for (auto [limit, name] : limits) {
        std::uint64_t count = fetches.limited_by[std::size_t(limit)];
        rest -= std::min(rest, count);
        out.counter("limited_total",
                    "Questions over a limit of fetches; key: the bound of one name and type (stats: limited, "
                    "limited_by.LIMIT)",
                    double(count), {{"limit", name}});
        out.counter("limited_dry_run_total",
                    "What limited would count, were `limits: dry-run` off (stats: dry_run.LIMIT)",
                    double(fetches.dry_run[std::size_t(limit)]), {{"limit", name}});
    }
    out.counter("limited_total", "", double(rest), {{"limit", "key"}});
}

void write_gauges(Writer& out, const Snapshot::Gauges& g) {
    out.gauge("healthy", "1: clients are welcome, as `millracectl health` says", g.is_healthy);
    out.gauge("drained", "1: the operator wants no more clients", g.is_drained);
    out.gauge("cache_entries", "Answers in the cache", double(g.cache_entries));
    out.gauge("cache_entries_limit", "`cache: entries`", double(g.cache_entries_limit));
    out.gauge("cache_slots", "Keys in the cache, with an answer or without", double(g.cache_slots));
    out.gauge("cache_bytes", "Memory of the cache, limbo included", double(g.cache_bytes));
    out.gauge("cache_limit_bytes", "`cache: memory`", double(g.cache_bytes_limit));
    out.gauge("limbo_entries", "Answers that wait for a grace period to be freed (stats: limbo)",
              double(g.limbo_entries));
    out.gauge("limbo_bytes", "Their memory", double(g.limbo_bytes));
    out.gauge("reserve_bytes", "Memory of answers beside the cache", double(g.reserve_bytes));
    out.gauge("live_fetches", "Fetches under way", double(g.live_fetches));
    out.gauge("live_fetches_limit", "Most of them at once", limits::fetches);
    out.gauge("waiting_clients", "Questions that wait for an answer", double(g.waiting));
    out.gauge("tcp_connections", "Connections of clients (stats: tcp.open)", double(g.tcp_connections));
    out.gauge("ranking_open_probes", "Probes under way (stats: ranking.open)", double(g.probes_open));
    out.gauge("ranking_measured_addresses", "Addresses of which something is known (stats: ranking.measured)",
              double(g.measured));
    out.gauge("local_names", "Names that are answered here: zones, records, block lists",
              double(g.local_names));
    out.gauge("local_bytes", "Their memory", double(g.local_bytes));
    out.gauge("keep_warm_questions", "Questions that are kept warm", double(g.warm_questions));
    out.gauge("keep_warm_fresh_questions", "Of these, fresh when last looked at", double(g.warm_fresh));
    out.gauge("control_longest_tick_seconds", "The longest tick of the control thread since the start",
              in_seconds(g.longest_tick));
}

void write_control(Writer& out, const Snapshot& s) {
    out.rows(fetch_rows, s.fetches);
    write_limits(out, s.fetches);
    out.rows(exchange_rows, s.exchanges);
    out.rows(port_network_rows, s.via_port);
    out.rows(publish_rows, s.publications);
    out.rows(ranking_rows, s.ranking);
    out.rows(tcp_rows, s.tcp);
    out.counter("generations_total", "Generations issued", double(s.generations));
    out.counter("cache_evicted_total", "Answers that made room for others (stats: evicted)",
                double(s.evicted));
    out.counter("cache_rebuilt_total", "Shards built anew (stats: rebuilt)", double(s.rebuilt));
    out.counter("dnstap_written_total", "Messages written to the query log (stats: dnstap.written)",
                double(s.dnstap.written));
    out.counter("dnstap_dropped_total",
                "Messages that found no place on their way to it (stats: dnstap.dropped)",
                double(s.dnstap.dropped));
    out.gauge("dnstap_connected", "Whether the query log has a reader (stats: dnstap.connected)",
              double(s.dnstap.is_connected));
    out.counter("keep_warm_asked_total", "Questions kept warm that were asked", double(s.warm_asked));
    out.histogram("tick_duration_seconds", "Of the control thread's ticks; 5 ms is the bound", s.ticks,
                  tick_range);
    write_gauges(out, s.gauges);
}

void write_upstream(Writer& out, const Snapshot::Upstream& upstream) {
    Labels labels = {
        {"group", upstream.group}, {"upstream", to_string(upstream.endpoint)}, {"name", upstream.name}};
    out.rows(upstream_rows, upstream.counters, labels);
    out.histogram("upstream_round_trip_seconds", "From the first datagram to the answer",
                  upstream.counters.round_trips, round_trip_range, labels);
    out.gauge("upstream_outstanding", "Questions in flight", upstream.outstanding, labels);
    out.gauge("upstream_up", "1: its breaker is closed; 0: it is left alone but for probes",
              upstream.is_closed, labels);
    out.gauge("upstream_down_by_operator", "1: `millracectl upstream down`", upstream.is_down, labels);
    if (upstream.srtt)
        out.gauge("upstream_smoothed_round_trip_seconds", "Smoothed round trip", in_seconds(*upstream.srtt),
                  labels);
    if (upstream.loss)
        out.gauge("upstream_loss_ratio", "Share of its latest 32 questions that heard nothing",
                  *upstream.loss, labels);
}

/// An lcore polls one queue, which nobody else polls: so the worker's counters are the queue's, and do not
/// depend on what a driver counts.
void write_queue(Writer& out, const std::string& port, std::size_t queue, const Snapshot::Worker& worker) {
    Labels labels = {{"port", port}, {"queue", std::to_string(queue)}};
    auto with = [&](const char* label, const std::string& value) {
        Labels more = labels;
        more.emplace_back(label, value);
        return more;
    };
    auto event = [&](Event e) { return worker.events[std::size_t(e)]; };
    std::uint64_t received = 0, dropped = 0;
    for (std::size_t v = 0; v < dataplane::verdicts; ++v) {
        received += worker.verdicts[v];
        if (to_string(Verdict(v)).starts_with("drop_")) dropped += worker.verdicts[v];
    }
    auto drop = [&](const char* kind, std::uint64_t count) {
        out.counter(
            "queue_dropped_packets_total",
            "Packets dropped at the queue. received: by their verdict, see packets_total; send_failed: "
            "the send queue was full; buffer_exhausted: there was no packet buffer. What a NIC drops "
            "before is its port's: port_losses_total",
            double(count), with("kind", kind));
    };
    out.gauge("queue_info", "1, and which lcore polls the queue", 1,
              with("lcore", std::to_string(*worker.lcore)));
    out.counter("queue_received_packets_total", "Packets taken from the receive queue", double(received),
                labels);
    out.counter("queue_sent_packets_total",
                "Packets that the send queue took, those of the kernel interface and to upstreams included",
                double(event(Event::sent) + event(Event::from_kernel) + event(Event::from_control)), labels);
    drop("received", dropped);
    drop("send_failed", event(Event::send_failed));
    drop("buffer_exhausted", event(Event::buffer_exhausted));
}

/// Its lcores are in the order of its queues.
void write_queues(Writer& out, const Snapshot::Port& port, const std::vector<Snapshot::Worker>& workers) {
    for (std::size_t queue = 0; queue < port.pools.size(); ++queue) {
        auto worker =
            std::ranges::find(workers, std::optional(port.pools[queue].lcore), &Snapshot::Worker::lcore);
        if (worker != workers.end()) write_queue(out, port.device, queue, *worker);
    }
}

void write_port(Writer& out, const Snapshot::Port& port) {
    Labels labels = {{"port", port.device}};
    const dataplane::EthdevView& view = port.view;
    auto loss = [&](const char* kind, std::uint64_t count) {
        out.counter(
            "port_losses_total",
            "Frames lost by the port. missed: no free descriptor; no_buffer: no packet buffer (stats: "
            "ports.KIND)",
            double(count), {labels.front(), {"kind", kind}});
    };
    out.counter("port_received_packets_total", "Frames received", double(view.received), labels);
    out.counter("port_received_bytes_total", "Their octets", double(view.received_octets), labels);
    out.counter("port_sent_packets_total", "Frames sent", double(view.sent), labels);
    out.counter("port_sent_bytes_total", "Their octets", double(view.sent_octets), labels);
    loss("missed", view.missed);
    loss("no_buffer", view.no_buffer);
    loss("receive_errors", view.receive_errors);
    loss("send_errors", view.send_errors);
    out.gauge("port_link_up", "1: the port has a link", view.is_up, labels);
    out.gauge("port_serving", "1: in service; 0: its device is being reset, or has gone", port.is_serving,
              labels);
    out.gauge("port_queues", "Its queues, one for each lcore", view.queues, labels);
    out.counter("port_resets_total", "Resets of its device", port.resets, labels);
    out.counter("port_removals_total", "Times that its device went", port.removals, labels);
    for (const auto& pool : port.pools) {
        Labels of_lcore = {labels.front(), {"lcore", std::to_string(pool.lcore)}};
        out.gauge("packet_buffers", "Packet buffers of the lcore", pool.buffers, of_lcore);
        out.gauge("packet_buffers_free", "Of these, not in use", pool.free, of_lcore);
    }
}

void write_kernel(Writer& out, const Snapshot::KernelInterface& kernel) {
    Labels labels = {{"interface", kernel.interface}, {"port", kernel.port}};
    out.counter("kernel_written_total", "Frames given to the kernel", double(kernel.written), labels);
    out.counter("kernel_refused_total", "Frames that the kernel did not take", double(kernel.refused),
                labels);
    out.counter("kernel_read_total", "Frames that the kernel sends", double(kernel.read), labels);
    out.counter("kernel_too_long_total", "Frames of the kernel's that were too long", double(kernel.too_long),
                labels);
}

/// Under the names that Prometheus' client libraries use.
void write_process(Writer& out, double started) {
    rusage usage{};
    getrusage(RUSAGE_SELF, &usage);
    double cpu = double(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
                 double(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
    std::size_t pages = 0, resident = 0;
    std::ifstream("/proc/self/statm") >> pages >> resident;
    auto page = double(sysconf(_SC_PAGESIZE));
    out.plain().counter("process_cpu_seconds_total", "CPU time of the process", {}, cpu);
    out.plain().gauge("process_virtual_memory_bytes", "Virtual memory", {}, double(pages) * page);
    out.plain().gauge("process_resident_memory_bytes", "Resident memory, without hugepages", {},
                      double(resident) * page);
    out.plain().gauge("process_start_time_seconds", "When the process started, since 1970", {}, started);
}

} // namespace

std::string metrics_text(const Snapshot& snapshot) {
    Writer out;
    out.gauge("build_info", "1, and what was built", 1,
              {{"version", MILLRACE_VERSION}, {"compiler", __VERSION__}});
    for (const auto& worker : snapshot.workers) write_worker(out, worker);
    write_control(out, snapshot);
    std::set<std::pair<std::string, std::string>> seen; // two names of a group may have one address
    for (const auto& upstream : snapshot.upstreams) {
        if (seen.emplace(upstream.group, to_string(upstream.endpoint)).second) write_upstream(out, upstream);
    }
    for (const auto& port : snapshot.ports) {
        write_port(out, port);
        write_queues(out, port, snapshot.workers);
    }
    for (const auto& kernel : snapshot.kernels) write_kernel(out, kernel);
    write_process(out, snapshot.started);
    return out.text();
}

} // namespace millrace::control
