// The exception path through a real ethdev port: net_ring stands
// in for the NIC, a pair of sockets for the kernel interface.
#include <csignal>
#include <thread>

#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "dataplane/exception.hpp"
#include "dataplane/tap.hpp"
#include "tests/dataplane/ethdev_fixture.hpp"

namespace millrace::tests {

namespace {

Bytes arp() {
    Bytes frame = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 1, 8, 6};
    frame.resize(42, 0x5a);
    return frame;
}

class ExceptionTest : public EthdevTest {
  protected:
    static constexpr unsigned rate = 4'000'000;

    void SetUp() override {
        EthdevTest::SetUp();
        connect(rate);
    }
    void TearDown() override {
        if (kernel_) kernel_->empty();
        if (beyond_ >= 0) ::close(beyond_);
        port_.reset();
        EthdevTest::TearDown(); // the ethdev may hold buffers of the kernel's pool
        kernel_.reset();
    }

    void connect(unsigned frames_a_second) {
        static unsigned serial = 0;
        int pair[2];
        ASSERT_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, pair), 0);
        beyond_ = pair[1];
        auto made = KernelPort::make(Descriptor(pair[0]),
                                     {"kernel" + std::to_string(serial++), 1, frames_a_second, -1});
        ASSERT_TRUE(made) << made.error();
        kernel_ = std::move(*made);
        port_.emplace(
            EthdevPort::Setup{ethdev_->port(), 0, pool_, &service_, ethdev_->offload(), &kernel_->queue(0)});
    }

    void receive() {
        port_->receive(burst_, counters_);
        port_->send(burst_, counters_);
    }
    /// What the kernel has got.
    std::vector<Bytes> seen() const {
        std::vector<Bytes> frames;
        Bytes room(16384);
        for (ssize_t size; (size = ::recv(beyond_, room.data(), room.size(), 0)) > 0;)
            frames.emplace_back(room.begin(), room.begin() + size);
        return frames;
    }
    void kernel_sends(const Bytes& frame) const {
        ASSERT_EQ(::send(beyond_, frame.data(), frame.size(), 0), ssize_t(frame.size()));
    }

    std::unique_ptr<KernelPort> kernel_;
    int beyond_ = -1; ///< the other end of the kernel interface
};

TEST_F(ExceptionTest, WhatIsNotAnsweredGoesThereAsItCame) {
    Bytes to_port_80 = build({.tags = {0x8100}, .destination_port = 80});
    arrive(buffer(arp()));
    arrive(buffer(to_port_80));
    receive();
    EXPECT_TRUE(kernel_->turn());
    EXPECT_EQ(seen(), (std::vector<Bytes>{arp(), to_port_80}));
    EXPECT_EQ(counters_.get(Verdict::to_kernel), 2U);
    EXPECT_EQ(counters_.received(), 2U) << "one verdict each";
    EXPECT_EQ(kernel_->written(), 2U);
    EXPECT_FALSE(kernel_->turn());
    receive(); // the buffers come back
}

TEST_F(ExceptionTest, WhatIsOursOrBrokenDoesNot) {
    arrive(Query{});
    arrive(Query{.source_port = 0});
    arrive(Query{.v6 = true, .checksum = false});
    arrive(buffer(Bytes(5, 0)));
    rte_mbuf *head = buffer(arp()), *tail = buffer(Bytes(18, 0));
    ASSERT_EQ(rte_pktmbuf_chain(head, tail), 0);
    arrive(head);
    port_->receive(burst_, counters_);
    EXPECT_EQ(burst_.count, 1U);
    port_->send(burst_, counters_);
    EXPECT_FALSE(kernel_->turn());
    EXPECT_EQ(counters_.get(Verdict::to_kernel), 0U);
    EXPECT_EQ(counters_.received(), 4U);
}

TEST_F(ExceptionTest, ATagThatTheNicHasTakenOffIsPutBack) {
    rte_mbuf* mbuf = buffer(build({.destination_port = 80}));
    mbuf->ol_flags |= RTE_MBUF_F_RX_VLAN | RTE_MBUF_F_RX_VLAN_STRIPPED;
    mbuf->vlan_tci = 0x2000; // as build() numbers the first tag
    arrive(mbuf);
    receive();
    kernel_->turn();
    EXPECT_EQ(seen(), std::vector<Bytes>{build({.tags = {0x8100}, .destination_port = 80})});
    receive();
}

