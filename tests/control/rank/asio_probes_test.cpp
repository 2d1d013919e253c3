// Real probes, on loopback.
#include <utility> // asio 1.22 with GCC 12 needs it first

#include <filesystem>
#include <iterator>

#include <asio/buffer.hpp>
#include <asio/io_context.hpp>
#include <asio/ip/tcp.hpp>
#include <asio/read.hpp>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <unistd.h>

#include "control/rank/asio_probes.hpp"
#include "tests/control/rank/addresses.hpp"

namespace millrace::control {
namespace {

using asio::ip::tcp;

class AsioProbesTest : public testing::Test, public ProbeListener {
  protected:
    AsioProbesTest() { probes.set_listener(*this); }

    void on_probe_ended(ProbeId probe, bool has_answered, Time rtt, Time) override {
        ended.push_back({probe, has_answered, rtt});
    }
    ProbeId start(const std::string& address, std::uint16_t port) {
        auto probe = probes.start({at(address), port}, boot_time());
        EXPECT_TRUE(probe);
        return probe.value_or(0);
    }
    /// Turns the loop until `count` probes have ended, or ten seconds have passed.
    void run(std::size_t count) {
        io.restart(); // it has had nothing to wait for in between
        Time end = boot_time() + 10s;
        while (ended.size() < count && boot_time() < end) io.run_one_for(100ms);
    }
    static std::uint16_t listen(tcp::acceptor& acceptor) {
        acceptor.open(tcp::v4());
        acceptor.bind({asio::ip::address_v4::loopback(), 0});
        acceptor.listen();
        return acceptor.local_endpoint().port();
    }
    static std::ptrdiff_t descriptors() {
        return std::distance(std::filesystem::directory_iterator("/proc/self/fd"), {});
    }
    /// Whether this process may send echo requests at all.
    static bool may_echo(int family) { return bool(EchoSocket::open(family)); }

    struct Ended {
        ProbeId probe;
        bool has_answered;
        Time rtt;
    };
    asio::io_context io;
    SystemRandom random;
    AsioProbes probes{io, random, 3};
    std::vector<Ended> ended;
};

TEST_F(AsioProbesTest, AListenerAnswersAndIsLeftAlone) {
    tcp::acceptor acceptor(io);
    ProbeId probe = start("127.0.0.1", listen(acceptor));
    run(1);
    ASSERT_EQ(ended.size(), 1u);
    EXPECT_EQ(ended[0].probe, probe);
    EXPECT_TRUE(ended[0].has_answered);
    EXPECT_GT(ended[0].rtt, Time{});
    tcp::socket accepted = acceptor.accept();
    char octet = 0;
    asio::error_code error;
    asio::read(accepted, asio::buffer(&octet, 1), error);
    EXPECT_EQ(error, asio::error::connection_reset) << "nothing was written, and nothing is left";
}

TEST_F(AsioProbesTest, IPv6Too) {
    tcp::acceptor acceptor(io);
    asio::error_code error;
    if (acceptor.open(tcp::v6(), error); error) GTEST_SKIP() << "no IPv6 here";
    acceptor.bind({asio::ip::address_v6::loopback(), 0}, error);
    if (error) GTEST_SKIP() << "no IPv6 here";
    acceptor.listen();
    start("::1", acceptor.local_endpoint().port());
    run(1);
    ASSERT_EQ(ended.size(), 1u);
    EXPECT_TRUE(ended[0].has_answered);
}

TEST_F(AsioProbesTest, ARefusalIsNoAnswer) {
    tcp::acceptor acceptor(io);
    acceptor.open(tcp::v4());
    acceptor.bind({asio::ip::address_v4::loopback(), 0}); // and does not listen
    start("127.0.0.1", acceptor.local_endpoint().port());
    run(1);
    ASSERT_EQ(ended.size(), 1u);
    EXPECT_FALSE(ended[0].has_answered);
}

TEST_F(AsioProbesTest, AClosedProbeSaysNothing) {
    tcp::acceptor acceptor(io);
    probes.close(start("127.0.0.1", listen(acceptor)));
    for (int i = 0; i < 10; ++i) io.poll();
    EXPECT_TRUE(ended.empty());
    probes.close(77); // nobody's
}

TEST_F(AsioProbesTest, NoMoreConnectionsThanTheBound) {
    tcp::acceptor acceptor(io);
    std::uint16_t port = listen(acceptor);
    for (int i = 0; i < 3; ++i) start("127.0.0.1", port);
    EXPECT_EQ(probes.start({at("127.0.0.1"), port}, boot_time()).error(), std::errc::too_many_files_open);
    run(3);
    start("127.0.0.1", port);
    run(4);
    EXPECT_EQ(ended.size(), 4u);
}

TEST_F(AsioProbesTest, NoRouteIsThisMachinesTrouble) {
    EXPECT_FALSE(probes.start({at("255.255.255.255"), 80}, boot_time()));
}

TEST_F(AsioProbesTest, EchoIsAnswered) {
    bool v4 = may_echo(AF_INET), v6 = may_echo(AF_INET6);
    if (!v4) {
        EXPECT_FALSE(probes.start({at("127.0.0.1"), 0}, boot_time())) << "and nothing worse";
        GTEST_SKIP() << "this user may not send echo requests";
    }
    ProbeId first = start("127.0.0.1", 0), second = start("127.0.0.2", 0);
    run(2);
    ASSERT_EQ(ended.size(), 2u);
    EXPECT_TRUE(ended[0].has_answered && ended[1].has_answered);
    EXPECT_NE(ended[0].probe, ended[1].probe);
    EXPECT_EQ(ended[0].probe + ended[1].probe, first + second);
    if (v6 && probes.start({at("::1"), 0}, boot_time())) {
        run(3);
        EXPECT_EQ(ended.size(), 3u);
    }
}

/// Those that probes kept must not outlive the policy that wanted them.
TEST_F(AsioProbesTest, EchoSocketsAreClosedInRestAndOpenedAgain) {
    if (!may_echo(AF_INET)) GTEST_SKIP() << "this user may not send echo requests";
    start("127.0.0.1", 443); // asio has what it needs of its own
    run(1);
    std::ptrdiff_t before = descriptors();
    ProbeId probe = start("127.0.0.1", 0);
    EXPECT_GT(descriptors(), before);
    probes.close(probe);
    probes.rest(); // the reply is on its way
    EXPECT_EQ(descriptors(), before);
    probe = start("127.0.0.1", 0);
    run(2);
    ASSERT_EQ(ended.size(), 2u);
    EXPECT_EQ(ended[1].probe, probe);
    EXPECT_TRUE(ended[1].has_answered);
}

} // namespace
} // namespace millrace::control
