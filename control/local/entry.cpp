#include "control/local/entry.hpp"

#include <vector>

#include "cache/dns.hpp"
#include "cache/limits.hpp"
#include "control/limits.hpp"
#include "control/message/record_text.hpp"

namespace millrace::control {

namespace {

using Octets = std::vector<std::uint8_t>;

/// Collects records in wire format.
class Records {
  public:
    void add(std::uint16_t type, std::uint16_t rclass, std::uint32_t ttl, const Octets& rdata) {
        put(dns::pointer_to_question), put(type), put(rclass);
        ttls_.push_back(std::uint16_t(wire_.size()));
        put(ttl >> 16), put(ttl), put(unsigned(rdata.size()));
        wire_.insert(wire_.end(), rdata.begin(), rdata.end());
    }

    cache::EntryPtr entry(unsigned rcode, bool in_authority) const {
        if (wire_.size() + cache::limits::name_octets + 64 > cache::limits::message_octets) return nullptr;
        cache::EntryDraft draft;
        draft.rcode = std::uint8_t(rcode);
        (in_authority ? draft.authorities : draft.answers) = std::uint16_t(ttls_.size());
        draft.records = wire_;
        draft.ttl_offsets = ttls_;
        return cache::Entry::make(draft);
    }

  private:
    void put(unsigned value) {
        wire_.push_back(std::uint8_t(value >> 8));
        wire_.push_back(std::uint8_t(value));
    }

    Octets wire_;
    std::vector<std::uint16_t> ttls_;
};

Octets rdata_of(const ldns_rr* record) {
    Octets out;
    for (std::size_t i = 0; i < ldns_rr_rd_count(record); ++i) {
        const ldns_rdf* field = ldns_rr_rdf(record, i);
        out.insert(out.end(), ldns_rdf_data(field), ldns_rdf_data(field) + ldns_rdf_size(field));
    }
    return out;
}

/// As Unbound's for its local zones.
RecordHandle soa(std::uint32_t ttl) {
    std::string text = std::to_string(ttl);
    return parse_local_record(". " + text + " IN SOA localhost. nobody.invalid. 1 3600 1200 604800 " + text);
}

} // namespace

cache::EntryPtr make_local_records(std::span<const ldns_rr* const> records) {
    if (records.size() > limits::rrset_records) return nullptr;
    Records out;
    for (const ldns_rr* r : records) {
        out.add(std::uint16_t(ldns_rr_get_type(r)), LDNS_RR_CLASS_IN, ldns_rr_ttl(r), rdata_of(r));
    }
    return out.entry(LDNS_RCODE_NOERROR, false);
}

cache::EntryPtr make_denial(unsigned rcode, std::uint32_t ttl) {
    Records out;
    out.add(LDNS_RR_TYPE_SOA, LDNS_RR_CLASS_IN, ttl, rdata_of(soa(ttl).get()));
    return out.entry(rcode, true);
}

cache::EntryPtr make_local_soa(std::uint32_t ttl) {
    RecordHandle record = soa(ttl);
    const ldns_rr* one = record.get();
    return make_local_records({&one, 1});
}

cache::EntryPtr make_chaos_text(std::string_view text) {
    Octets rdata{std::uint8_t(text.size())};
    rdata.insert(rdata.end(), text.begin(), text.end());
    Records out;
    out.add(LDNS_RR_TYPE_TXT, LDNS_RR_CLASS_CH, 0, rdata);
    return out.entry(LDNS_RCODE_NOERROR, false);
}

} // namespace millrace::control