TEST_F(ExceptionTest, AJumboFrameGoesThereWholeOrIsDroppedWhole) {
    constexpr std::uint16_t length = 9000, piece = 1800;
    Bytes frame = arp();
    frame.resize(length, 0x77);
    rte_mbuf* head = nullptr;
    for (unsigned at = 0; at < length; at += piece) {
        rte_mbuf* part = buffer(Bytes(frame.begin() + at, frame.begin() + at + piece));
        if (!head)
            head = part;
        else
            ASSERT_EQ(rte_pktmbuf_chain(head, part), 0);
    }
    arrive(head);
    receive();
    EXPECT_EQ(counters_.get(Verdict::drop_frame), 1U) << "in five buffers";
    rte_mempool* pool = rte_pktmbuf_pool_create("jumbo", 7, 0, 0, length + RTE_PKTMBUF_HEADROOM, -1);
    ASSERT_NE(pool, nullptr);
    rte_mbuf* whole = rte_pktmbuf_alloc(pool);
    std::memcpy(rte_pktmbuf_append(whole, length), frame.data(), length);
    arrive(whole);
    receive();
    kernel_->turn();
    EXPECT_EQ(seen(), std::vector<Bytes>{frame});
    EXPECT_EQ(counters_.received(), 2U) << "one verdict each";
    receive();
    EXPECT_EQ(rte_mempool_avail_count(pool), 7U);
    rte_mempool_free(pool);
}

TEST_F(ExceptionTest, WhatTheKernelSendsLeavesByThePort) {
    Bytes tagged = build({.tags = {0x88a8, 0x8100}, .source_port = 80}), longest(limits::kernel_frame - 1, 7);
    kernel_sends(arp());
    kernel_sends(tagged);
    kernel_sends(longest);
    EXPECT_TRUE(kernel_->turn());
    receive();
    EXPECT_EQ(sent(), (std::vector<Bytes>{arp(), tagged, longest}));
    EXPECT_EQ(counters_.get(Event::from_kernel), 3U);
    EXPECT_EQ(kernel_->read(), 3U);
    EXPECT_EQ(counters_.received(), 0U) << "it was not received";
}

TEST_F(ExceptionTest, WhatIsTooLongForABufferIsDroppedAndCounted) {
    kernel_sends(Bytes(limits::kernel_frame, 7));
    kernel_sends(arp());
    kernel_->turn();
    receive();
    EXPECT_EQ(sent(), std::vector<Bytes>{arp()});
    EXPECT_EQ(kernel_->too_long(), 1U);
}

TEST_F(ExceptionTest, OverItsRateItIsDroppedAndCounted) {
    connect(400); // burst_.now stands still
    for (int i = 0; i < 4; ++i) {
        for (int n = 0; n < 32; ++n) arrive(buffer(arp()));
        receive();
    }
    EXPECT_EQ(counters_.get(Verdict::to_kernel), 100U) << "a quarter of all, as one source sends it";
    EXPECT_EQ(counters_.get(Verdict::drop_kernel_rate), 28U);
    EXPECT_EQ(counters_.received(), 128U);
}

/// The thread does not come: what may be out is bounded, and no buffer is lost.
TEST_F(ExceptionTest, AFullRingDropsAndCounts) {
    constexpr unsigned places = limits::kernel_places - 1, rounds = limits::kernel_places / 32 + 2;
    for (unsigned round = 0; round < rounds; ++round) {
        for (int n = 0; n < 32; ++n) arrive(buffer(arp()));
        receive();
    }
    EXPECT_EQ(counters_.get(Verdict::to_kernel), places);
    EXPECT_EQ(counters_.get(Verdict::drop_kernel_full), rounds * 32 - places);
    arrive(Query{});
    port_->receive(burst_, counters_);
    EXPECT_EQ(burst_.count, 1U) << "queries have buffers";
    port_->send(burst_, counters_);
    while (kernel_->turn()) (void)seen();
    for (unsigned i = 0; i < rounds; ++i) receive();
    arrive(buffer(arp()));
    receive();
    EXPECT_EQ(counters_.get(Verdict::to_kernel), places + 1) << "their places are free again";
}

