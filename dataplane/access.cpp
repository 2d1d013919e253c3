#include "dataplane/access.hpp"

#include <algorithm>
#include <cstdlib>

namespace millrace::dataplane {

namespace {

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

std::uint64_t random_secret() {
    std::uint64_t secret;
    arc4random_buf(&secret, sizeof secret);
    return secret;
}

} // namespace

Access::Access(const ClientPolicy& policy, unsigned packets_per_us)
    : Access(policy, packets_per_us, nullptr,
             std::make_shared<RateTable>(RateTable::places_for(
                 events_per_second(limits::questions_per_us_of_control), limits::starts_per_key)),
             random_secret()) {}

Access::Access(const ClientPolicy& policy, const Access& before)
    : Access(policy, before.packets_per_us_, before.rates_, before.starts_, before.secret_) {}

Access::Access(const ClientPolicy& policy, unsigned packets_per_us, std::shared_ptr<Rates> rates,
               std::shared_ptr<RateTable> starts, std::uint64_t secret)
    : allowed_(policy.allow), limits_(policy.limits), packets_per_us_(packets_per_us),
      rates_(std::move(rates)), starts_(std::move(starts)), secret_(secret) {
    for (const Dns64& rule : policy.dns64) dns64_.push_back({rule, AddressSet(rule.clients)});
    std::uint64_t received = events_per_second(packets_per_us);
    std::uint64_t missed = events_per_second(limits::questions_per_us_of_control);
    Rates::Places places{RateTable::places_for(received, limits_.queries),
                         RateTable::places_for(received, limits_.errors),
                         RateTable::places_for(received, limits_.responses),
                         RateTable::places_for(missed, limits_.fetches),
                         RateTable::places_for(missed, limits_.fetches_per_client),
                         RateTable::places_for(missed, limits_.fetches_per_question)};
    if (!rates_ || rates_->places() != places) rates_ = std::make_shared<Rates>(places);
}

bool Access::allows(const Address& client) const {
    return allowed_.contains(client);
}

unsigned Access::dns64_of(const Address& client, const cache::Key& question) const {
    if (dns64_.empty() || !may_concern_dns64(question)) [[likely]]
        return 0;
    for (std::size_t i = 0; i < dns64_.size(); ++i) {
        if (dns64_[i].rule.concerns(question) && dns64_[i].clients.contains(client)) return unsigned(i) + 1;
    }
    return 0;
}

const Dns64* Access::dns64_rule(unsigned number) const {
    return number > 0 && number <= dns64_.size() ? &dns64_[number - 1].rule : nullptr;
}

std::uint64_t Access::masked(const Address& client, unsigned ipv4_prefix, unsigned ipv6_prefix) const {
    Address prefix = filled(client, client.is_v4() ? 96 + ipv4_prefix : ipv6_prefix, false);
    return scramble(word(prefix.octets.data() + 8) ^ scramble(word(prefix.octets.data()) ^ secret_));
}

std::uint64_t Access::prefix_of(const Address& client) const {
    return masked(client, limits().ipv4_prefix, limits().ipv6_prefix);
}

std::uint64_t Access::narrow_prefix_of(const Address& client) const {
    return masked(client, limits().client_ipv4_prefix, limits().client_ipv6_prefix);
}

std::uint64_t Access::mixed(std::uint64_t prefix, std::uint64_t with) {
    return scramble(prefix ^ scramble(with));
}

Access::Taken Access::takes_query(std::uint64_t prefix, bool tcp, Time now) const {
    return rates_->queries.take(mixed(prefix, tcp), limits_.queries, now);
}

Access::Taken Access::takes_error(std::uint64_t prefix, Time now) const {
    return rates_->errors.take(prefix, limits_.errors, now);
}

Access::Taken Access::takes_response(std::uint64_t prefix, std::uint64_t answer, Time now) const {
    return rates_->responses.take(mixed(prefix, answer), limits_.responses, now);
}

Access::Taken Access::takes_fetch(std::uint64_t prefix, bool tcp, Time now) const {
    return rates_->fetches.take(mixed(prefix, tcp), limits_.fetches, now);
}

Access::Taken Access::takes_fetch_of_client(std::uint64_t narrow_prefix, bool tcp, Time now) const {
    return rates_->of_clients.take(mixed(narrow_prefix, tcp), limits_.fetches_per_client, now);
}

Access::Taken Access::takes_fetch_of_key(std::uint64_t prefix, std::uint64_t key, Time now) const {
    return starts_->take(mixed(key, prefix), limits::starts_per_key, now);
}

Access::Taken Access::takes_fetch_of_question(std::uint64_t question, Time now) const {
    return rates_->of_questions.take(question, limits_.fetches_per_question, now);
}

} // namespace millrace::dataplane
