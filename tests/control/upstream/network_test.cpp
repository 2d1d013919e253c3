// What every Network owes its handler of datagrams: the kernel's, and a port's.
#include <functional>
#include <set>

#include <gtest/gtest.h>

#include "tests/control/upstream/wire.hpp"

namespace millrace::control {
namespace {

using dataplane::Endpoint;

struct Kind {
    const char* name;
    bool by_port, v6;
};
constexpr Kind kinds[] = {{"kernel_v4", false, false},
                          {"kernel_v6", false, true},
                          {"port_v4", true, false},
                          {"port_v6", true, true}};

class NetworkTest : public testing::TestWithParam<Kind>, public NetworkHandler {
  protected:
    struct Heard {
        Socket socket;
        std::uint64_t token;
        Octets message;
    };

    void SetUp() override {
        if (GetParam().by_port)
            wire = std::make_unique<PortWire>(GetParam().v6);
        else
            wire = std::make_unique<KernelWire>(GetParam().v6);
        peer = wire->add_peer();
    }

    void on_message(Socket socket, std::uint64_t token, std::span<const std::uint8_t> message,
                    Time when) override {
        EXPECT_LE(boot_time() - when, 5s);
        heard.push_back({socket, token, {message.begin(), message.end()}});
        if (on_event) on_event(socket);
    }
    void on_network_error(Socket, std::uint64_t, std::errc, Time) override { ADD_FAILURE(); }

    void run_until(std::size_t count) {
        Time end = boot_time() + 5s;
        while (heard.size() < count && boot_time() < end) wire->run(5ms);
        ASSERT_EQ(heard.size(), count);
    }
    void run_a_while() { wire->run(30ms); }

    Socket open(const Endpoint& remote, std::uint64_t token = 1) {
        auto bound = wire->network().open_udp(remote, *this, token, 0);
        EXPECT_TRUE(bound);
        port = bound ? bound->source_port : 0;
        return bound ? bound->socket : 0;
    }
    /// Opens, and sends a datagram; `from` is where it came from.
    Socket ask(std::uint64_t token = 1) {
        Socket socket = open(peer, token);
        EXPECT_EQ(wire->network().send(socket, Octets{1, 2, 3}), std::errc{});
        EXPECT_EQ(wire->receive(peer, from), (Octets{1, 2, 3}));
        EXPECT_EQ(from.port, port);
        return socket;
    }

    std::unique_ptr<Wire> wire;
    Endpoint peer, from;
    std::vector<Heard> heard;
    std::function<void(Socket)> on_event;
    std::uint16_t port = 0; ///< of the last open()
};

INSTANTIATE_TEST_SUITE_P(All, NetworkTest, testing::ValuesIn(kinds),
                         [](const auto& info) { return std::string(info.param.name); });

TEST_P(NetworkTest, DatagramsGoAndCome) {
    Socket socket = ask(77);
    wire->send(peer, {4, 5}, from);
    wire->send(peer, {6}, from);
    run_until(2);
    // Two lcores have a ring each: their order is nobody's promise.
    std::set<Octets> messages = {heard[0].message, heard[1].message};
    EXPECT_EQ(messages, (std::set<Octets>{{4, 5}, {6}}));
    for (const Heard& one : heard) {
        EXPECT_EQ(one.socket, socket);
        EXPECT_EQ(one.token, 77u);
    }
}

TEST_P(NetworkTest, DatagramsFromOthersAreNotHeard) {
    ask();
    Endpoint first = from;
    Endpoint other = wire->add_peer();
    Socket others = open(other); // so that it is somebody who may answer
    wire->network().send(others, Octets{1});
    Endpoint ignored;
    wire->receive(other, ignored);
    wire->send(other, {9, 9}, first);
    wire->send(peer, {4}, first);
    run_until(1);
    run_a_while();
    ASSERT_EQ(heard.size(), 1u);
    EXPECT_EQ(heard[0].message, Octets{4});
}

TEST_P(NetworkTest, OversizedDatagramsAreTruncatedOnes) {
    ask();
    wire->send(peer, Octets(1233, 1), from);
    run_until(1);
    wire->send(peer, Octets(1232, 2), from);
    run_until(2);
    Octets cut(1232, 1);
    cut[2] |= 0x02; // TC
    EXPECT_EQ(heard[0].message, cut);
    EXPECT_EQ(heard[1].message, Octets(1232, 2));
    EXPECT_EQ(wire->oversized(), 1u);
}

TEST_P(NetworkTest, EachQuestionHasAPortOfItsOwnThatNobodyForesees) {
    std::vector<int> ports;
    for (int i = 0; i < 400; ++i) {
        Socket socket = ask();
        ports.push_back(port);
        wire->network().close(socket);
    }
    std::set<int> different(ports.begin(), ports.end());
    EXPECT_GT(different.size(), 380u); // 397 on average of 28,232
    EXPECT_GE(*different.begin(), 1024);
    EXPECT_GT(*different.rbegin() - *different.begin(), wire->source_ports() / 2);
    std::set<int> steps;
    for (std::size_t i = 1; i < ports.size(); ++i) steps.insert(ports[i] - ports[i - 1]);
    EXPECT_GT(steps.size(), 300u) << "no pattern from one to the next";
}

TEST_P(NetworkTest, APortIsGivenUpAtOnceAndTheNextQuestionHearsNothingOfTheLast) {
    Socket socket = ask();
    Endpoint first = from;
    for (std::uint8_t i = 0; i < 9; ++i) wire->send(peer, {i}, first); // in its queue when it is closed
    wire->network().close(socket);
    Socket next = ask(2);         // in the same place
    wire->send(peer, {9}, first); // to the port it had
    EXPECT_NE(from, first);
    wire->send(peer, {7}, from);
    run_until(1);
    run_a_while();
    ASSERT_EQ(heard.size(), 1u);
    EXPECT_EQ(heard[0].socket, next);
    EXPECT_EQ(heard[0].message, Octets{7});
}

TEST_P(NetworkTest, AClosedSocketIsSilent) {
    Network& network = wire->network();
    Socket socket = ask();
    wire->send(peer, {1}, from);
    network.close(socket);
    network.close(socket);
    EXPECT_EQ(network.send(socket, Octets{1}), std::errc::not_connected);
    Socket next = open(peer); // in the same place
    EXPECT_NE(next, socket);
    network.close(socket); // must not hit it
    EXPECT_EQ(network.send(next, Octets{2}), std::errc{});
    run_a_while();
    EXPECT_TRUE(heard.empty());
}

TEST_P(NetworkTest, AHandlerMayCloseItsOwnSocketAndOpenAnother) {
    ask();
    for (std::uint8_t i = 0; i < 5; ++i) wire->send(peer, {i}, from);
    on_event = [&](Socket from_socket) {
        wire->network().close(from_socket);
        open(peer, 9);
    };
    run_until(1);
    run_a_while();
    EXPECT_EQ(heard.size(), 1u);
    EXPECT_EQ(wire->open_count(), 1u);
}

TEST_P(NetworkTest, SocketsAreBounded) {
    Socket last = 0;
    for (int i = 0; i < 4; ++i) last = open(peer);
    EXPECT_EQ(wire->network().open_udp(peer, *this, 0, 0).error(), std::errc::too_many_files_open);
    EXPECT_EQ(wire->refused(), 1u);
    wire->network().close(last);
    EXPECT_NE(open(peer), 0u);
    EXPECT_EQ(wire->open_count(), 4u);
}

} // namespace
} // namespace millrace::control
