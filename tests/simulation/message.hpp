// DNS messages in the simulation: written by servers and clients, read by the checks. Neither uses the
// product's writer or its readers of replies.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "tests/simulation/ledger.hpp"

namespace millrace::simulation {

using Octets = std::vector<std::uint8_t>;

inline constexpr std::size_t header_octets = 12;
inline constexpr std::uint16_t flag_response = 0x8000, flag_truncated = 0x0200, flag_wanted = 0x0100,
                               flag_available = 0x0080, flag_authentic = 0x0020, flag_unchecked = 0x0010;

void append_u16(Octets& out, unsigned value);
void append_u32(Octets& out, std::uint32_t value);

/// A client's query.
struct ClientQuery {
    unsigned name = 0;
    unsigned aspects = 0; ///< Aspect bits
    std::uint16_t id = 0;
    std::uint64_t letter_case = 0; ///< one bit for each octet of the name
};
std::uint16_t type_of(unsigned aspects);
std::size_t write_query(const ClientQuery& query, std::span<std::uint8_t> room); ///< octets written
std::size_t question_size(std::span<const std::uint8_t> message); ///< of a message with one question

/// What an upstream's query asks.
struct Asked {
    unsigned name = 0;
    std::uint16_t qtype = 0, id = 0;
    bool unchecked = false;
    unsigned link = 0; ///< of the name's chain; 0: the name itself
};
std::optional<Asked> read_asked(std::span<const std::uint8_t> query);

/// The reply `said` (its number in the ledger besides) to `query`: with its ID and its question as
/// it was sent.
Octets write_reply(std::span<const std::uint8_t> query, const Ledger& ledger, std::uint32_t number);

/// What the records of a message say.
struct Content {
    unsigned rcode = 0;
    unsigned chain = 0;               ///< as in chain_links()
    std::vector<std::uint32_t> hosts; ///< in order
    unsigned nat64 = 0;               ///< behind which all of them are; 0: none
    std::vector<std::uint32_t> texts; ///< numbers of replies, ...
    std::vector<std::uint32_t> signatures;
    std::optional<std::uint32_t> soa;
    std::uint32_t least_ttl = ~0u, most_ttl = 0;
    const char* flaw = nullptr; ///< what cannot be right whatever was said

    /// Of everything but the TTLs.
    std::uint64_t fingerprint() const;
};
/// Reads the records behind the question for `name` and `qtype`; no OPT among them.
void read_content(const Ledger& ledger, std::span<const std::uint8_t> message, std::size_t at,
                  unsigned answers, unsigned authorities, unsigned name, std::uint16_t qtype, Content& out);

/// A reply as a client gets it.
struct Reading {
    bool sound = false; ///< the rest is meaningful
    std::uint16_t id = 0, flags = 0;
    std::span<const std::uint8_t> question;
    bool has_opt = false;
    Content content;
};
void read_reply(const Ledger& ledger, std::span<const std::uint8_t> message, unsigned name,
                std::uint16_t qtype, Reading& out);

} // namespace millrace::simulation
