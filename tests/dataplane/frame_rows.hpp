// Frames that are right and frames that are not: dataplane/RULES.md, frames, one or more rows per rule.
//
// frame_test shows them to Frame::parse, frame_worker_test sends them through a port and its worker.
#pragma once

#include <functional>
#include <optional>

#include "dataplane/frame.hpp"
#include "tests/dataplane/frames.hpp"

namespace millrace::tests {

using Change = std::function<void(Bytes&)>;

struct Row {
    const char* name;
    Query query;
    std::optional<dataplane::Verdict> verdict; ///< none: the payload comes through
    Change change = [](Bytes&) {};             ///< done to the finished frame
};

inline constexpr std::size_t ip = 14, udp4 = ip + 20, udp6 = ip + 40; // in frames without tags and options

inline Change set(std::size_t at, std::uint8_t value) {
    return [=](Bytes& frame) { frame[at] = value; };
}
inline Change cut(std::size_t size) {
    return [=](Bytes& frame) { frame.resize(size); };
}
/// Changes two octets of the IPv4 header and makes its checksum right again.
inline Change ipv4_field(std::size_t offset, unsigned value) {
    return [=](Bytes& frame) {
        set16(&frame[ip + offset], value);
        set16(&frame[ip + 10], 0);
        set16(&frame[ip + 10], 0xffff & ~ones_sum(&frame[ip], 20));
    };
}
inline Change field(std::size_t at, unsigned value) {
    return [=](Bytes& frame) { set16(&frame[at], value); };
}

inline const Bytes eight(8, 0), sixteen = {0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0};
inline constexpr auto frame_ = dataplane::Verdict::drop_frame, protocol = dataplane::Verdict::drop_protocol,
                      destination = dataplane::Verdict::drop_destination,
                      source = dataplane::Verdict::drop_source, fragment = dataplane::Verdict::drop_fragment,
                      checksum = dataplane::Verdict::drop_checksum;
inline constexpr std::nullopt_t pass = std::nullopt;

inline const Row link_rows[] = {
    {"plain_v4", {}, pass},
    {"plain_v6", {.v6 = true}, pass},
    {"vlan", {.tags = {0x8100}}, pass},
    {"vlan_v6", {.v6 = true, .tags = {0x8100}}, pass},
    {"service_vlan", {.tags = {0x88a8, 0x8100}}, pass},
    {"three_tags", {.tags = {0x88a8, 0x8100, 0x8100}}, protocol},
    {"tag_cut", {.tags = {0x8100}}, frame_, cut(17)},
    {"empty", {}, frame_, cut(0)},
    {"ethernet_cut", {}, frame_, cut(13)},
    {"ethernet_alone", {}, frame_, cut(14)},
    {"arp", {}, protocol, field(12, 0x0806)},
    {"length_field_802_3", {}, protocol, field(12, 60)},
    {"to_broadcast_mac", {}, destination, set(0, 0xff)},
    {"to_multicast_mac", {.v6 = true}, destination, set(0, 0x33)},
    {"from_multicast_mac", {}, source, set(6, 1)},
    {"padding", {.payload = Bytes(1), .padding = 17}, pass},
    {"padding_v6", {.v6 = true, .padding = 200}, pass},
};

inline const Row ipv4_rows[] = {
    {"options", {.options = Bytes(4, 1)}, pass},
    {"most_options", {.options = Bytes(40, 1)}, pass},
    {"version_5", {}, frame_, set(ip, 0x55)},
    {"header_length_4_words", {}, frame_, set(ip, 0x44)},
    {"header_length_past_total", {}, frame_, [](Bytes& f) { f[ip] = 0x4f, set16(&f[ip + 2], 59); }},
    {"header_cut", {}, frame_, cut(ip + 19)},
    {"total_length_past_frame", {}, frame_, ipv4_field(2, 58)},
    {"total_length_short_of_header", {}, frame_, ipv4_field(2, 19)},
    {"total_length_short_of_udp_header", {}, frame_, ipv4_field(2, 27)},
    {"total_length_cuts_payload", {}, frame_, ipv4_field(2, 56)},
    {"frame_cut", {}, frame_, cut(udp4 + 20)},
    {"header_checksum_wrong", {}, checksum, field(ip + 10, 0x1234)},
    {"ttl_changed_alone", {}, checksum, set(ip + 8, 3)},
    {"tcp", {}, protocol, ipv4_field(8, 0x4006)},
    {"icmp", {}, protocol, ipv4_field(8, 0x4001)},
    {"do_not_fragment", {}, pass, ipv4_field(6, 0x4000)},
    {"more_fragments", {}, fragment, ipv4_field(6, 0x2000)},
    {"last_fragment", {}, fragment, ipv4_field(6, 0x0001)},
    {"furthest_fragment", {}, fragment, ipv4_field(6, 0x1fff)},
};

inline const Row ipv6_rows[] = {
    {"version_4", {.v6 = true}, frame_, set(ip, 0x40)},
    {"header_cut", {.v6 = true}, frame_, cut(ip + 39)},
    {"payload_length_past_frame", {.v6 = true}, frame_, field(ip + 4, 38)},
    {"payload_length_zero", {.v6 = true}, frame_, field(ip + 4, 0)},
    {"icmpv6", {.v6 = true}, protocol, set(ip + 6, 58)},
    {"no_next_header", {.v6 = true}, protocol, set(ip + 6, 59)},
    {"encrypted", {.v6 = true}, protocol, set(ip + 6, 50)},
    {"hop_by_hop", {.v6 = true, .extensions = {{0, eight}}}, pass},
    {"destination_options", {.v6 = true, .extensions = {{60, sixteen}}}, pass},
    {"routing_done", {.v6 = true, .extensions = {{43, eight}}}, pass},
    {"routing_segment_left", {.v6 = true, .extensions = {{43, {0, 0, 2, 1, 0, 0, 0, 0}}}}, destination},
    {"four", {.v6 = true, .extensions = {{0, eight}, {60, eight}, {43, eight}, {60, sixteen}}}, pass},
    {"five",
     {.v6 = true, .extensions = {{0, eight}, {60, eight}, {43, eight}, {60, eight}, {60, eight}}},
     protocol},
    {"hop_by_hop_not_first", {.v6 = true, .extensions = {{60, eight}, {0, eight}}}, protocol},
    {"fragment", {.v6 = true, .extensions = {{44, {0, 0, 0, 1, 0, 0, 0, 9}}}}, fragment},
    {"atomic_fragment", {.v6 = true, .extensions = {{44, eight}}}, fragment},
    {"fragment_after_options", {.v6 = true, .extensions = {{60, eight}, {44, eight}}}, fragment},
    {"extension_past_payload", {.v6 = true, .extensions = {{60, {0, 200, 0, 0, 0, 0, 0, 0}}}}, frame_},
    {"extension_cut", {.v6 = true, .extensions = {{60, eight}}}, frame_, field(ip + 4, 7)},
};

inline const Row udp_rows[] = {
    {"no_payload", {.payload = {}}, pass},
    {"length_short_of_header", {}, frame_, field(udp4 + 4, 7)},
    {"length_past_ip", {}, frame_, field(udp4 + 4, 38)},
    {"length_past_ip_within_padding", {.padding = 20}, frame_, field(udp4 + 4, 40)},
    {"length_past_ip_v6", {.v6 = true, .padding = 20}, frame_, field(udp6 + 4, 38)},
    {"ip_longer_than_udp", {.padding = 2}, pass, ipv4_field(2, 59)},
    {"odd_size", {.payload = Bytes(30, 7)}, pass},
    {"checksum_absent", {.checksum = false}, pass},
    {"checksum_absent_v6", {.v6 = true, .checksum = false}, checksum},
    {"checksum_wrong", {}, checksum, field(udp4 + 6, 0x0101)},
    {"checksum_wrong_v6", {.v6 = true}, checksum, field(udp6 + 6, 0x0101)},
    {"payload_changed", {}, checksum, set(udp4 + 8, 1)},
    {"checksum_over_options", {.options = Bytes(8, 1)}, pass},
    {"checksum_partial", {.partial = true}, checksum},
    {"checksum_partial_v6", {.v6 = true, .partial = true}, checksum},
};

inline const Row address_rows[] = {
    {"other_destination", {.destination = "198.18.0.54"}, destination},
    {"other_destination_v6", {.v6 = true, .destination = "2001:db8::54"}, destination},
    {"broadcast", {.destination = "255.255.255.255"}, destination},
    {"all_nodes", {.v6 = true, .destination = "ff02::1"}, destination},
    {"other_port", {.destination_port = 5353}, destination},
    {"mapped_destination", {.v6 = true, .destination = "::ffff:198.18.0.53"}, destination},
    {"mapped_source", {.v6 = true, .source = "::ffff:198.18.0.1"}, source},
    {"source_port_0", {.source_port = 0}, source},
    {"source_port_0_v6", {.v6 = true, .source_port = 0}, source},
    {"source_port_53", {.source_port = 53}, pass},
    {"source_unspecified", {.source = "0.0.0.0"}, source},
    {"source_unspecified_v6", {.v6 = true, .source = "::"}, source},
    {"source_multicast", {.source = "224.0.0.1"}, source},
    {"source_multicast_v6", {.v6 = true, .source = "ff02::1"}, source},
    {"source_broadcast", {.source = "255.255.255.255"}, source},
    {"source_loopback", {.source = "127.0.0.1"}, source},
    {"source_loopback_v6", {.v6 = true, .source = "::1"}, source},
    {"source_link_local_v6", {.v6 = true, .source = "fe80::1"}, pass},
    {"own_address_other_port", {.source = service_v4}, pass},
    {"own_endpoint", {.source = service_v4, .source_port = 53}, source},
    {"own_endpoint_v6", {.v6 = true, .source = service_v6, .source_port = 53}, source},
    {"own_socket", {.source = "198.18.0.9", .source_port = 5300}, source},
};

} // namespace millrace::tests
