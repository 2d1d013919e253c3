#include "control/message/entry_text.hpp"

#include <algorithm>
#include <cstdlib>

#include "cache/dns.hpp"
#include "cache/wire.hpp"
#include "control/message/records.hpp"
#include "dataplane/address.hpp"

namespace millrace::control {

namespace {

/// The reply that a worker would send, with the TTLs as stored.
std::vector<std::uint8_t> as_message(const cache::Key& key, const cache::Entry& entry) {
    std::vector<std::uint8_t> message(dns::header_octets + key.name.size + dns::type_class_octets +
                                      entry.records_size);
    cache::WireWriter out(message);
    out.u16(0);
    out.u16(std::uint16_t(dns::response | dns::recursion_desired | dns::recursion_available | entry.rcode));
    out.u16(1);
    out.u16(entry.answers);
    out.u16(entry.authorities);
    out.u16(0);
    out.bytes(key.name.bytes());
    out.u16(key.qtype);
    out.u16(key.qclass);
    out.bytes(entry.records());
    return message;
}

std::string line_of(const ldns_rr* record) {
    char* text = ldns_rr2str(record);
    std::string line = text ? text : "";
    std::free(text);
    while (!line.empty() && line.back() == '\n') line.pop_back();
    return line;
}

} // namespace

std::vector<std::string> addresses(const cache::Key& key, const cache::Entry& entry) {
    std::vector<std::string> out;
    auto octets = as_message(key, entry);
    auto message = read_message(octets);
    if (!message) return out;
    for (const RecordView& view : message->answer) {
        const auto* rdata = octets.data() + view.rdata_at;
        if (view.type == LDNS_RR_TYPE_A) out.push_back(to_string(dataplane::Address::v4(rdata)));
        if (view.type == LDNS_RR_TYPE_AAAA) out.push_back(to_string(dataplane::Address::v6(rdata)));
    }
    return out;
}

std::vector<std::string> record_lines(const cache::Key& key, const cache::Entry& entry, Time now) {
    std::vector<std::string> lines;
    auto octets = as_message(key, entry);
    auto message = read_message(octets);
    if (!message) return lines;
    auto age = std::max<std::int64_t>(0, std::chrono::floor<std::chrono::seconds>(now - entry.born).count());
    auto add = [&](const RecordView& view) {
        auto left = std::uint32_t(std::max<std::int64_t>(0, std::int64_t(view.ttl) - age));
        if (Record record = make_record(*message, view, left)) lines.push_back(line_of(record.get()));
    };
    std::ranges::for_each(message->answer, add);
    std::ranges::for_each(message->authority, add);
    return lines;
}

} // namespace millrace::control
