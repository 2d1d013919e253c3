#include "dataplane/address.hpp"

#include <array>
#include <charconv>
#include <cstdio>

#include <arpa/inet.h>
#include <net/if.h>
#include <netinet/in.h>

namespace millrace::dataplane {

namespace {

template <class Number>
std::optional<Number> parse_number(std::string_view text, unsigned highest) {
    Number value = 0;
    auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc{} || end != text.data() + text.size() || value > highest) return std::nullopt;
    return value;
}

/// The index of the interface that `text` names, or is the index of; 0: there is none.
std::uint32_t parse_zone(std::string_view text) {
    char name[IF_NAMESIZE];
    // No interface has a colon in its name; the kernel would take what is in front of it.
    bool is_name = text.find_first_of(std::string_view("\0:", 2)) == text.npos;
    std::uint32_t named = is_name ? if_nametoindex(std::string(text).c_str()) : 0; // a name may be a number
    if (named != 0) return named;
    auto index = parse_number<std::uint32_t>(text, UINT32_MAX);
    return index && if_indextoname(*index, name) ? *index : 0;
}

/// An address, with a zone if it is one that needs it.
std::optional<Endpoint> parse_host(std::string_view text) {
    auto percent = text.find('%');
    auto address = parse_address(text.substr(0, percent));
    if (!address) return std::nullopt;
    if (percent == text.npos) return Endpoint{*address};
    std::uint32_t zone = address->is_link_local() ? parse_zone(text.substr(percent + 1)) : 0;
    return zone == 0 ? std::nullopt : std::optional(Endpoint{*address, 0, zone});
}

} // namespace

bool Address::is_unicast() const {
    static constexpr std::array<std::uint8_t, 16> unspecified{};
    if (is_v4()) {
        std::uint8_t first = octets[12];
        return first != 0 && first < 224; // 0/8 "this network", 224/4 multicast, 240/4 reserved and broadcast
    }
    return octets[0] != 0xff && octets != unspecified;
}

bool Prefix::contains(const Address& a) const {
    if (a.is_v4() != address.is_v4()) return false;
    unsigned whole = bits / 8;
    if (std::memcmp(a.octets.data(), address.octets.data(), whole) != 0) return false;
    if (bits % 8 == 0) return true;
    auto mask = std::uint8_t(0xff00 >> (bits % 8));
    return ((a.octets[whole] ^ address.octets[whole]) & mask) == 0;
}

std::optional<Address> parse_address(std::string_view text) {
    if (text.find('\0') != std::string_view::npos) return std::nullopt;
    std::string terminated(text);
    std::uint8_t raw[16];
    if (inet_pton(AF_INET, terminated.c_str(), raw) == 1) return Address::v4(raw);
    if (inet_pton(AF_INET6, terminated.c_str(), raw) == 1) return Address::v6(raw);
    return std::nullopt;
}

std::optional<Endpoint> parse_endpoint(std::string_view text, std::uint16_t default_port) {
    std::string_view host = text, port;
    if (!text.empty() && text.front() == '[') {
        auto close = text.find(']');
        if (close == std::string_view::npos) return std::nullopt;
        host = text.substr(1, close - 1);
        if (host.find(':') == std::string_view::npos) return std::nullopt; // brackets are for IPv6
        std::string_view rest = text.substr(close + 1);
        if (!rest.empty() && rest.front() != ':') return std::nullopt;
        if (!rest.empty()) port = rest.substr(1);
        if (!rest.empty() && port.empty()) return std::nullopt;
    } else if (auto colon = text.find(':'); colon != std::string_view::npos && colon == text.rfind(':')) {
        host = text.substr(0, colon);
        port = text.substr(colon + 1);
        if (port.empty()) return std::nullopt;
    }
    auto endpoint = parse_host(host);
    auto number = port.empty() ? std::optional(default_port) : parse_number<std::uint16_t>(port, 65535);
    if (!endpoint || !number || *number == 0) return std::nullopt;
    endpoint->port = *number;
    return endpoint;
}

