// Records in presentation format (RFC 1035 5.1), read by ldns and judged here. Threads: pure.
#pragma once

#include <string>

#include "control/message/ldns_handle.hpp"

namespace millrace::control {

/// A line of a zone file with an absolute owner, class IN, of a type that can be looked up. Null: it is none.
RecordHandle parse_local_record(const std::string& line);

/// Whether a record that ldns has parsed is one: it takes "CNAME \\# 0" and, behind an $ORIGIN, names
/// of any length.
bool is_sound(const ldns_rr* record);

} // namespace millrace::control
