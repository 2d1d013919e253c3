#include "control/upstream/upstreams.hpp"

#include <algorithm>
#include <cassert>
#include <tuple>
#include <utility>

#include "cache/dns.hpp"

namespace millrace::control {

namespace {

constexpr Time telling_silence = 1s; // is the server's doing, whatever time it was given

} // namespace

Upstreams::Upstreams(const std::vector<Config::Server>& servers, UpstreamPolicy policy) : policy_(policy) {
    for (const auto& server : servers) servers_.emplace_back().config = server;
}

Time Upstreams::srtt(unsigned upstream) const {
    return servers_[upstream].srtt.value_or(100ms);
}

Time Upstreams::resend_after(unsigned upstream) const {
    return std::clamp<Time>(4 * srtt(upstream), 100ms, 1s);
}

std::vector<unsigned> Upstreams::ranked(Time now) const {
    std::vector<unsigned> order;
    for (unsigned i = 0; i < size(); ++i) {
        if (is_passable(servers_[i], now)) order.push_back(i);
    }
    std::ranges::sort(order, {}, [&](unsigned i) { return std::tuple(srtt(i), i); });
    if (auto last = last_resort(now)) order.push_back(*last);
    return order;
}

bool Upstreams::may_be_asked(unsigned upstream, Time now) const {
    return is_passable(servers_[upstream], now) || last_resort(now) == upstream;
}

bool Upstreams::is_passable(const Server& server, Time now) const {
    return server.breaker == Breaker::closed || (server.breaker == Breaker::open && now >= server.retry_at);
}

/// While no breaker is closed: of those that would not be asked, the one that was asked longest ago.
std::optional<unsigned> Upstreams::last_resort(Time now) const {
    std::optional<unsigned> last;
    for (unsigned i = 0; i < size(); ++i) {
        const Server& server = servers_[i];
        if (server.breaker == Breaker::closed) return std::nullopt;
        if (is_passable(server, now)) continue;
        if (!last || server.asked_at < servers_[*last].asked_at) last = i;
    }
    return last;
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

bool Upstreams::begin(unsigned upstream, Time now) {
    assert(has_room(upstream));
    Server& server = servers_[upstream];
    ++server.outstanding;
    server.tokens = server.tokens.value_or(burst()) - 1;
    ++server.counters.sent;
    server.asked_at = now;
    bool is_trial = server.breaker == Breaker::open && now >= server.retry_at;
    if (is_trial) {
        server.breaker = Breaker::half_open;
        server.retry_at = now + server.back_off; // unless its verdict says otherwise
    }
    return is_trial;
}

void Upstreams::end(unsigned upstream, bool is_trial) {
    Server& server = servers_[upstream];
    assert(server.outstanding > 0);
    --server.outstanding;
    bool without_verdict = is_trial && server.breaker == Breaker::half_open;
    if (without_verdict) server.breaker = Breaker::open;
}

bool Upstreams::judge_reply(unsigned upstream, unsigned rcode, Time now, bool is_trial) {
    Server& server = servers_[upstream];
    if (rcode == unsigned(dns::Rcode::servfail) || rcode == unsigned(dns::Rcode::refused)) {
        ++server.counters.failures;
        count_failure(server, now, is_trial);
        return false;
    }
    ++server.counters.replies;
    server.streak = 0;
    server.breaker = Breaker::closed;
    return true;
}

void Upstreams::judge_silence(unsigned upstream, Time waited, Time now, bool is_trial) {
    Server& server = servers_[upstream];
    if (!server.srtt && waited < telling_silence) return;
    ++server.counters.timeouts;
    count_failure(server, now, is_trial);
}

void Upstreams::judge_unreachable(unsigned upstream, Time now, bool is_trial) {
    ++servers_[upstream].counters.failures;
    count_failure(servers_[upstream], now, is_trial);
}

void Upstreams::measured(unsigned upstream, Time round_trip) {
    auto& srtt = servers_[upstream].srtt;
    srtt = srtt ? *srtt + (round_trip - *srtt) / 8 : round_trip;
}

/// While it is not closed only the trial counts: other questions were begun before, or for want
/// of anyone else.
void Upstreams::count_failure(Server& server, Time now, bool is_trial) {
    // A name that is broken everywhere fails at every server now and then; of its good answers a slower one's
    // are cancelled, so that nothing else would end its streak.
    if (now - server.failed_at > policy_.streak_lapse) server.streak = 0;
    server.failed_at = now;
    ++server.streak;
    if (server.breaker == Breaker::closed && server.streak >= policy_.failures) {
        ++server.counters.opened;
        open(server, policy_.back_off, now);
    } else if (server.breaker == Breaker::half_open && is_trial) {
        open(server, std::min(2 * server.back_off, policy_.longest_back_off), now);
    }
}

void Upstreams::open(Server& server, Time back_off, Time now) {
    server.breaker = Breaker::open;
    server.back_off = back_off;
    server.retry_at = now + back_off;
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
