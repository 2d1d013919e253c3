// The query log's thread and its reader: who is slow, gone, or silent.
#include "control/traffic/dnstap.hpp"

#include <algorithm>
#include <csignal>
#include <fstream>

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "dataplane/unix_address.hpp"
#include "tests/control/config/config_text.hpp"
#include "tests/support/temporary_folder.hpp"

namespace millrace::control {
namespace {

using dataplane::LoggedKind;

const std::vector<std::uint8_t> query{0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1, 'a', 0, 0, 1, 0, 1};

class DnstapTest : public testing::Test {
  protected:
    DnstapTest() { std::signal(SIGPIPE, SIG_IGN); } // as main() does

    void start(const std::string& to) {
        dnstap.emplace(parsed(upstreams + "dnstap: {to: \"" + to + "\", identity: edge1}"));
        log = dnstap->add();
        ASSERT_TRUE(log);
        dnstap->start();
    }
    void add(unsigned count) {
        for (unsigned i = 0; i < count; ++i) {
            log->add({*dataplane::parse_endpoint("192.0.2.7:4000", 0),
                      5ms,
                      {},
                      0,
                      LoggedKind::client_query,
                      dataplane::Transport::udp},
                     query);
        }
    }
    static dataplane::Descriptor listen_at(const std::string& path) {
        auto address = dataplane::unix_address(path);
        dataplane::Descriptor socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
        EXPECT_EQ(::bind(socket.get(), address->get(), address->size), 0);
        EXPECT_EQ(::listen(socket.get(), 8), 0);
        return socket;
    }
    static std::string content_of(const std::string& path) {
        std::ifstream file(path, std::ios::binary);
        return {std::istreambuf_iterator<char>(file), {}};
    }

