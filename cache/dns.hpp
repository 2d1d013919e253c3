// Words of the DNS protocol that more than one room uses. Numbers as on the wire.
#pragma once

#include <cstddef>
#include <cstdint>

namespace millrace::dns {

inline constexpr std::uint16_t port = 53;           ///< over UDP and TCP (RFC 1035 4.2)
inline constexpr std::size_t header_octets = 12;    ///< RFC 1035 4.1.1
inline constexpr std::size_t type_class_octets = 4; ///< behind a question's name (RFC 1035 4.1.2)

// The second 16 bits of the header (RFC 1035 4.1.1, RFC 4035 3.1.6 and 3.2.2).
inline constexpr std::uint16_t response = 0x8000;
inline constexpr std::uint16_t opcode_mask = 0x7800;
inline constexpr std::uint16_t authoritative = 0x0400;
inline constexpr std::uint16_t truncated = 0x0200;
inline constexpr std::uint16_t recursion_desired = 0x0100;
inline constexpr std::uint16_t recursion_available = 0x0080;
inline constexpr std::uint16_t authentic_data = 0x0020;
inline constexpr std::uint16_t checking_disabled = 0x0010;
inline constexpr std::uint16_t rcode_mask = 0x000f;

/// RFC 1035 4.1.1, RFC 6895 2.3. Those above 15 need an OPT in the reply.
enum class Rcode : std::uint16_t {
    noerror = 0,
    formerr = 1,
    servfail = 2,
    nxdomain = 3,
    notimp = 4,
    refused = 5,
    badvers = 16
};

// Types and classes (control has ldns's names for the rest).
inline constexpr std::uint16_t type_a = 1, type_ns = 2, type_soa = 6, type_ptr = 12, type_hinfo = 13,
                               type_txt = 16, type_aaaa = 28;
inline constexpr std::uint16_t type_nxname = 128; ///< in denials alone, never asked for (RFC 9824)
inline constexpr std::uint16_t type_opt = 41, type_ixfr = 251, type_axfr = 252, type_any = 255;
inline constexpr std::uint16_t class_in = 1, class_chaos = 3;

// The OPT record (RFC 6891 6.1.2 and 6.1.3, RFC 3225 3).
inline constexpr std::size_t opt_octets = 11;                                    ///< without options
inline constexpr std::uint32_t opt_version = 0x00ff0000, opt_dnssec_ok = 0x8000; ///< of its TTL field
inline constexpr std::uint16_t option_client_subnet = 8, option_extended_error = 15;

// Compression (RFC 1035 4.1.4): both upper bits of a label's first octet make a pointer of it and the next.
inline constexpr std::uint8_t pointer_bits = 0xc0;
inline constexpr std::uint16_t pointer = pointer_bits << 8;
inline constexpr std::uint16_t pointer_to_question = pointer | header_octets;

inline constexpr std::uint32_t most_ttl = 0x7fffffff;    ///< RFC 2181 8
inline constexpr std::uint32_t ttl_of_negative = 86'400; ///< of a TTL with its sign bit set (RFC 8767 4)
inline constexpr std::uint32_t ttl_of_stale = 30;        ///< RFC 8767 4

/// Extended errors (RFC 8914 4).
namespace ede {
inline constexpr std::uint16_t other = 0;
inline constexpr std::uint16_t stale_answer = 3;
inline constexpr std::uint16_t cached_error = 13;
inline constexpr std::uint16_t blocked = 15;
inline constexpr std::uint16_t censored = 16;
inline constexpr std::uint16_t filtered = 17;
inline constexpr std::uint16_t prohibited = 18;
inline constexpr std::uint16_t stale_nxdomain = 19;
inline constexpr std::uint16_t no_reachable_authority = 22;
inline constexpr std::uint16_t network_error = 23;
inline constexpr std::uint16_t invalid_query_type = 30; ///< RFC 9824 10.4

/// Whether a validator says so about the name itself: 1, 2, and 5 to 12.
constexpr bool is_of_dnssec(std::uint16_t code) {
    return code == 1 || code == 2 || (code >= 5 && code <= 12);
}
} // namespace ede

} // namespace millrace::dns
