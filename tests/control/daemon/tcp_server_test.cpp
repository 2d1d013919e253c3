// Clients over TCP on loopback: what one of them can make the daemon hold, and for how long.
#include <gtest/gtest.h>

#include <memory>
#include <thread>

#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "control/daemon/tcp_server.hpp"
#include "control/limits.hpp"
#include "tests/control/fetch/fixture.hpp"
#include "tests/support/entries.hpp"
#include "tests/support/messages.hpp"
#include "tests/support/rules.hpp"

namespace millrace::control {
namespace {

using namespace test;

/// A blocking socket whose owner reads when it likes.
class TcpClient {
  public:
    explicit TcpClient(const dataplane::Endpoint& server, const char* from = nullptr)
        : fd_(::socket(AF_INET, SOCK_STREAM, 0)) {
        sockaddr_storage to{}, own{};
        socklen_t size = dataplane::to_sockaddr(server, to);
        if (from) {
            dataplane::to_sockaddr({*dataplane::parse_address(from), 0}, own);
            EXPECT_EQ(::bind(fd_, reinterpret_cast<sockaddr*>(&own), size), 0);
        }
        int room = 65536; // the kernel shall not hold much for it
        ::setsockopt(fd_, SOL_SOCKET, SO_RCVBUF, &room, sizeof room);
        EXPECT_EQ(::connect(fd_, reinterpret_cast<sockaddr*>(&to), size), 0);
    }
    TcpClient(const TcpClient&) = delete;
    ~TcpClient() { ::close(fd_); }

    void send(const Bytes& octets) {
        EXPECT_EQ(::send(fd_, octets.data(), octets.size(), MSG_NOSIGNAL), ssize_t(octets.size()));
    }
    /// What there is to read now, thrown away. Returns how much.
    std::size_t skip() {
        Bytes room(1 << 20);
        ssize_t got = ::recv(fd_, room.data(), room.size(), MSG_DONTWAIT);
        return std::size_t(std::max<ssize_t>(got, 0));
    }
    /// Whether the server has closed it.
    bool is_closed() const {
        char octet;
        ssize_t got = ::recv(fd_, &octet, 1, MSG_DONTWAIT | MSG_PEEK);
        return got == 0 || (got < 0 && errno != EAGAIN);
    }
    /// Whether the server has read what we sent.
    bool is_read() const {
        int not_acknowledged = 0, not_read = 0;
        ::ioctl(fd_, SIOCOUTQ, &not_acknowledged);
        ::ioctl(other_end(), SIOCINQ, &not_read);
        return not_acknowledged == 0 && not_read == 0;
    }
    /// Octets on their way to us that the server has got rid of: in its end's buffer, and in ours.
    std::size_t in_kernel() const {
        int not_sent = 0, not_read = 0;
        ::ioctl(other_end(), SIOCOUTQ, &not_sent);
        ::ioctl(fd_, SIOCINQ, &not_read);
        return std::size_t(not_sent) + std::size_t(not_read);
    }

  private:
    /// The server's descriptor of this connection: it is in this process.
    int other_end() const {
        auto name = [](int fd, auto get) {
            sockaddr_storage raw{};
            socklen_t size = sizeof raw;
            return get(fd, reinterpret_cast<sockaddr*>(&raw), &size) == 0 ? dataplane::from_sockaddr(raw)
                                                                          : dataplane::Endpoint{};
        };
        auto own = name(fd_, ::getsockname);
        for (int fd = 0; fd < 1024; ++fd) {
            if (name(fd, ::getpeername) == own) return fd;
        }
        ADD_FAILURE() << "the server has not accepted it";
        return -1;
    }
    int fd_;
};

/// A server on loopback, and the control plane behind it. The upstream is silent.
class TcpServerTest : public testing::Test, public Waker {
  protected:
    TcpServerTest() { EXPECT_TRUE(server.listen(endpoint)); }
    ~TcpServerTest() override {
        server.close();
        fetches.close();
        io.poll();
    }
    void wake(const Waiter& waiter, const cache::Entry* entry, dataplane::Wake::Kind kind) override {
        server.wake(waiter, entry, kind);
    }

