// Frames in, verdicts and replies out: wire-rules.md section 1, a row per rule.
#include "dataplane/frame.hpp"

#include <algorithm>
#include <functional>
#include <optional>
#include <string>

#include <gtest/gtest.h>

#include "tests/dataplane/frames.hpp"

namespace millrace::tests {

using dataplane::Endpoint;
using dataplane::Frame;
using dataplane::ReplyHeader;
using dataplane::Service;
using dataplane::Verdict;

namespace {

using Change = std::function<void(Bytes&)>;

struct Row {
    const char* name;
    Query query;
    std::optional<Verdict> verdict; ///< none: the payload comes through
    Change change = [](Bytes&) {};  ///< done to the finished frame
};

constexpr std::size_t ip = 14, udp4 = ip + 20, udp6 = ip + 40; // in frames without tags and options

Change set(std::size_t at, std::uint8_t value) {
    return [=](Bytes& frame) { frame[at] = value; };
}
Change cut(std::size_t size) {
    return [=](Bytes& frame) { frame.resize(size); };
}
/// Changes two octets of the IPv4 header and makes its checksum right again.
Change ipv4_field(std::size_t offset, unsigned value) {
    return [=](Bytes& frame) {
        set16(&frame[ip + offset], value);
        set16(&frame[ip + 10], 0);
        set16(&frame[ip + 10], 0xffff & ~ones_sum(&frame[ip], 20));
    };
}
Change field(std::size_t at, unsigned value) {
    return [=](Bytes& frame) { set16(&frame[at], value); };
}

const Bytes eight(8, 0), sixteen = {0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0};
constexpr auto frame_ = Verdict::drop_frame, protocol = Verdict::drop_protocol,
               destination = Verdict::drop_destination, source = Verdict::drop_source,
               fragment = Verdict::drop_fragment, checksum = Verdict::drop_checksum;
constexpr std::nullopt_t pass = std::nullopt;

const Row link_rows[] = {
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

const Row ipv4_rows[] = {
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

const Row ipv6_rows[] = {
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

const Row udp_rows[] = {
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

const Row address_rows[] = {
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

/// The verdict for a row, `pass` for a frame whose parts all came out right.
void check(const Row& row) {
    SCOPED_TRACE(row.name);
    Bytes bytes = build(row.query);
    row.change(bytes);
    Bytes exact(bytes); // a heap block of its own size: ASan sees a read past the end
    exact.shrink_to_fit();
    auto frame = Frame::parse(exact, service());
    if (row.verdict) {
        ASSERT_FALSE(frame);
        EXPECT_EQ(int(frame.error()), int(*row.verdict));
        return;
    }
    ASSERT_TRUE(frame) << "dropped with verdict " << int(frame.error());
    const Query& q = row.query;
    EXPECT_EQ(frame->payload_size, q.payload.size());
    EXPECT_EQ(frame->l2, 14 + 4 * q.tags.size());
    Bytes payload(exact.begin() + frame->payload, exact.begin() + frame->payload + frame->payload_size);
    EXPECT_EQ(payload, q.payload);
    EXPECT_EQ(frame->source.port, q.source_port);
    EXPECT_EQ(frame->destination.port, 53);
    auto client = address(!q.source.empty() ? q.source : q.v6 ? client_v6 : client_v4);
    EXPECT_EQ(frame->source.address, client);
    EXPECT_EQ(frame->destination.address, address(q.v6 ? service_v6 : service_v4));
}

TEST(Frame, LinkLayer) {
    std::ranges::for_each(link_rows, check);
}
TEST(Frame, Ipv4) {
    std::ranges::for_each(ipv4_rows, check);
}
TEST(Frame, Ipv6) {
    std::ranges::for_each(ipv6_rows, check);
}
TEST(Frame, Udp) {
    std::ranges::for_each(udp_rows, check);
}
TEST(Frame, Addresses) {
    std::ranges::for_each(address_rows, check);
}

TEST(Frame, EveryCutIsRefused) {
    for (bool v6 : {false, true}) {
        Bytes whole = build({.v6 = v6, .tags = {0x8100}});
        for (std::size_t size = 0; size < whole.size(); ++size) {
            Bytes bytes(whole.begin(), whole.begin() + std::ptrdiff_t(size));
            EXPECT_FALSE(Frame::parse(bytes, service())) << size;
        }
    }
}

TEST(Frame, BehindAVirtualInterfaceOnlyThePseudoHeaderSumPassesToo) {
    Service virtual_port = service();
    virtual_port.partial_checksums = true;
    for (bool v6 : {false, true}) {
        std::size_t at = (v6 ? udp6 : udp4) + 6;
        Bytes bytes = build({.v6 = v6, .partial = true});
        EXPECT_TRUE(Frame::parse(bytes, virtual_port));
        EXPECT_TRUE(Frame::parse(build({.v6 = v6}), virtual_port)); // a complete one still does
        set16(&bytes[at], get16(&bytes[at]) ^ 1);
        EXPECT_FALSE(Frame::parse(bytes, virtual_port));
        set16(&bytes[at], 0xffff & ~(get16(&bytes[at]) ^ 1)); // nor the sum's complement
        EXPECT_FALSE(Frame::parse(bytes, virtual_port));
    }
    EXPECT_FALSE(Frame::parse(build({.v6 = true, .checksum = false}), virtual_port));
}

TEST(Frame, WhatTheNicVerifiedIsNotSummedAgain) {
    Bytes bytes = build({});
    bytes[udp4 + 8] ^= 1;
    EXPECT_FALSE(Frame::parse(bytes, service()));
    EXPECT_TRUE(Frame::parse(bytes, service(), {.udp = true}));
    bytes[ip + 8] ^= 1;
    EXPECT_FALSE(Frame::parse(bytes, service(), {.udp = true}));
    EXPECT_TRUE(Frame::parse(bytes, service(), {.ipv4_header = true, .udp = true}));
    EXPECT_FALSE(Frame::parse(build({.v6 = true, .checksum = false}), service(), {.udp = true}));
}

Bytes unhex(std::string_view text) {
    Bytes out;
    for (std::size_t i = 0; i + 1 < text.size(); i += 2) {
        out.push_back(std::uint8_t(std::stoul(std::string(text.substr(i, 2)), nullptr, 16)));
    }
    return out;
}

/// The reply to `query` with this payload, as it would go out.
Bytes reply(const Query& query, const Bytes& payload, dataplane::Offload offload = {}) {
    Bytes bytes = build(query);
    auto frame = Frame::parse(bytes, service());
    if (!frame) return {};
    ReplyHeader header = frame->reply_header(bytes.data());
    EXPECT_LE(header.size(), frame->payload); // it has to fit in front of the payload
    EXPECT_EQ(header.client(), frame->source);
    Bytes out(header.octets.begin(), header.octets.begin() + header.size());
    out.insert(out.end(), payload.begin(), payload.end());
    dataplane::seal(out.data(), header.l2, header.l3, std::uint16_t(payload.size()), offload);
    return out;
}

struct ReplyRow {
    const char* name;
    Query query;
    const char* hex; ///< made with scapy, for a payload of 29 octets 0xab
};

#define ETHERNET "020000000001020000000053"
#define IPV4_REPLY                                                                                           \
    "0800"                                                                                                   \
    "45000039000040004011ae59c6120035c6120001"                                                               \
    "00359c400025c86f"
#define IPV6_REPLY                                                                                           \
    "86dd"                                                                                                   \
    "600000000025114020010db800000000000000000000005320010db8000000000000000000000001"                       \
    "00359c400025f904"

const ReplyRow reply_rows[] = {
    {"v4", {}, ETHERNET IPV4_REPLY},
    {"v4_options_gone", {.options = Bytes(12, 1)}, ETHERNET IPV4_REPLY},
    {"v4_without_checksum", {.checksum = false}, ETHERNET IPV4_REPLY},
    {"v4_padding_gone", {.payload = Bytes(1), .padding = 17}, ETHERNET IPV4_REPLY},
    {"v4_tag", {.tags = {0x8100}}, ETHERNET "81002000" IPV4_REPLY},
    {"v4_tags", {.tags = {0x88a8, 0x8100}}, ETHERNET "88a8200081002001" IPV4_REPLY},
    {"v6", {.v6 = true}, ETHERNET IPV6_REPLY},
    {"v6_tags", {.v6 = true, .tags = {0x88a8, 0x8100}}, ETHERNET "88a8200081002001" IPV6_REPLY},
    {"v6_extensions_gone", {.v6 = true, .extensions = {{0, eight}, {60, sixteen}}}, ETHERNET IPV6_REPLY},
};

TEST(Reply, Headers) {
    for (const ReplyRow& row : reply_rows) {
        SCOPED_TRACE(row.name);
        Bytes payload(29, 0xab), expected = unhex(row.hex);
        expected.insert(expected.end(), payload.begin(), payload.end());
        EXPECT_EQ(reply(row.query, payload), expected);
    }
}

TEST(Reply, GoesToTheNextHopWhereOneIsSet) {
    Bytes bytes = build({});
    auto frame = Frame::parse(bytes, service());
    ASSERT_TRUE(frame);
    auto header = frame->reply_header(bytes.data(), dataplane::parse_mac("02:aa:bb:cc:dd:ee"));
    EXPECT_EQ(Bytes(header.octets.begin(), header.octets.begin() + 6), unhex("02aabbccddee"));
    EXPECT_TRUE(std::equal(bytes.begin(), bytes.begin() + 6, header.octets.begin() + 6));
    for (const char* bad : {"", "02:00:00:00:00", "01:00:00:00:00:01", "00:00:00:00:00:00",
                            "02-00-00-00-00-01x", "0200.0000.0001", "02:00:00:00:00:0g"}) {
        EXPECT_FALSE(dataplane::parse_mac(bad)) << bad;
    }
}

/// Every size gives a packet that the parser itself accepts on the way back.
TEST(Reply, EverySizeIsWellFormed) {
    Service client;
    client.addresses = {address(client_v4), address(client_v6)};
    for (bool v6 : {false, true}) {
        for (std::size_t size = 0; size <= dataplane::limits::edns_octets; ++size) {
            Bytes bytes = reply({.v6 = v6, .source_port = 53}, Bytes(size, 0x5a));
            auto frame = Frame::parse(bytes, client);
            ASSERT_TRUE(frame) << size;
            EXPECT_EQ(frame->payload_size, size);
            EXPECT_EQ(frame->payload + size, bytes.size());
        }
    }
}

TEST(Reply, AChecksumThatComesOutAsZeroIsSentAsAllOnes) {
    for (bool v6 : {false, true}) {
        std::size_t at = (v6 ? udp6 : udp4) + 6;
        Bytes payload(4, 0);
        Bytes first = reply({.v6 = v6}, payload);
        set16(&payload[0], get16(&first[at])); // adding what is missing to all ones makes the complement zero
        EXPECT_EQ(get16(&reply({.v6 = v6}, payload)[at]), 0xffffU);
    }
}

TEST(Reply, OffloadLeavesThePseudoHeaderSum) {
    for (bool v6 : {false, true}) {
        Query q{.v6 = v6};
        Bytes payload(40, 1), bytes = reply(q, payload, {.ipv4_header = true, .udp = true});
        Bytes addresses = addresses_of(q);
        EXPECT_EQ(get16(&bytes[(v6 ? udp6 : udp4) + 6]),
                  ones_sum(addresses.data(), addresses.size(), 48 + 17));
        if (!v6) {
            EXPECT_EQ(get16(&bytes[ip + 10]), 0U);
        }
    }
}

TEST(Reply, FitsAReturnPath) {
    Bytes bytes = build({.v6 = true, .tags = {0x88a8, 0x8100}});
    auto frame = Frame::parse(bytes, service());
    ASSERT_TRUE(frame);
    EXPECT_EQ(frame->reply_header(bytes.data()).size(), 70U);
    EXPECT_LE(sizeof(ReplyHeader), dataplane::limits::return_octets);
}

} // namespace

} // namespace millrace::tests
