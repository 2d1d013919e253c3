// Answers that are known without asking anybody, in the form that answer::write_local sends.
//
// Every record's owner is the question's name, but for the SOA of a denial: that one's owner is written when
// it is sent. Names in rdata are not compressed, as one Entry serves questions of any length. Threads: pure.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "cache/entry.hpp"
#include "control/message/ldns_handle.hpp"

namespace millrace::control {

/// Records of one owner and type. Null when they exceed a message, or the records that an RRset may have.
cache::EntryPtr make_local_records(std::span<const ldns_rr* const> records);

/// NXDOMAIN or NODATA with an SOA that lets clients keep it for `ttl` seconds (RFC 2308 3).
cache::EntryPtr make_denial(unsigned rcode, std::uint32_t ttl);

/// That SOA in the answer section, for who asks for it.
cache::EntryPtr make_local_soa(std::uint32_t ttl);

/// TXT of class CH, at most 255 octets (RFC 4892).
cache::EntryPtr make_chaos_text(std::string_view text);

} // namespace millrace::control