    void turn() { io.run_for(1ms), io.restart(); }
    /// Turns until a while has passed in which `value` has not changed. Where a machine is slower than
    /// that, what follows is easier, not harder.
    template <class Value>
    void settle(Value value) {
        auto before = value();
        for (int same = 0; same < 50; ++same) {
            turn();
            if (value() != before) same = 0;
            before = value();
        }
    }
    /// Turns until it is so; a test that waits in vain fails after a minute, and waits for nothing else.
    template <class Condition>
    void until(Condition condition) {
        auto end = std::chrono::steady_clock::now() + 60s;
        while (!HasFatalFailure() && !condition()) {
            if (std::chrono::steady_clock::now() > end) FAIL() << "a minute has passed";
            turn();
        }
    }
    /// A client that the server has accepted. It connects from `from`.
    std::unique_ptr<TcpClient> accepted(const char* from) {
        std::uint64_t before = server.connections().accepted;
        auto client = std::make_unique<TcpClient>(endpoint, from);
        until([&] { return server.connections().accepted > before; });
        return client;
    }
    /// Sends, and lets the server see it.
    void send(TcpClient& client, const Bytes& octets) {
        client.send(octets);
        until([&] { return client.is_read(); });
        io.poll(); // what it read may wait for its handler
    }
    /// Asks what is in the table, and reads the answer.
    void ask(TcpClient& client, const Bytes& message) {
        client.send(framed(message));
        until([&] { return client.skip() > 0; });
        io.poll();
    }
    std::uint64_t answered() const { return server.counters().get(dataplane::Verdict::answered); }

    static Bytes framed(const Bytes& message) { return u16(unsigned(message.size())) + message; }

    /// In the table, for an hour, if only as stale data: an answer as large as they come. Returns a reply's
    /// octets, prefix included.
    std::size_t publish_huge(const cache::Key& key, bool is_stale = false) {
        cache::Hash hash = table.hasher()(key);
        auto entry =
            test::entry_of({1, 0}, std::vector<std::uint8_t>(3800, 7), boot_time(), is_stale ? 0s : 1h, 1h);
        std::size_t size = 2 + 12 + key.name.size + 4 + entry->records_size;
        EXPECT_TRUE(table.start(key, hash, 1));
        EXPECT_EQ(table.publish(key, hash, entry), cache::Publication::accepted);
        return size;
    }

