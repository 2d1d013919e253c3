// Frames in, verdicts and replies out: dataplane/RULES.md, frames.
#include "dataplane/frame.hpp"

#include <algorithm>
#include <optional>
#include <span>
#include <string>

#include <gtest/gtest.h>

#include "tests/dataplane/frame_rows.hpp"

namespace millrace::tests {

using dataplane::Endpoint;
using dataplane::Frame;
using dataplane::ReplyHeader;
using dataplane::Service;

namespace {

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
    unsigned at = frame->turn_round(bytes.data());
    Bytes out(bytes.begin() + at, bytes.begin() + frame->payload);
    ReplyHeader header{frame->l2, frame->l3, {}};
    EXPECT_EQ(out.size(), header.size());
    std::ranges::copy(out, header.octets.begin());
    EXPECT_EQ(header.client(), frame->source);
    out.insert(out.end(), payload.begin(), payload.end());
    dataplane::seal(out.data(), frame->l2, frame->l3, std::uint16_t(payload.size()), offload);
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
    Bytes before = bytes;
    unsigned at = frame->turn_round(bytes.data(), dataplane::parse_mac("02:aa:bb:cc:dd:ee"));
    EXPECT_EQ(Bytes(&bytes[at], &bytes[at + 6]), unhex("02aabbccddee"));
    EXPECT_TRUE(std::equal(before.begin(), before.begin() + 6, &bytes[at + 6]));
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
    EXPECT_EQ(frame->payload - frame->turn_round(bytes.data()), 70U);
    EXPECT_LE(sizeof(ReplyHeader), dataplane::limits::return_octets);
}

/// The layers of a reply are judged as those of a query.
TEST(Frame, RepliesToo) {
    for (const auto& rows : {std::span<const Row>(link_rows), std::span<const Row>(ipv4_rows),
                             std::span<const Row>(ipv6_rows)}) {
        for (const Row& row : rows) {
            SCOPED_TRACE(row.name);
            Row changed = row;
            changed.query.destination_port = 50000;
            Bytes bytes = build(changed.query);
            changed.change(bytes);
            bytes.shrink_to_fit();
            dataplane::Peers peers{service().addresses, {}};
            for (auto client : {client_v4, client_v6})
                peers.remotes.push_back({address(client), std::uint16_t(row.query.source_port)});
            std::ranges::sort(peers.remotes);
            auto frame = Frame::parse_reply(bytes, peers, service());
            EXPECT_EQ(frame ? std::nullopt : std::optional(frame.error()), row.verdict);
            EXPECT_EQ(frame ? frame->payload_size : row.query.payload.size(), row.query.payload.size());
        }
    }
}

} // namespace

} // namespace millrace::tests
