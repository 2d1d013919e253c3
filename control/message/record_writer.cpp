#include "control/message/record_writer.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <utility>

#include "cache/dns.hpp"
#include "cache/keyed_hash.hpp"
#include "cache/limits.hpp"
#include "cache/name.hpp"
#include "cache/wire.hpp"

namespace millrace::control {

namespace {

constexpr unsigned probes = 8; // of the table, for one label
constexpr std::size_t least_places = 64, most_places = 8192;
constexpr std::size_t places_per_record = 8;  // a power of two of them
constexpr std::size_t pointer_reach = 0x4000; // RFC 1035 4.1.4: 14 bits

/// RFC 3597 4: of these alone receivers know that names in them may be compressed.
bool has_compressible_names(ldns_rr_type type) {
    static constexpr std::array types = {LDNS_RR_TYPE_NS,    LDNS_RR_TYPE_MD,  LDNS_RR_TYPE_MF,
                                         LDNS_RR_TYPE_CNAME, LDNS_RR_TYPE_SOA, LDNS_RR_TYPE_MB,
                                         LDNS_RR_TYPE_MG,    LDNS_RR_TYPE_MR,  LDNS_RR_TYPE_PTR,
                                         LDNS_RR_TYPE_MINFO, LDNS_RR_TYPE_MX};
    return std::ranges::find(types, type) != types.end();
}

std::span<const std::uint8_t> octets_of(const ldns_rdf* field) {
    return {ldns_rdf_data(field), ldns_rdf_size(field)};
}

} // namespace

RecordWriter::RecordWriter(const cache::Key& key, std::size_t records, std::pmr::memory_resource* memory)
    : message_(memory), ttl_offsets_(memory),
      labels_(std::bit_ceil(std::clamp(records * places_per_record, least_places, most_places)), memory) {
    message_.reserve(dns::header_octets + key.name.size + 4 + records * 64);
    message_.resize(dns::header_octets);
    ttl_offsets_.reserve(records);
    append(key.name.bytes());
    u16(key.qtype);
    u16(key.qclass);
    question_end_ = message_.size();
}

void RecordWriter::add(const ldns_rr* record, std::uint32_t ttl) {
    if (!ok_) return;
    std::size_t begin = message_.size();
    write_name(octets_of(ldns_rr_owner(record)));
    u16(ldns_rr_get_type(record));
    u16(ldns_rr_get_class(record));
    std::size_t ttl_at = message_.size();
    u16(ttl >> 16);
    u16(ttl & 0xffff);
    std::size_t length_at = message_.size();
    u16(0);
    bool compresses = has_compressible_names(ldns_rr_get_type(record));
    for (std::size_t i = 0; i < ldns_rr_rd_count(record); ++i) {
        const ldns_rdf* field = ldns_rr_rdf(record, i);
        bool is_name = compresses && ldns_rdf_get_type(field) == LDNS_RDF_TYPE_DNAME;
        is_name ? write_name(octets_of(field)) : append(octets_of(field));
    }
    ok_ = message_.size() <= cache::limits::message_octets;
    if (!ok_) {
        message_.resize(begin);
        return;
    }
    cache::store_u16(&message_[length_at], std::uint16_t(message_.size() - length_at - 2));
    ttl_offsets_.push_back(std::uint16_t(ttl_at - question_end_));
}

RecordWriter::Labels::Labels(std::span<const std::uint8_t> octets) : name(octets) {
    for (std::size_t at = 0; name[at] != 0; at += 1u + name[at]) starts[count++] = std::uint8_t(at);
}

/// The longest end of the name that was written before becomes a pointer; the labels in front of it are new.
void RecordWriter::write_name(std::span<const std::uint8_t> name) {
    if (is_qname(name)) return u16(dns::pointer | dns::header_octets);
    if (!std::exchange(knows_question_, true)) {
        Labels question{std::span(message_).subspan(dns::header_octets)};
        remember(question, question.count, 0, dns::header_octets);
    }
    Labels labels(name);
    std::uint16_t known = 0;
    std::size_t fresh = labels.count; // labels from here on are in the message already
    while (fresh > 0) {
        std::uint16_t below = find(known, labels[fresh - 1]);
        if (below == 0) break;
        known = below;
        --fresh;
    }
    std::size_t begin = message_.size();
    append(name.first(fresh < labels.count ? labels.starts[fresh] : name.size() - 1));
    if (known == 0) {
        message_.push_back(0);
    } else {
        u16(dns::pointer | labels_[known - 1u].offset);
    }
    remember(labels, fresh, known, begin);
}

/// Not the root, which is shorter than a pointer.
bool RecordWriter::is_qname(std::span<const std::uint8_t> name) const {
    std::size_t size = question_end_ - dns::header_octets - 4;
    return name.size() == size && size > 1 && is_at(dns::header_octets, name);
}

/// The first `fresh` labels of a name that is in the message from `begin` on; the rest of it is `known`.
void RecordWriter::remember(const Labels& labels, std::size_t fresh, std::uint16_t known, std::size_t begin) {
    for (std::size_t i = fresh; i-- > 0;) {
        std::uint16_t number = insert(known, labels[i], begin + labels.starts[i]);
        if (number == 0) return; // no place: what is in front of it cannot be found either
        known = number;
    }
}

std::size_t RecordWriter::first_place(std::uint16_t parent, std::span<const std::uint8_t> label) {
    std::array<std::uint8_t, 1 + cache::limits::label_octets> folded;
    std::ranges::transform(label, folded.begin(), cache::fold);
    ++steps_;
    return cache::keyed_hash(std::span(folded).first(label.size()), parent) & (labels_.size() - 1);
}

/// The number of a label below its parent; 0: it was not written, or was not remembered.
std::uint16_t RecordWriter::find(std::uint16_t parent, std::span<const std::uint8_t> label) {
    std::size_t place = first_place(parent, label);
    for (unsigned probe = 0; probe < probes; ++probe, place = (place + 1) & (labels_.size() - 1)) {
        const Label& known = labels_[place];
        ++steps_;
        if (known.offset == 0) return 0;
        if (known.parent == parent && is_at(known.offset, label)) return std::uint16_t(place + 1);
    }
    return 0;
}

/// Remembers a label that is new. 0: it is out of a pointer's reach, or there is no place.
std::uint16_t RecordWriter::insert(std::uint16_t parent, std::span<const std::uint8_t> label,
                                   std::size_t offset) {
    if (offset >= pointer_reach) return 0;
    std::size_t place = first_place(parent, label);
    for (unsigned probe = 0; probe < probes; ++probe, place = (place + 1) & (labels_.size() - 1)) {
        ++steps_;
        if (labels_[place].offset != 0) continue;
        labels_[place] = {parent, std::uint16_t(offset)};
        return std::uint16_t(place + 1);
    }
    return 0;
}

/// A label, or the question's whole name. RFC 4343: whatever the letter case.
bool RecordWriter::is_at(std::size_t offset, std::span<const std::uint8_t> octets) const {
    if (message_[offset] != octets[0]) return false; // another length: what is there may end before this does
    return std::ranges::equal(std::span(message_).subspan(offset, octets.size()), octets, {}, cache::fold,
                              cache::fold);
}

void RecordWriter::append(std::span<const std::uint8_t> octets) {
    message_.insert(message_.end(), octets.begin(), octets.end());
}

void RecordWriter::u16(unsigned value) {
    message_.push_back(std::uint8_t(value >> 8));
    message_.push_back(std::uint8_t(value));
}

} // namespace millrace::control
