// Which frames are the kernel's, of what kind, and how many it is given: RULES.md, exception path.
#include <gtest/gtest.h>

#include "dataplane/kernel_frame.hpp"
#include "tests/dataplane/frames.hpp"

namespace millrace::tests {

using namespace dataplane;

namespace {

using Kind = KernelFrame::Kind;

enum Protocol : std::uint8_t { icmp = 1, tcp = 6, udp = 17, icmpv6 = 58 };

/// What the dataplane leaves of a frame.
std::optional<KernelFrame> left_of(const Bytes& frame) {
    auto parsed = Frame::parse(frame, service());
    return parsed ? std::nullopt : KernelFrame::classify(frame, parsed.error(), service());
}

/// A query's frame with another protocol's number.
Bytes ipv4(std::uint8_t protocol, const Query& query = {}) {
    Bytes frame = build(query);
    std::uint8_t* header = &frame[14 + 4 * query.tags.size()];
    header[9] = protocol;
    set16(header + 10, 0);
    set16(header + 10, 0xffff & ~ones_sum(header, (header[0] & 0xfu) * 4));
    return frame;
}
Bytes ipv6(std::uint8_t next, Query query = {}) {
    query.v6 = true;
    Bytes frame = build(query);
    frame[14 + 6] = next;
    return frame;
}
Bytes fragment(Bytes frame, unsigned field) {
    set16(&frame[14 + 6], field);
    set16(&frame[14 + 10], 0);
    set16(&frame[14 + 10], 0xffff & ~ones_sum(&frame[14], 20));
    return frame;
}
Bytes neighbour_discovery(std::uint8_t type, std::uint8_t hops = 255) {
    Bytes frame = ipv6(icmpv6);
    frame[14 + 7] = hops;
    frame[14 + 40] = type;
    return frame;
}
Bytes arp(std::uint8_t last = 1, bool tagged = false) {
    Bytes frame = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, last};
    if (tagged) put16(frame, 0x8100), put16(frame, 7);
    put16(frame, 0x0806);
    frame.resize(frame.size() + 28);
    return frame;
}

TEST(KernelFrame, Kinds) {
    const struct {
        const char* name;
        Bytes frame;
        Kind kind;
    } rows[] = {
        {"ARP", arp(), Kind::neighbours},
        {"ARP in a VLAN", arp(1, true), Kind::neighbours},
        {"neighbour solicitation", neighbour_discovery(135), Kind::neighbours},
        {"router advertisement", neighbour_discovery(134), Kind::neighbours},
        {"one that a router has forwarded", neighbour_discovery(135, 254), Kind::other},
        {"ping6", neighbour_discovery(128), Kind::other},
        {"ping", ipv4(icmp), Kind::other},
        {"BGP to us", ipv4(tcp, {.destination_port = 179}), Kind::routing},
        {"BGP from our peer", ipv6(tcp, {.source_port = 179, .destination_port = 9999}), Kind::routing},
        {"BFD", build({.destination_port = 3784}), Kind::routing},
        {"BFD over several hops", build({.v6 = true, .destination_port = 4784}), Kind::routing},
        {"SSH", ipv4(tcp, {.destination_port = 22}), Kind::other},
        {"DNS over TCP", ipv4(tcp), Kind::other},
        {"DNS over UDP to another address of this machine", build({.destination = "198.18.0.9"}),
         Kind::other},
        {"an upstream's answer", build({.source_port = 53, .destination_port = 40000}), Kind::other},
        {"TCP behind IPv4 options", ipv4(tcp, {.destination_port = 179, .options = Bytes(8, 1)}),
         Kind::routing},
        {"a fragment of a ping", fragment(ipv4(icmp), 0x2000), Kind::other},
        {"the rest of one of BGP", fragment(ipv4(tcp, {.destination_port = 179}), 0x0010), Kind::other},
        {"in a VLAN", ipv4(tcp, {.tags = {0x88a8, 0x8100}, .destination_port = 179}), Kind::routing},
        {"LLDP",
         [] {
             Bytes f = arp();
             set16(&f[12], 0x88cc);
             return f;
         }(),
         Kind::other},
    };
    for (const auto& row : rows) {
        auto left = left_of(row.frame);
        ASSERT_TRUE(left) << row.name;
        EXPECT_EQ(left->kind, row.kind) << row.name;
    }
}

TEST(KernelFrame, WhatIsOrMayBeDnsOverUdpIsNot) {
    const struct {
        const char* name;
        Bytes frame;
    } rows[] = {
        {"a query", build({})},
        {"with a wrong checksum", build({.checksum = false, .partial = true})},
        {"from port 0", build({.source_port = 0})},
        {"from a group", build({.source = "224.0.0.1"})},
        {"in a frame to a group", [] { Bytes f = build({}); f[0] = 1; return f; }()},
        {"in a frame to a group, IPv6", [] { Bytes f = build({.v6 = true}); f[0] = 0x33; return f; }()},
        {"first fragment", fragment(build({}), 0x2000)},
        {"later fragment", fragment(build({}), 0x0010)},
        {"in a VLAN, in fragments", [] {
             Bytes f = build({.tags = {0x8100}});
             set16(&f[18 + 6], 0x2000), set16(&f[18 + 10], 0);
             set16(&f[18 + 10], 0xffff & ~ones_sum(&f[18], 20));
             return f;
         }()},
        {"fragment, IPv6", build({.v6 = true, .extensions = {{44, Bytes(8, 0)}}})},
        {"on its way to elsewhere", build({.v6 = true, .extensions = {{43, {0, 0, 0, 1, 0, 0, 0, 0}}}})},
        {"behind more extension headers than are walked over",
         build({.v6 = true, .extensions = std::vector(5, std::pair(60U, Bytes(8, 0)))})},
        {"behind three tags", build({.tags = {0x8100, 0x8100, 0x8100}})},
        {"shorter than it says", [] { Bytes f = ipv4(tcp); f.resize(30); return f; }()},
        {"a wrong IPv4 checksum", [] { Bytes f = ipv4(tcp); f[24] ^= 1; return f; }()},
        {"nothing", {}},
    };
    for (const auto& row : rows) EXPECT_FALSE(left_of(row.frame)) << row.name;
}

TEST(KernelFrame, FragmentsOfIpv6BySort) {
    for (auto [next, is_left] : {std::pair(std::uint8_t(icmpv6), true), {tcp, true}, {udp, false}}) {
        Bytes frame = build({.v6 = true, .extensions = {{44, Bytes(8, 0)}}});
        frame[14 + 40] = next;
        EXPECT_EQ(left_of(frame).has_value(), is_left) << int(next);
    }
}

/// However a frame is cut or changed, nothing beyond its end is read (under ASan), and a query stays ours.
TEST(KernelFrame, CutFrames) {
    for (Bytes frame : {ipv4(tcp), ipv6(icmpv6), neighbour_discovery(135), arp(1, true)}) {
        for (std::size_t size = 0; size <= frame.size(); ++size) {
            Bytes cut(frame.begin(), frame.begin() + std::ptrdiff_t(size));
            for (Verdict verdict :
                 {Verdict::drop_protocol, Verdict::drop_destination, Verdict::drop_fragment})
                (void)KernelFrame::classify(cut, verdict, service());
        }
    }
}

std::uint64_t source_of(const Bytes& frame) {
    return left_of(frame).value().source;
}

TEST(KernelFrame, Sources) {
    EXPECT_NE(source_of(arp(1)), source_of(arp(2)));
    EXPECT_NE(source_of(ipv4(icmp)), source_of(ipv4(icmp, {.source = "198.18.0.2"})));
    EXPECT_EQ(source_of(ipv4(icmp)), source_of(ipv4(tcp)));
    EXPECT_EQ(source_of(ipv6(icmpv6, {.source = "2001:db8::1"})),
              source_of(ipv6(icmpv6, {.source = "2001:db8::2"})));
    EXPECT_NE(source_of(ipv6(icmpv6, {.source = "2001:db8:1::1"})), source_of(ipv6(icmpv6)));
    Bytes local = ipv6(icmpv6, {.source = "fe80::1"}), other = local;
    other[11] ^= 1; // its MAC address
    EXPECT_NE(source_of(local), source_of(other)) << "all neighbours have fe80::/64";
    Bytes asked = neighbour_discovery(135), other_asked = asked;
    other_asked[11] ^= 1;
    EXPECT_NE(source_of(asked), source_of(other_asked)) << "and the link's own /64";
}

class KernelRatesTest : public testing::Test {
  protected:
    static constexpr unsigned rate = 400;

