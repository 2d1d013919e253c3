// Whoever makes the checksums, the NIC or we: the same frames leave, and the same are taken in. net_ring
// stands in for the NIC; what its driver would be told to do the test does, by the book.
#include <rte_ip.h>

#include "tests/dataplane/ethdev_fixture.hpp"

namespace millrace::tests {

namespace {

class OffloadTest : public EthdevTest {
  protected:
    void use(const Offload& offload) {
        port_.emplace(EthdevPort::Setup{ethdev_->port(), 0, pool_, &service_, offload});
    }

    /// The reply to a frame that came in with these flags, as it would be on the wire; empty: there is none.
    Bytes reply_to(rte_mbuf* mbuf, std::uint16_t size) {
        arrive(mbuf);
        port_->receive(burst_, counters_);
        if (burst_.count == 1) answer(burst_.packets[0], size);
        port_->send(burst_, counters_);
        void* object = nullptr;
        if (rte_ring_dequeue(from_port_, &object) != 0) return {};
        auto* reply = static_cast<rte_mbuf*>(object);
        complete(*reply);
        auto* start = rte_pktmbuf_mtod(reply, std::uint8_t*);
        Bytes frame(start, start + reply->data_len);
        rte_pktmbuf_free(reply);
        return frame;
    }

    /// What a NIC does with a frame whose flags ask for checksums (rte_mbuf_core.h, RTE_MBUF_F_TX_...).
    static void complete(rte_mbuf& mbuf) {
        std::uint64_t flags = mbuf.ol_flags;
        if ((flags & (RTE_MBUF_F_TX_IP_CKSUM | RTE_MBUF_F_TX_L4_MASK)) == 0) return;
        bool v4 = flags & RTE_MBUF_F_TX_IPV4;
        EXPECT_NE(v4, bool(flags & RTE_MBUF_F_TX_IPV6)) << "the NIC has to know which of the two it is";
        std::uint8_t* ip = rte_pktmbuf_mtod_offset(&mbuf, std::uint8_t*, mbuf.l2_len);
        EXPECT_EQ(ip[0] >> 4, v4 ? 4 : 6) << "l2_len";
        EXPECT_EQ(mbuf.l3_len, v4 ? 20U : 40U);
        if (flags & RTE_MBUF_F_TX_IP_CKSUM) {
            EXPECT_TRUE(v4);
            EXPECT_EQ(get16(ip + 10), 0U) << "it is added up as it stands";
            set16(ip + 10, 0xffff & ~ones_sum(ip, mbuf.l3_len));
        }
        if ((flags & RTE_MBUF_F_TX_L4_MASK) != RTE_MBUF_F_TX_UDP_CKSUM) return;
        std::uint8_t* udp = ip + mbuf.l3_len;
        std::uint16_t field;
        std::memcpy(&field, udp + 6, sizeof field);
        EXPECT_EQ(field, v4 ? rte_ipv4_phdr_cksum(reinterpret_cast<rte_ipv4_hdr*>(ip), flags)
                            : rte_ipv6_phdr_cksum(reinterpret_cast<rte_ipv6_hdr*>(ip), flags));
        unsigned sum = 0xffff & ~ones_sum(udp, get16(udp + 4));
        set16(udp + 6, sum == 0 ? 0xffff : sum);
    }