    asio::io_context io;
    support::ManualClock clock;
    FakeNetwork network{clock};
    support::FakeRandom random;
    test::RulesInEffect rules{dataplane::ClientPolicy{{*dataplane::parse_prefix("127.0.0.0/8")}}};
    cache::Grace grace;
    cache::Table table{{.entries = 100, .bytes = 1 << 24}, grace};
    Publisher publisher{table, grace, {}};
    Upstreams upstreams{{*dataplane::parse_endpoint("198.51.100.1", 53)}};
    Exchanges exchanges{network, random, {&upstreams, 1}, {.exchanges = 512}};
    FetchTable fetches{table, publisher, exchanges, {&upstreams, 1}, *this, {}};
    Config::Tcp policy{.pipeline = 10'000};
    TcpServer server{io, table, fetches, rules.now, policy};
    /// An address of this process's own: several may run at once.
    dataplane::Endpoint endpoint = *dataplane::parse_endpoint(
        "127." + std::to_string(1 + getpid() / 65536 % 64) + "." + std::to_string(getpid() / 256 % 256) +
            "." + std::to_string(getpid() % 256),
        5379);
};

TEST_F(TcpServerTest, AClientThatDoesNotReadIsOwedALimitedNumberOfOctets) {
    constexpr unsigned questions = 400; // whose answers are 24 MB
    std::size_t size = publish_huge(make_key("huge.example", LDNS_RR_TYPE_A));
    TcpClient client(endpoint);
    Bytes all;
    for (unsigned i = 0; i < questions; ++i) all = all + framed(query("huge.example", 1, i));
    client.send(all);
    settle([&] { return answered(); });
    ASSERT_GT(answered(), 0u);
    std::size_t written = answered() * size, in_kernel = client.in_kernel();
    ASSERT_GE(written, in_kernel);
    EXPECT_LT(written - in_kernel, limits::tcp_queued_octets + size) << answered() << " replies of " << size;
    std::size_t read = 0;
    auto end = std::chrono::steady_clock::now() + 60s;
    while (read < questions * size && std::chrono::steady_clock::now() < end) {
        turn();
        while (std::size_t part = client.skip()) read += part;
    }
    EXPECT_EQ(read, questions * size) << "once it reads it gets the others too";
    EXPECT_EQ(answered(), questions);
}

TEST_F(TcpServerTest, SoIsOneWhoseAnswersComeAllAtOnce) {
    constexpr unsigned questions = 100;
    cache::Key key = make_key("huge.example", LDNS_RR_TYPE_A);
    auto client = accepted("127.201.0.1");
    client->send(framed(query("none.example", 1)));
    until([&] { return fetches.waiting() == 1; });
    std::size_t size = publish_huge(key, true), failure = 2 + 12 + key.name.size + 4;
    Bytes all;
    for (unsigned i = 0; i < questions; ++i) all = all + framed(query("huge.example", 1, i));
    client->send(all);
    until([&] { return fetches.waiting() == 1 + questions; });
    fetches.tick(boot_time() + 60s); // nobody replied: stale data for all but the first
    ASSERT_EQ(fetches.waiting(), 0u);
    std::size_t read = 0, whole = limits::tcp_queued_octets / (size - 2) + 1;
    settle([&] { return read += client->skip(); });
    EXPECT_EQ(read, whole * size + (1 + questions - whole) * failure) << "all beyond that is SERVFAIL";
}

TEST_F(TcpServerTest, AClientHasALimitedNumberOfQuestionsInWork) {
    policy.pipeline = 8;
    server.set_policy(policy);
    TcpClient client(endpoint);
    Bytes all;
    for (unsigned i = 0; i < 50; ++i) all = all + framed(query("n" + std::to_string(i) + ".example", 1, i));
    client.send(all);
    settle([&] { return fetches.waiting(); });
    EXPECT_EQ(fetches.waiting(), 8u);
}

TEST_F(TcpServerTest, WhoComesAfterItsEndIsASuccessorsAndWhoWasThereIsServedOn) {
    auto known = accepted("127.0.0.2");
    TcpServer second{io, table, fetches, rules.now, policy};
    dataplane::Descriptor socket(dup(server.listeners().at(0)));
    ASSERT_TRUE(second.listen(endpoint, true, std::move(socket)));
    server.stop_listening();
    TcpClient other(endpoint, "127.0.0.3");
    until([&] { return second.connections().accepted == 1; });
    EXPECT_EQ(server.connections().accepted, 1u);
    publish_huge(key_of("a"));
    ask(*known, header(1, rd, 1) + question("a"));
    EXPECT_EQ(answered(), 1u);
    second.close();
    io.poll(); // what its connections have begun
}

TEST_F(TcpServerTest, AForeignClientIsClosedAtOnce) {
    rules.replace_clients({{*dataplane::parse_prefix("127.0.0.0/9")}}, grace);
    TcpClient foreign(endpoint, "127.201.0.1");
    until([&] { return foreign.is_closed(); });
    auto own = accepted("127.101.0.1");
    EXPECT_FALSE(own->is_closed());
    EXPECT_EQ(server.connections().foreign, 1u);
    EXPECT_EQ(server.connections().refused, 0u);
    EXPECT_EQ(server.connections().accepted, 1u);
}

TEST_F(TcpServerTest, AClientThatAReloadMadeForeignIsClosedWhenItAsks) {
    publish_huge(make_key("huge.example", LDNS_RR_TYPE_A));
    auto client = accepted("127.201.0.1");
    rules.replace_clients({{*dataplane::parse_prefix("127.0.0.0/9")}}, grace);
    client->send(framed(query("huge.example", 1)));
    until([&] { return client->is_closed(); });
    EXPECT_EQ(server.connections().foreign, 1u);
    EXPECT_EQ(answered(), 0u);
}

TEST_F(TcpServerTest, WhenAllConnectionsAreTakenThePrefixThatHoldsMostGivesWay) {
    publish_huge(make_key("huge.example", LDNS_RR_TYPE_A));
    policy.connections = 4;
    server.set_policy(policy);
    auto first = accepted("127.201.0.1"), second = accepted("127.201.0.2"), third = accepted("127.201.0.3");
    auto other = accepted("127.202.0.1");
    ask(*first, query("huge.example", 1));
    auto newcomer = accepted("127.203.0.1");
    EXPECT_TRUE(second->is_closed()) << "idle for longer than the first, which has asked";
    auto again = accepted("127.202.0.2");
    EXPECT_TRUE(third->is_closed()) << "2 against 1";
    EXPECT_EQ(server.connections().displaced, 2u);
    TcpClient too_many(endpoint, "127.202.0.2");
    until([&] { return too_many.is_closed(); });
    EXPECT_EQ(server.connections().refused, 1u);
    auto neighbour = accepted("127.202.0.3");
    EXPECT_TRUE(other->is_closed()) << "of its own prefix, a host that holds more";
    for (TcpClient* kept : {first.get(), neighbour.get(), newcomer.get(), again.get()}) {
        EXPECT_FALSE(kept->is_closed());
        ask(*kept, query("huge.example", 1));
    }
}

TEST_F(TcpServerTest, AQuestionThatNeverEndsHasADeadlineFromItsFirstOctet) {
    policy.idle = 600s;
    server.set_policy(policy);
    auto slow = accepted("127.201.0.1"), half = accepted("127.201.0.1"), idle = accepted("127.201.0.1");
    Bytes question = framed(query("never.example", 1));
    send(*half, Bytes(question.begin(), question.end() - 1));
    send(*slow, {question[0]});
    Time begun = boot_time();
    std::this_thread::sleep_for(1ms); // the second octet has a time of its own
    send(*slow, {question[1], question[2]});
    server.tick(begun + limits::tcp_question);
    EXPECT_EQ(server.connections().unfinished, 2u);
    EXPECT_EQ(server.connections().timeouts, 0u);
    EXPECT_TRUE(slow->is_closed());
    EXPECT_TRUE(half->is_closed());
    EXPECT_FALSE(idle->is_closed()) << "it has asked nothing, and may for `idle`";
}

TEST_F(TcpServerTest, AConnectionWithAQuestionInWorkIsNotIdle) {
    policy.idle = 600s;
    server.set_policy(policy);
    auto asking = accepted("127.201.0.1"), idle = accepted("127.201.0.1");
    send(*asking, framed(query("silent.example", 1)));
    ASSERT_EQ(fetches.waiting(), 1u);
    server.tick(boot_time() + 24h);
    EXPECT_TRUE(idle->is_closed());
    EXPECT_FALSE(asking->is_closed());
    Time answered_after = boot_time();
    fetches.tick(answered_after + 60s); // it is given up
    until([&] { return asking->skip() > 0; });
    io.poll();
    server.tick(answered_after + 600s - 1us);
    EXPECT_FALSE(asking->is_closed()) << "idle since its answer, not since its question";
    server.tick(boot_time() + 600s);
    EXPECT_TRUE(asking->is_closed());
    EXPECT_EQ(server.connections().timeouts, 2u);
}

TEST_F(TcpServerTest, RepliesThatAreNotReadHoldNoConnectionForEver) {
    publish_huge(make_key("huge.example", LDNS_RR_TYPE_A));
    TcpClient client(endpoint);
    Bytes all;
    for (unsigned i = 0; i < 400; ++i) all = all + framed(query("huge.example", 1, i));
    client.send(all);
    settle([&] { return answered(); });
    server.tick(boot_time() + policy.idle);
    EXPECT_EQ(server.connections().timeouts, 1u);
}

} // namespace
} // namespace millrace::control
