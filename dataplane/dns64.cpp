#include "dataplane/dns64.hpp"

#include <algorithm>
#include <string>

#include "cache/dns.hpp"

namespace millrace::dataplane {

namespace {

constexpr unsigned reserved_octet = 8; // bits 64 to 71 are zero, whatever the prefix (RFC 6052 2.2)

constexpr std::array<std::uint8_t, 10> ip6_arpa{3, 'i', 'p', '6', 4, 'a', 'r', 'p', 'a', 0};

/// -1: no hexadecimal digit, in lower case as names are.
int value_of(std::uint8_t digit) {
    if (digit >= '0' && digit <= '9') return digit - '0';
    return digit >= 'a' && digit <= 'f' ? digit - 'a' + 10 : -1;
}

} // namespace

bool Dns64::is_nat64(const Prefix& prefix) {
    constexpr std::array lengths{32u, 40u, 48u, 56u, 64u, 96u};
    return !prefix.address.is_v4() && std::ranges::find(lengths, prefix.bits) != lengths.end() &&
           prefix.address.octets[reserved_octet] == 0;
}

const Prefix& Dns64::well_known() {
    static const Prefix prefix = *parse_prefix("64:ff9b::/96");
    return prefix;
}

Address Dns64::embed(std::span<const std::uint8_t, 4> v4) const {
    Address address = prefix.address;
    unsigned at = prefix.bits / 8;
    for (std::uint8_t octet : v4) {
        at += at == reserved_octet;
        address.octets[at++] = octet;
    }
    return address;
}

std::optional<std::array<std::uint8_t, 4>> Dns64::extract(const Address& address) const {
    std::array<std::uint8_t, 4> v4;
    unsigned at = prefix.bits / 8;
    for (std::uint8_t& octet : v4) {
        at += at == reserved_octet;
        octet = address.octets[at++];
    }
    return embed(v4) == address ? std::optional(v4) : std::nullopt;
}

bool Dns64::is_excluded(const Address& address) const {
    return std::ranges::any_of(exclude, [&](const Prefix& p) { return p.contains(address); });
}

bool Dns64::concerns(const cache::Key& question) const {
    if (!groups.empty() && std::ranges::find(groups, question.group) == groups.end()) return false;
    if (question.qtype != dns::type_ptr) return true;
    auto address = address_of_reverse(question.name.bytes());
    return address && extract(*address);
}

bool may_concern_dns64(const cache::Key& question) {
    if (question.qclass != dns::class_in || question.flavour & cache::checking_disabled) return false;
    switch (question.qtype) {
    case dns::type_aaaa: return true;
    case dns::type_a: return is_ipv4only(question.name);
    case dns::type_ptr: return question.name.size == 2 * 32 + ip6_arpa.size();
    default: return false;
    }
}

bool is_ipv4only(const cache::Name& name) {
    static constexpr std::array<std::uint8_t, 15> wire{8,   'i', 'p', 'v', '4', 'o', 'n', 'l',
                                                       'y', 4,   'a', 'r', 'p', 'a', 0};
    return std::ranges::equal(name.bytes(), wire);
}

std::optional<Address> address_of_reverse(std::span<const std::uint8_t> name) {
    Address address;
    if (name.size() != 2 * 32 + ip6_arpa.size() || !std::ranges::equal(name.subspan(2 * 32), ip6_arpa))
        return std::nullopt;
    for (unsigned nibble = 0; nibble < 32; ++nibble) { // the last one first
        int value = value_of(name[2 * nibble + 1]);
        if (name[2 * nibble] != 1 || value < 0) return std::nullopt;
        std::uint8_t& octet = address.octets[15 - nibble / 2];
        octet = std::uint8_t(octet | value << (nibble % 2 == 0 ? 0 : 4));
    }
    return address;
}

cache::Name reverse_of(std::span<const std::uint8_t, 4> v4) {
    std::string text;
    for (int i = 3; i >= 0; --i) text += std::to_string(v4[std::size_t(i)]) + ".";
    return *cache::parse_name(text + "in-addr.arpa");
}

} // namespace millrace::dataplane
