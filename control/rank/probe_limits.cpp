#include "control/rank/probe_limits.hpp"

#include <algorithm>

#include "control/rank/special_use.hpp"

namespace millrace::control {

using dataplane::Address;

namespace {

Address network_of(Address address) {
    address = carried_v4(address).value_or(address);
    std::size_t kept = address.is_v4() ? 12 + 3 : 6; // octets
    std::fill(address.octets.begin() + std::ptrdiff_t(kept), address.octets.end(), std::uint8_t(0));
    return address;
}

} // namespace

bool ProbeLimits::Bucket::has_token(unsigned rate, Time now) const {
    return std::max(full, now) + Time(1s) / rate <= now + 1s;
}

void ProbeLimits::Bucket::take(unsigned rate, Time now) {
    full = std::max(full, now) + Time(1s) / rate;
    ++open;
}

bool ProbeLimits::enter(const Address& address, unsigned rate, Time now) {
    forget(now);
    unsigned own_rate = std::min(rate, limits::probes_per_prefix);
    auto at = networks_.find(network_of(address));
    bool fits = all_.open < most_ && all_.has_token(rate, now);
    if (at != networks_.end()) {
        fits = fits && at->second.open < limits::probes_per_prefix && at->second.has_token(own_rate, now);
    }
    if (!fits) return false;
    all_.take(rate, now);
    networks_[network_of(address)].take(own_rate, now);
    return true;
}

void ProbeLimits::give_back(const Address& address, unsigned rate) {
    leave(address);
    all_.full -= Time(1s) / rate;
    networks_.at(network_of(address)).full -= Time(1s) / std::min(rate, limits::probes_per_prefix);
}

void ProbeLimits::leave(const Address& address) {
    --all_.open;
    --networks_.at(network_of(address)).open;
}

/// A full bucket of which nothing is open is as good as none.
void ProbeLimits::forget(Time now) {
    if (now - forgotten_ < 1s) return;
    forgotten_ = now;
    std::erase_if(networks_, [&](const auto& one) { return one.second.open == 0 && one.second.full <= now; });
}

} // namespace millrace::control
