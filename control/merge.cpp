#include "control/merge.hpp"

#include <algorithm>

#include "control/limits.hpp"
#include "control/message.hpp"
#include "dataplane/address.hpp"

namespace millrace::control {

namespace {

using dataplane::Address;

Address address_of(const Record& record) {
    const ldns_rdf* rdata = ldns_rr_rdf(record.get(), 0);
    bool v4 = ldns_rr_get_type(record.get()) == LDNS_RR_TYPE_A;
    return v4 ? Address::v4(ldns_rdf_data(rdata)) : Address::v6(ldns_rdf_data(rdata));
}

/// Addresses that a merge never adds (DNS rebinding): a foreign name must not point into the client's
/// network.
bool is_internal(const Address& address) {
    static const auto internal = [] {
        std::vector<dataplane::Prefix> prefixes;
        for (const char* text :
             {"0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12",
              "192.168.0.0/16", "::/128", "::1/128", "fc00::/7", "fe80::/10"}) {
            prefixes.push_back(*dataplane::parse_prefix(text));
        }
        return prefixes;
    }();
    return std::ranges::any_of(internal, [&](const auto& p) { return p.contains(address); });
}

bool same_chain(const Answer& a, const Answer& b) {
    return std::ranges::equal(a.chain, b.chain, [](const Record& x, const Record& y) {
        return ldns_rr_compare_no_rdata(x.get(), y.get()) == 0 && ldns_rr_compare(x.get(), y.get()) == 0;
    });
}

Time expiry_of(const Record& record, Time received) {
    return received + std::chrono::seconds(ldns_rr_ttl(record.get()));
}

Time lowest_expiry(const Answer& answer) {
    Time lowest = Time::max();
    for (const auto* part : {&answer.chain, &answer.records}) {
        for (const Record& r : *part) lowest = std::min(lowest, expiry_of(r, answer.received));
    }
    return lowest;
}

/// Gives the records of the answer one TTL that ends, counted from its own arrival, at `expiry`.
void set_ttls(std::vector<Record>& records, Time received, Time expiry) {
    auto left = std::chrono::duration_cast<std::chrono::seconds>(expiry - received).count();
    auto ttl = std::uint32_t(std::max<std::int64_t>(0, left));
    for (Record& r : records) {
        if (ldns_rr_ttl(r.get()) > ttl) r = with_ttl(r, ttl);
    }
}

bool has(const Answer& answer, const Address& address) {
    return std::ranges::any_of(answer.records, [&](const Record& r) { return address_of(r) == address; });
}

} // namespace

bool can_merge(const cache::Key& key, const Answer& winner, Config::MergePolicy policy) {
    bool addresses = key.qtype == LDNS_RR_TYPE_A || key.qtype == LDNS_RR_TYPE_AAAA;
    return policy != Config::MergePolicy::off && addresses && key.flavour == cache::plain &&
           winner.kind == Kind::positive && !winner.is_signed && !winner.authentic;
}

Merged merge(std::span<const Answer> answers) {
    const Answer& winner = answers.front();
    Merged merged;
    merged.latest_expiry = lowest_expiry(winner);
    Answer united = winner;
    bool agree = true;
    for (const Answer& other : answers.subspan(1)) {
        if (other.kind == Kind::nxdomain || other.kind == Kind::nodata) merged.disagreement = true;
        if (other.kind != Kind::positive) continue;
        agree = agree && !other.is_signed && !other.authentic && same_chain(winner, other);
        if (!agree) break;
        for (const Record& r : other.records) {
            Address address = address_of(r);
            if (!is_internal(address) && !has(united, address)) united.records.push_back(r);
        }
        merged.latest_expiry = std::min(merged.latest_expiry, lowest_expiry(other));
    }
    if (merged.disagreement) {
        // Positive against negative is never combined: the earlier decision stands, briefly.
        merged.latest_expiry = std::min(lowest_expiry(winner), winner.received + limits::disagreement_ttl);
        if (merged.latest_expiry < lowest_expiry(winner)) merged.answer = winner;
    } else if (agree && united.records.size() <= limits::merged_addresses) {
        bool grew = united.records.size() > winner.records.size();
        if (grew || merged.latest_expiry < lowest_expiry(winner)) merged.answer = std::move(united);
    }
    if (merged.answer) {
        set_ttls(merged.answer->chain, winner.received, merged.latest_expiry);
        set_ttls(merged.answer->records, winner.received, merged.latest_expiry);
    }
    return merged;
}

} // namespace millrace::control
