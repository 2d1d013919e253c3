// An Entry in words, for `millracectl cache lookup`. Threads: pure.
#pragma once

#include <string>
#include <vector>

#include "cache/entry.hpp"
#include "cache/key.hpp"

namespace millrace::control {

/// The A and AAAA addresses in the answer section, in order, as text.
std::vector<std::string> addresses(const cache::Key& key, const cache::Entry& entry);

/// The records in presentation format (RFC 1035 5.1), answer section first, with the TTL left at `now`.
std::vector<std::string> record_lines(const cache::Key& key, const cache::Entry& entry, Time now);

} // namespace millrace::control
