#include "dataplane/access.hpp"

#include <algorithm>
#include <cstdlib>

namespace millrace::dataplane {

namespace {

/// The address with all bits from `bits` on set to ones, or to zeros.
Address filled(Address address, unsigned bits, bool ones) {
    for (unsigned at = 0; at < address.octets.size(); ++at) {
        unsigned kept = std::clamp(int(bits) - int(at) * 8, 0, 8);
        auto rest = std::uint8_t(0xff >> kept);
        address.octets[at] = std::uint8_t(ones ? address.octets[at] | rest : address.octets[at] & ~rest);
    }
    return address;
}

std::uint64_t word(const std::uint8_t* at) {
    std::uint64_t value;
    std::memcpy(&value, at, sizeof value);
    return value;
}

/// The finaliser of MurmurHash3: every bit of the argument reaches every bit of the result.
std::uint64_t scramble(std::uint64_t x) {
    x = (x ^ x >> 33) * 0xff51afd7ed558ccdu;
    x = (x ^ x >> 33) * 0xc4ceb9fe1a85ec53u;
    return x ^ x >> 33;
}

} // namespace

Access::Access(ClientPolicy policy) : compiled_(std::make_unique<Compiled>(std::move(policy))) {
    arc4random_buf(&secret_, sizeof secret_);
}

/// Basic algorithm: prefixes nest or are disjoint, so in rising order each one either lies within the range
/// before it or begins a new one.
Access::Compiled::Compiled(ClientPolicy policy) : limits(policy.limits) {
    for (const Prefix& p : policy.allow) {
        allowed.push_back({filled(p.address, p.bits, false), filled(p.address, p.bits, true)});
    }
    std::ranges::sort(allowed, [](const Range& a, const Range& b) {
        return a.first != b.first ? a.first < b.first : a.last > b.last;
    });
    std::vector<Range> disjoint;
    for (const Range& range : allowed) {
        if (disjoint.empty() || disjoint.back().last < range.first) disjoint.push_back(range);
    }
    allowed = std::move(disjoint);
}

bool Access::allows(const Address& client) const {
    const auto& allowed = compiled_.get().allowed;
    auto above = std::ranges::upper_bound(allowed, client, {}, &Range::first);
    return above != allowed.begin() && client <= std::prev(above)->last;
}

std::uint64_t Access::prefix_of(const Address& client) const {
    const RateLimits& limit = limits();
    unsigned bits = client.is_v4() ? 96 + limit.ipv4_prefix : limit.ipv6_prefix;
    Address masked = filled(client, bits, false);
    return scramble(word(masked.octets.data() + 8) ^ scramble(word(masked.octets.data()) ^ secret_));
}

std::uint64_t Access::mixed(std::uint64_t prefix, std::uint64_t with) {
    return scramble(prefix ^ scramble(with));
}

void Access::replace(ClientPolicy policy, cache::Grace& grace) {
    compiled_.replace(std::make_unique<Compiled>(std::move(policy)), grace);
}

} // namespace millrace::dataplane
