#include "control/rank/prober.hpp"

#include <algorithm>

#include "control/rank/special_use.hpp"

namespace millrace::control {

using dataplane::Address;

namespace {

constexpr std::uint16_t echo = 0; // among the ports

std::vector<std::uint16_t> ways_of(const Config::Ranking& policy) {
    std::vector<std::uint16_t> ways = policy.ports;
    if (policy.icmp) ways.push_back(echo);
    return ways;
}

} // namespace

Prober::Prober(Probes& probes, const Config::Ranking& policy, std::size_t most)
    : probes_(probes), policy_(policy), ways_(ways_of(policy)), limits_(most) {
    probes_.set_listener(*this);
}

Prober::~Prober() {
    for (const auto& [id, to] : open_) probes_.close(id);
}

bool Prober::may_probe(const Address& address) const {
    auto contains = [&](const dataplane::Prefix& p) { return p.contains(address); };
    return address.is_unicast() && (!is_special_use(address) || std::ranges::any_of(policy_.allow, contains));
}

bool Prober::rank(FetchId fetch, std::span<const Address> addresses) {
    if (ways_.empty()) return false;
    addresses = addresses.first(std::min(addresses.size(), limits::ranked_addresses));
    if (std::ranges::none_of(addresses, [&](const Address& a) { return may_probe(a); })) {
        counters_.special += addresses.size();
        return false;
    }
    // Those that were cancelled before they began are still in the queue.
    if (std::max(rankings_.size(), asked_.size()) >= limits::rankings) {
        ++counters_.refused;
        return false;
    }
    ++counters_.rankings;
    rankings_[fetch] = {{addresses.begin(), addresses.end()}, 0};
    asked_.push_back(fetch);
    return true;
}

/// What is being probed for it goes on: somebody will ask again.
void Prober::cancel(FetchId fetch) {
    rankings_.erase(fetch);
}

void Prober::set_policy(const Config::Ranking& policy) {
    if (policy == policy_) return;
    policy_ = policy;
    ways_ = ways_of(policy);
    while (!subjects_.empty()) end(subjects_.begin());
    probes_.rest();
    measurements_.clear();
}

void Prober::tick(Time now) {
    for (unsigned i = 0; i < limits::rankings_per_tick && !asked_.empty(); ++i) {
        FetchId fetch = asked_.front();
        asked_.pop_front();
        auto at = rankings_.find(fetch);
        if (at != rankings_.end()) begin(fetch, at->second, now);
    }
    for (auto at = subjects_.begin(); at != subjects_.end();) go_on(at++, now);
}

std::optional<Prober::Order> Prober::take() {
    while (!ready_.empty()) {
        FetchId fetch = ready_.front();
        ready_.pop_front();
        auto at = rankings_.find(fetch);
        if (at == rankings_.end()) continue;
        Order order{fetch, order_of(at->second.addresses, measurements_, policy_.max_addresses > 0)};
        rankings_.erase(at);
        counters_.ordered += !order.addresses.empty();
        return order;
    }
    return std::nullopt;
}

void Prober::begin(FetchId fetch, Ranking& ranking, Time now) {
    for (const Address& address : ranking.addresses) {
        if (!may_probe(address)) {
            ++counters_.special;
            continue;
        }
        const Measurement* known = measurements_.use(address);
        bool is_fresh = known && known->is_fresh(now, policy_.cache);
        counters_.cached += is_fresh;
        if (!is_fresh) ranking.awaited += probe(address, fetch, now);
    }
    if (ranking.awaited == 0) ready_.push_back(fetch);
}

/// False: it cannot be probed now.
bool Prober::probe(const Address& address, FetchId fetch, Time now) {
    auto [at, is_new] = subjects_.try_emplace(address);
    Subject& subject = at->second;
    if (is_new) {
        subject.started = now;
        if (!try_next(address, subject, now)) {
            end(at);
            return false;
        }
    }
    bool is_noted = std::ranges::find(subject.waiting, fetch) != subject.waiting.end();
    if (!is_noted) subject.waiting.push_back(fetch);
    return !is_noted; // an answer may name an address twice
}

/// Starts the next probe that this machine can send. False: a limit keeps it back, or there is none left.
bool Prober::try_next(const Address& address, Subject& subject, Time now) {
    subject.next_try =
        std::max(now, subject.started + limits::probe_stagger * std::int64_t(subject.tried + 1));
    while (subject.tried < ways_.size()) {
        if (!limits_.enter(address, policy_.rate, now)) {
            ++counters_.limited;
            return false;
        }
        dataplane::Endpoint to{address, ways_[subject.tried++]};
        auto probe = probes_.start(to, now);
        if (probe) {
            ++counters_.probes;
            subject.last_port = to.port;
            subject.open.push_back(*probe);
            open_.emplace(*probe, to);
            return true;
        }
        limits_.give_back(address, policy_.rate);
        ++counters_.unsent;
    }
    return false;
}

void Prober::on_probe_ended(ProbeId probe, bool has_answered, Time rtt, Time now) {
    auto found = open_.find(probe);
    if (found == open_.end()) return;
    dataplane::Endpoint to = found->second;
    auto at = subjects_.find(to.address);
    std::erase(at->second.open, probe);
    close(probe);
    if (has_answered) {
        ++counters_.answered;
        measurements_.note_answer(to.address, to.port, rtt, now);
        return end(at);
    }
    if (at->second.open.empty()) at->second.next_try = now;
    go_on(at, now);
}

/// Its time may be over, or come to try something else.
void Prober::go_on(Subjects::iterator at, Time now) {
    auto& [address, subject] = *at;
    bool has_time = now < subject.started + limits::probe;
    constexpr Time last_try =
        limits::ranking_ports * limits::probe_stagger + limits::probe_stagger / 4; // ticks are late
    bool is_early = now <= subject.started + last_try;
    // What is tried later than the last way ought to be could not answer in time.
    if (is_early && now >= subject.next_try && subject.tried < ways_.size()) try_next(address, subject, now);
    bool waits = !subject.open.empty() || subject.tried < ways_.size();
    if (has_time && waits) return;
    if (subject.tried == ways_.size()) { // else a limit came between: that is not the address's fault
        ++counters_.failed;
        measurements_.note_failure(address, subject.last_port, now);
    }
    end(at);
}

void Prober::end(Subjects::iterator at) {
    Subject subject = std::move(at->second);
    subjects_.erase(at);
    for (ProbeId probe : subject.open) close(probe);
    for (FetchId fetch : subject.waiting) {
        auto ranking = rankings_.find(fetch);
        if (ranking != rankings_.end() && --ranking->second.awaited == 0) ready_.push_back(fetch);
    }
}

void Prober::close(ProbeId probe) {
    auto at = open_.find(probe);
    limits_.leave(at->second.address);
    open_.erase(at);
    probes_.close(probe);
}

} // namespace millrace::control
