// Whose connection gives way to whose, and when one has overstayed.
#include <gtest/gtest.h>

#include "control/daemon/tcp_places.hpp"

namespace millrace::control {
namespace {

constexpr std::uint64_t A = 11, B = 22, C = 33; // prefixes

struct TcpPlacesTest : testing::Test {
    void hold(TcpPlaces::Id id, std::uint64_t prefix, Time since, bool busy = false) {
        places.add(id, client, prefix, {busy, since, Time::max()});
    }
    /// For another one of the same client.
    std::optional<TcpPlaces::Id> gives_way_to(std::uint64_t prefix) const {
        return places.gives_way_to(client, prefix);
    }
    dataplane::Address client = *dataplane::parse_address("192.0.2.1");
    TcpPlaces places;
};

TEST_F(TcpPlacesTest, NobodyGivesWayWhereNothingIsHeld) {
    EXPECT_EQ(gives_way_to(A), std::nullopt);
    hold(1, A, 1s);
    places.remove(1);
    places.remove(1);
    EXPECT_EQ(gives_way_to(B), std::nullopt);
    EXPECT_EQ(places.size(), 0u);
}

TEST_F(TcpPlacesTest, ThePrefixThatHoldsMostGivesItsLongestIdle) {
    hold(1, B, 1s);
    hold(2, A, 3s);
    hold(3, A, 2s);
    EXPECT_EQ(gives_way_to(C), 3u) << "not B's, though it has been idle for longer";
    EXPECT_EQ(gives_way_to(B), 3u) << "1 against 2";
    EXPECT_EQ(gives_way_to(A), std::nullopt) << "nobody holds more than A";
    places.set(3, {false, 4s, Time::max()});
    EXPECT_EQ(gives_way_to(C), 2u) << "3 has asked since";
    places.remove(2);
    EXPECT_EQ(gives_way_to(C), 1u) << "all alike: the longest idle of all";
    EXPECT_EQ(gives_way_to(B), std::nullopt);
}

TEST_F(TcpPlacesTest, ABusyOneGoesLastAndOnlyForASmallerShare) {
    hold(1, A, 1s, true);
    hold(2, A, 2s);
    EXPECT_EQ(gives_way_to(B), 2u);
    places.set(2, {true, 2s, Time::max()});
    EXPECT_EQ(gives_way_to(B), 1u);
    hold(3, B, 3s, true);
    EXPECT_EQ(gives_way_to(B), std::nullopt) << "it would hold 2 and A 1";
    EXPECT_EQ(gives_way_to(C), 1u);
    places.remove(1);
    EXPECT_EQ(gives_way_to(C), std::nullopt) << "all hold one, and need it";
    places.set(3, {false, 4s, Time::max()});
    EXPECT_EQ(gives_way_to(C), 3u);
}

/// As sixteen hosts with 64 each of a /24 that holds all there are.
TEST_F(TcpPlacesTest, WithinAPrefixTheHostThatHoldsMostGives) {
    auto host = [](const char* text) { return *dataplane::parse_address(text); };
    auto greedy = host("192.0.2.1"), modest = host("192.0.2.2"), newcomer = host("192.0.2.3");
    places.add(1, greedy, A, {false, 3s, Time::max()});
    places.add(2, greedy, A, {false, 4s, Time::max()});
    places.add(3, modest, A, {false, 1s, Time::max()});
    EXPECT_EQ(places.gives_way_to(newcomer, A), 1u) << "not 3, though it has been idle for longer";
    EXPECT_EQ(places.gives_way_to(modest, A), 1u) << "1 against 2";
    EXPECT_EQ(places.gives_way_to(greedy, A), std::nullopt);
    EXPECT_EQ(places.gives_way_to(newcomer, B), 1u) << "whoever comes";
    places.set(1, {true, 3s, Time::max()});
    EXPECT_EQ(places.gives_way_to(newcomer, A), 2u);
    places.set(2, {true, 4s, Time::max()});
    EXPECT_EQ(places.gives_way_to(newcomer, A), 1u);
    EXPECT_EQ(places.gives_way_to(modest, A), std::nullopt) << "busy, and it would hold as many";
    places.remove(1);
    EXPECT_EQ(places.gives_way_to(newcomer, A), 3u) << "all alike: the idle one";
    places.set(3, {true, 1s, Time::max()});
    EXPECT_EQ(places.gives_way_to(newcomer, A), std::nullopt) << "all hold one, and need it";
}

TEST_F(TcpPlacesTest, AClientIsAnIPv4AddressOrAnIPv6Network) {
    auto of = [](const char* text) { return *dataplane::parse_address(text); };
    places.add(1, of("192.0.2.1"), A, {});
    places.add(2, of("2001:db8::1"), B, {});
    places.add(3, of("2001:db8::2:0:0:1"), B, {});
    EXPECT_EQ(places.of_client(of("192.0.2.1")), 1u);
    EXPECT_EQ(places.of_client(of("192.0.2.2")), 0u);
    EXPECT_EQ(places.of_client(of("2001:db8::99")), 2u);
    EXPECT_EQ(places.of_client(of("2001:db8:0:1::1")), 0u);
    places.remove(2);
    EXPECT_EQ(places.of_client(of("2001:db8::99")), 1u);
}

TEST_F(TcpPlacesTest, WhoseTimeHasComeIsOverdue) {
    EXPECT_EQ(places.overdue(Time::max()), std::nullopt);
    places.add(1, client, A, {false, 0s, 5s});
    places.add(2, client, A, {false, 0s, 3s});
    EXPECT_EQ(places.overdue(3s - 1us), std::nullopt);
    EXPECT_EQ(places.overdue(3s), 2u);
    places.set(2, {false, 0s, 9s});
    EXPECT_EQ(places.overdue(5s), 1u);
    places.remove(1);
    EXPECT_EQ(places.overdue(5s), std::nullopt);
    places.set(1, {false, 0s, 1s});
    EXPECT_EQ(places.overdue(5s), std::nullopt) << "it is gone";
}

} // namespace
} // namespace millrace::control
