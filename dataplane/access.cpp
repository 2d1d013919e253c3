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

/// ::ffff:0:0/96 is IPv4's, and what lies before and behind it IPv6's (RFC 4291 2.5.5.2).
constexpr Address last_before_v4{{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xfe, 0xff, 0xff, 0xff, 0xff}};
constexpr Address first_behind_v4{{0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0}};

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

std::uint64_t events_per_second(unsigned per_us) {
    return std::uint64_t(per_us) * 1'000'000;
}

} // namespace

Access::Access(const ClientPolicy& policy, unsigned packets_per_us)
    : packets_per_us_(packets_per_us), compiled_(std::make_unique<Compiled>(policy, packets_per_us, nullptr)),
      starts_(RateTable::places_for(events_per_second(limits::questions_per_us_of_control),
                                    limits::starts_per_key)) {
    arc4random_buf(&secret_, sizeof secret_);
}

/// Basic algorithm: prefixes nest or are disjoint, and so are what is left of those of IPv6 that have IPv4 in
/// their middle, so in rising order each one either lies within the range before it or begins a new one.
Access::Compiled::Compiled(const ClientPolicy& policy, unsigned packets_per_us, std::shared_ptr<Rates> rates)
    : limits_(policy.limits), rates_(std::move(rates)) {
    for (const Prefix& p : policy.allow) {
        Address first = filled(p.address, p.bits, false), last = filled(p.address, p.bits, true);
        bool around_v4 = !p.address.is_v4() && first <= last_before_v4 && last > last_before_v4;
        allowed_.push_back({first, around_v4 ? last_before_v4 : last});
        if (around_v4 && last >= first_behind_v4) allowed_.push_back({first_behind_v4, last});
    }
    std::ranges::sort(allowed_, [](const Range& a, const Range& b) {
        return a.first != b.first ? a.first < b.first : a.last > b.last;
    });
    std::vector<Range> disjoint;
    for (const Range& range : allowed_) {
        if (disjoint.empty() || disjoint.back().last < range.first) disjoint.push_back(range);
    }
    allowed_ = std::move(disjoint);

    std::uint64_t received = events_per_second(packets_per_us);
    std::uint64_t missed = events_per_second(limits::questions_per_us_of_control);
    Rates::Places places{
        RateTable::places_for(received, limits_.queries), RateTable::places_for(received, limits_.errors),
        RateTable::places_for(received, limits_.responses), RateTable::places_for(missed, limits_.fetches)};
    if (!rates_ || rates_->places() != places) rates_ = std::make_shared<Rates>(places);
}

bool Access::allows(const Address& client) const {
    const auto& allowed = compiled_.get().allowed_;
    auto above = std::ranges::upper_bound(allowed, client, {}, &Compiled::Range::first);
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

Access::Taken Access::takes_query(std::uint64_t prefix, bool tcp, Time now) const {
    const Compiled& c = compiled_.get();
    return c.rates_->queries.take(mixed(prefix, tcp), c.limits_.queries, now);
}

Access::Taken Access::takes_error(std::uint64_t prefix, Time now) const {
    const Compiled& c = compiled_.get();
    return c.rates_->errors.take(prefix, c.limits_.errors, now);
}

Access::Taken Access::takes_response(std::uint64_t prefix, std::uint64_t answer, Time now) const {
    const Compiled& c = compiled_.get();
    return c.rates_->responses.take(mixed(prefix, answer), c.limits_.responses, now);
}

Access::Taken Access::takes_fetch(std::uint64_t prefix, bool tcp, std::uint64_t key, Time now) const {
    const Compiled& c = compiled_.get();
    Taken of_all = c.rates_->fetches.take(mixed(prefix, tcp), c.limits_.fetches, now);
    if (of_all == Taken::no) return of_all;
    Taken of_key = starts_.take(mixed(key, prefix), limits::starts_per_key, now);
    return of_key == Taken::no ? of_key : std::max(of_all, of_key);
}

std::unique_ptr<const Access::Compiled> Access::compile(const ClientPolicy& policy) const {
    return std::make_unique<const Compiled>(policy, packets_per_us_, compiled_.get().rates_);
}

void Access::replace(std::unique_ptr<const Compiled> policy, cache::Grace& grace) {
    compiled_.replace(std::move(policy), grace);
}

std::unique_ptr<const Access::Compiled> Access::exchange(std::unique_ptr<const Compiled> policy) {
    return compiled_.exchange(std::move(policy));
}

void Access::replace(const ClientPolicy& policy, cache::Grace& grace) {
    replace(compile(policy), grace);
}

} // namespace millrace::dataplane
