// The query sent to an upstream.
//
// Threads: pure; a static pattern is made by the first call.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "cache/key.hpp"

namespace millrace::control {

/// The query for `key`: RD=1, CD as the flavour says, OPT with DO=1 and 1232 octets, nothing of the client's.
/// `qname_as_sent` is key.name in the letter case to send; `room`, whatever is in it, lends its memory. Empty
/// when memory is exhausted.
std::vector<std::uint8_t> build_query(const cache::Key& key, std::uint16_t id,
                                      std::span<const std::uint8_t> qname_as_sent,
                                      std::vector<std::uint8_t> room = {});

/// The same query without its OPT, for a server that does not understand one.
std::vector<std::uint8_t> without_opt(std::vector<std::uint8_t> query);

} // namespace millrace::control
