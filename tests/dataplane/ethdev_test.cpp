// Real mbufs through an ethdev port: net_ring stands in for the NIC, the test for the wire.
#include <string>

#include <rte_eal.h>
#include <rte_malloc.h>

#include "dataplane/eal_memory.hpp"
#include "dataplane/eal_plan.hpp"
#include "tests/dataplane/ethdev_fixture.hpp"

namespace millrace::tests {

using namespace dataplane;

namespace {

TEST_F(EthdevTest, AQueryComesInAndItsReplyGoesOut) {
    for (bool v6 : {false, true}) {
        Query query{.v6 = v6, .tags = {0x8100}, .source_port = 53, .payload = Bytes(33, 0x11)};
        arrive(query);
        port_->receive(burst_, counters_);
        ASSERT_EQ(burst_.count, 1U);
        Packet& packet = burst_.packets[0];
        EXPECT_EQ(Bytes(packet.data, packet.data + packet.size), query.payload);
        EXPECT_EQ(packet.client, (Endpoint{address(v6 ? client_v6 : client_v4), 53}));
        EXPECT_EQ(packet.reply, 0);
        EXPECT_EQ(packet.room, limits::payload_room);
        answer(packet, limits::edns_octets);
        port_->send(burst_, counters_);
        EXPECT_EQ(burst_.count, 0U);
        auto frames = sent();
        ASSERT_EQ(frames.size(), 1U);
        expect_reply(frames[0], limits::edns_octets);
    }
    EXPECT_EQ(counters_.received(), 0U); // verdicts on queries are the worker's
}

TEST_F(EthdevTest, WithoutAReplyTheBufferIsFreed) {
    for (int i = 0; i < 20; ++i) arrive(Query{});
    port_->receive(burst_, counters_);
    ASSERT_EQ(burst_.count, 20U);
    answer(burst_.packets[7], 12);
    port_->send(burst_, counters_);
    EXPECT_EQ(sent().size(), 1U);
    EXPECT_EQ(counters_.get(Event::sent), 1U);
    EXPECT_EQ(counters_.get(Event::send_failed), 0U);
}

TEST_F(EthdevTest, WhatIsNotForUsIsCountedAndFreed) {
    arrive(Query{.checksum = false, .partial = true});
    arrive(Query{.v6 = true, .checksum = false});
    arrive(Query{.destination_port = 54});
    arrive(Query{.source_port = 0});
    arrive(buffer(Bytes(60, 0)));
    arrive(buffer(Bytes(5, 0)));
    port_->receive(burst_, counters_);
    EXPECT_EQ(burst_.count, 1U);
    EXPECT_EQ(counters_.get(Verdict::drop_checksum), 1U);
    EXPECT_EQ(counters_.get(Verdict::drop_destination), 1U);
    EXPECT_EQ(counters_.get(Verdict::drop_source), 1U);
    EXPECT_EQ(counters_.get(Verdict::drop_protocol), 1U);
    EXPECT_EQ(counters_.get(Verdict::drop_frame), 1U);
    EXPECT_EQ(counters_.received() + burst_.count, 6U);
    port_->send(burst_, counters_);
}

TEST_F(EthdevTest, APacketInSeveralSegmentsIsDroppedWhole) {
    rte_mbuf *head = buffer(build({})), *tail = buffer(Bytes(18, 0)); // padding in a segment of its own
    ASSERT_EQ(rte_pktmbuf_chain(head, tail), 0);
    arrive(head);
    port_->receive(burst_, counters_);
    EXPECT_EQ(burst_.count, 0U);
    EXPECT_EQ(counters_.get(Verdict::drop_frame), 1U);
}

TEST_F(EthdevTest, AWokenWaiterGetsTheHeadersOfAnImmediateReply) {
    for (Query query : {Query{.tags = {0x88a8, 0x8100}, .options = Bytes(8, 1)}, Query{.v6 = true}}) {
        arrive(query);
        arrive(query);
        port_->receive(burst_, counters_);
        ASSERT_EQ(burst_.count, 2U);
        ReturnPath path;
        port_->save(burst_.packets[0], path);
        answer(burst_.packets[1], 77);
        port_->send(burst_, counters_); // the first one's buffer is gone now

        ASSERT_TRUE(port_->compose(burst_, path));
        ASSERT_EQ(burst_.count, 1U);
        EXPECT_EQ(burst_.packets[0].client, (Endpoint{address(query.v6 ? client_v6 : client_v4), 40000}));
        EXPECT_EQ(burst_.packets[0].size, 0);
        EXPECT_GE(burst_.packets[0].room, limits::edns_octets);
        answer(burst_.packets[0], 77);
        port_->send(burst_, counters_);
        auto frames = sent();
        ASSERT_EQ(frames.size(), 2U);
        EXPECT_EQ(frames[0], frames[1]);
    }
}

TEST_F(EthdevTest, WithoutABufferNothingIsComposed) {
    arrive(Query{});
    port_->receive(burst_, counters_);
    ReturnPath path;
    port_->save(burst_.packets[0], path);
    std::vector<rte_mbuf*> all;
    while (rte_mbuf* mbuf = rte_pktmbuf_alloc(pool_)) all.push_back(mbuf);
    EXPECT_FALSE(port_->compose(burst_, path));
    EXPECT_EQ(burst_.count, 1U);
    rte_pktmbuf_free_bulk(all.data(), unsigned(all.size()));
    port_->send(burst_, counters_);
}

TEST_F(EthdevTest, WhatTheNicDoesNotTakeIsFreedAndCounted) {
    unsigned places = rte_ring_get_capacity(from_port_), rounds = places / limits::burst + 1;
    for (unsigned round = 0; round < rounds; ++round) {
        for (unsigned i = 0; i < limits::burst; ++i) arrive(Query{});
        port_->receive(burst_, counters_);
        ASSERT_EQ(burst_.count, limits::burst);
        for (Packet& packet : burst_.packets) answer(packet, 40);
        port_->send(burst_, counters_);
    }
    EXPECT_EQ(counters_.get(Event::send_failed), rounds * limits::burst - places);
    EXPECT_EQ(sent().size(), places);
    EXPECT_EQ(counters_.get(Event::sent), places);
}

TEST_F(EthdevTest, ABurstIsNeverOverfilled) {
    for (unsigned i = 0; i < limits::burst + 5; ++i) arrive(Query{});
    port_->receive(burst_, counters_);
    EXPECT_EQ(burst_.count, limits::burst);
    port_->receive(burst_, counters_); // no place: what waits stays where it is
    EXPECT_EQ(burst_.count, limits::burst);
    port_->send(burst_, counters_);
    port_->receive(burst_, counters_);
    EXPECT_EQ(burst_.count, 5U);
    port_->send(burst_, counters_);
}

/// A query whose headers fill most of the buffer leaves less room, and the port says so.
TEST_F(EthdevTest, RoomEndsWithTheBuffer) {
    Bytes options(1400, 0);
    options[1] = 1400 / 8 - 1;
    arrive(Query{.v6 = true, .extensions = {{60, options}}});
    port_->receive(burst_, counters_);
    ASSERT_EQ(burst_.count, 1U);
    auto* mbuf = static_cast<rte_mbuf*>(burst_.packets[0].handle);
    auto* end = static_cast<std::uint8_t*>(mbuf->buf_addr) + mbuf->buf_len;
    EXPECT_EQ(burst_.packets[0].data + burst_.packets[0].room, end);
    port_->send(burst_, counters_);
}

TEST_F(EthdevTest, OnlyGoodNewsIsTakenFromTheNic) {
    Bytes right = build({.source_port = 53}), wrong = right;
    wrong.back() ^= 1;
    struct Row {
        std::uint64_t flags;
        bool right, accepted;
    } rows[] = {
        {RTE_MBUF_F_RX_L4_CKSUM_GOOD, false, true},   {RTE_MBUF_F_RX_L4_CKSUM_BAD, false, false},
        {RTE_MBUF_F_RX_L4_CKSUM_BAD, true, true},     {RTE_MBUF_F_RX_L4_CKSUM_UNKNOWN, false, false},
        {RTE_MBUF_F_RX_L4_CKSUM_UNKNOWN, true, true}, {RTE_MBUF_F_RX_L4_CKSUM_NONE, false, true},
        {RTE_MBUF_F_RX_IP_CKSUM_GOOD, false, false},
    };
    for (const Row& row : rows) {
        rte_mbuf* mbuf = buffer(row.right ? right : wrong);
        mbuf->ol_flags |= row.flags;
        arrive(mbuf);
        port_->receive(burst_, counters_);
        EXPECT_EQ(burst_.count, row.accepted ? 1U : 0U) << row.flags << row.right;
        if (burst_.count == 1) answer(burst_.packets[0], 12);
        port_->send(burst_, counters_);
        for (const Bytes& frame : sent()) expect_reply(frame, 12);
    }
}

/// AF_XDP's driver shows the kernel (number of buffers) x (size of one) octets from the pool's start.
TEST_F(EthdevTest, BuffersLieWithoutGaps) {
    auto* pool = pool_;
    ASSERT_EQ(pool->nb_mem_chunks, 1U);
    std::uintptr_t start = std::uintptr_t(STAILQ_FIRST(&pool->mem_list)->addr);
    std::size_t size = rte_mempool_calc_obj_size(pool->elt_size, pool->flags, nullptr);
    struct Span {
        std::uintptr_t end;
    } limit{start + pool->populated_size * size};
    rte_mempool_obj_iter(
        pool,
        [](rte_mempool* p, void* argument, void* object, unsigned) {
            EXPECT_LE(std::uintptr_t(object) + p->elt_size, static_cast<Span*>(argument)->end);
        },
        &limit);
}

std::size_t heap_octets() {
    std::size_t octets = 0;
    for (unsigned i = 0; i < rte_socket_count(); ++i) {
        rte_malloc_socket_stats stats{};
        rte_malloc_get_socket_stats(rte_socket_id_by_idx(i), &stats);
        octets += stats.heap_allocsz_bytes;
    }
    return octets;
}
std::size_t heap_at_start = 0; ///< after EAL's

/// NICs' rings and their drivers' own, which net_ring has none of, take what is left over. The e1000e's, the
/// largest of those tried, are 1,024 descriptors of 32 octets each way, with 16 octets beside each.
TEST(EthdevMemory, TheDemandIsWhatIsTaken) {
    constexpr std::size_t nic = 2 * limits::rx_descriptors * (32 + 16);
    EXPECT_LE(heap_at_start + (1 << 20), eal_hugepage_octets);
    std::size_t before = heap_octets();
    rte_ring* ring = rte_ring_create("memory", 64, 0, 0);
    int id = rte_eth_from_rings("memory", &ring, 1, &ring, 1, 0);
    ASSERT_GE(id, 0);
    unsigned lcore = rte_get_main_lcore();
    {
        auto ethdev = Ethdev::start(std::uint16_t(id), "memory", {&lcore, 1});
        ASSERT_TRUE(ethdev) << ethdev.error();
        std::size_t taken = heap_octets() - before + nic;
        EXPECT_LE(taken + (1 << 20), queue_hugepage_octets) << "a margin of a mebibyte at least";
        EXPECT_GE(taken, queue_hugepage_octets * 2 / 3) << "no more than is needed";
    }
    rte_ring_free(ring);
}

} // namespace

} // namespace millrace::tests

int main(int argc, char** argv) {
    testing::InitGoogleTest(&argc, argv);
    std::string lcores = "--lcores=0@" + std::to_string(millrace::dataplane::Machine::inspect().cpus.at(0));
    const char* words[] = {
        "ethdev_test",    "--no-huge",           "-m",          "128", "--no-shconf", "--no-pci",
        "--no-telemetry", "--log-level=warning", lcores.c_str()};
    if (rte_eal_init(int(std::size(words)), const_cast<char**>(words)) < 0) return 2;
    millrace::tests::heap_at_start = millrace::tests::heap_octets();
    int failed = RUN_ALL_TESTS();
    rte_eal_cleanup();
    return failed;
}
