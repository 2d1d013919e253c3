// IP addresses, endpoints and prefixes, IPv4 and IPv6 alike.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>

#include <sys/socket.h>

namespace millrace::dataplane {

/// 16 octets in network order; IPv4 as ::ffff:a.b.c.d (RFC 4291 2.5.5.2).
struct Address {
    std::array<std::uint8_t, 16> octets{};

    static Address v4(const void* four_octets) {
        // By words, as it is going to be read.
        std::uint32_t middle = __builtin_bswap32(0xffff), last;
        std::memcpy(&last, four_octets, 4);
        std::uint64_t lower = std::uint64_t(last) << 32 | middle;
        Address a;
        std::memcpy(&a.octets[8], &lower, 8);
        return a;
    }
    static Address v6(const void* sixteen_octets) {
        Address a;
        std::memcpy(a.octets.data(), sixteen_octets, 16);
        return a;
    }
    bool is_v4() const {
        std::uint32_t middle;
        std::memcpy(&middle, &octets[8], sizeof middle);
        return word(0) == 0 && middle == __builtin_bswap32(0xffff);
    }
    const std::uint8_t* v4_octets() const { return octets.data() + 12; }
    /// Neither multicast, nor broadcast, nor unspecified: something that a reply may be sent to.
    bool is_unicast() const;
    /// fe80::/10 (RFC 4291 2.5.6): the same on every link, so that the way to it is known with a zone alone.
    bool is_link_local() const { return !is_v4() && octets[0] == 0xfe && (octets[1] & 0xc0) == 0x80; }
    // By words of eight octets: this is asked several times for each packet.
    bool operator==(const Address& other) const {
        return ((word(0) ^ other.word(0)) | (word(8) ^ other.word(8))) == 0;
    }
    std::strong_ordering operator<=>(const Address& other) const {
        std::uint64_t high = __builtin_bswap64(word(0)), others = __builtin_bswap64(other.word(0));
        if (high != others) return high <=> others;
        return __builtin_bswap64(word(8)) <=> __builtin_bswap64(other.word(8));
    }

  private:
    std::uint64_t word(std::size_t at) const {
        std::uint64_t octets_there;
        std::memcpy(&octets_there, &octets[at], sizeof octets_there);
        return octets_there;
    }
};

/// An address and a UDP or TCP port, in host order.
struct Endpoint {
    Address address;
    std::uint16_t port = 0;
    std::uint32_t zone = 0; ///< of a link-local address: the interface's index (RFC 4007 6); 0: none

    auto operator<=>(const Endpoint&) const = default;
};

/// An Ethernet address.
struct Mac {
    std::array<std::uint8_t, 6> octets{};

    auto operator<=>(const Mac&) const = default;
};

/// The first `bits` of `address`; IPv4 prefixes count from 96. A prefix is of one family: the addresses of
/// IPv4 are not within ::/0, though their kept form is.
struct Prefix {
    Address address;
    unsigned bits = 0;

    bool contains(const Address& a) const;
    bool operator==(const Prefix&) const = default;
};

/// Text forms. Parsing accepts no host names, no surplus characters, for a prefix no host bits, and zones
/// only of an endpoint whose address is link-local: names or indices of interfaces (RFC 4007 11).
std::optional<Address> parse_address(std::string_view text);
/// "1.2.3.4:53", "[::1]:53", "[fe80::1%eth0]:53"; without the port also "1.2.3.4", "::1", "fe80::1%eth0"
std::optional<Endpoint> parse_endpoint(std::string_view text, std::uint16_t default_port);
std::optional<Prefix>
parse_prefix(std::string_view text); ///< "10.0.0.0/8", which is "::ffff:10.0.0.0/104" too
/// An interface's address and the length of its network's prefix, "192.0.2.1/24": a prefix with host bits.
std::optional<Prefix> parse_interface_address(std::string_view text);
std::optional<Mac> parse_mac(std::string_view text); ///< "02:00:00:00:00:01", of a single station
std::string to_string(const Mac& mac);
std::string to_string(const Address& address);
std::string to_string(const Endpoint& endpoint); ///< a zone by its name, while the interface is there
std::string to_string(const Prefix& prefix);

/// The kernel's form of an endpoint, and back.
socklen_t to_sockaddr(const Endpoint& endpoint, sockaddr_storage& out);
Endpoint from_sockaddr(const sockaddr_storage& in);

} // namespace millrace::dataplane