    rte_mbuf* flagged(const Bytes& frame, std::uint64_t flags) {
        rte_mbuf* mbuf = buffer(frame);
        mbuf->ol_flags |= flags;
        return mbuf;
    }
};

const std::vector<std::vector<unsigned>> tag_stacks = {{}, {0x8100}, {0x88a8, 0x8100}};

TEST_F(OffloadTest, EveryCombinationSendsTheSameFrames) {
    for (unsigned bits = 0; bits < 32; ++bits) {
        bool receive_ip = bits & 1, receive_udp = bits & 2, v6 = bits & 16;
        Offload send{bool(bits & 4), bool(bits & 8)};
        for (const auto& tags : tag_stacks) {
            for (std::uint16_t size : {12, 77, 1232}) {
                SCOPED_TRACE(testing::Message() << bits << " tags " << tags.size() << " size " << size);
                Query query{.v6 = v6, .tags = tags, .source_port = 53};
                Bytes right = build(query), told = right;
                use({});
                Bytes expected = reply_to(buffer(right), size);
                ASSERT_FALSE(expected.empty());
                expect_reply(expected, size);
                // What the NIC vouches for is not looked at again: such a checksum may be any.
                std::size_t ip = 14 + 4 * tags.size(), udp = ip + (v6 ? 40 : 20);
                if (receive_ip && !v6) told[ip + 10] ^= 0x5a;
                if (receive_udp) told[udp + 6] ^= 0x5a;
                use(send);
                std::uint64_t flags = (receive_ip ? RTE_MBUF_F_RX_IP_CKSUM_GOOD : 0) |
                                      (receive_udp ? RTE_MBUF_F_RX_L4_CKSUM_GOOD : 0);
                EXPECT_EQ(reply_to(flagged(told, flags), size), expected);
            }
        }
    }
    EXPECT_EQ(counters_.received(), 0U) << "none was dropped";
}

TEST_F(OffloadTest, WithoutTheNicsWordAWrongChecksumIsFoundInEveryFrame) {
    unsigned dropped = 0;
    for (bool v6 : {false, true}) {
        for (const auto& tags : tag_stacks) {
            std::size_t ip = 14 + 4 * tags.size(), udp = ip + (v6 ? 40 : 20);
            for (std::size_t at : {ip + 10, udp + 6}) {
                if (v6 && at == ip + 10) continue; // its header has none
                Bytes wrong = build({.v6 = v6, .tags = tags});
                wrong[at] ^= 0x5a;
                EXPECT_TRUE(reply_to(buffer(wrong), 12).empty());
                EXPECT_EQ(counters_.get(Verdict::drop_checksum), ++dropped);
            }
        }
    }
}

/// Nobody asks for it, but a driver may do so all the same.
TEST_F(OffloadTest, TagsThatTheNicHasTakenOffAreInTheReply) {
    for (bool v6 : {false, true}) {
        auto expect = [&](const Query& query, std::size_t taken, std::uint64_t flags) {
            Bytes whole = build(query), stripped = whole;
            stripped.erase(stripped.begin() + 12, stripped.begin() + 12 + std::ptrdiff_t(4 * taken));
            Bytes expected = reply_to(buffer(whole), 40);
            ASSERT_FALSE(expected.empty());
            rte_mbuf* mbuf = flagged(stripped, flags);
            mbuf->vlan_tci = taken == query.tags.size() ? 0x2000 + unsigned(taken) - 1 : 0;
            mbuf->vlan_tci_outer = 0x2000;
            EXPECT_EQ(reply_to(mbuf, 40), expected);
        };
        constexpr std::uint64_t vlan = RTE_MBUF_F_RX_VLAN | RTE_MBUF_F_RX_VLAN_STRIPPED,
                                outer = RTE_MBUF_F_RX_VLAN | RTE_MBUF_F_RX_QINQ | RTE_MBUF_F_RX_QINQ_STRIPPED;
        expect({.v6 = v6, .tags = {0x8100}}, 1, vlan);
        expect({.v6 = v6, .tags = {0x88a8, 0x8100}}, 2, vlan | outer);
        expect({.v6 = v6, .tags = {0x88a8, 0x8100}}, 1, outer);
    }
    EXPECT_EQ(counters_.received(), 0U) << "none was dropped";
}

TEST_F(OffloadTest, ATagWithoutRoomForItCostsTheFrame) {
    rte_mbuf* mbuf = flagged({}, RTE_MBUF_F_RX_VLAN | RTE_MBUF_F_RX_VLAN_STRIPPED);
    Bytes frame = build({});
    mbuf->data_off = 0; // no headroom
    std::memcpy(rte_pktmbuf_append(mbuf, std::uint16_t(frame.size())), frame.data(), frame.size());
    EXPECT_TRUE(reply_to(mbuf, 12).empty());
    EXPECT_EQ(counters_.get(Verdict::drop_frame), 1U);
}

/// As a driver with buffers of its own may hand it over. What it asks for is answered as ever.
TEST_F(OffloadTest, ALongFrameInOneBufferIsAFrame) {
    constexpr std::uint16_t length = 9000;
    rte_mempool* pool = rte_pktmbuf_pool_create("long", 7, 0, 0, length + RTE_PKTMBUF_HEADROOM, -1);
    ASSERT_NE(pool, nullptr);
    for (unsigned bits = 0; bits < 4; ++bits) {
        use({bool(bits & 1), bool(bits & 2)});
        for (bool v6 : {false, true}) {
            Bytes frame =
                build({.v6 = v6, .source_port = 53, .payload = Bytes(length - 14U - (v6 ? 48U : 28U), 0x11)});
            ASSERT_EQ(frame.size(), length);
            rte_mbuf* mbuf = rte_pktmbuf_alloc(pool);
            std::memcpy(rte_pktmbuf_append(mbuf, length), frame.data(), length);
            Bytes reply = reply_to(mbuf, limits::edns_octets);
            ASSERT_FALSE(reply.empty());
            expect_reply(reply, limits::edns_octets);
        }
    }
    EXPECT_EQ(rte_mempool_avail_count(pool), 7U);
    rte_mempool_free(pool);
}

} // namespace

} // namespace millrace::tests
