// What is counted: for each counter the names that `stats` and Prometheus know it by, and what it is.
//
// `stats` and the metrics are both made of these tables (figures.cpp, metrics_text.cpp), but for sums of
// another kind: verdicts, which have names of their own, and what `limits` count by limit.
#pragma once

#include <cstdint>
#include <iterator>

#include "control/daemon/tcp_server.hpp"
#include "control/fetch/counters.hpp"
#include "control/fetch/publish.hpp"
#include "control/rank/prober.hpp"
#include "control/upstream/exchange.hpp"
#include "control/upstream/port_network.hpp"
#include "control/upstream/upstreams.hpp"
#include "dataplane/counters.hpp"

namespace millrace::control {

/// `name`: of the metric, without the product's in front. `stat`: the key of `stats`, dotted where that is an
/// object's; several with ", " between; counters of one key are added up. Empty: it has none.
template <class Counts>
struct CounterRow {
    std::uint64_t Counts::*count;
    const char* name;
    const char* help;
    const char* stat;
};

/// A worker's. Those of one name are told apart by the label `limit`, whose value is LIMIT in `stat`.
struct EventRow {
    dataplane::Event event;
    const char* name;
    const char* help;
    const char* stat;
    const char* limit = "";
};

inline constexpr EventRow event_rows[] = {
    {dataplane::Event::hit, "hits_total", "Questions answered from the cache, fresh", "hits"},
    {dataplane::Event::stale_hit, "stale_hits_total",
     "Questions answered from the cache with what has expired", "hits, stale_hits"},
    {dataplane::Event::refresh_asked, "refreshes_asked_total", "Hits at the end of a life that told control",
     "refresh_asked"},
    {dataplane::Event::refresh_dropped, "refreshes_unheard_total",
     "Hits at the end of a life that found the ring to control full", "refresh_dropped"},
    {dataplane::Event::local, "local_answers_total",
     "Questions answered by special-use zones or the operator's records", "local"},
    {dataplane::Event::blocked, "blocked_answers_total", "Questions answered by a block list", "blocked"},
    {dataplane::Event::rate_queries, "rate_limited_total",
     "Dropped, refused or slipped for their client's rate, by limit", "rate_LIMIT", "queries"},
    {dataplane::Event::rate_errors, "rate_limited_total",
     "Dropped, refused or slipped for their client's rate, by limit", "rate_LIMIT", "errors"},
    {dataplane::Event::rate_responses, "rate_limited_total",
     "Dropped, refused or slipped for their client's rate, by limit", "rate_LIMIT", "responses"},
    {dataplane::Event::dry_queries, "rate_limited_dry_run_total",
     "What rate_limited would count, were `limits: dry-run` off", "dry_run.LIMIT", "queries"},
    {dataplane::Event::dry_errors, "rate_limited_dry_run_total",
     "What rate_limited would count, were `limits: dry-run` off", "dry_run.LIMIT", "errors"},
    {dataplane::Event::dry_responses, "rate_limited_dry_run_total",
     "What rate_limited would count, were `limits: dry-run` off", "dry_run.LIMIT", "responses"},
    {dataplane::Event::slipped, "slipped_total", "Questions over a rate that were answered with TC",
     "slipped"},
    {dataplane::Event::rate_table_full, "rate_table_full_total",
     "Counts towards a rate that were forgotten for others", "rate_table_full"},
    {dataplane::Event::servfail_full, "overloaded_total",
     "Questions that got SERVFAIL or stale data for want of a waiter's place", "overloaded"},
    {dataplane::Event::wake_answered, "waits_answered_total", "Misses answered in the end", "woken"},
    {dataplane::Event::wake_abandoned, "waits_abandoned_total", "Misses given up", "abandoned"},
    {dataplane::Event::sent, "replies_sent_total", "Replies that the port took; not over TCP", "sent"},
    {dataplane::Event::send_failed, "send_failures_total", "Replies that the port did not take",
     "send_failed"},
    {dataplane::Event::buffer_exhausted, "buffers_exhausted_total",
     "Replies to misses that found no packet buffer", "buffer_exhausted"},
    {dataplane::Event::from_kernel, "from_kernel_total", "Frames of the kernel interface that the port took",
     "from_kernel"},
    {dataplane::Event::unrouted, "unrouted_total",
     "Queries whose reply went back to their sender for want of a route", "unrouted"},
    {dataplane::Event::from_control, "from_control_total", "Queries to upstreams that the port took",
     "from_control"},
};
static_assert(std::size(event_rows) == dataplane::events, "every event is counted there");

inline constexpr CounterRow<FetchCounters> fetch_rows[] = {
    {&FetchCounters::fetches, "fetches_total", "Fetches started: questions on which upstreams were asked",
     "fetches"},
    {&FetchCounters::coalesced, "coalesced_total", "Misses that joined a running fetch", "coalesced"},
    {&FetchCounters::answered_late, "answered_late_total", "Misses answered by what was published meanwhile",
     "answered_late"},
    {&FetchCounters::disagreements, "disagreements_total", "Positive replies against negative ones",
     "disagreements"},
    {&FetchCounters::failed, "fetch_failures_total", "Fetches that ended without an answer", "failed"},
    {&FetchCounters::bogus, "bogus_total", "Of fetch_failures, by a validator's word", "bogus"},
    {&FetchCounters::revoked, "revoked_total", "Of bogus, after another server's answer was published",
     "revoked"},
    {&FetchCounters::stale, "stale_served_total", "Waiting questions that got stale data", "stale_served"},
    {&FetchCounters::refused, "fetch_refused_total",
     "Waiting questions that got SERVFAIL for a bound of ours", "limited"},
    {&FetchCounters::below_denied, "below_denied_total",
     "Questions answered because a name above theirs does not exist", "below_denied"},
    {&FetchCounters::rate_table_full, "fetch_rate_table_full_total",
     "Counts towards a limit of fetches that were forgotten for others", "rate_table_full"},
    {&FetchCounters::displaced, "fetches_displaced_total", "Fetches ended as whoever held most gave way",
     "fetches_displaced"},
    {&FetchCounters::loops, "loops_total", "Questions of our own that came back", "loops"},
    {&FetchCounters::refreshes, "refreshes_total", "Fetches started ahead of an expiry", "refreshes"},
    {&FetchCounters::refreshes_dropped, "refreshes_dropped_total",
     "Requests for a refresh that came too late, twice, or under pressure", "refresh_dropped"},
    {&FetchCounters::warmed, "keep_warm_fetches_total", "Fetches started for names that are kept warm",
     "keep_warm"},
    {&FetchCounters::chains_renewed, "chains_renewed_total",
     "Stale chains of CNAMEs with something fresh behind them", "chains_renewed"},
    {&FetchCounters::aliased, "aliased_total", "Questions answered by way of another name's answer",
     "aliased"},
    {&FetchCounters::chains_blocked, "chains_blocked_total",
     "Replies whose CNAME chain led to a blocked name", "chains_blocked"},
    {&FetchCounters::dns64_synthesised, "dns64_synthesised_total", "Answers made of A records",
     "dns64_synthesised"},
    {&FetchCounters::ranked_late, "ranked_late_total", "Orders of addresses that came too late",
     "ranked_late"},
};

inline constexpr CounterRow<ExchangeCounters> exchange_rows[] = {
    {&ExchangeCounters::sent, "exchanges_total", "Questions to upstreams: first datagrams",
     "upstream_queries"},
    {&ExchangeCounters::resent, "exchanges_resent_total", "Datagrams to upstreams sent again",
     "upstream_resent"},
    {&ExchangeCounters::spared, "exchanges_spared_total", "Resends that a question's budget did not allow",
     "upstream_spared"},
    {&ExchangeCounters::without_edns, "exchanges_without_edns_total", "Questions that went on without EDNS",
     "upstream_without_edns"},
    {&ExchangeCounters::tcp, "exchanges_tcp_total", "Questions that went on over TCP", "upstream_tcp"},
    {&ExchangeCounters::tcp_tries, "exchanges_tcp_tries_total",
     "Connections made on the side, for silence or doubt", "upstream_tcp_tries"},
    {&ExchangeCounters::tcp_tries_refused, "exchanges_tcp_tries_refused_total",
     "Connections on the side that were not made: too many", "upstream_tcp_tries_refused"},
    {&ExchangeCounters::tcp_displaced, "exchanges_tcp_displaced_total",
     "Connections closed because another question needed one", "upstream_tcp_displaced"},
    {&ExchangeCounters::accepted, "exchanges_accepted_total", "Replies accepted", "upstream_accepted"},
    {&ExchangeCounters::timeouts, "exchanges_timeouts_total", "Questions ended by their deadline",
     "upstream_timeouts"},
    {&ExchangeCounters::unreachable, "exchanges_unreachable_total",
     "Questions ended by an error of the network", "upstream_unreachable"},
    {&ExchangeCounters::icmp, "exchanges_icmp_total", "ICMP errors, which end nothing", "upstream_icmp"},
    {&ExchangeCounters::refused_full, "exchanges_refused_total",
     "Questions not asked: a bound, a cap, no port", "upstream_refused"},
    {&ExchangeCounters::refused_open, "exchanges_not_asked_total", "Questions not asked: the server is out",
     "upstream_not_asked"},
    {&ExchangeCounters::displaced, "exchanges_displaced_total",
     "Collections ended because their place was needed", "displaced"},
    {&ExchangeCounters::cancelled, "exchanges_cancelled_total", "Questions ended as nobody waited any more",
     "cancelled"},
    {&ExchangeCounters::late, "exchanges_late_total", "Replies to another question than the socket's",
     "late"},
    {&ExchangeCounters::mismatched, "exchanges_mismatched_total",
     "Replies to the right question with a wrong ID or letter case: old, or forged", "mismatched"},
    {&ExchangeCounters::malformed, "exchanges_malformed_total", "Replies that cannot be understood",
     "malformed"},
    {&ExchangeCounters::large_rrsets, "exchanges_large_rrsets_total",
     "Replies with more records than `max-rrset`", "large_rrsets"},
};

inline constexpr CounterRow<PortNetworkCounters> port_network_rows[] = {
    {&PortNetworkCounters::sent, "via_port_queries_total", "Queries to upstreams given to a port",
     "via_port.sent"},
    {&PortNetworkCounters::received, "via_port_replies_total", "Replies to them that came by it",
     "via_port.received"},
    {&PortNetworkCounters::fallbacks, "via_port_fallbacks_total",
     "Questions that went through the kernel as the port had no way", "via_port.fallbacks"},
    {&PortNetworkCounters::full, "via_port_full_total",
     "Queries dropped as the ring to the port's lcore was full", "via_port.full"},
    {&PortNetworkCounters::unasked, "via_port_unasked_total",
     "Datagrams of upstreams to a source and port that did not ask them, or no longer", "via_port.unasked"},
    {&PortNetworkCounters::oversized, "via_port_oversized_total",
     "Replies longer than was asked for, taken as truncated", "via_port.oversized"},
    {&PortNetworkCounters::refused, "via_port_refused_total", "Questions not asked: too many at once",
     "via_port.refused"},
};

inline constexpr CounterRow<PublishCounters> publish_rows[] = {
    {&PublishCounters::published, "published_total", "Answers that the cache took", "published"},
    {&PublishCounters::merged, "merged_total", "Of published, completed by other servers' replies", "merged"},
    {&PublishCounters::superseded, "superseded_total", "Results that a newer generation or a flush made void",
     "superseded"},
    {&PublishCounters::full, "cache_full_total", "Answers given but not stored: no slot, or no memory",
     "cache_full"},
    {&PublishCounters::failures, "cached_failures_total", "Of published, failures", ""},
};

inline constexpr CounterRow<RankingCounters> ranking_rows[] = {
    {&RankingCounters::rankings, "rankings_total", "Answers whose addresses were to be ranked",
     "ranking.rankings"},
    {&RankingCounters::refused, "rankings_refused_total", "Rankings not begun: too many under way",
     "ranking.refused"},
    {&RankingCounters::ordered, "rankings_ordered_total", "Rankings that came to an order",
     "ranking.ordered"},
    {&RankingCounters::cached, "ranking_known_addresses_total", "Addresses that were known already",
     "ranking.cached"},
    {&RankingCounters::special, "ranking_special_addresses_total", "Addresses that nothing is sent to",
     "ranking.special"},
    {&RankingCounters::probes, "ranking_probes_total", "Probes sent to addresses", "ranking.probes"},
    {&RankingCounters::answered, "ranking_answered_total", "Addresses that answered", "ranking.answered"},
    {&RankingCounters::failed, "ranking_failed_total", "Addresses that did not answer", "ranking.failed"},
    {&RankingCounters::limited, "ranking_limited_total", "Probes kept back by a limit", "ranking.limited"},
    {&RankingCounters::unsent, "ranking_unsent_total", "Probes that this machine could not send",
     "ranking.unsent"},
};

inline constexpr CounterRow<TcpCounters> tcp_rows[] = {
    {&TcpCounters::accepted, "tcp_accepted_total", "Connections of clients", "tcp.accepted"},
    {&TcpCounters::foreign, "tcp_foreign_total", "Connections from outside `allow`, closed", "tcp.foreign"},
    {&TcpCounters::refused, "tcp_refused_total", "Connections closed at once: too many", "tcp.refused"},
    {&TcpCounters::displaced, "tcp_displaced_total", "Connections closed for who holds fewer",
     "tcp.displaced"},
    {&TcpCounters::unfinished, "tcp_unfinished_total", "Connections closed in the midst of a question",
     "tcp.unfinished"},
    {&TcpCounters::timeouts, "tcp_timeouts_total", "Connections closed as idle, or not read from",
     "tcp.timeouts"},
};

inline constexpr CounterRow<UpstreamCounters> upstream_rows[] = {
    {&UpstreamCounters::sent, "upstream_queries_total", "Questions to the server: first datagrams", ""},
    {&UpstreamCounters::replies, "upstream_replies_total", "Its answers, but for SERVFAIL and REFUSED", ""},
    {&UpstreamCounters::timeouts, "upstream_timeouts_total",
     "Questions that it did not answer until their deadline", ""},
    {&UpstreamCounters::failures, "upstream_failures_total", "Its replies that say SERVFAIL or REFUSED", ""},
    {&UpstreamCounters::probes, "upstream_probes_total", "Of its questions, our own", ""},
    {&UpstreamCounters::opened, "upstream_breaker_opened_total", "Times that it was given up",
     "breakers_opened"},
    {&UpstreamCounters::over_outstanding, "upstream_over_outstanding_total",
     "Questions kept from it by `fanout: outstanding`", ""},
    {&UpstreamCounters::over_rate, "upstream_over_rate_total", "Questions kept from it by `fanout: rate`",
     ""},
};

} // namespace millrace::control
