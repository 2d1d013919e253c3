// What only a port's Network does: its sources, its frames, and when the kernel's takes over.
#include "control/upstream/port_network.hpp"

#include <set>

#include <gtest/gtest.h>

#include "tests/control/upstream/wire.hpp"
#include "tests/support/clock.hpp"
#include "tests/support/fake_network.hpp"

namespace millrace::control {
namespace {

using dataplane::Endpoint;
using dataplane::Verdict;
using tests::address;

class PortNetworkTest : public testing::TestWithParam<bool>, public NetworkHandler {
  protected:
    void on_message(Socket socket, std::uint64_t token, std::span<const std::uint8_t> message,
                    Time) override {
        heard.emplace_back(socket, token, Octets(message.begin(), message.end()));
    }
    void on_network_error(Socket socket, std::uint64_t token, std::errc, Time) override {
        errors.emplace_back(socket, token);
    }

    Socket open(unsigned group = 0, std::uint64_t token = 7) {
        auto bound = network.open_udp(peer, *this, token, group);
        EXPECT_TRUE(bound);
        return bound ? bound->socket : 0;
    }
    /// The way to whom the next frame goes; the question's source is in `from`.
    bool leaves_by_port() { return !wire.receive(peer, from).empty(); }
    void deliver_kernels() {
        while (kernel.step()) {
        }
    }
    const PortNetworkCounters& counters() { return network.counters(); }

