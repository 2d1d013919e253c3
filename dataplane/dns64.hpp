// Hosts that have IPv6 alone, behind a NAT64: which questions DNS64 (RFC 6147) concerns, and IPv4 addresses
// within IPv6 ones (RFC 6052). Pure functions; any thread.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "cache/key.hpp"
#include "dataplane/address.hpp"

namespace millrace::dataplane {

/// A NAT64's prefix, and for whom it stands before the addresses of IPv4.
struct Dns64 {
    Prefix prefix; ///< is_nat64() holds
    std::vector<Prefix> clients = {};
    std::vector<Prefix> exclude = {};      ///< AAAA records within are as none (RFC 6147 5.1.4)
    std::vector<std::uint8_t> groups = {}; ///< of upstreams, by index; empty: all

    /// Whether a prefix can be one: 32, 40, 48, 56, 64 or 96 bits, octet 8 zero (RFC 6052 2.2).
    static bool is_nat64(const Prefix& prefix);
    /// 64:ff9b::/96, which stands before global addresses alone (RFC 6052 3.1).
    static const Prefix& well_known();

    /// RFC 6052 2.3. `v4`: four octets.
    Address embed(std::span<const std::uint8_t, 4> v4) const;
    /// None: it is not of the prefix, or octet 8 or what follows the IPv4 address is not zero.
    std::optional<std::array<std::uint8_t, 4>> extract(const Address& address) const;

    bool is_excluded(const Address& address) const;
    /// Whether its answer may be another to this rule's clients. may_concern_dns64() holds.
    bool concerns(const cache::Key& question) const;

    bool operator==(const Dns64&) const = default;
};

/// By type and name: AAAA, PTR of an IPv6 address, and A of ipv4only.arpa. Not with CD=1, whose client makes
/// what he needs himself (RFC 6147 5.5).
bool may_concern_dns64(const cache::Key& question);

/// ipv4only.arpa: where hosts find out whether there is a DNS64, and its prefix (RFC 7050).
bool is_ipv4only(const cache::Name& name);

/// The address of a name below ip6.arpa with all its 32 nibbles (RFC 3596 2.5).
std::optional<Address> address_of_reverse(std::span<const std::uint8_t> name);
/// The name of an IPv4 address below in-addr.arpa (RFC 1035 3.5).
cache::Name reverse_of(std::span<const std::uint8_t, 4> v4);

} // namespace millrace::dataplane
