#include "control/rank/special_use.hpp"

#include <algorithm>
#include <array>
#include <initializer_list>
#include <vector>

namespace millrace::control {

namespace {

using dataplane::Address;
using dataplane::Prefix;
using Prefixes = std::vector<Prefix>;

Prefixes parse_all(std::initializer_list<const char*> texts) {
    Prefixes prefixes;
    for (const char* text : texts) prefixes.push_back(*dataplane::parse_prefix(text));
    return prefixes;
}

bool holds(const Prefixes& prefixes, const Address& address) {
    return std::ranges::any_of(prefixes, [&](const Prefix& p) { return p.contains(address); });
}

} // namespace

std::optional<Address> carried_v4(const Address& address) {
    static const auto nat64 = *dataplane::parse_prefix("64:ff9b::/96"),
                      six_to_four = *dataplane::parse_prefix("2002::/16"),
                      teredo = *dataplane::parse_prefix("2001::/32");
    const std::uint8_t* octets = address.octets.data();
    if (nat64.contains(address)) return Address::v4(octets + 12);
    if (six_to_four.contains(address)) return Address::v4(octets + 2);
    if (!teredo.contains(address)) return std::nullopt;
    std::array<std::uint8_t, 4> client;
    std::transform(octets + 12, octets + 16, client.begin(), [](std::uint8_t c) { return std::uint8_t(~c); });
    return Address::v4(client.data());
}

bool is_internal(const Address& address) {
    static const auto internal =
        parse_all({"0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16",
                   "172.16.0.0/12", "192.168.0.0/16", "::/128", "::1/128", "fc00::/7", "fe80::/10"});
    if (auto carried = carried_v4(address)) return is_internal(*carried);
    return holds(internal, address);
}

bool is_special_use(const Address& address) {
    // Of IPv4, beside the internal ones: protocols, documentation,
    // relays and benchmarks; multicast and reserved.
    static const auto special_v4 =
        parse_all({"192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "198.18.0.0/15", "198.51.100.0/24",
                   "203.0.113.0/24", "224.0.0.0/3"});
    // Of IPv6, all but what IANA gives out (RFC 4291 2.4), and in that: protocols (RFC 2928), documentation.
    static const auto global_v6 = *dataplane::parse_prefix("2000::/3");
    static const auto special_v6 = parse_all({"2001::/23", "2001:db8::/32", "3fff::/20"});
    if (is_internal(address)) return true;
    if (address.is_v4()) return holds(special_v4, address);
    if (holds(special_v6, address)) return true;
    if (auto carried = carried_v4(address)) return is_special_use(*carried);
    return !global_v6.contains(address);
}

} // namespace millrace::control
