// The structure of a DNS message, and single records of it through ldns.
//
// ldns follows compression pointers forwards and 65535 times, reads a name past its rdata, and accepts an A
// record of five octets. So names are expanded here, pointers going backwards only, and ldns sees one record
// at a time that has no pointers left; what it then makes of it has to cover the rdata exactly. Shares
// nothing between calls.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "cache/entry.hpp"
#include "cache/key.hpp"
#include "cache/name.hpp"
#include "control/message/answer.hpp"
#include "control/message/ldns_handle.hpp"
#include "dataplane/address.hpp"

namespace millrace::control {

/// One record as it lies in the message.
struct RecordView {
    cache::Name owner; ///< folded
    std::uint16_t type = 0;
    std::uint16_t rclass = 0;
    std::uint32_t ttl = 0;    ///< as on the wire
    std::size_t rdata_at = 0; ///< offset in the message
    std::size_t rdata_size = 0;
};

struct MessageView {
    std::span<const std::uint8_t> octets; ///< the whole message; outlives the view
    std::uint16_t flags = 0;              ///< RFC 1035 4.1.1, the second 16 bits
    bool is_scoped = false;               ///< meant for some client subnets only (RFC 7871 7.2.1)
    bool has_opt = false;                 ///< in its additional section
    std::optional<ExtendedError> info;    ///< the one of the OPT that counts (RFC 8914)
    unsigned rcode = 0;                   ///< with the upper eight bits from the OPT, if any (RFC 6891 6.1.3)
    cache::Name qname;                    ///< folded
    std::uint16_t qtype = 0, qclass = 0;
    std::vector<RecordView> answer, authority;
};

inline constexpr unsigned pointer_limit = 126; ///< compression pointers followed in one name

/// Reads the structure. Nothing when the message has not exactly one question, is cut short, or has a broken
/// owner name anywhere. Octets after the last record are ignored.
std::optional<MessageView> read_message(std::span<const std::uint8_t> octets);

/// The record with every name in it written out, and `ttl` seconds. Rdata that ldns does not know or
/// that is not as its type says is kept as it is (RFC 3597), but for A, AAAA and the types whose names
/// may be compressed: null.
Record make_record(const MessageView& message, const RecordView& view, std::uint32_t ttl);

/// "owner CNAME target". Null when memory is exhausted.
Record make_cname(const cache::Name& owner, const cache::Name& target, std::uint32_t ttl);

/// The rdata with names written out and folded: equal for duplicates. Empty optional when it is malformed.
std::optional<std::vector<std::uint8_t>> canonical_rdata(const MessageView& message, const RecordView& view);

/// The targets of the CNAMEs in an Entry's answer section, in order, folded. `qname` is its key's.
std::vector<cache::Name> chain_targets(std::span<const std::uint8_t> qname, const cache::Entry& entry);

/// Of an A or AAAA record.
dataplane::Address address_of(const Record& record);

/// A name that ldns holds, folded. `dname` is an LDNS_RDF_TYPE_DNAME of at most 255 octets.
cache::Name name_of(const ldns_rdf* dname);

/// The question for `key`, its name as in `qname`. Null when memory is exhausted.
RecordHandle question_record(const cache::Key& key, std::span<const std::uint8_t> qname);

/// The packet as ldns writes it, compressed. Empty when memory is exhausted.
std::vector<std::uint8_t> to_wire(const ldns_pkt& packet);

} // namespace millrace::control
