#include "control/fetch/dns64.hpp"

#include <algorithm>
#include <array>
#include <utility>

#include "control/limits.hpp"
#include "control/message/records.hpp"
#include "control/rank/special_use.hpp"

namespace millrace::control {

using dataplane::Address;
using dataplane::Dns64;

namespace {

constexpr std::uint32_t reverse_ttl = 600;     // of the CNAME to the name in in-addr.arpa
constexpr std::uint32_t ipv4only_ttl = 86'400; // as in the zone itself (RFC 7050 8.2)
constexpr Time unlimited_ttl = 600s;           // without an SOA to say so (RFC 6147 5.1.7)
constexpr std::array<std::array<std::uint8_t, 4>, 2> ipv4only{{{192, 0, 0, 170}, {192, 0, 0, 171}}};

bool is_of_type(const Record& record, ldns_rr_type type) {
    return ldns_rr_get_type(record.get()) == type;
}

/// Null when memory is exhausted.
Record address_record(const ldns_rdf* owner, std::uint32_t ttl, const Address& address) {
    RecordHandle record(ldns_rr_new());
    if (!record) return nullptr;
    bool is_v4 = address.is_v4();
    auto octets = std::span(address.octets).subspan(is_v4 ? 12 : 0);
    ldns_rr_set_owner(record.get(), ldns_rdf_clone(owner));
    ldns_rr_set_type(record.get(), is_v4 ? LDNS_RR_TYPE_A : LDNS_RR_TYPE_AAAA);
    ldns_rr_set_class(record.get(), LDNS_RR_CLASS_IN);
    ldns_rr_set_ttl(record.get(), ttl);
    auto* field =
        ldns_rdf_new_frm_data(is_v4 ? LDNS_RDF_TYPE_A : LDNS_RDF_TYPE_AAAA, octets.size(), octets.data());
    if (!ldns_rr_owner(record.get()) || !field || !ldns_rr_push_rdf(record.get(), field)) return nullptr;
    return record;
}

/// RFC 6052 3.1: the well-known prefix stands before global addresses alone.
bool may_embed(const Dns64& rule, const Address& v4) {
    return !(rule.prefix == Dns64::well_known() && is_special_use(v4));
}

/// The client would find out that we made it (RFC 6147 5.5): so he gets what was signed.
bool is_validated_by_client(const cache::Key& key, const Answer& answer) {
    return key.flavour & cache::dnssec_ok && (answer.is_signed || answer.authentic);
}

void drop_what_is_signed(Answer& answer) {
    answer.authentic = false;
    answer.signatures.clear();
    answer.proofs.clear();
}

} // namespace

Alias native_alias(const cache::Key& key) {
    Alias alias;
    alias.target = key;
    alias.target.set_dns64(0);
    alias.is_chased = true;
    if (key.qtype == LDNS_RR_TYPE_AAAA) alias.dns64 = Alias::Dns64::native;
    return alias;
}

Alias mapped_alias(const cache::Key& key, Time now) {
    Alias alias = native_alias(key);
    alias.target.qtype = LDNS_RR_TYPE_A;
    alias.dns64 = Alias::Dns64::mapped;
    alias.latest = now + limits::followed_ttl;
    return alias;
}

Alias reverse_alias(const Dns64& rule, const cache::Key& key) {
    Alias alias = native_alias(key);
    auto address = dataplane::address_of_reverse(key.name.bytes());
    auto v4 = address ? rule.extract(*address) : std::nullopt;
    if (!v4) return alias; // a rule of the operator's has led here
    alias.target.name = dataplane::reverse_of(*v4);
    alias.chain.push_back(make_cname(key.name, alias.target.name, reverse_ttl));
    alias.is_chased = false;
    return alias;
}

std::optional<Answer> ipv4only_answer(const Dns64& rule, const cache::Key& key, Time now) {
    Answer answer;
    answer.kind = Kind::positive;
    answer.rcode = LDNS_RCODE_NOERROR;
    answer.received = now;
    RecordHandle question = question_record(key, key.name.bytes());
    for (const auto& v4 : ipv4only) {
        Address address = key.qtype == LDNS_RR_TYPE_A ? Address::v4(v4.data()) : rule.embed(v4);
        Record record =
            question ? address_record(ldns_rr_owner(question.get()), ipv4only_ttl, address) : nullptr;
        if (!record) return std::nullopt;
        answer.records.push_back(std::move(record));
    }
    return answer;
}

bool stands(const Dns64& rule, const cache::Key& key, Answer& native) {
    bool is_denied = native.kind == Kind::nxdomain || native.kind == Kind::yxdomain;
    if (is_denied || is_validated_by_client(key, native)) return true;
    if (native.kind != Kind::positive) return false;
    auto is_excluded = [&](const Record& record) {
        const ldns_rdf* field = ldns_rr_rdf(record.get(), 0);
        return is_of_type(record, LDNS_RR_TYPE_AAAA) && rule.is_excluded(Address::v6(ldns_rdf_data(field)));
    };
    if (std::erase_if(native.records, is_excluded) > 0) drop_what_is_signed(native);
    if (!native.records.empty()) return true;
    native.kind = Kind::incomplete; // NODATA, without an SOA
    return false;
}

Time latest_expiry(const Answer& native, Time expiry) {
    bool has_soa = std::ranges::any_of(
        native.authority, [](const Record& record) { return is_of_type(record, LDNS_RR_TYPE_SOA); });
    return has_soa ? expiry : native.received + unlimited_ttl;
}

bool synthesise(const Dns64& rule, const cache::Key& key, Answer& answer) {
    if (answer.kind != Kind::positive || is_validated_by_client(key, answer)) return false;
    std::vector<Record> made;
    for (const Record& record : answer.records) {
        if (!is_of_type(record, LDNS_RR_TYPE_A)) continue;
        Address v4 = Address::v4(ldns_rdf_data(ldns_rr_rdf(record.get(), 0)));
        if (!may_embed(rule, v4)) continue;
        Address address = rule.embed(std::span<const std::uint8_t, 4>(v4.v4_octets(), 4));
        made.push_back(address_record(ldns_rr_owner(record.get()), ldns_rr_ttl(record.get()), address));
    }
    if (made.empty() || std::ranges::find(made, nullptr) != made.end()) return false;
    answer.records = std::move(made);
    drop_what_is_signed(answer);
    answer.info.reset();
    return true;
}

} // namespace millrace::control
