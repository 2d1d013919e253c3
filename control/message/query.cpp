#include "control/message/query.hpp"

#include "cache/dns.hpp"
#include "control/limits.hpp"
#include "control/message/ldns_handle.hpp"
#include "control/message/records.hpp"

namespace millrace::control {

namespace {

std::vector<std::uint8_t> query_by_ldns(const cache::Key& key) {
    PacketHandle packet(ldns_pkt_new());
    RecordHandle question = question_record(key, key.name.bytes());
    if (!packet || !question) return {};
    ldns_pkt_set_rd(packet.get(), true);
    ldns_pkt_set_cd(packet.get(), key.flavour & cache::checking_disabled);
    ldns_pkt_set_edns_udp_size(packet.get(), limits::upstream_edns_octets);
    ldns_pkt_set_edns_do(packet.get(), true);
    if (!ldns_pkt_push_rr(packet.get(), LDNS_SECTION_QUESTION, question.get())) return {};
    question.release(); // the packet's now
    return to_wire(*packet);
}

std::vector<std::uint8_t> root_query(std::uint8_t flavour) {
    cache::Key key;
    key.name = *cache::parse_name(".");
    key.flavour = flavour;
    return query_by_ldns(key);
}

} // namespace

/// ldns takes 66 allocations for a query, so it writes one for the root, once. All others differ from that in
/// ID, name and type only: nothing in a query is compressed, and the OPT record's own name is the root's.
std::vector<std::uint8_t> build_query(const cache::Key& key, std::uint16_t id,
                                      std::span<const std::uint8_t> qname_as_sent,
                                      std::vector<std::uint8_t> room) {
    static const auto plain = root_query(cache::plain), unchecked = root_query(cache::checking_disabled);
    const auto& pattern = key.flavour & cache::checking_disabled ? unchecked : plain;
    if (pattern.empty()) return {};
    std::vector<std::uint8_t> query = std::move(room);
    query.clear();
    query.reserve(pattern.size() + qname_as_sent.size());
    auto after_name = pattern.begin() + dns::header_octets + 1;
    query.insert(query.end(), pattern.begin(), after_name - 1);
    query.insert(query.end(), qname_as_sent.begin(), qname_as_sent.end());
    std::size_t type = query.size();
    query.insert(query.end(), after_name, pattern.end());
    cache::store_u16(query.data(), id);
    cache::store_u16(&query[type], key.qtype);
    cache::store_u16(&query[type + 2], key.qclass);
    return query;
}

/// It is the last record, and the only one.
std::vector<std::uint8_t> without_opt(std::vector<std::uint8_t> query) {
    constexpr std::size_t arcount_at = 10;
    if (cache::load_u16(&query[arcount_at]) == 0) return query;
    query.resize(query.size() - dns::opt_octets);
    cache::store_u16(&query[arcount_at], 0);
    return query;
}

} // namespace millrace::control