/// The lcore does not come: the kernel's frames wait in its own queue, none is taken that finds no place.
TEST_F(ExceptionTest, AFullRingFromTheKernelIsNotReadInto) {
    unsigned accepted = 0;
    for (unsigned i = 0; i < 2 * limits::kernel_places; ++i) {
        Bytes frame = arp();
        accepted += ::send(beyond_, frame.data(), frame.size(), 0) > 0;
        kernel_->turn();
    }
    EXPECT_EQ(kernel_->read(), limits::kernel_places - 1);
    EXPECT_EQ(kernel_->awaited(), -1) << "or the thread would turn without end";
    std::size_t left = 0;
    for (unsigned i = 0; i < 2 * limits::kernel_places && left < accepted; ++i) {
        receive();
        left += sent().size();
        kernel_->turn();
    }
    EXPECT_EQ(left, accepted);
    EXPECT_GE(kernel_->awaited(), 0);
}

TEST_F(ExceptionTest, WhatThePortDoesNotTakeIsFreedAndCounted) {
    unsigned places = rte_ring_get_capacity(from_port_);
    for (unsigned i = 0; i < places + 5; ++i) kernel_sends(arp());
    while (kernel_->turn()) {
    }
    for (unsigned i = 0; i < 4; ++i) receive();
    EXPECT_EQ(counters_.get(Event::from_kernel), places);
    EXPECT_EQ(counters_.get(Event::send_failed), 5U);
    EXPECT_EQ(sent().size(), places);
}

TEST_F(ExceptionTest, ASuspendedPortDropsWhatTheKernelSends) {
    kernel_sends(arp());
    kernel_->turn();
    port_->suspend();
    receive();
    EXPECT_TRUE(sent().empty());
    EXPECT_EQ(counters_.get(Event::send_failed), 1U);
    EXPECT_EQ(counters_.get(Event::from_kernel), 0U);
    port_->resume(ethdev_->port(), ethdev_->offload());
    kernel_sends(arp());
    kernel_->turn();
    receive();
    EXPECT_EQ(sent().size(), 1U);
}

TEST_F(ExceptionTest, WhatTheKernelRefusesIsCounted) {
    ::close(std::exchange(beyond_, -1));
    arrive(buffer(arp()));
    receive();
    std::signal(SIGPIPE, SIG_IGN);
    kernel_->turn();
    EXPECT_EQ(kernel_->refused(), 1U);
    EXPECT_EQ(kernel_->written(), 0U);
    receive();
}

/// The thread carries both ways, and ends when it is told to.
TEST_F(ExceptionTest, TheThread) {
    ExceptionThread thread;
    thread.start({kernel_.get()});
    kernel_sends(arp());
    std::size_t out = 0, in = 0;
    for (Time end = boot_time() + 20s; (out < 100 || in == 0) && boot_time() < end;
         std::this_thread::yield()) {
        arrive(buffer(arp()));
        receive();
        in += sent().size();
        out += seen().size();
    }
    EXPECT_GE(out, 100U);
    EXPECT_EQ(in, 1U);
    thread.stop();
    thread.stop();
    for (unsigned i = 0; i < limits::kernel_places / limits::burst; ++i) receive();
}

/// A TAP in a network namespace of its own: what its carrier is, after each word about it.
TEST(CarrierTest, TheKernelSeesTheOneThatThePortHas) {
    std::vector<bool> seen;
    std::thread([&] {
        if (unshare(CLONE_NEWNET) != 0) return;
        KernelInterface interface;
        interface.name = "carrier0";
        auto tap = open_tap(interface, Mac{});
        if (!tap) return;
        auto kernel = KernelPort::make(std::move(*tap), {"carrier", 1, 1000, -1});
        ASSERT_TRUE(kernel) << kernel.error();
        Descriptor socket(::socket(AF_INET, SOCK_DGRAM, 0));
        for (bool is_up : {true, false, false, true}) {
            (*kernel)->set_carrier(is_up);
            (*kernel)->turn();
            ethtool_value link{ETHTOOL_GLINK, 0};
            ifreq request{};
            std::strcpy(request.ifr_name, "carrier0");
            request.ifr_data = reinterpret_cast<char*>(&link);
            ASSERT_EQ(ioctl(socket.get(), SIOCETHTOOL, &request), 0);
            seen.push_back(link.data != 0);
        }
        (*kernel)->empty();
    }).join();
    if (seen.empty()) GTEST_SKIP() << "needs root and /dev/net/tun";
    EXPECT_EQ(seen, (std::vector<bool>{true, false, false, true}));
}

} // namespace

} // namespace millrace::tests
