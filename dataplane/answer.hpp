// The one reply writer: hits and misses, UDP and TCP, on every port.
//
// A reply is written into `out`, whose first octets may still be the query: the question is then left
// where it is. Every function returns the octets written, 0 when not even the header and question
// fit. No allocation.
#pragma once

#include <cstdint>
#include <span>

#include "cache/entry.hpp"
#include "dataplane/query.hpp"

namespace millrace::dataplane::answer {

/// How the TTLs are written.
enum class Age : std::uint8_t {
    counted, ///< what is left of each TTL, never below 0
    stale,   ///< 30 s each, with an extended error that says so (RFC 8767 4, RFC 8914 4.4 and 4.20)
};

/// The Entry's answer; TC=1 with neither records nor extended error when it exceeds the limit (RFC 2181 9).
/// `question` is head.question_size octets as the client sent them (RFC 1035 4.1.2, case included).
std::size_t write(const Head& head, std::span<const std::uint8_t> question, const cache::Entry& entry,
                  Time now, Age age, std::span<std::uint8_t> out);

/// A reply without records, or for Query::Action::truncate and ::minimal what those need.
std::size_t write(const Query& query, std::span<const std::uint8_t> question, std::span<std::uint8_t> out);

/// SERVFAIL, with an extended error for clients with EDNS when `info` is not Entry::no_info.
std::size_t write_failure(const Head& head, std::span<const std::uint8_t> question, std::uint16_t info,
                          std::span<std::uint8_t> out);

/// What LocalNames has for the question; the TTLs stand still. The SOA of a denial belongs to the name that
/// begins `above` octets into the question's. `info` is as in write_failure.
std::size_t write_local(const Head& head, std::span<const std::uint8_t> question, const cache::Entry& entry,
                        std::uint8_t above, std::uint16_t info, std::span<std::uint8_t> out);

/// TC=1 and nothing else: come back over TCP.
std::size_t write_truncated(const Head& head, std::span<const std::uint8_t> question,
                            std::span<std::uint8_t> out);

/// REFUSED to this client (extended error 18, prohibited).
std::size_t write_refused(const Head& head, std::span<const std::uint8_t> question,
                          std::span<std::uint8_t> out);

} // namespace millrace::dataplane::answer
