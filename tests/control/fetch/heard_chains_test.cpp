// Flushes of a name in the middle of a chain of CNAMEs that was heard, and is not published yet.
#include "tests/control/fetch/dns64_fixture.hpp"

namespace millrace::control {
namespace {

/// Server 0 alone replies: every name leads through mid.com to x.net, whose address is held back; once it has
/// `moved`, mid.com has one itself.
class HeardChain : public Scenarios {
  protected:
    explicit HeardChain(unsigned servers = 3) : Scenarios(servers, {}, 20'000, 4096) {
        upstreams.set_policy({.outstanding = 20'000, .rate = 1'000'000});
        for (unsigned i = 1; i < servers; ++i) silence(i);
        network.serve(server(0), [this](FakeNetwork& net, const Sent& sent) {
            std::string name = question_name(sent);
            if (name == "x.net.") return held.push_back(sent);
            const char* end = has_moved ? "mid.com. 60 IN A 2.2.2.2" : "mid.com. 60 IN CNAME x.net.";
            net.reply(sent, make_reply(sent.message, {.answer = {name + " 60 IN CNAME mid.com.", end}}), 1ms);
        });
    }
    void begin_to_flush(const char* name = "mid.com") {
        ASSERT_TRUE(flushes.flush_name(*cache::parse_name(name), [](std::size_t) {}));
        has_moved = true;
    }
    void flush() {
        begin_to_flush();
        while (flushes.is_waiting()) flushes.tick();
    }
    void release() {
        for (const Sent& sent : std::exchange(held, {}))
            network.reply(sent, make_reply(sent.message, {.answer = {record(sent, "1.1.1.1", 60)}}), 0ms);
    }
    void expect_the_new_address(std::uint64_t client) {
        run(500ms);
        release();
        run(500ms);
        EXPECT_EQ(woken(client).addresses, Hosts{"2.2.2.2"});
        EXPECT_EQ(cached_addresses(a), Hosts{"2.2.2.2"});
    }
    bool has_moved = false;
    std::vector<Sent> held;
};

TEST_F(HeardChain, OfAFetchThatStillWaitsForItsEnd) {
    auto client = ask(a);
    run(100ms);
    ASSERT_EQ(fetches.live(), 1u);
    flush();
    expect_the_new_address(client);
}

TEST_F(HeardChain, OfAFetchThatIsOverWhoseFollowersAreYetToBegin) {
    auto client = ask(a);
    run(299ms);
    clock.now += 1ms;
    fetches.tick(clock.now); // `fallback`: its end is asked in the next tick
    ASSERT_EQ(fetches.live(), 0u);
    flush();
    expect_the_new_address(client);
}

TEST_F(HeardChain, OfThoseWhoWaitForItsEnd) {
    auto client = ask(a);
    run(500ms);
    ASSERT_FALSE(held.empty());
    flush();
    expect_the_new_address(client);
}

class ManyHeardChains : public HeardChain {
  protected:
    static constexpr unsigned many = limits::supersedes_per_tick + limits::followers_per_tick;

    ManyHeardChains() : HeardChain(1) {
        for (unsigned i = 0; i < many; ++i)
            ask(make_key("n" + std::to_string(i) + ".com", LDNS_RR_TYPE_A), true);
        run(500ms);
    }
    void finish() {
        while (flushes.is_waiting()) {
            fetches.tick(clock.now);
            flushes.tick();
        }
        run(2s);
    }
    std::size_t told(const std::string& host) {
        return std::size_t(std::ranges::count_if(
            clients.woken, [&](const auto& w) { return w.second.addresses == Hosts{host}; }));
    }
};

/// Not even before a flush has come to them.
TEST_F(ManyHeardChains, OfThousandsNoneIsPublished) {
    begin_to_flush();
    ASSERT_TRUE(fetches.is_superseding());
    release();
    while (network.step()) {
    }
    finish();
    EXPECT_EQ(told("1.1.1.1"), 0u);
    EXPECT_EQ(told("2.2.2.2"), many);
}

TEST_F(ManyHeardChains, NorWhatTheirEndLedTo) {
    const ReplySpec further{.answer = {"x.net. 60 IN CNAME far.net.", "far.net. 60 IN A 1.1.1.1"}};
    for (const Sent& sent : std::exchange(held, {}))
        network.reply(sent, make_reply(sent.message, further), 0ms);
    while (network.step()) {
    }
    EXPECT_EQ(told("1.1.1.1"), limits::followers_per_tick);
    begin_to_flush("far.net");
    finish();
    EXPECT_EQ(told("1.1.1.1"), limits::followers_per_tick) << "before the flush";
    EXPECT_EQ(told("2.2.2.2"), many - limits::followers_per_tick);
}

/// What is said of AAAA records has a chain, too.
TEST_F(Dns64Test, AFlushTakesTheChainOfADenialThatIsBuiltUpon) {
    zone[{"a.com.", type_aaaa}] = {.answer = {"a.com. 60 IN CNAME mid.com."}, .authority = nodata.authority};
    zone[{"a.com.", type_a}] = nodata;
    for (unsigned i : {0u, 1u, 2u}) answer_late(i);
    auto client = ask(key);
    run(300ms);
    ASSERT_EQ(asked_of("a.com.", type_a) > 0, true) << "there are no AAAA records";
    zone[{"a.com.", type_aaaa}] = has_ipv6;
    ASSERT_TRUE(flushes.flush_name(*cache::parse_name("mid.com"), [](std::size_t) {}));
    while (flushes.is_waiting()) flushes.tick();
    run(1s);
    EXPECT_EQ(woken(client).addresses, Hosts{"2001:db8::1"});
}

} // namespace
} // namespace millrace::control
