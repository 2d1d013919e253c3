// The kernel's network, on loopback: a peer of plain sockets, and what the handler hears.
#include "control/upstream/asio_network.hpp"

#include <gtest/gtest.h>

#include <filesystem>
#include <functional>

#include "tests/control/upstream/peer.hpp"

namespace millrace::control {
namespace {

class AsioNetworkTest : public testing::TestWithParam<const char*>, public NetworkHandler {
  protected:
    struct Heard {
        Socket socket;
        std::uint64_t token;
        Octets message;
        std::errc error{};
    };

    asio::io_context context;
    AsioNetwork network{context, {.sockets = 4, .tcp_connections = 2}};
    std::vector<Heard> heard;
    std::function<void(Socket)> on_event;

    void on_message(Socket socket, std::uint64_t token, std::span<const std::uint8_t> message,
                    Time when) override {
        EXPECT_LE(boot_time() - when, 5s);
        heard.push_back({socket, token, {message.begin(), message.end()}});
        if (on_event) on_event(socket);
    }
    void on_network_error(Socket socket, std::uint64_t token, std::errc error, Time) override {
        heard.push_back({socket, token, {}, error});
        if (on_event) on_event(socket);
    }

    void run_until(std::size_t count) {
        Time end = boot_time() + 5s;
        while (heard.size() < count && boot_time() < end) context.run_for(5ms), context.restart();
        ASSERT_EQ(heard.size(), count);
    }
    void run_a_while() { context.run_for(30ms), context.restart(); }

    Socket open_udp(const dataplane::Endpoint& remote, std::uint64_t token = 1) {
        auto bound = network.open_udp(remote, *this, token);
        EXPECT_TRUE(bound);
        port = bound ? bound->source_port : 0;
        return bound ? bound->socket : 0;
    }

