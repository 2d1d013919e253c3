// An ethdev port whose NIC is net_ring and whose wire is the test. Needs EAL; the main lcore's thread.
#pragma once

#include <algorithm>
#include <optional>
#include <string>

#include <gtest/gtest.h>
#include <rte_eth_ring.h>
#include <rte_lcore.h>
#include <rte_mbuf.h>
#include <rte_ring.h>

#include "dataplane/ethdev.hpp"
#include "dataplane/ethdev_port.hpp"
#include "tests/dataplane/frames.hpp"

namespace millrace::tests {

using namespace dataplane;

/// A port between two rings, and the count of its buffers, which must be the same at the end.
class EthdevTest : public testing::Test {
  protected:
    /// `wire_places`: of each ring; a power of two, one place stays empty.
    explicit EthdevTest(unsigned wire_places = 64) : wire_places_(wire_places) {}

    void SetUp() override {
        static unsigned serial = 0;
        std::string name = "wire" + std::to_string(serial++);
        to_port_ = make_ring(name + "r");
        from_port_ = make_ring(name + "t");
        int id = rte_eth_from_rings(name.c_str(), &to_port_, 1, &from_port_, 1, 0);
        ASSERT_GE(id, 0);
        unsigned lcore = rte_get_main_lcore();
        auto ethdev = Ethdev::start(std::uint16_t(id), name, {&lcore, 1});
        ASSERT_TRUE(ethdev) << ethdev.error();
        ethdev_.emplace(std::move(*ethdev));
        pool_ = ethdev_->pool(0);
        port_.emplace(EthdevPort::Setup{std::uint16_t(id), 0, pool_, &service_, ethdev_->offload()});
        buffers_ = rte_mempool_avail_count(pool_);
    }

    void TearDown() override {
        if (!ethdev_) return;
        (void)sent();
        EXPECT_EQ(rte_mempool_avail_count(pool_), buffers_) << "buffers leaked";
        ethdev_.reset();
        rte_ring_free(to_port_);
        rte_ring_free(from_port_);
    }

    rte_ring* make_ring(const std::string& name) const {
        return rte_ring_create(name.c_str(), wire_places_, 0, RING_F_SP_ENQ | RING_F_SC_DEQ);
    }

    rte_mbuf* buffer(const Bytes& frame) {
        rte_mbuf* mbuf = rte_pktmbuf_alloc(pool_);
        std::ranges::copy(frame, rte_pktmbuf_append(mbuf, std::uint16_t(frame.size())));
        return mbuf;
    }
    void arrive(rte_mbuf* mbuf) { ASSERT_EQ(rte_ring_enqueue(to_port_, mbuf), 0); }
    void arrive(const Query& query) { arrive(buffer(build(query))); }

    /// What the port has put on the wire; frees the buffers.
    std::vector<Bytes> sent() {
        std::vector<Bytes> frames;
        for (void* object; rte_ring_dequeue(from_port_, &object) == 0;) {
            auto* mbuf = static_cast<rte_mbuf*>(object);
            EXPECT_EQ(mbuf->pkt_len, mbuf->data_len);
            auto* start = rte_pktmbuf_mtod(mbuf, std::uint8_t*);
            frames.emplace_back(start, start + mbuf->data_len);
            rte_pktmbuf_free(mbuf);
        }
        return frames;
    }

    /// Writes `size` octets of reply into a packet.
    static void answer(Packet& packet, std::uint16_t size, std::uint8_t octet = 0xab) {
        ASSERT_LE(size, packet.room);
        std::memset(packet.data, octet, size);
        packet.reply = size;
    }

    /// A query comes in, and its reply goes out.
    void expect_service() {
        arrive(Query{});
        port_->receive(burst_, counters_);
        ASSERT_EQ(burst_.count, 1u);
        answer(burst_.packets[0], 44);
        port_->send(burst_, counters_);
        EXPECT_EQ(sent().size(), 1u);
    }

    static void expect_reply(const Bytes& frame, std::size_t size) {
        Service client;
        client.addresses = {address(client_v4), address(client_v6)};
        auto parsed = Frame::parse(frame, client);
        ASSERT_TRUE(parsed);
        EXPECT_EQ(parsed->payload_size, size);
        EXPECT_EQ(frame.size(), parsed->payload + size);
    }

    unsigned wire_places_;
    Service service_ = service();
    rte_ring *to_port_ = nullptr, *from_port_ = nullptr;
    std::optional<Ethdev> ethdev_;
    std::optional<EthdevPort> port_;
    rte_mempool* pool_ = nullptr;
    unsigned buffers_ = 0;
    Burst burst_;
    Counters counters_;
};

} // namespace millrace::tests
