// What our own bounds refuse gets stale data where there is some, whichever bound it is; else SERVFAIL. More
// of them: FetchLimits (rates of new Fetches), AliasTest (who waits for a target), WorkerTest (credits).
#include "control/limits.hpp"
#include "tests/control/fetch/scenarios_fixture.hpp"

namespace millrace::control {
namespace {

using WakeKind = dataplane::Wake::Kind;

/// Of a.com there is stale data, of no other name anything; nobody replies.
class StaleFirst : public Scenarios {
  protected:
    explicit StaleFirst(unsigned servers = 3, std::size_t entries = 1000)
        : Scenarios(servers, {}, entries, 20'000) {
        make_stale(a);
        for (unsigned i : {0u, 1u, 2u}) silence(i);
        upstreams.set_policy({.outstanding = 60'000, .rate = 10'000'000});
    }
    std::uint64_t ask_from(const std::string& client, const cache::Key& key, bool tcp = false) {
        dataplane::Endpoint from{*dataplane::parse_address(client), std::uint16_t(1024 + ++asked_ % 60'000)};
        return ask_as(from, std::uint16_t(asked_), key, tcp);
    }
    cache::Key numbered() {
        std::string number = std::to_string(++names_); // in a zone of its own
        return make_key("n.zone" + number + ".com", LDNS_RR_TYPE_A);
    }
    void expect_stale(std::uint64_t client) {
        ASSERT_TRUE(clients.woken.contains(client));
        EXPECT_EQ(woken(client).kind, WakeKind::stale);
        EXPECT_EQ(woken(client).addresses, Hosts{"192.0.2.99"});
    }
    void expect_servfail(std::uint64_t client) {
        ASSERT_TRUE(clients.woken.contains(client));
        EXPECT_EQ(woken(client).kind, WakeKind::answer);
        EXPECT_EQ(woken(client).rcode, LDNS_RCODE_SERVFAIL);
    }

  private:
    unsigned asked_ = 0, names_ = 0;
};

TEST_F(StaleFirst, ThoseWhoWaitForOneQuestion) {
    for (unsigned i = 0; i < limits::waiters_per_fetch; ++i) {
        for (const auto& key : {a, b}) EXPECT_FALSE(clients.woken.contains(ask(key, true)));
    }
    expect_stale(ask(a, true));
    expect_servfail(ask(b, true));
}

TEST_F(StaleFirst, WhatAPrefixWaitsFor) {
    for (unsigned i = 0; i < limits::waiters_per_prefix; ++i) ask_from("10.9.9.9", numbered());
    expect_stale(ask_from("10.9.9.9", a));
    expect_servfail(ask_from("10.9.9.9", b));
}

TEST_F(StaleFirst, AWorkersCredits) {
    for (unsigned i = 0; i <= limits::crowded; ++i) {
        ask_from("10.1." + std::to_string(i % 5) + ".1", numbered());
    }
    expect_stale(ask_from("10.1.0.1", a));
    expect_servfail(ask_from("10.1.0.1", b));
}

TEST_F(StaleFirst, TheOldestOfAQuestionThatThousandsAskWhenAWorkersCreditsRunShort) {
    auto oldest = ask_from("10.1.0.1", a);
    for (unsigned i = 0; i <= limits::crowded; ++i) {
        ask_from("10.2." + std::to_string(i / 60) + ".1", a);
    }
    ask_from("10.9.9.9", b);
    expect_stale(oldest);
}

TEST_F(StaleFirst, WhoGivesWay) {
    upstreams.set_policy({.outstanding = 1, .rate = 10'000'000});
    ask_from("10.1.1.1", numbered());             // takes two servers' places,
    auto second = ask_from("10.1.1.1", a);        // the third's,
    auto last = ask_from("10.2.2.2", numbered()); // which alone is to be had again
    EXPECT_EQ(fetches.counters().displaced, 1u);
    expect_stale(second);
    EXPECT_FALSE(clients.woken.contains(last));
}

TEST_F(StaleFirst, WhoFindsNoPlaceToAsk) {
    upstreams.set_policy({.outstanding = 1, .rate = 10'000'000});
    ask_from("10.1.1.1", numbered());
    auto client = ask_from("10.2.2.2", a, true);
    run(2s); // a rare chance lets it ask all the same: then it waits for its patience's end
    expect_stale(client);
}

TEST_F(StaleFirst, WhoComesAfterTheEnd) {
    fetches.close();
    expect_stale(ask(a));
    expect_servfail(ask(b));
}

TEST_F(StaleFirst, AnAnswerThatMayNotBeKeptAndFindsNoMemory) {
    cache::Grace::Reader& worker = *grace.add_reader();
    worker.sent(); // and never finished with: what it was sent stays
    for (unsigned i : {0u, 1u, 2u}) serve(i, {"1.1.1.1"}, 1ms, 0);
    auto fill = [&] {
        std::size_t before = publisher.reserve().bytes();
        ask(numbered());
        run(2ms);
        return publisher.reserve().bytes() > before;
    };
    while (fill()) {
    }
    auto client = ask(a), other = ask(b);
    run(2ms);
    expect_stale(client);
    expect_servfail(other);
    EXPECT_EQ(cached_addresses(a), Hosts{"192.0.2.99"}) << "nobody was told anything newer";
    worker.finish(1);
    run(10ms);
}

class FullSlots : public StaleFirst {
  protected:
    FullSlots() : StaleFirst(1, 40'000) { fetches.set_ranker(&ranker); }
};

/// Fetches that have answered, and whose order is being found: none of them gives way.
TEST_F(FullSlots, WhoFindsNoSlot) {
    serve(0, {"1.1.1.1", "2.2.2.2"}, 0ms);
    for (Time end = clock.now + limits::ranking; fetches.live() < limits::fetches && clock.now < end;) {
        for (int i = 0; i < 256; ++i) ask(numbered());
        run(1ms);
    }
    ASSERT_EQ(fetches.live(), limits::fetches);
    expect_stale(ask(a));
    expect_servfail(ask(b));
}

} // namespace
} // namespace millrace::control