    std::uint16_t port = 0; ///< of the last open_udp
};

INSTANTIATE_TEST_SUITE_P(Families, AsioNetworkTest, testing::Values("127.0.0.1", "::1"),
                         [](const auto& info) { return info.param[0] == ':' ? "v6" : "v4"; });

TEST_P(AsioNetworkTest, AnErrorOfTheLastQuestionIsNotTheNextOnes) {
    dataplane::Endpoint dead = Peer(SOCK_DGRAM, GetParam()).endpoint;
    Peer peer(SOCK_DGRAM, GetParam());
    Socket socket = open_udp(dead);
    network.send(socket, Octets{1}); // its ICMP error is there when it is closed
    network.close(socket);
    Socket next = open_udp(peer.endpoint);
    EXPECT_EQ(network.send(next, Octets{2}), std::errc{});
    run_a_while();
    EXPECT_TRUE(heard.empty());
}

TEST_P(AsioNetworkTest, ADeadPortIsReported) {
    dataplane::Endpoint dead = Peer(SOCK_DGRAM, GetParam()).endpoint;
    Socket socket = open_udp(dead, 5);
    network.send(socket, Octets{1});
    run_until(1);
    EXPECT_EQ(heard[0].error, std::errc::connection_refused);
    EXPECT_EQ(heard[0].token, 5u);
}

TEST_P(AsioNetworkTest, SocketsAreBounded) {
    Peer peer(SOCK_DGRAM, GetParam()), listener(SOCK_STREAM, GetParam());
    for (int i = 0; i < 2; ++i) ASSERT_TRUE(network.open_tcp(listener.endpoint, *this, 0));
    EXPECT_EQ(network.open_tcp(listener.endpoint, *this, 0).error(), std::errc::too_many_files_open);
    Socket last = 0;
    for (int i = 0; i < 2; ++i) last = open_udp(peer.endpoint);
    EXPECT_EQ(network.open_udp(peer.endpoint, *this, 0).error(), std::errc::too_many_files_open);
    EXPECT_EQ(network.counters().refused, 2u);
    network.close(last);
    EXPECT_NE(open_udp(peer.endpoint), 0u);
    EXPECT_EQ(network.open_count(), 4u);
}

TEST_P(AsioNetworkTest, SocketsThatWaitForTheirNextQuestionCountToo) {
    Peer peer(SOCK_DGRAM, GetParam()), other(SOCK_DGRAM, GetParam()[0] == ':' ? "127.0.0.1" : "::1");
    auto descriptors = [] {
        std::filesystem::directory_iterator all("/proc/self/fd");
        return std::distance(begin(all), end(all));
    };
    auto before = descriptors();
    for (const auto& remote : {peer.endpoint, other.endpoint}) {
        std::vector<Socket> sockets;
        for (int i = 0; i < 4; ++i) sockets.push_back(open_udp(remote));
        EXPECT_EQ(descriptors(), before + 4);
        for (Socket socket : sockets) network.close(socket);
        EXPECT_EQ(descriptors(), before + 4) << "they stay";
    }
}

// TCP.

TEST_P(AsioNetworkTest, TcpCarriesMessagesWithTheirLength) {
    Peer listener(SOCK_STREAM, GetParam());
    auto socket = network.open_tcp(listener.endpoint, *this, 8);
    ASSERT_TRUE(socket);
    EXPECT_EQ(network.send(*socket, Octets{1, 2, 3}), std::errc{}); // before the connection stands
    run_a_while();
    Peer peer(listener.accept());
    EXPECT_EQ(peer.receive(), (Octets{0, 3, 1, 2, 3}));
    peer.write({0, 2, 7}); // a message in pieces, and the next one with it
    run_a_while();
    EXPECT_TRUE(heard.empty());
    peer.write({8, 0, 1, 9});
    run_until(2);
    EXPECT_EQ(heard[0].message, (Octets{7, 8}));
    EXPECT_EQ(heard[0].token, 8u);
    EXPECT_EQ(heard[1].message, Octets{9});
    EXPECT_EQ(network.send(*socket, Octets{4}), std::errc{});
    run_a_while();
    EXPECT_EQ(peer.receive(), (Octets{0, 1, 4}));
}

TEST_P(AsioNetworkTest, TcpCarriesALongMessage) {
    Peer listener(SOCK_STREAM, GetParam());
    auto socket = network.open_tcp(listener.endpoint, *this, 8);
    ASSERT_TRUE(socket);
    run_a_while();
    Peer peer(listener.accept());
    Octets framed(2 + 65535, 5);
    framed[0] = framed[1] = 0xff;
    peer.write(framed);
    run_until(1);
    EXPECT_EQ(heard[0].message, Octets(65535, 5));
}

TEST_P(AsioNetworkTest, TcpThatEndsMidMessageIsReportedOnce) {
    Peer listener(SOCK_STREAM, GetParam());
    ASSERT_TRUE(network.open_tcp(listener.endpoint, *this, 8));
    run_a_while();
    {
        Peer peer(listener.accept());
        peer.write({0, 9, 1});
    }
    run_until(1);
    run_a_while();
    ASSERT_EQ(heard.size(), 1u);
    EXPECT_EQ(heard[0].error, std::errc::connection_reset);
}

TEST_P(AsioNetworkTest, TcpToADeadPortIsReported) {
    dataplane::Endpoint dead = Peer(SOCK_STREAM, GetParam()).endpoint;
    auto socket = network.open_tcp(dead, *this, 8);
    ASSERT_TRUE(socket);
    network.send(*socket, Octets{1});
    EXPECT_TRUE(heard.empty());
    run_until(1);
    EXPECT_EQ(heard[0].error, std::errc::connection_refused);
}

TEST_P(AsioNetworkTest, EndsBeforeItsContextWithOperationsRunning) {
    Peer listener(SOCK_STREAM, GetParam()), peer(SOCK_DGRAM, GetParam());
    {
        AsioNetwork brief(context);
        ASSERT_TRUE(brief.open_tcp(listener.endpoint, *this, 1));
        ASSERT_TRUE(brief.open_udp(peer.endpoint, *this, 2));
        EXPECT_EQ(brief.open_count(), 2u);
    }
    run_a_while();
    EXPECT_TRUE(heard.empty());
}

} // namespace
} // namespace millrace::control
