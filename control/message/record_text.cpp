#include "control/message/record_text.hpp"

#include <cstdlib>

#include "cache/limits.hpp"
#include "dataplane/query.hpp"

namespace millrace::control {

RecordHandle parse_local_record(const std::string& line) {
    constexpr std::uint32_t default_ttl = 3600;
    ldns_rr* raw = nullptr;
    if (ldns_rr_new_frm_str(&raw, line.c_str(), default_ttl, nullptr, nullptr) != LDNS_STATUS_OK)
        return nullptr;
    RecordHandle record(raw);
    bool usable = ldns_rr_get_class(raw) == LDNS_RR_CLASS_IN && is_sound(raw) &&
                  dataplane::is_data_type(std::uint16_t(ldns_rr_get_type(raw)));
    return usable ? std::move(record) : nullptr;
}

bool is_sound(const ldns_rr* record) {
    auto is_name = [](const ldns_rdf* field) {
        return field && ldns_rdf_get_type(field) == LDNS_RDF_TYPE_DNAME &&
               ldns_rdf_size(field) <= cache::limits::name_octets;
    };
    const ldns_rr_descriptor* type = ldns_rr_descript(std::uint16_t(ldns_rr_get_type(record)));
    if (!is_name(ldns_rr_owner(record)) || ldns_rr_rd_count(record) < ldns_rr_descriptor_minimum(type))
        return false;
    for (std::size_t i = 0; i < ldns_rr_rd_count(record); ++i) {
        const ldns_rdf* field = ldns_rr_rdf(record, i);
        bool has_name = ldns_rr_descriptor_field_type(type, i) == LDNS_RDF_TYPE_DNAME ||
                        ldns_rdf_get_type(field) == LDNS_RDF_TYPE_DNAME;
        if (has_name && !is_name(field)) return false;
    }
    return true;
}

tl::expected<cache::Key, std::string> parse_question(const std::string& name, const std::string& type) {
    auto parsed = cache::parse_name(name);
    if (!parsed) return tl::unexpected("'" + name + "' is not a domain name");
    ldns_rr_type number = ldns_get_rr_type_by_name(type.c_str());
    if (number == 0 || number > 0xffff) return tl::unexpected("'" + type + "' is not a record type");
    cache::Key key;
    key.name = *parsed;
    key.qtype = std::uint16_t(number);
    key.qclass = LDNS_RR_CLASS_IN;
    return key;
}

std::string type_text(std::uint16_t type) {
    char* text = ldns_rr_type2str(ldns_rr_type(type));
    std::string name = text ? text : "?";
    std::free(text);
    return name;
}

} // namespace millrace::control
