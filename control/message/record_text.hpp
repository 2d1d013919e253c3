// Records and questions in presentation format (RFC 1035 5.1), read by ldns and judged here. Threads: pure.
#pragma once

#include <cstdint>
#include <string>

#include <tl/expected.hpp>

#include "cache/key.hpp"
#include "control/message/ldns_handle.hpp"

namespace millrace::control {

/// A line of a zone file with an absolute owner, class IN, of a type that can be looked up. Null: it is none.
RecordHandle parse_local_record(const std::string& line);

/// Whether a record that ldns has parsed is one: it takes "CNAME \\# 0" and, behind an $ORIGIN, names
/// of any length.
bool is_sound(const ldns_rr* record);

std::string type_text(std::uint16_t type); ///< "AAAA", "TYPE65280"

/// "www.example.com" and "AAAA": the key that a client with neither DO nor CD asks for. The error says which
/// of the two is none.
tl::expected<cache::Key, std::string> parse_question(const std::string& name, const std::string& type);

} // namespace millrace::control
