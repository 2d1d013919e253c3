#include "tests/simulation/ranking.hpp"

#include <algorithm>
#include <array>

#include "control/limits.hpp"

namespace millrace::simulation {

using control::FetchId;
using control::ProbeId;
using dataplane::Address;
using Order = control::Prober::Order;

namespace {

constexpr std::uint16_t first_port = 443, second_port = 80, echo = 0;
constexpr std::size_t ways = 3;

std::uint32_t number_of(const Address& address) {
    return *Ledger::host_of(address.octets);
}

} // namespace

SimulatedProbes::Way SimulatedProbes::way_of(const dataplane::Endpoint& to) const {
    std::uint32_t host = number_of(to.address);
    std::uint16_t alive =
        std::array{first_port, second_port, echo}[scene_.chance.below(ways, Topic::ranking, 1, host)];
    bool is_dead = scene_.chance.is(300, Topic::ranking, 2, host);
    if (to.port == alive && !is_dead) return Way::answers;
    std::uint64_t drawn = scene_.chance.below(20, Topic::ranking, 3, host, to.port);
    return drawn < 9 ? Way::refuses : drawn < 18 ? Way::silent : Way::unsendable;
}

Time SimulatedProbes::rtt_of(const Address& address) const {
    return scene_.chance.between(1ms, 250ms, Topic::ranking, 4, number_of(address));
}

tl::expected<ProbeId, std::errc> SimulatedProbes::start(const dataplane::Endpoint& to, Time now) {
    Noted& noted = noted_[to.address];
    if (to.port == first_port) noted.tried.clear();
    noted.tried.insert(to.port);
    Way way = way_of(to);
    if (way == Way::unsendable) return tl::make_unexpected(std::errc::network_unreachable);
    ++noted.sent;
    ++noted.open;
    open_.emplace(++last_, to);
    if (way != Way::silent) ends_.emplace(std::pair(now + rtt_of(to.address), last_), way == Way::answers);
    return last_;
}

void SimulatedProbes::close(ProbeId probe) {
    auto at = open_.find(probe);
    if (at == open_.end()) return;
    Noted& noted = noted_[at->second.address];
    --noted.open;
    noted.has_missed = noted.has_missed || way_of(at->second) == Way::answers;
    open_.erase(at);
    std::erase_if(ends_, [probe](const auto& end) { return end.first.second == probe; });
}

bool SimulatedProbes::end_one() {
    if (next_end() > scene_.now) return false;
    auto [when, has_answered] = *ends_.begin();
    ends_.erase(ends_.begin());
    auto at = open_.extract(when.second);
    Noted& noted = noted_[at.mapped().address];
    --noted.open;
    noted.answers += has_answered;
    listener_->on_probe_ended(when.second, has_answered, rtt_of(at.mapped().address), scene_.now);
    return true;
}

bool SimulatedProbes::is_known_alive(const Address& address) const {
    auto at = noted_.find(address);
    return at != noted_.end() && at->second.answers > 0 && !at->second.has_missed;
}

bool SimulatedProbes::is_known_dead(const Address& address) const {
    auto at = noted_.find(address);
    if (at == noted_.end() || at->second.answers > 0) return false;
    return at->second.sent > 0 && at->second.tried.size() == ways && at->second.open == 0;
}

/// Some machines may send a few probes a second only, and some measure often.
control::Config::Ranking SimulatedRanker::policy(const Scene& scene) {
    control::Config::Ranking policy;
    policy.ports = {first_port, second_port};
    policy.icmp = true;
    policy.rate = scene.chance.is(150, Topic::ranking, 5) ? 4 : 10'000;
    policy.cache = scene.chance.is(300, Topic::ranking, 6) ? Time(1s) : Time(10min);
    policy.max_addresses = scene.plan.max_addresses;
    return policy;
}

bool SimulatedRanker::rank(FetchId fetch, std::span<const Address> addresses) {
    if (!scene_.has(Danger::ranking) || !prober_.rank(fetch, addresses)) return false;
    auto ranked = addresses.first(std::min(addresses.size(), control::limits::ranked_addresses));
    asked_[fetch] = {ranked.begin(), ranked.end()};
    return true;
}

void SimulatedRanker::cancel(FetchId fetch) {
    if (scene_.chance.is(500, Topic::ranking, 7, fetch.generation)) return; // it is on its way already
    prober_.cancel(fetch);
    std::erase_if(orders_, [&](const auto& entry) { return entry.second.fetch == fetch; });
}

void SimulatedRanker::tick() {
    prober_.tick(scene_.now);
    for (unsigned i = 0; i < control::limits::rankings_per_tick; ++i) {
        auto order = prober_.take();
        if (!order) return;
        check(*order);
        bool is_late = scene_.chance.is(100, Topic::ranking, 8, order->fetch.generation);
        Time delay = scene_.chance.between(0s, is_late ? Time(3s) : Time{}, Topic::ranking, 9,
                                           order->fetch.generation);
        orders_.emplace(scene_.now + delay, std::move(*order));
    }
}

std::optional<Order> SimulatedRanker::take() {
    if (orders_.empty() || orders_.begin()->first > scene_.now) return std::nullopt;
    return std::move(orders_.extract(orders_.begin()).mapped());
}

void SimulatedRanker::check(const Order& order) {
    const Addresses& asked = asked_.at(order.fetch);
    scene_.say("generation ", order.fetch.generation, " has an order of ", order.addresses.size(), " of ",
               asked.size(), " addresses");
    if (order.addresses.empty()) return;
    scene_.require(std::ranges::is_permutation(order.addresses, asked),
                   "an order is of the addresses that were asked for", "it is of others");
    bool has_dead = false;
    Time slowest{};
    for (const Address& address : order.addresses) {
        if (probes_.is_known_dead(address)) has_dead = true;
        if (!probes_.is_known_alive(address)) continue;
        scene_.require(!has_dead, "a dead address sinks", "one is before one that answers");
        Time rtt = probes_.rtt_of(address);
        scene_.require(rtt >= slowest, "the fastest address is first", "a faster one is behind");
        slowest = rtt;
        scene_.tally.add(Seen::ranked_alive);
    }
    scene_.tally.add(Seen::ranked_dead, has_dead);
}

} // namespace millrace::simulation