std::optional<Prefix> parse_interface_address(std::string_view text) {
    auto slash = text.find('/');
    if (slash == std::string_view::npos) return std::nullopt;
    auto address = parse_address(text.substr(0, slash));
    if (!address) return std::nullopt;
    unsigned front = text.find(':') == text.npos ? 96 : 0; // a mapped address counts as an IPv6 one does
    auto bits = parse_number<unsigned>(text.substr(slash + 1), 128 - front);
    if (!bits) return std::nullopt;
    return Prefix{*address, *bits + front};
}

std::optional<Prefix> parse_prefix(std::string_view text) {
    auto prefix = parse_interface_address(text);
    for (unsigned bit = prefix ? prefix->bits : 128; bit < 128; ++bit) {
        if (prefix->address.octets[bit / 8] & (0x80 >> bit % 8)) return std::nullopt;
    }
    return prefix;
}

std::optional<Mac> parse_mac(std::string_view text) {
    Mac mac;
    if (text.size() != 3 * mac.octets.size() - 1) return std::nullopt;
    for (std::size_t i = 0; i < mac.octets.size(); ++i) {
        const char* at = text.data() + 3 * i;
        auto [end, error] = std::from_chars(at, at + 2, mac.octets[i], 16);
        bool separated = i + 1 == mac.octets.size() || at[2] == ':';
        if (error != std::errc{} || end != at + 2 || !separated) return std::nullopt;
    }
    bool to_group = mac.octets[0] & 1;
    return to_group || mac == Mac{} ? std::nullopt : std::optional(mac);
}

std::string to_string(const Mac& mac) {
    std::array<char, 18> text;
    std::snprintf(text.data(), text.size(), "%02x:%02x:%02x:%02x:%02x:%02x", mac.octets[0], mac.octets[1],
                  mac.octets[2], mac.octets[3], mac.octets[4], mac.octets[5]);
    return text.data();
}

std::string to_string(const Address& address) {
    char text[INET6_ADDRSTRLEN];
    if (address.is_v4()) {
        inet_ntop(AF_INET, address.v4_octets(), text, sizeof text);
    } else {
        inet_ntop(AF_INET6, address.octets.data(), text, sizeof text);
    }
    return text;
}

std::string to_string(const Endpoint& endpoint) {
    std::string host = to_string(endpoint.address);
    if (endpoint.zone != 0) {
        char name[IF_NAMESIZE];
        host += "%";
        host += if_indextoname(endpoint.zone, name) ? name : std::to_string(endpoint.zone);
    }
    if (!endpoint.address.is_v4()) host = "[" + host + "]";
    return host + ":" + std::to_string(endpoint.port);
}

std::string to_string(const Prefix& prefix) {
    unsigned bits = prefix.address.is_v4() ? prefix.bits - 96 : prefix.bits;
    return to_string(prefix.address) + "/" + std::to_string(bits);
}

socklen_t to_sockaddr(const Endpoint& endpoint, sockaddr_storage& out) {
    out = {};
    if (endpoint.address.is_v4()) {
        auto* in = reinterpret_cast<sockaddr_in*>(&out);
        in->sin_family = AF_INET;
        in->sin_port = htons(endpoint.port);
        std::memcpy(&in->sin_addr, endpoint.address.v4_octets(), 4);
        return sizeof *in;
    }
    auto* in6 = reinterpret_cast<sockaddr_in6*>(&out);
    in6->sin6_family = AF_INET6;
    in6->sin6_port = htons(endpoint.port);
    std::memcpy(&in6->sin6_addr, endpoint.address.octets.data(), 16);
    in6->sin6_scope_id = endpoint.zone;
    return sizeof *in6;
}

Endpoint from_sockaddr(const sockaddr_storage& in) {
    if (in.ss_family == AF_INET) {
        auto* v4 = reinterpret_cast<const sockaddr_in*>(&in);
        return {Address::v4(&v4->sin_addr), ntohs(v4->sin_port)};
    }
    auto* v6 = reinterpret_cast<const sockaddr_in6*>(&in);
    Address address = Address::v6(&v6->sin6_addr);
    return {address, ntohs(v6->sin6_port), address.is_link_local() ? v6->sin6_scope_id : 0};
}

} // namespace millrace::dataplane
