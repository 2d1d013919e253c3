// Frames for tests, built without the code that they test.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string_view>
#include <vector>

#include "dataplane/frame.hpp"

namespace millrace::tests {

using Bytes = std::vector<std::uint8_t>;

inline dataplane::Address address(std::string_view text) {
    return *dataplane::parse_address(text);
}

inline void put16(Bytes& out, unsigned value) {
    out.push_back(std::uint8_t(value >> 8));
    out.push_back(std::uint8_t(value));
}
inline unsigned get16(const std::uint8_t* at) {
    return unsigned(at[0]) << 8 | at[1];
}
inline void set16(std::uint8_t* at, unsigned value) {
    at[0] = std::uint8_t(value >> 8);
    at[1] = std::uint8_t(value);
}

/// RFC 1071, by the book: big-endian words, carries folded at the end.
inline unsigned ones_sum(const std::uint8_t* at, std::size_t size, unsigned sum = 0) {
    for (std::size_t i = 0; i < size; ++i) sum += i % 2 == 0 ? unsigned(at[i]) << 8 : at[i];
    while (sum >> 16) sum = (sum & 0xffff) + (sum >> 16);
    return sum;
}

/// A UDP query and everything around it; tests change what they are about.
struct Query {
    bool v6 = false;
    std::vector<unsigned> tags{}; ///< TPIDs, outermost first; each tag's control is 0x2000 + its place
    std::string_view source{}, destination{}; ///< the family's defaults when empty
    unsigned source_port = 40000, destination_port = 53;
    Bytes options{}; ///< IPv4 options
    /// IPv6: type, octets with the next header left to fill in.
    std::vector<std::pair<unsigned, Bytes>> extensions{};
    Bytes payload = Bytes(29, 0xab);
    std::size_t padding = 0; ///< octets behind the IP packet
    bool checksum = true;    ///< false: UDP checksum zero
    bool partial = false;    ///< the sum over the pseudo-header alone, as CHECKSUM_PARTIAL has it
};

inline constexpr std::string_view client_v4 = "198.18.0.1", service_v4 = "198.18.0.53";
inline constexpr std::string_view client_v6 = "2001:db8::1", service_v6 = "2001:db8::53";

inline dataplane::Service service() {
    dataplane::Service s;
    s.addresses = {address(service_v4), address(service_v6)};
    s.own = {{address(service_v4), 53}, {address(service_v6), 53}, {address("198.18.0.9"), 5300}};
    return s;
}

inline Bytes udp_of(const Query& q, const Bytes& addresses) {
    Bytes udp;
    put16(udp, q.source_port);
    put16(udp, q.destination_port);
    put16(udp, unsigned(8 + q.payload.size()));
    put16(udp, 0);
    unsigned pseudo = ones_sum(addresses.data(), addresses.size(), unsigned(8 + q.payload.size()) + 17);
    udp.insert(udp.end(), q.payload.begin(), q.payload.end());
    unsigned sum = 0xffff & ~ones_sum(udp.data(), udp.size(), pseudo);
    if (q.checksum) set16(&udp[6], q.partial ? pseudo : sum == 0 ? 0xffff : sum);
    return udp;
}

inline Bytes addresses_of(const Query& q) {
    auto from = address(!q.source.empty() ? q.source : q.v6 ? client_v6 : client_v4);
    auto to = address(!q.destination.empty() ? q.destination : q.v6 ? service_v6 : service_v4);
    std::size_t skip = q.v6 ? 0 : 12;
    Bytes out(from.octets.begin() + skip, from.octets.end());
    out.insert(out.end(), to.octets.begin() + skip, to.octets.end());
    return out;
}

inline void add_ipv4(Bytes& frame, const Query& q, std::size_t udp_size) {
    std::size_t start = frame.size(), header = 20 + q.options.size();
    frame.insert(frame.end(), {std::uint8_t(0x40 | header / 4), 0});
    put16(frame, unsigned(header + udp_size));
    frame.insert(frame.end(), {0x12, 0x34, 0, 0, 57, 17, 0, 0});
    Bytes addresses = addresses_of(q);
    frame.insert(frame.end(), addresses.begin(), addresses.end());
    frame.insert(frame.end(), q.options.begin(), q.options.end());
    set16(&frame[start + 10], 0xffff & ~ones_sum(&frame[start], header));
}

inline void add_ipv6(Bytes& frame, const Query& q, std::size_t udp_size) {
    std::size_t length = udp_size;
    for (auto& extension : q.extensions) length += extension.second.size();
    frame.insert(frame.end(), {0x60, 0, 0, 0});
    put16(frame, unsigned(length));
    frame.insert(frame.end(), {std::uint8_t(q.extensions.empty() ? 17 : q.extensions[0].first), 57});
    Bytes addresses = addresses_of(q);
    frame.insert(frame.end(), addresses.begin(), addresses.end());
    for (std::size_t i = 0; i < q.extensions.size(); ++i) {
        Bytes header = q.extensions[i].second;
        header[0] = std::uint8_t(i + 1 < q.extensions.size() ? q.extensions[i + 1].first : 17);
        frame.insert(frame.end(), header.begin(), header.end());
    }
}

inline Bytes build(const Query& q) {
    Bytes frame = {2, 0, 0, 0, 0, 0x53, 2, 0, 0, 0, 0, 1};
    for (std::size_t i = 0; i < q.tags.size(); ++i) {
        put16(frame, q.tags[i]);
        put16(frame, unsigned(0x2000 + i));
    }
    put16(frame, q.v6 ? 0x86dd : 0x0800);
    Bytes udp = udp_of(q, addresses_of(q));
    (q.v6 ? add_ipv6 : add_ipv4)(frame, q, udp.size());
    frame.insert(frame.end(), udp.begin(), udp.end());
    frame.insert(frame.end(), q.padding, 0xee);
    return frame;
}

} // namespace millrace::tests
