#include "control/upstream/upstreams.hpp"

#include <algorithm>
#include <cassert>
#include <tuple>
#include <utility>

#include "cache/dns.hpp"

namespace millrace::control {

cache::Key UpstreamPolicy::root_servers() {
    cache::Key key;
    key.name = *cache::parse_name(".");
    key.qtype = dns::type_ns;
    key.qclass = dns::class_in;
    return key;
}

Upstreams::Upstreams(const std::vector<Config::Server>& servers, UpstreamPolicy policy) : policy_(policy) {
    for (const auto& server : servers) servers_.emplace_back().config = server;
}

Time Upstreams::srtt(unsigned upstream) const {
    return servers_[upstream].srtt.value_or(100ms);
}

Time Upstreams::resend_after(unsigned upstream) const {
    return std::clamp<Time>(4 * srtt(upstream), 100ms, 1s);
}

bool Upstreams::is_validator(unsigned upstream) const {
    auto is_marked = [](const Server& s) { return s.config.trusted; };
    return is_trusted(upstream) || std::ranges::none_of(servers_, is_marked);
}

bool Upstreams::is_any_closed() const {
    return std::ranges::any_of(servers_, [](const Server& s) { return s.breaker == Breaker::closed; });
}

std::vector<unsigned> Upstreams::ranked() const {
    std::vector<unsigned> order;
    for (unsigned i = 0; i < size(); ++i) {
        if (may_be_asked(i)) order.push_back(i);
    }
    std::ranges::sort(order, {}, [&](unsigned i) { return std::tuple(srtt(i), i); });
    return order;
}

bool Upstreams::may_be_asked(unsigned upstream) const {
    return servers_[upstream].breaker == Breaker::closed || !is_any_closed();
}

bool Upstreams::has_room(unsigned upstream, Share share) const {
    unsigned spared = share == Share::most ? policy_.outstanding / 4 : 0;
    return servers_[upstream].outstanding < policy_.outstanding - spared;
}

bool Upstreams::is_in_rate(unsigned upstream, Time now, Share share) {
    Server& server = servers_[upstream];
    double gained = std::chrono::duration<double>(now - server.filled).count() * policy_.rate;
    server.tokens = std::min(burst(), server.tokens.value_or(burst()) + gained);
    server.filled = now;
    return *server.tokens >= (share == Share::most ? std::min(1 + burst() / 4, burst()) : 1);
}

void Upstreams::replace(const std::vector<Config::Server>& servers) {
    assert(std::ranges::all_of(servers_, [](const Server& s) { return s.outstanding == 0; }));
    std::vector<Server> before = std::exchange(servers_, {});
    for (const auto& server : servers) {
        auto endpoint_of = [](const Server& known) { return known.config.endpoint; };
        auto known = std::ranges::find(before, server.endpoint, endpoint_of);
        servers_.push_back(known == before.end() ? Server{} : *known);
        servers_.back().config = server;
    }
}

void Upstreams::begin(unsigned upstream) {
    assert(has_room(upstream));
    Server& server = servers_[upstream];
    ++server.outstanding;
    server.tokens = server.tokens.value_or(burst()) - 1;
    ++server.counters.sent;
}

void Upstreams::end(unsigned upstream) {
    assert(servers_[upstream].outstanding > 0);
    --servers_[upstream].outstanding;
}

bool Upstreams::judge_reply(unsigned upstream, unsigned rcode) {
    heard(upstream);
    bool is_failure = rcode == unsigned(dns::Rcode::servfail) || rcode == unsigned(dns::Rcode::refused);
    UpstreamCounters& counters = servers_[upstream].counters;
    ++(is_failure ? counters.failures : counters.replies);
    return !is_failure;
}

void Upstreams::heard(unsigned upstream) {
    Server& server = servers_[upstream];
    server.silences = 0;
    if (server.breaker == Breaker::closed) return;
    server.breaker = Breaker::closed;
    server.probe_at = Time::max();
    ++recoveries_;
}

void Upstreams::judge_timeout(unsigned upstream, Time waited, Time now) {
    ++servers_[upstream].counters.timeouts;
    judge_silence(upstream, waited, now);
}

void Upstreams::judge_silence(unsigned upstream, Time waited, Time now) {
    if (waited < resend_after(upstream)) return;
    if (++servers_[upstream].silences >= policy_.silences) suspect(upstream, now);
}

void Upstreams::suspect(unsigned upstream, Time now) {
    Server& server = servers_[upstream];
    if (server.breaker != Breaker::closed || server.is_probed) return;
    Time earliest = server.probed ? *server.probed + policy_.probe_interval : now;
    server.probe_at = std::min(server.probe_at, std::max(now, earliest));
}

std::optional<unsigned> Upstreams::probe_due(Time now) const {
    auto due = std::ranges::find_if(servers_, [&](const Server& s) { return s.probe_at <= now; });
    if (due == servers_.end()) return std::nullopt;
    return unsigned(due - servers_.begin());
}

Time Upstreams::next_probe() const {
    return std::ranges::min(servers_, {}, &Server::probe_at).probe_at;
}

void Upstreams::begin_probe(unsigned upstream) {
    Server& server = servers_[upstream];
    server.is_probed = true;
    server.probe_at = Time::max();
    if (server.breaker == Breaker::open) server.breaker = Breaker::half_open;
    ++server.counters.probes;
}

void Upstreams::judge_probe(unsigned upstream, ProbeEnd end, Time now) {
    Server& server = servers_[upstream];
    server.is_probed = false;
    server.probed = now;
    bool is_silent = end == ProbeEnd::silent;
    if (server.breaker == Breaker::closed) {
        // Any reply that came meanwhile, to whatever question, has begun the count anew.
        if (!is_silent) return;
        if (++server.silences < policy_.silences) return suspect(upstream, now);
        ++server.counters.opened;
        server.back_off = policy_.back_off;
    } else if (is_silent) {
        server.back_off = std::min(2 * server.back_off, policy_.longest_back_off);
    }
    server.breaker = Breaker::open;
    server.probe_at = now + server.back_off;
}

void Upstreams::measured(unsigned upstream, Time round_trip) {
    auto& srtt = servers_[upstream].srtt;
    srtt = srtt ? *srtt + (round_trip - *srtt) / 8 : round_trip;
}

std::string_view to_string(Breaker state) {
    switch (state) {
    case Breaker::closed: return "closed";
    case Breaker::open: return "open";
    case Breaker::half_open: return "half-open";
    }
    return "unknown";
}

} // namespace millrace::control
