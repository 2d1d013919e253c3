// Rules are one publication: a burst goes by all of one, whatever control puts in place meanwhile.
#include "dataplane/rules.hpp"

#include <functional>

#include <gtest/gtest.h>

#include "dataplane/worker.hpp"
#include "tests/support/entries.hpp"
#include "tests/support/memory_port.hpp"
#include "tests/support/messages.hpp"

namespace millrace::dataplane {
namespace {

using namespace test;

/// Control has its turn while a worker is in the middle of its own: once a burst has been received.
class InterruptedPort final : public Port {
  public:
    std::function<void()> meanwhile = [] {};
    support::MemoryPort inner;

    void receive(Burst& burst, Counters& counters) override {
        inner.receive(burst, counters);
        meanwhile();
    }
    void save(const Packet& packet, ReturnPath& path) override { inner.save(packet, path); }
    bool compose(Burst& burst, const ReturnPath& path) override { return inner.compose(burst, path); }
    void send(Burst& burst, Counters& counters) override { inner.send(burst, counters); }
};

constexpr unsigned nxdomain = 3, refused = 5, missed = 99;

class RulesTest : public testing::Test {
  protected:
    RulesTest() { reader.online(); }
    ~RulesTest() override { reader.offline(); }

    /// One client may ask, one name is denied, one is asked of a group of its own.
    static std::unique_ptr<const Rules> rules(const char* client, const char* denied, const char* routed) {
        LocalNames::Builder names;
        names.add(
            cache::parse_name(denied)->bytes(), LocalNames::Builder::both,
            names.deny(0, true, LocalNames::Action::nxdomain, cache::Entry::no_info, bare_entry(nxdomain)));
        const Routes::Route route{*cache::parse_name(routed), 1};
        return std::make_unique<const Rules>(
            std::make_shared<const Access>(ClientPolicy{{*parse_prefix(client)}}), names.build(),
            std::make_shared<const Routes>(std::span(&route, 1)));
    }
    /// What became of each question of one burst: its rcode, or `missed` and its group.
    std::vector<unsigned> turn(const std::vector<std::pair<const char*, const char*>>& questions) {
        unsigned id = 0;
        for (const auto& [client, name] : questions)
            port.inner.queries.push_back({{*parse_address(client), 1024}, query(name, 1, id++)});
        worker.turn();
        std::vector<unsigned> became(questions.size(), missed);
        for (const auto& reply : port.inner.replies) became[reply.message[1]] = reply.message[3] & 15u;
        port.inner.replies.clear();
        std::vector<Miss> misses(limits::burst);
        misses.resize(handoff.take(misses));
        for (const Miss& miss : misses) became[miss.id] += miss.key.group;
        return became;
    }

    cache::Grace grace;
    cache::Grace::Reader& reader = *grace.add_reader();
    cache::Table table{{.entries = 100, .bytes = 1 << 20}, grace};
    Handoff handoff;
    Counters counters;
    InterruptedPort port;
    cache::Replaceable<Rules> now{rules("10.0.0.1/32", "old.example", "was.example")};
    Worker worker{{port, table, reader, handoff, counters, now}};
};

TEST_F(RulesTest, ATurnGoesByThoseInEffectAsItBegan) {
    const std::vector<std::pair<const char*, const char*>> questions{
        {"10.0.0.1", "old.example"},  {"10.0.0.1", "new.example"},  {"10.0.0.1", "was.example"},
        {"10.0.0.1", "is.example"},   {"192.0.2.1", "old.example"}, {"192.0.2.1", "new.example"},
        {"192.0.2.1", "was.example"}, {"192.0.2.1", "is.example"}};
    const std::vector<unsigned> old{nxdomain, missed, missed + 1, missed, refused, refused, refused, refused};
    EXPECT_EQ(turn(questions), old);
    std::unique_ptr<const Rules> before;
    port.meanwhile = [&] { before = now.exchange(rules("192.0.2.1/32", "new.example", "is.example")); };
    EXPECT_EQ(turn(questions), old) << "published in its middle: nothing of it, not a mixture";
    port.meanwhile = [] {};
    EXPECT_EQ(turn(questions), (std::vector<unsigned>{refused, refused, refused, refused, missed, nxdomain,
                                                      missed, missed + 1}));
}

/// Between any two messages, as long as the gate is not told to look.
TEST_F(RulesTest, AGateKeepsThoseItTook) {
    Gate gate(now, counters);
    auto admits = [&](const char* client, const char* name) {
        Query query;
        std::size_t reply = 0;
        Bytes out(1232), message = test::query(name);
        return gate.admit({message, Transport::udp, *parse_address(client), boot_time()}, query, out, reply);
    };
    auto before = now.exchange(rules("192.0.2.1/32", "new.example", "is.example"));
    EXPECT_TRUE(admits("10.0.0.1", "new.example"));
    EXPECT_FALSE(admits("10.0.0.1", "old.example"));
    EXPECT_FALSE(admits("192.0.2.1", "old.example"));
    gate.take_rules();
    EXPECT_FALSE(admits("10.0.0.1", "new.example"));
    EXPECT_TRUE(admits("192.0.2.1", "old.example"));
    EXPECT_FALSE(admits("192.0.2.1", "new.example"));
}

/// A reload that changes the clients alone neither copies nor frees millions of names.
TEST_F(RulesTest, WhatIsAsItWasIsShared) {
    auto first = now.get().local;
    auto before = now.exchange(std::make_unique<const Rules>(
        std::make_shared<const Access>(ClientPolicy{}, *now.get().access), first, now.get().routes));
    before.reset();
    EXPECT_EQ(now.get().local, first);
    EXPECT_EQ(first.use_count(), 2);
}

} // namespace
} // namespace millrace::dataplane
