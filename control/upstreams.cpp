#include "control/upstreams.hpp"

#include <algorithm>
#include <cassert>
#include <numeric>
#include <tuple>
#include <utility>

namespace millrace::control {

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
    std::vector<unsigned> order(servers_.size());
    std::iota(order.begin(), order.end(), 0u);
    auto rank = [&](unsigned i) {
        return std::tuple(is_failing(i) && now < servers_[i].retry_at, srtt(i), i);
    };
    std::ranges::sort(order, {}, rank);
    return order;
}

bool Upstreams::has_room(unsigned upstream, Share share) const {
    unsigned spared = share == Share::most ? policy_.outstanding / 4 : 0;
    return servers_[upstream].outstanding < policy_.outstanding - spared;
}

bool Upstreams::is_in_rate(unsigned upstream, Time now, Share share) {
    Server& server = servers_[upstream];
    double gained = std::chrono::duration<double>(now - server.filled).count() * policy_.rate;
    server.tokens = std::min(burst(), server.tokens + gained);
    server.filled = now;
    return server.tokens >= (share == Share::most ? std::min(1 + burst() / 4, burst()) : 1);
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

void Upstreams::begin(unsigned upstream, Time now) {
    assert(has_room(upstream));
    Server& server = servers_[upstream];
    ++server.outstanding;
    server.tokens -= 1;
    ++server.counters.sent;
    // One question at a time tries whether a failing one is back.
    if (is_failing(upstream) && now >= server.retry_at) server.retry_at = now + policy_.retry;
}

void Upstreams::end(unsigned upstream) {
    assert(servers_[upstream].outstanding > 0);
    --servers_[upstream].outstanding;
}

void Upstreams::replied(unsigned upstream) {
    Server& server = servers_[upstream];
    ++server.counters.replies;
    server.streak = 0;
}

void Upstreams::failed(unsigned upstream, Time now) {
    ++servers_[upstream].counters.failures;
    count_failure(servers_[upstream], now);
}

void Upstreams::timed_out(unsigned upstream, Time now) {
    ++servers_[upstream].counters.timeouts;
    count_failure(servers_[upstream], now);
}

void Upstreams::measured(unsigned upstream, Time round_trip) {
    auto& srtt = servers_[upstream].srtt;
    srtt = srtt ? *srtt + (round_trip - *srtt) / 8 : round_trip;
}

void Upstreams::count_failure(Server& server, Time now) {
    ++server.streak;
    if (server.streak == policy_.failures) server.retry_at = now + policy_.retry;
}

} // namespace millrace::control