    test::TemporaryFolder folder;
    std::optional<Dnstap> dnstap;
    dataplane::QueryLog* log = nullptr;
};

TEST_F(DnstapTest, OffThereIsNoLog) {
    Dnstap off(parsed(upstreams));
    EXPECT_FALSE(off.is_on());
    EXPECT_EQ(off.add(), nullptr);
    off.start();
    off.stop();
}

TEST_F(DnstapTest, AFileHasAllThatWasLoggedBeforeTheEnd) {
    std::string path = folder / "log";
    std::ofstream(path) << "of an earlier run";
    start("file:" + path);
    add(1000);
    dnstap->stop();
    EXPECT_EQ(dnstap->counters().written, 1000u);
    EXPECT_EQ(dnstap->counters().dropped, 0u);
    std::string content = content_of(path);
    EXPECT_NE(content.find("protobuf:dnstap.Dnstap"), content.npos);
    std::size_t messages = 0;
    for (std::size_t at = 0; (at = content.find("edge1", at)) != content.npos; ++at) ++messages;
    EXPECT_EQ(messages, 1000u);
    EXPECT_EQ(content_of(path + ".old"), "of an earlier run");
    struct stat status {};
    ASSERT_EQ(::stat(path.c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 0777, 0600u);
}

TEST_F(DnstapTest, WithoutAReaderWhatFindsNoPlaceIsCounted) {
    start("unix:" + folder / "nobody");
    while (dnstap->counters().dropped == 0) add(100);
    EXPECT_FALSE(dnstap->counters().is_connected);
    dnstap->stop();
    EXPECT_EQ(dnstap->counters().written, 0u);
}

/// It accepts the connection and says nothing.
TEST_F(DnstapTest, ASilentReaderHoldsUpNobody) {
    auto listening = listen_at(folder / "silent");
    start("unix:" + folder / "silent");
    dataplane::Descriptor accepted(::accept(listening.get(), nullptr, nullptr));
    while (dnstap->counters().dropped == 0) add(100);
    dnstap->stop();
    EXPECT_EQ(dnstap->counters().written, 0u);
}

TEST_F(DnstapTest, AReaderThatSpeaksAnotherProtocolIsLeft) {
    auto listening = listen_at(folder / "http");
    start("unix:" + folder / "http");
    for (int tries = 0; tries < 2; ++tries) {
        dataplane::Descriptor accepted(::accept(listening.get(), nullptr, nullptr));
        constexpr char words[] = "HTTP/1.1 400 Bad Request\r\n\r\n";
        ASSERT_GT(::send(accepted.get(), words, sizeof words, MSG_NOSIGNAL), 0);
        char sink[4096];
        while (::read(accepted.get(), sink, sizeof sink) > 0) {
        }
    }
    dnstap->stop();
}

TEST_F(DnstapTest, FramesSayWhoWhenAndHow) {
    DnstapFrame frame{"edge1", "millraced 1", Time(1'700'000'000s)};
    dataplane::LoggedMessage what{*dataplane::parse_endpoint("192.0.2.7:4000", 0),
                                  1500ms,
                                  2ms,
                                  0,
                                  LoggedKind::client_query,
                                  dataplane::Transport::udp};
    auto packed = to_dnstap(what, query, frame);
    auto has = [&](std::vector<std::uint8_t> octets) {
        return std::search(packed.begin(), packed.end(), octets.begin(), octets.end()) != packed.end();
    };
    EXPECT_TRUE(has({0x0a, 5, 'e', 'd', 'g', 'e', '1'})) << "identity";
    EXPECT_TRUE(has({0x78, 1})) << "type MESSAGE";
    EXPECT_TRUE(has({0x08, 5, 0x10, 1, 0x18, 1})) << "CLIENT_QUERY, INET, UDP";
    EXPECT_TRUE(has({0x22, 4, 192, 0, 2, 7})) << "query_address";
    EXPECT_TRUE(has({0x30, 0xa0, 0x1f})) << "query_port 4000";
    EXPECT_TRUE(has({0x40, 0x81, 0xe2, 0xcf, 0xaa, 0x06})) << "1,700,000,001 s";
    EXPECT_TRUE(has({0x4d, 0x00, 0x65, 0xcd, 0x1d})) << "500,000,000 ns";
    std::vector<std::uint8_t> message{0x52, std::uint8_t(query.size())};
    message.insert(message.end(), query.begin(), query.end());
    EXPECT_TRUE(has(message)) << "query_message";
    what.kind = LoggedKind::upstream_response;
    what.transport = dataplane::Transport::tcp;
    what.peer = *dataplane::parse_endpoint("[2001:db8::1]:53", 0);
    packed = to_dnstap(what, query, frame);
    EXPECT_TRUE(has({0x08, 8, 0x10, 2, 0x18, 2})) << "FORWARDER_RESPONSE, INET6, TCP";
    EXPECT_TRUE(has({0x2a, 16, 0x20, 0x01, 0x0d, 0xb8})) << "response_address";
    EXPECT_TRUE(has({0x38, 53})) << "response_port";
    EXPECT_TRUE(has({0x60, 0x80, 0xe2, 0xcf, 0xaa, 0x06})) << "response_time_sec";
}

TEST(DnstapConfig, Targets) {
    auto target = [](const std::string& to) {
        return to_string(parsed(upstreams + "dnstap: {to: \"" + to + "\"}").boot.dnstap_to);
    };
    for (const char* to :
         {"", "unix:/run/d.sock", "tcp:192.0.2.1:6000", "tcp:[2001:db8::1]:6000", "file:/var/d"})
        EXPECT_EQ(target(to), to);
    for (const char* to :
         {"/run/d.sock", "unix:d.sock", "unix:", "tcp:192.0.2.1", "tcp:host:1", "udp:192.0.2.1:1", "file"}) {
        EXPECT_NE(
            complaint(upstreams + "dnstap: {to: \"" + to + "\"}").find("t:2: dnstap.to: expected \"unix:"),
            std::string::npos)
            << to;
    }
}

TEST(DnstapConfig, WhatIsRefused) {
    EXPECT_NE(complaint(upstreams + "dnstap: {sample: 0}").find("dnstap.sample"), std::string::npos);
    EXPECT_NE(complaint(upstreams + "dnstap: {messages: [all]}").find("dnstap.messages[0]"),
              std::string::npos);
    EXPECT_NE(complaint(upstreams + "dnstap: {rcodes: [NXDOMAIN, NXDOMAIN]}").find("each item once"),
              std::string::npos);
    EXPECT_NE(complaint(upstreams + "dnstap: {clients: [192.0.2.1/24]}").find("dnstap.clients[0]"),
              std::string::npos);
}

} // namespace
} // namespace millrace::control
