// The metrics' names, units and words. What `millracectl stats` shows too says so in its help, under the name
// that it has there: tests/system/test_metrics.py holds the two against each other.
#include <chrono>
#include <cstdio>
#include <fstream>
#include <set>
#include <utility>

#include <sys/resource.h>
#include <unistd.h>

#include "control/daemon/snapshot.hpp"
#include "control/metrics/exposition.hpp"

namespace millrace::control {

using dataplane::Event;
using dataplane::Verdict;
using Labels = Exposition::Labels;

namespace {

double seconds(Time t) {
    return double(t.count()) / 1e6;
}

// What is shown of each histogram, as each bound is a series.
constexpr Exposition::Range hit_range{256, 1 << 25};               // 256 ns to 34 ms
constexpr Exposition::Range miss_range{1 << 16, 1ull << 32};       // 66 us to 4.3 s
constexpr Exposition::Range round_trip_range{1 << 17, 1ull << 32}; // 131 us to 4.3 s
constexpr Exposition::Range tick_range{1 << 13, 1 << 27};          // 8 us to 134 ms

struct EventRow {
    Event event;
    const char* name;
    const char* help;
    const char *label = "", *value = "";
};

constexpr const char* rate_help =
    "Dropped, refused or slipped for their client's rate, by limit (stats: rate_LIMIT)";
constexpr const char* dry_help =
    "What rate_limited would count, were `limits: dry-run` off (stats: dry_run.LIMIT)";

constexpr EventRow event_rows[] = {
    {Event::hit, "hits_total", "Questions answered from the cache, fresh (stats: hits)"},
    {Event::stale_hit, "stale_hits_total",
     "Questions answered from the cache with what has expired (stats: hits, stale_hits)"},
    {Event::refresh_asked, "refreshes_asked_total",
     "Hits at the end of a life that told control (stats: refresh_asked)"},
    {Event::refresh_dropped, "refreshes_unheard_total",
     "Hits at the end of a life that found the ring to control full (stats: refresh_dropped)"},
    {Event::local, "local_answers_total",
     "Questions answered by special-use zones or the operator's records (stats: local)"},
    {Event::blocked, "blocked_answers_total", "Questions answered by a block list (stats: blocked)"},
    {Event::rate_queries, "rate_limited_total", rate_help, "limit", "queries"},
    {Event::rate_errors, "rate_limited_total", rate_help, "limit", "errors"},
    {Event::rate_responses, "rate_limited_total", rate_help, "limit", "responses"},
    {Event::dry_queries, "rate_limited_dry_run_total", dry_help, "limit", "queries"},
    {Event::dry_errors, "rate_limited_dry_run_total", dry_help, "limit", "errors"},
    {Event::dry_responses, "rate_limited_dry_run_total", dry_help, "limit", "responses"},
    {Event::slipped, "slipped_total", "Questions over a rate that were answered with TC (stats: slipped)"},
    {Event::rate_table_full, "rate_table_full_total",
     "Counts towards a rate that were forgotten for others (stats: rate_table_full)"},
    {Event::servfail_full, "overloaded_total",
     "Questions that got SERVFAIL or stale data for want of a waiter's place (stats: overloaded)"},
    {Event::wake_answered, "waits_answered_total", "Misses answered in the end (stats: woken)"},
    {Event::wake_abandoned, "waits_abandoned_total", "Misses given up (stats: abandoned)"},
    {Event::send_failed, "send_failures_total", "Replies that the port did not take (stats: send_failed)"},
    {Event::buffer_exhausted, "buffers_exhausted_total",
     "Replies to misses that found no packet buffer (stats: buffer_exhausted)"},
    {Event::from_kernel, "from_kernel_total",
     "Frames of the kernel interface that the port took (stats: from_kernel)"},
    {Event::unrouted, "unrouted_total",
     "Queries whose reply went back to their sender for want of a route (stats: unrouted)"},
};
static_assert(std::size(event_rows) == dataplane::events, "every event is a metric");

template <class Counts>
struct Row {
    const char* name;
    const char* help;
    std::uint64_t Counts::*count;
};

constexpr Row<FetchCounters> fetch_rows[] = {
    {"fetches_total", "Fetches started: questions on which upstreams were asked (stats: fetches)",
     &FetchCounters::fetches},
    {"coalesced_total", "Misses that joined a running fetch (stats: coalesced)", &FetchCounters::coalesced},
    {"answered_late_total", "Misses answered by what was published meanwhile (stats: answered_late)",
     &FetchCounters::answered_late},
    {"disagreements_total", "Positive replies against negative ones (stats: disagreements)",
     &FetchCounters::disagreements},
    {"fetch_failures_total", "Fetches that ended without an answer (stats: failed)", &FetchCounters::failed},
    {"bogus_total", "Of fetch_failures, by a validator's word (stats: bogus)", &FetchCounters::bogus},
    {"revoked_total", "Of bogus, after another server's answer was published (stats: revoked)",
     &FetchCounters::revoked},
    {"stale_served_total", "Waiting questions that got stale data (stats: stale_served)",
     &FetchCounters::stale},
    {"fetch_refused_total", "Waiting questions that got SERVFAIL for a bound of ours (stats: limited)",
     &FetchCounters::refused},
    {"below_denied_total",
     "Questions answered because a name above theirs does not exist (stats: below_denied)",
     &FetchCounters::below_denied},
    {"fetch_rate_table_full_total",
     "Counts towards a limit of fetches that were forgotten for others (stats: rate_table_full)",
     &FetchCounters::rate_table_full},
    {"fetches_displaced_total", "Fetches ended as whoever held most gave way (stats: fetches_displaced)",
     &FetchCounters::displaced},
    {"loops_total", "Questions of our own that came back (stats: loops)", &FetchCounters::loops},
    {"refreshes_total", "Fetches started ahead of an expiry (stats: refreshes)", &FetchCounters::refreshes},
    {"refreshes_dropped_total",
     "Requests for a refresh that came too late, twice, or under pressure (stats: refresh_dropped)",
     &FetchCounters::refreshes_dropped},
    {"keep_warm_fetches_total", "Fetches started for names that are kept warm (stats: keep_warm)",
     &FetchCounters::warmed},
    {"chains_renewed_total",
     "Stale chains of CNAMEs with something fresh behind them (stats: chains_renewed)",
     &FetchCounters::chains_renewed},
    {"aliased_total", "Questions answered by way of another name's answer (stats: aliased)",
     &FetchCounters::aliased},
    {"chains_blocked_total", "Replies whose CNAME chain led to a blocked name (stats: chains_blocked)",
     &FetchCounters::chains_blocked},
    {"dns64_synthesised_total", "Answers made of A records (stats: dns64_synthesised)",
     &FetchCounters::dns64_synthesised},
    {"ranked_late_total", "Orders of addresses that came too late (stats: ranked_late)",
     &FetchCounters::ranked_late},
};

constexpr Row<ExchangeCounters> exchange_rows[] = {
    {"exchanges_total", "Questions to upstreams: first datagrams (stats: upstream_queries)",
     &ExchangeCounters::sent},
    {"exchanges_resent_total", "Datagrams to upstreams sent again (stats: upstream_resent)",
     &ExchangeCounters::resent},
    {"exchanges_spared_total", "Resends that a question's budget did not allow (stats: upstream_spared)",
     &ExchangeCounters::spared},
    {"exchanges_without_edns_total", "Questions that went on without EDNS (stats: upstream_without_edns)",
     &ExchangeCounters::without_edns},
    {"exchanges_tcp_total", "Questions that went on over TCP (stats: upstream_tcp)", &ExchangeCounters::tcp},
    {"exchanges_tcp_tries_total",
     "Connections made on the side, for silence or doubt (stats: upstream_tcp_tries)",
     &ExchangeCounters::tcp_tries},
    {"exchanges_tcp_tries_refused_total",
     "Connections on the side that were not made: too many (stats: upstream_tcp_tries_refused)",
     &ExchangeCounters::tcp_tries_refused},
    {"exchanges_tcp_displaced_total",
     "Connections closed because another question needed one (stats: upstream_tcp_displaced)",
     &ExchangeCounters::tcp_displaced},
    {"exchanges_accepted_total", "Replies accepted (stats: upstream_accepted)", &ExchangeCounters::accepted},
    {"exchanges_timeouts_total", "Questions ended by their deadline (stats: upstream_timeouts)",
     &ExchangeCounters::timeouts},
    {"exchanges_unreachable_total",
     "Questions ended by an error of the network (stats: upstream_unreachable)",
     &ExchangeCounters::unreachable},
    {"exchanges_icmp_total", "ICMP errors, which end nothing (stats: upstream_icmp)",
     &ExchangeCounters::icmp},
    {"exchanges_refused_total", "Questions not asked: a bound, a cap, no port (stats: upstream_refused)",
     &ExchangeCounters::refused_full},
    {"exchanges_not_asked_total", "Questions not asked: the server is out (stats: upstream_not_asked)",
     &ExchangeCounters::refused_open},
    {"exchanges_displaced_total", "Collections ended because their place was needed (stats: displaced)",
     &ExchangeCounters::displaced},
    {"exchanges_cancelled_total", "Questions ended as nobody waited any more (stats: cancelled)",
     &ExchangeCounters::cancelled},
    {"exchanges_late_total", "Replies to another question than the socket's (stats: late)",
     &ExchangeCounters::late},
    {"exchanges_mismatched_total",
     "Replies to the right question with a wrong ID or letter case: old, or forged (stats: mismatched)",
     &ExchangeCounters::mismatched},
    {"exchanges_malformed_total", "Replies that cannot be understood (stats: malformed)",
     &ExchangeCounters::malformed},
    {"exchanges_large_rrsets_total", "Replies with more records than `max-rrset` (stats: large_rrsets)",
     &ExchangeCounters::large_rrsets},
};

constexpr Row<PublishCounters> publish_rows[] = {
    {"published_total", "Answers that the cache took (stats: published)", &PublishCounters::published},
    {"merged_total", "Of published, completed by other servers' replies (stats: merged)",
     &PublishCounters::merged},
    {"superseded_total", "Results that a newer generation or a flush made void (stats: superseded)",
     &PublishCounters::superseded},
    {"cache_full_total", "Answers given but not stored: no slot, or no memory (stats: cache_full)",
     &PublishCounters::full},
    {"cached_failures_total", "Of published, failures", &PublishCounters::failures},
};

constexpr Row<RankingCounters> ranking_rows[] = {
    {"rankings_total", "Answers whose addresses were to be ranked (stats: ranking.rankings)",
     &RankingCounters::rankings},
    {"rankings_refused_total", "Rankings not begun: too many under way (stats: ranking.refused)",
     &RankingCounters::refused},
    {"rankings_ordered_total", "Rankings that came to an order (stats: ranking.ordered)",
     &RankingCounters::ordered},
    {"ranking_known_addresses_total", "Addresses that were known already (stats: ranking.cached)",
     &RankingCounters::cached},
    {"ranking_special_addresses_total", "Addresses that nothing is sent to (stats: ranking.special)",
     &RankingCounters::special},
    {"ranking_probes_total", "Probes sent to addresses (stats: ranking.probes)", &RankingCounters::probes},
    {"ranking_answered_total", "Addresses that answered (stats: ranking.answered)",
     &RankingCounters::answered},
    {"ranking_failed_total", "Addresses that did not answer (stats: ranking.failed)",
     &RankingCounters::failed},
    {"ranking_limited_total", "Probes kept back by a limit (stats: ranking.limited)",
     &RankingCounters::limited},
    {"ranking_unsent_total", "Probes that this machine could not send (stats: ranking.unsent)",
     &RankingCounters::unsent},
};

constexpr Row<TcpCounters> tcp_rows[] = {
    {"tcp_accepted_total", "Connections of clients (stats: tcp.accepted)", &TcpCounters::accepted},
    {"tcp_foreign_total", "Connections from outside `allow`, closed (stats: tcp.foreign)",
     &TcpCounters::foreign},
    {"tcp_refused_total", "Connections closed at once: too many (stats: tcp.refused)", &TcpCounters::refused},
    {"tcp_displaced_total", "Connections closed for who holds fewer (stats: tcp.displaced)",
     &TcpCounters::displaced},
    {"tcp_unfinished_total", "Connections closed in the midst of a question (stats: tcp.unfinished)",
     &TcpCounters::unfinished},
    {"tcp_timeouts_total", "Connections closed as idle, or not read from (stats: tcp.timeouts)",
     &TcpCounters::timeouts},
};

constexpr Row<UpstreamCounters> upstream_rows[] = {
    {"upstream_queries_total", "Questions to the server: first datagrams", &UpstreamCounters::sent},
    {"upstream_replies_total", "Its answers, but for SERVFAIL and REFUSED", &UpstreamCounters::replies},
    {"upstream_timeouts_total", "Questions that it did not answer until their deadline",
     &UpstreamCounters::timeouts},
    {"upstream_failures_total", "Its replies that say SERVFAIL or REFUSED", &UpstreamCounters::failures},
    {"upstream_probes_total", "Of its questions, our own", &UpstreamCounters::probes},
    {"upstream_breaker_opened_total", "Times that it was given up (stats: breakers_opened)",
     &UpstreamCounters::opened},
    {"upstream_over_outstanding_total", "Questions kept from it by `fanout: outstanding`",
     &UpstreamCounters::over_outstanding},
    {"upstream_over_rate_total", "Questions kept from it by `fanout: rate`", &UpstreamCounters::over_rate},
};

/// Writes them under the product's name.
class Writer {
  public:
    void counter(const char* name, const char* help, double value, const Labels& labels = {}) {
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
    void rows(const Row<Counts> (&rows)[N], const Counts& counts, const Labels& labels = {}) {
        for (const Row<Counts>& row : rows) counter(row.name, row.help, double(counts.*row.count), labels);
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
        out.counter(row.name, row.help, count, *row.label ? with(row.label, row.value) : labels);
    }
    if (worker.hit_time) {
        out.histogram("hit_duration_seconds",
                      "From receiving a burst to sending its replies, for each hit in it; not over TCP",
                      *worker.hit_time, hit_range, labels);
    }
    out.histogram("miss_duration_seconds", "From asking control to the answer, for each miss that got one",
                  worker.miss_time, miss_range, labels);
    out.gauge("worker_stalled_seconds", "How long it has not turned; 0: it turns", seconds(worker.stalled),
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
              seconds(g.longest_tick));
}

void write_control(Writer& out, const Snapshot& s) {
    out.rows(fetch_rows, s.fetches);
    write_limits(out, s.fetches);
    out.rows(exchange_rows, s.exchanges);
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
        out.gauge("upstream_smoothed_round_trip_seconds", "Smoothed round trip", seconds(*upstream.srtt),
                  labels);
    if (upstream.loss)
        out.gauge("upstream_loss_ratio", "Share of its latest 32 questions that heard nothing",
                  *upstream.loss, labels);
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
    for (const auto& port : snapshot.ports) write_port(out, port);
    for (const auto& kernel : snapshot.kernels) write_kernel(out, kernel);
    write_process(out, snapshot.started);
    return out.text();
}

} // namespace millrace::control