    support::ManualClock clock;
    support::FakeNetwork kernel{clock};
    PortWire wire{GetParam(), 64, &kernel};
    PortNetwork& network = wire.port_network();
    Endpoint peer = wire.add_peer(), from;
    const Octets query{1, 2, 3};
    std::vector<std::tuple<Socket, std::uint64_t, Octets>> heard;
    std::vector<std::pair<Socket, std::uint64_t>> errors;
};

INSTANTIATE_TEST_SUITE_P(Families, PortNetworkTest, testing::Bool(),
                         [](const auto& info) { return info.param ? "v6" : "v4"; });

TEST_P(PortNetworkTest, AllSourcesOfTheFamilyAreAskedFrom) {
    std::set<dataplane::Address> seen;
    for (int i = 0; i < 60; ++i) {
        Socket socket = open();
        network.send(socket, query);
        ASSERT_TRUE(leaves_by_port());
        seen.insert(from.address);
        network.close(socket);
    }
    auto first = wire.sources.begin() + (GetParam() ? 2 : 0);
    EXPECT_EQ(seen, (std::set<dataplane::Address>(first, first + 2)));
    EXPECT_EQ(counters().sent, 60u);
    EXPECT_EQ(counters().fallbacks, 0u);
}

TEST_P(PortNetworkTest, AFrameIsTheRouters) {
    network.send(open(), Octets(301, 9));
    Octets frame = wire.take_frame();
    ASSERT_EQ(frame.size(), 14u + (GetParam() ? 40 : 20) + 8 + 301);
    EXPECT_TRUE(std::equal(frame.begin(), frame.begin() + 6, PortWire::router.octets.begin()));
    EXPECT_TRUE(std::equal(frame.begin() + 6, frame.begin() + 12, PortWire::own.octets.begin()));
}

TEST_P(PortNetworkTest, WhoIsAskedIsToldBeforeTheFirstQuery) {
    EXPECT_EQ(wire.offer(PortWire::reply(peer, query, {wire.sources[GetParam() ? 2 : 0], 5000})),
              Verdict::drop_destination);
    Socket socket = open();
    EXPECT_EQ(wire.told, std::vector<Endpoint>{peer});
    network.close(socket);
    network.set_ways({nullptr}); // a reload
    EXPECT_TRUE(wire.told.empty()) << "nobody is asked any more";
}

TEST_P(PortNetworkTest, RepliesFromOthersAreNobodys) {
    network.send(open(), query);
    ASSERT_TRUE(leaves_by_port());
    Endpoint port_of_theirs = peer, neighbour = peer, privileged = from, other = from;
    ++port_of_theirs.port;
    ++neighbour.address.octets[15];
    privileged.port = 1023;
    other.address = address(GetParam() ? "2001:db8::53" : "198.18.0.53");
    for (const Endpoint& one : {port_of_theirs, neighbour})
        EXPECT_EQ(wire.offer(PortWire::reply(one, query, from)), Verdict::drop_destination);
    for (const Endpoint& one : {privileged, other})
        EXPECT_EQ(wire.offer(PortWire::reply(peer, query, one)), Verdict::drop_destination);
    auto broken = tests::build(PortWire::reply(peer, query, from));
    broken.back() ^= 1;
    EXPECT_EQ(wire.offer(broken), Verdict::drop_checksum);
    Endpoint next = from;
    next.port = std::uint16_t(from.port == 65535 ? 1024 : from.port + 1);
    EXPECT_EQ(wire.offer(PortWire::reply(peer, query, next)), Verdict::drop_unasked);
    next = from; // but from the other address
    next.address =
        address(GetParam() ? (from.address == address("2001:db8::60") ? "2001:db8::61" : "2001:db8::60")
                           : (from.address == address("198.18.0.60") ? "198.18.0.61" : "198.18.0.60"));
    EXPECT_EQ(wire.offer(PortWire::reply(peer, query, next)), Verdict::to_control);
    EXPECT_TRUE(network.poll());
    EXPECT_TRUE(heard.empty());
    EXPECT_EQ(counters().unasked, 1u);
    EXPECT_FALSE(network.poll());
}

/// With one place all hashes are alike.
TEST_P(PortNetworkTest, OneSocketHearsNobodyElseThanWhomItAsks) {
    PortWire narrow(GetParam(), 1, &kernel);
    (void)narrow.add_peer(); // the same as `peer`
    Endpoint other = narrow.add_peer();
    narrow.port_network().close(narrow.port_network().open_udp(other, *this, 1, 0)->socket);
    auto bound = narrow.port_network().open_udp(peer, *this, 2, 0);
    ASSERT_TRUE(bound);
    narrow.port_network().send(bound->socket, query);
    ASSERT_FALSE(narrow.receive(peer, from).empty());
    Endpoint beside = from;
    auto first = narrow.sources.begin() + (GetParam() ? 2 : 0);
    beside.address = from.address == *first ? first[1] : *first;
    narrow.send(peer, {1}, beside);
    EXPECT_TRUE(narrow.port_network().poll());
    narrow.send(other, {2}, from);
    EXPECT_TRUE(narrow.port_network().poll());
    EXPECT_TRUE(heard.empty());
    EXPECT_EQ(narrow.port_network().counters().unasked, 2u);
    narrow.send(peer, {3}, from);
    narrow.port_network().poll();
    EXPECT_EQ(heard.size(), 1u);
}

TEST_P(PortNetworkTest, NoneIsOpenTwiceTowardsTheSameRemote) {
    class Same final : public Random {
      public:
        std::uint16_t id() override { return 0; }
        std::uint64_t bits() override { return draws++ < 20 ? 0 : std::uint64_t(1) << 31; }
        unsigned draws = 0;
    } same;
    PortNetwork twice(kernel, same, 8);
    PortNetwork::Way way{0, wire.sources};
    twice.set_ports({{&wire.path(), [](auto&&) { return true; }}});
    twice.set_ways({&way});
    auto first = twice.open_udp(peer, *this, 1, 0);
    ASSERT_TRUE(first);
    EXPECT_EQ(first->source_port, 1024);
    EXPECT_EQ(twice.open_udp(peer, *this, 1, 0).error(), std::errc::address_in_use) << "16 draws";
    EXPECT_EQ(twice.open_udp(wire.add_peer(), *this, 1, 0)->source_port, 1024) << "to another it is free";
    auto second = twice.open_udp(peer, *this, 1, 0);
    ASSERT_TRUE(second);
    EXPECT_EQ(second->source_port, 1024 + 32256);
    twice.close(first->socket);
    same.draws = 0;
    EXPECT_EQ(twice.open_udp(peer, *this, 1, 0)->source_port, 1024) << "free again";
}

TEST_P(PortNetworkTest, ServersThatComeAndGoAreForgotten) {
    SystemRandom random;
    std::vector<Endpoint> told;
    PortNetwork many(kernel, random, 4096);
    PortNetwork::Way way{0, wire.sources};
    many.set_ports({{&wire.path(), [&](std::vector<Endpoint> remotes) {
                         told = std::move(remotes);
                         return true;
                     }}});
    many.set_ways({&way});
    constexpr unsigned most = dataplane::limits::asked_remotes;
    ASSERT_TRUE(many.open_udp(peer, *this, 1, 0)); // and stays open
    Endpoint last = peer;
    for (unsigned i = 0; i < most + 10; ++i) {
        ++last.port;
        many.close(many.open_udp(last, *this, 1, 0)->socket);
        ASSERT_LE(told.size(), most);
        ASSERT_TRUE(std::ranges::binary_search(told, last));
    }
    EXPECT_TRUE(std::ranges::binary_search(told, peer));
    EXPECT_LT(told.size(), 100u);
    while (told.size() < most) { // all of them stay open
        ++last.port;
        ASSERT_TRUE(many.open_udp(last, *this, 1, 0));
    }
    EXPECT_EQ(many.counters().fallbacks, 0u);
    for (int i = 0; i < 30; ++i) {
        ++last.port;
        ASSERT_TRUE(many.open_udp(last, *this, 1, 0));
        ASSERT_LE(told.size(), most);
    }
    EXPECT_GT(many.counters().fallbacks, 0u) << "for one more there is no place";
    EXPECT_FALSE(kernel.groups.empty());
}

TEST_P(PortNetworkTest, GroupsWithoutAWayAndTcpAreTheKernels) {
    Socket socket = open(1);
    network.send(socket, query);
    auto tcp = network.open_tcp(peer, *this, 2);
    ASSERT_TRUE(tcp);
    network.send(*tcp, query);
    EXPECT_EQ(kernel.sent.size(), 2u);
    EXPECT_TRUE(kernel.sent[1].tcp);
    EXPECT_EQ(kernel.groups, std::vector<unsigned>{1});
    EXPECT_EQ(network.open_count(), 0u);
    EXPECT_EQ(counters().fallbacks, 0u);
    network.close(socket);
    network.close(*tcp);
    EXPECT_EQ(kernel.open_count(), 0u);
}

TEST_P(PortNetworkTest, WithoutANeighbourOrALinkTheKernelTakesOver) {
    auto goes_by_kernel = [&] {
        std::size_t before = kernel.sent.size();
        Socket socket = open();
        network.send(socket, query);
        network.close(socket);
        EXPECT_EQ(leaves_by_port(), kernel.sent.size() == before);
        return kernel.sent.size() == before + 1;
    };
    EXPECT_FALSE(goes_by_kernel());
    wire.lose_the_router();
    EXPECT_TRUE(goes_by_kernel());
    wire.lose_the_router(false);
    EXPECT_FALSE(goes_by_kernel());
    wire.path().set_usable(false);
    EXPECT_TRUE(goes_by_kernel());
    wire.path().set_usable(true);
    EXPECT_FALSE(goes_by_kernel());
    EXPECT_EQ(counters().fallbacks, 2u);
    EXPECT_EQ(kernel.open_count(), 0u);
}

TEST_P(PortNetworkTest, ASocketWhoseWayFailsGoesOnThroughTheKernelAndHearsBoth) {
    Socket socket = open(0, 9);
    network.send(socket, query);
    ASSERT_TRUE(leaves_by_port());
    wire.lose_the_router();
    EXPECT_EQ(network.send(socket, query), std::errc{});
    EXPECT_EQ(network.send(socket, query), std::errc{});
    ASSERT_EQ(kernel.sent.size(), 2u);
    EXPECT_EQ(kernel.sent[0].to, peer);
    EXPECT_EQ(counters().fallbacks, 1u);
    kernel.reply(kernel.sent[0], {5});
    deliver_kernels();
    wire.send(peer, {6}, from);
    network.poll();
    ASSERT_EQ(heard.size(), 2u);
    EXPECT_EQ(heard[0], std::tuple(socket, 9u, Octets{5}));
    EXPECT_EQ(heard[1], std::tuple(socket, 9u, Octets{6}));
    wire.lose_the_router(false);
    network.send(socket, query);
    EXPECT_TRUE(leaves_by_port()) << "as soon as it can";
    kernel.reply(kernel.sent[1], {7});
    network.close(socket);
    deliver_kernels();
    EXPECT_EQ(heard.size(), 2u);
    EXPECT_EQ(kernel.open_count(), 0u);
}

TEST_P(PortNetworkTest, WhatHasNoRoomInAPacketIsTheKernels) {
    Socket socket = open();
    network.send(socket, Octets(1232, 1));
    EXPECT_EQ(wire.take_frame().size(), 14u + (GetParam() ? 40 : 20) + 8 + 1232);
    network.send(socket, Octets(1233, 1));
    EXPECT_TRUE(wire.take_frame().empty());
    EXPECT_EQ(kernel.sent.size(), 1u);
    dataplane::UpstreamPath narrow({1, wire.sources, PortWire::own, 600, nullptr, 0});
    std::size_t headers = GetParam() ? 48 : 28;
    EXPECT_TRUE(narrow.has_room(peer.address, 600 - headers));
    EXPECT_FALSE(narrow.has_room(peer.address, 601 - headers));
}

TEST_P(PortNetworkTest, AFamilyWithoutASourceIsTheKernels) {
    PortNetwork::Way way{0, {wire.sources[GetParam() ? 0 : 2]}};
    network.set_ways({&way});
    network.send(open(), query);
    EXPECT_EQ(kernel.sent.size(), 1u);
    EXPECT_EQ(counters().fallbacks, 1u);
}

TEST_P(PortNetworkTest, RepliesToAPortThatIsClosedTakeNoPlace) {
    Socket socket = open();
    network.send(socket, query);
    ASSERT_TRUE(leaves_by_port());
    EXPECT_EQ(wire.offer(PortWire::reply(peer, query, from)), Verdict::to_control);
    network.close(socket);
    EXPECT_EQ(wire.offer(PortWire::reply(peer, query, from)), Verdict::drop_unasked);
}

TEST_P(PortNetworkTest, WhoseRepliesCannotBeTakenIsAskedThroughTheKernel) {
    wire.is_taken = false;
    auto bound = network.open_udp(peer, *this, 1, 0);
    EXPECT_EQ(counters().fallbacks, 1u);
    wire.is_taken = true;
    bound = network.open_udp(peer, *this, 1, 0);
    EXPECT_EQ(counters().fallbacks, 1u) << "tried again";
}

TEST_P(PortNetworkTest, AFullRingDropsAndCounts) {
    Socket socket = open();
    std::uint64_t sent = 0;
    for (; counters().full == 0; ++sent) ASSERT_EQ(network.send(socket, query), std::errc{});
    EXPECT_EQ(counters().sent, sent - 1);
    EXPECT_GT(sent, 1000u);
    EXPECT_TRUE(leaves_by_port());
    network.send(socket, query);
    EXPECT_EQ(counters().sent, sent);

    Verdict verdict = Verdict::to_control;
    for (sent = 0; verdict == Verdict::to_control; ++sent)
        verdict = wire.offer(PortWire::reply(peer, query, from));
    EXPECT_EQ(verdict, Verdict::drop_reply_full);
    EXPECT_GT(sent, 1000u);
    network.poll();
    EXPECT_EQ(heard.size(), 512u) << "so many of each lcore at a time";
}

} // namespace
} // namespace millrace::control
