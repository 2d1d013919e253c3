// A real worker on a real kernel socket; the test is control, and a client beside it.
#include "dataplane/worker.hpp"

#include <gtest/gtest.h>
#include <sys/socket.h>

#include "dataplane/socket_port.hpp"
#include "tests/support/entries.hpp"
#include "tests/support/messages.hpp"
#include "tests/support/rules.hpp"

namespace millrace::dataplane {
namespace {

using namespace test;

class WorkerTest : public testing::Test {
  protected:
    WorkerTest() {
        port_ = *SocketPort::open(service_, {service_});
        worker_.emplace(WorkerContext{*port_, table, *reader, handoff, counters, rules_.now});
        sockaddr_storage raw;
        socklen_t size = to_sockaddr({*parse_address("127.0.77.2"), 0}, raw);
        client_ = Descriptor(socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0));
        EXPECT_EQ(bind(client_.get(), reinterpret_cast<sockaddr*>(&raw), size), 0);
        size = to_sockaddr(service_, raw);
        EXPECT_EQ(connect(client_.get(), reinterpret_cast<sockaddr*>(&raw), size), 0);
        reader->online();
    }
    ~WorkerTest() override {
        reader->offline();
        EXPECT_EQ(counters.received(), sent_) << "one verdict for each packet";
    }

    void send(const Bytes& message) {
        ASSERT_EQ(::send(client_.get(), message.data(), message.size(), 0), ssize_t(message.size()));
        ++sent_;
    }
    Bytes receive() {
        Bytes buffer(4096);
        ssize_t size = recv(client_.get(), buffer.data(), buffer.size(), 0);
        buffer.resize(size < 0 ? 0 : std::size_t(size));
        return buffer;
    }
    Bytes ask(const Bytes& message) {
        send(message);
        worker_->turn();
        return receive();
    }
    void publish(const cache::Key& key, cache::EntryPtr entry) {
        auto hash = table.hasher()(key);
        if (entry->version.revision == 0) table.start(key, hash, entry->version.generation);
        ASSERT_EQ(table.publish(key, hash, entry), cache::Publication::accepted);
    }
    std::vector<Miss> misses() {
        std::vector<Miss> taken(limits::waiters);
        taken.resize(handoff.take(taken));
        return taken;
    }
    void wake(const Miss& miss, const cache::Entry* entry, Wake::Kind kind = Wake::Kind::answer) {
        reader->sent();
        handoff.send({entry, miss.waiter, kind});
    }
    static Bytes record(unsigned host, unsigned ttl) {
        return Bytes{0xc0, 12, 0, 1, 0, 1} + u32(ttl) + u16(4) + Bytes{192, 0, 2, std::uint8_t(host)};
    }

    cache::Grace grace;
    cache::Grace::Reader* reader = grace.add_reader();
    cache::Table table{{.entries = 10000, .bytes = 1 << 24}, grace};
    Handoff handoff;
    Counters counters;
    cache::Key a = key_of("a.com");
    Time now = boot_time();

    Endpoint service_{*parse_address("127.0.77.1"), 5377};
    test::RulesInEffect rules_{ClientPolicy{{*parse_prefix("127.0.0.0/8")}}};
    std::unique_ptr<SocketPort> port_;
    std::optional<Worker> worker_;
    Descriptor client_;
    std::uint64_t sent_ = 0;