    unsigned taken(Kind kind, std::uint64_t source, unsigned frames, Time now = 1s) {
        unsigned count = 0;
        for (unsigned i = 0; i < frames; ++i) count += rates.take({kind, source}, now, counters);
        return count;
    }

    KernelRates rates{rate, 1};
    Counters counters;
};

TEST_F(KernelRatesTest, ASourceHasAQuarterOfAKind) {
    EXPECT_EQ(taken(Kind::other, 1, 1000), rate / 4);
    EXPECT_EQ(taken(Kind::other, 2, 1000), rate / 4) << "what the first had too many was not charged to all";
    EXPECT_EQ(taken(Kind::routing, 1, 1000), rate / 4) << "a flood of one kind does not end its other kinds";
    EXPECT_EQ(taken(Kind::other, 1, 1000, 2s), rate / 4) << "a second later";
}

TEST_F(KernelRatesTest, AFloodOfManySourcesTakesItsOwnKindAlone) {
    unsigned passed = 0;
    for (std::uint64_t source = 1; source <= 4000; ++source)
        passed += taken(Kind::other, source << 40 | source, 1);
    EXPECT_EQ(passed, rate);
    EXPECT_EQ(taken(Kind::neighbours, 5, 10), 10u);
    EXPECT_EQ(taken(Kind::routing, 5, 10), 10u);
    EXPECT_EQ(taken(Kind::other, 1, 10), 0u);
}

} // namespace
} // namespace millrace::tests