    void turn() { worker_->turn(); }
};

TEST_F(WorkerTest, AHitIsAnsweredInItsTurn) {
    publish(a, entry_of({1, 0}, {7}, now, 60s));
    EXPECT_EQ(ask(query("A.com")), header(0x1234, 0x8180, 1, 1) + question("A.com") + record(7, 60));
    EXPECT_EQ(counters.get(Event::hit), 1u);
    EXPECT_EQ(counters.get(Verdict::answered), 1u);
    EXPECT_EQ(counters.get(Event::sent), 1u);
}

TEST_F(WorkerTest, EveryHitIsOfTheLatestPublication) {
    for (std::uint8_t host : {1, 2, 3}) {
        publish(a, entry_of({host, 0}, {host}, now, 60s));
        for (int i = 0; i < 2; ++i) EXPECT_EQ(ask(query("a.com")).back(), host);
    }
}

TEST_F(WorkerTest, AHitLeavesItsMarkForEviction) {
    publish(a, entry_of({1, 0}, {7}, now, 60s));
    const cache::Entry* entry = table.find(a, table.hasher()(a));
    entry->visited = 0;
    EXPECT_FALSE(ask(query("a.com")).empty());
    EXPECT_EQ(entry->visited, 1);
}

TEST_F(WorkerTest, WhoAsksForARefreshMovesTheHintToTheExpiryAtTheLatest) {
    publish(a, entry_of({1, 0}, {7}, now - 50s, 60s, 1h));
    const cache::Entry* entry = table.find(a, table.hasher()(a));
    for (Time left : {Time(1h), Time(1s)}) {
        auto long_lived = entry_of({2, 0}, {7}, now, left, 1h);
        long_lived->refresh_after = (now - 1s).count();
        ASSERT_TRUE(long_lived->claim_refresh(now, limits::refresh_retry));
        EXPECT_EQ(Time(long_lived->refresh_after), now + std::min<Time>(left, limits::refresh_retry));
    }
    entry->refresh_after = (now - 1s).count();
    for (int i = 0; i < 2; ++i) EXPECT_FALSE(ask(query("a.com")).empty());
    auto taken = misses();
    ASSERT_EQ(taken.size(), 1u) << "one of two hits";
    EXPECT_EQ(taken[0].refresh, (cache::Version{1, 0}));
}

TEST_F(WorkerTest, AMissIsHandedOverAndAnsweredByItsWake) {
    EXPECT_TRUE(ask(header(77, rd | cd, 1, 0, 0, 1) + question("a.COM") + opt(900)).empty());
    auto taken = misses();
    ASSERT_EQ(taken.size(), 1u);
    EXPECT_EQ(taken[0].key.name, a.name);
    EXPECT_EQ(taken[0].key.flavour, cache::checking_disabled);
    EXPECT_EQ(taken[0].id, 77);
    EXPECT_EQ(to_string(taken[0].client.address), "127.0.77.2");
    auto entry = entry_of({1, 0}, {9}, now, 60s);
    wake(taken[0], entry.get());
    turn();
    EXPECT_EQ(receive(), header(77, 0x8190, 1, 1, 0, 1) + question("a.COM") + record(9, 60) + opt());
    EXPECT_EQ(reader->outstanding(), 0u);
    EXPECT_EQ(counters.get(Verdict::missed), 1u);
    EXPECT_EQ(counters.get(Event::wake_answered), 1u);
}

TEST_F(WorkerTest, AnExpiredEntryIsAMissUnlessStaleIsToBeServedAtOnce) {
    publish(a, entry_of({1, 0}, {7}, now - 100s, 60s, 1h));
    EXPECT_TRUE(ask(query("a.com")).empty());
    auto taken = misses();
    ASSERT_EQ(taken.size(), 1u);
    const cache::Entry* entry = table.find(a, table.hasher()(a));
    wake(taken[0], entry, Wake::Kind::stale);
    turn();
    EXPECT_EQ(receive(), header(0x1234, 0x8180, 1, 1) + question("a.com") + record(7, 30));
    entry->refresh_after = (now + 1h).count();
    EXPECT_EQ(ask(query("a.com")), header(0x1234, 0x8180, 1, 1) + question("a.com") + record(7, 30));
    EXPECT_EQ(counters.get(Event::stale_hit), 1u);
}

TEST_F(WorkerTest, OnlyAPopularNameIsRefreshedAheadOfItsExpiry) {
    publish(a, entry_of({1, 0}, {7}, now, 1h));
    const cache::Entry* entry = table.find(a, table.hasher()(a));
    entry->quiet_hits = 2;
    entry->refresh_after = (now - 1s).count();
    for (unsigned hit = 1; hit <= 4; ++hit) {
        EXPECT_FALSE(ask(query("a.com")).empty());
        EXPECT_EQ(misses().size(), hit == 3 ? 1u : 0u) << hit;
        EXPECT_EQ(entry->quiet_hits, hit < 2 ? 1 : 0);
    }
}

TEST_F(WorkerTest, AnExpiredEntryIsAnsweredAtOnceAndOneAsksForIt) {
    auto made = entry_of({1, 0}, {7}, now - 100s, 60s, 1h);
    const_cast<cache::Entry&>(*made).stale_at_once = true;
    made->quiet_hits = 9; // popular or not
    publish(a, std::move(made));
    for (int i = 0; i < 3; ++i) {
        EXPECT_EQ(ask(query("a.com")), header(0x1234, 0x8180, 1, 1) + question("a.com") + record(7, 30));
    }
    auto taken = misses();
    ASSERT_EQ(taken.size(), 1u);
    EXPECT_EQ(taken[0].refresh, (cache::Version{1, 0}));
    EXPECT_EQ(counters.get(Event::stale_hit), 3u);
    const cache::Entry* entry = table.find(a, table.hasher()(a));
    entry->refresh_after = (now - 1s).count();
    ask(query("a.com"));
    EXPECT_EQ(misses().size(), 1u) << "a lost request is repeated";
}

TEST_F(WorkerTest, BeyondItsStaleLifeNothingIsServed) {
    publish(a, entry_of({1, 0}, {7}, now - 100s, 60s, 10s));
    table.find(a, table.hasher()(a))->refresh_after = (now + 1h).count();
    EXPECT_TRUE(ask(query("a.com")).empty());
    EXPECT_EQ(misses().size(), 1u);
}

TEST_F(WorkerTest, UnderTheFloorNothingIsServedNotEvenStale) {
    publish(a, entry_of({5, 0}, {7}, now, 60s));
    EXPECT_FALSE(ask(query("a.com")).empty());
    table.raise_floor(0, 5);
    EXPECT_TRUE(ask(query("a.com")).empty());
    EXPECT_EQ(misses().size(), 1u);
}

TEST_F(WorkerTest, UnderTheFloorOfItsGroupARoutedNameIsNotServed) {
    const Routes::Route route{*cache::parse_name("corp.example"), 1};
    rules_.replace_routes(std::make_shared<const Routes>(std::span(&route, 1)), grace);
    cache::Key key = a;
    key.name = *cache::parse_name("a.corp.example");
    key.group = 1;
    publish(key, entry_of({5, 0}, {7}, now, 60s));
    table.raise_floor(0, 5);
    EXPECT_FALSE(ask(query("A.Corp.Example")).empty());
    table.raise_floor(1, 5);
    EXPECT_TRUE(ask(query("a.corp.example")).empty());
    auto missed = misses();
    ASSERT_EQ(missed.size(), 1u);
    EXPECT_EQ(missed[0].key, key);
}

TEST_F(WorkerTest, TheDsRecordsOfARoutedNameAreLookedUpInTheGroupOfTheNameAbove) {
    const Routes::Route route{*cache::parse_name("corp.example"), 1};
    rules_.replace_routes(std::make_shared<const Routes>(std::span(&route, 1)), grace);
    constexpr unsigned ds = 43;
    EXPECT_TRUE(ask(query("corp.example", ds)).empty());
    auto missed = misses();
    ASSERT_EQ(missed.size(), 1u);
    EXPECT_EQ(missed[0].key.group, 0u);
}

TEST_F(WorkerTest, OutOfCreditsItSaysServfailAndEveryCreditComesBack) {
    for (std::size_t i = 0; i < limits::waiters; ++i) {
        send(query("name-" + std::to_string(i) + ".com"));
        turn();
    }
    EXPECT_EQ(ask(query("a.com")), header(0x1234, 0x8182, 1) + question("a.com"));
    EXPECT_EQ(counters.get(Event::servfail_full), 1u);
    publish(a, entry_of({1, 0}, {7}, now - 100s, 60s, 1h));
    EXPECT_EQ(ask(query("a.com")), header(0x1234, 0x8180, 1, 1) + question("a.com") + record(7, 30))
        << "stale first";
    for (int round = 0; round < 3; ++round) {
        auto taken = misses();
        ASSERT_EQ(taken.size(), round == 0 ? limits::waiters : 1u);
        for (const Miss& miss : taken) wake(miss, nullptr, Wake::Kind::abandon);
        for (std::size_t i = 0; i <= taken.size() / limits::burst; ++i) turn();
        EXPECT_EQ(reader->outstanding(), 0u);
        EXPECT_TRUE(ask(query("b.com")).empty()) << "misses work again";
    }
    EXPECT_EQ(counters.get(Event::wake_abandoned), limits::waiters + 2);
}

TEST_F(WorkerTest, EveryKindOfPacketHasItsVerdict) {
    EXPECT_TRUE(ask(Bytes(5)).empty());
    EXPECT_EQ(counters.get(Verdict::drop_short), 1u);
    EXPECT_TRUE(ask(header(1, qr, 1) + question("a")).empty());
    EXPECT_EQ(counters.get(Verdict::drop_response), 1u);
    EXPECT_EQ(ask(header(1, 0, 1) + question("a")), header(1, 0x8085, 1) + question("a"));
    EXPECT_EQ(counters.get(Verdict::answered), 1u);
}

/// As of an endpoint of `service_`'s, that a predecessor has bound.
TEST_F(WorkerTest, ARetiredSocketsPacketsAreASuccessorsWhoHasTheSocketToo) {
    auto entry = entry_of({1, 0}, {7}, boot_time(), 600s);
    publish(key_of("a"), std::move(entry));
    Bytes message = header(3, rd, 1) + question("a");
    send(message);
    auto& socket = static_cast<SocketPort&>(*port_);
    Bytes miss = header(4, rd, 1) + question("b");
    send(miss);
    worker_->turn();
    EXPECT_FALSE(receive().empty());
    auto waiting = misses();
    ASSERT_EQ(waiting.size(), 1u);

    socket.retire();
    EXPECT_NE(port_->wait_descriptor(), socket.descriptor()) << "it would never sleep";
    ASSERT_EQ(::send(client_.get(), message.data(), message.size(), 0), ssize_t(message.size()));
    worker_->turn();
    EXPECT_TRUE(receive().empty());
    auto answer = entry_of({2, 0}, {8}, boot_time(), 600s);
    wake(waiting[0], answer.get());
    worker_->turn();
    EXPECT_FALSE(receive().empty()) << "who waits gets his reply all the same";

    auto second = SocketPort::open(service_, {service_}, Descriptor(dup(socket.descriptor())));
    ASSERT_TRUE(second) << second.error();
    Burst burst;
    Counters others;
    (*second)->receive(burst, others);
    EXPECT_EQ(burst.count, 1u);
}

TEST(WorkerAccess, ForeignersAreRefused) {
    cache::Grace grace;
    auto* reader = grace.add_reader();
    cache::Table table({.entries = 10, .bytes = 1 << 20}, grace);
    Handoff handoff;
    Counters counters;
    test::RulesInEffect nobody(ClientPolicy{});
    auto port = *SocketPort::open({*parse_address("::1"), 5378}, {});
    Worker worker({*port, table, *reader, handoff, counters, nobody.now});
    Descriptor client(socket(AF_INET6, SOCK_DGRAM, 0));
    sockaddr_storage raw;
    socklen_t size = to_sockaddr({*parse_address("::1"), 5378}, raw);
    Bytes message = header(3, rd, 1, 0, 0, 1) + question("a") + opt(), buffer(512);
    ASSERT_EQ(
        sendto(client.get(), message.data(), message.size(), 0, reinterpret_cast<sockaddr*>(&raw), size),
        ssize_t(message.size()));
    reader->online();
    worker.turn();
    reader->offline();
    buffer.resize(std::size_t(recv(client.get(), buffer.data(), buffer.size(), MSG_DONTWAIT)));
    EXPECT_EQ(buffer, header(3, 0x8185, 1, 0, 0, 1) + question("a") + opt(1232, 0, {0, 15, 0, 2, 0, 18}));
    EXPECT_EQ(counters.get(Verdict::refused), 1u);
}

} // namespace
} // namespace millrace::dataplane
