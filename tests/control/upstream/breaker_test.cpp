// The breaker of an upstream: what opens it, what tries it, what closes it, and whom it leaves to be asked.
#include "cache/capitals.hpp"
#include "tests/control/fetch/fixture.hpp"
#include "tests/control/upstream/upstreams_fixture.hpp"

namespace millrace::control {
namespace {

class BreakerTest : public UpstreamsTest {};

TEST_F(BreakerTest, SilencesInARowHaveItProbedAndASilentProbeOpensIt) {
    silence(0, 2);
    EXPECT_EQ(upstreams.probe_due(now), std::nullopt);
    EXPECT_EQ(upstreams.next_probe(), Time::max());
    silence(0, 1);
    EXPECT_EQ(breaker(0), Breaker::closed) << "clients' questions do not decide";
    EXPECT_EQ(ranked(), (Order{0, 1, 2}));
    probe(0, ProbeEnd::silent);
    EXPECT_EQ(breaker(0), Breaker::open);
    EXPECT_EQ(ranked(), (Order{1, 2}));
    EXPECT_FALSE(upstreams.may_be_asked(0));
    EXPECT_TRUE(upstreams.may_be_asked(1));
    EXPECT_EQ(upstreams.counters(0).opened, 1u);
    EXPECT_EQ(upstreams.counters(0).probes, 1u);
    EXPECT_EQ(upstreams.counters(0).timeouts, 3u);
}

TEST_F(BreakerTest, AnyReplyBeginsTheCountAnew) {
    for (unsigned rcode : {0u, 3u, 2u, 5u}) {
        silence(0, 2);
        reply(0, rcode);
    }
    silence(0, 2);
    EXPECT_EQ(upstreams.probe_due(now), std::nullopt);
    EXPECT_EQ(upstreams.counters(0).replies, 2u);
    EXPECT_EQ(upstreams.counters(0).failures, 2u);
}

TEST_F(BreakerTest, FailuresOfNamesNeverOpenIt) {
    for (int i = 0; i < 100; ++i) reply(0, i % 2 ? 2 : 5);
    EXPECT_EQ(breaker(0), Breaker::closed);
    EXPECT_EQ(upstreams.next_probe(), Time::max());
}

TEST_F(BreakerTest, AShortWaitSaysNothing) {
    for (int i = 0; i < 100; ++i) upstreams.judge_silence(0, upstreams.resend_after(0) - 1us, now);
    EXPECT_EQ(upstreams.next_probe(), Time::max());
    for (int i = 0; i < 3; ++i) upstreams.judge_silence(0, upstreams.resend_after(0), now);
    EXPECT_EQ(upstreams.next_probe(), now);
    EXPECT_EQ(upstreams.counters(0).timeouts, 0u);
}

TEST_F(BreakerTest, AQuickServerMayHaveToAskOthers) {
    upstreams.measured(0, 1ms);
    for (int i = 0; i < 100; ++i) upstreams.judge_silence(0, 100ms - 1us, now);
    EXPECT_EQ(upstreams.next_probe(), Time::max());
    for (int i = 0; i < 3; ++i) upstreams.judge_silence(0, 100ms, now);
    EXPECT_EQ(upstreams.next_probe(), now);
}

TEST_F(BreakerTest, SilentNamesCostAProbeASecond) {
    for (int second = 0; second < 10; ++second) {
        silence(0, 40);
        probe(0, ProbeEnd::heard);
        silence(0, 40);
        EXPECT_EQ(upstreams.probe_due(now), std::nullopt);
        EXPECT_EQ(upstreams.next_probe(), now + 1s);
        now += 1s;
    }
    EXPECT_EQ(breaker(0), Breaker::closed);
    EXPECT_EQ(upstreams.counters(0).opened, 0u);
}

TEST_F(BreakerTest, AReplyWhileItIsProbedOutweighsTheProbe) {
    silence(0, 3);
    upstreams.begin_probe(0);
    reply(0, 2);
    upstreams.judge_probe(0, ProbeEnd::silent, now);
    EXPECT_EQ(breaker(0), Breaker::closed);
    EXPECT_EQ(upstreams.next_probe(), now + 1s) << "but it stays under suspicion";
}

TEST_F(BreakerTest, AnIcmpErrorHasItProbedAndNothingElse) {
    for (int i = 0; i < 1000; ++i) upstreams.suspect(0, now);
    EXPECT_EQ(breaker(0), Breaker::closed);
    EXPECT_EQ(upstreams.counters(0).timeouts + upstreams.counters(0).failures, 0u);
    probe(0, ProbeEnd::heard);
    upstreams.suspect(0, now);
    EXPECT_EQ(upstreams.next_probe(), now + 1s) << "one a second, whatever is sent";
}

TEST_F(BreakerTest, AnIdleServerThatIsDeadIsFoundByProbesAlone) {
    upstreams.suspect(0, now);
    for (int i = 0; i < 3; ++i) {
        EXPECT_EQ(breaker(0), Breaker::closed);
        probe(0, ProbeEnd::silent);
        now += 1s;
    }
    EXPECT_EQ(breaker(0), Breaker::open);
}

TEST_F(BreakerTest, ProbesAloneAskItThenAtBackOffsUpToTheirLimit) {
    open(0);
    for (Time back_off : {1s, 2s, 3s, 3s}) {
        EXPECT_EQ(upstreams.next_probe(0), now + back_off);
        EXPECT_EQ(upstreams.probe_due(now + back_off - 1us), std::nullopt);
        now += back_off;
        upstreams.begin_probe(0);
        EXPECT_EQ(breaker(0), Breaker::half_open);
        EXPECT_FALSE(upstreams.may_be_asked(0)) << "no client's question is the trial";
        EXPECT_EQ(upstreams.probe_due(now), std::nullopt) << "one at a time";
        upstreams.judge_probe(0, ProbeEnd::silent, now);
        EXPECT_EQ(breaker(0), Breaker::open);
    }
    EXPECT_EQ(upstreams.counters(0).opened, 1u) << "it has been so all the time";
    now += 3s;
    probe(0, ProbeEnd::heard);
    EXPECT_EQ(breaker(0), Breaker::closed);
    EXPECT_EQ(upstreams.recoveries(), 1u);
    now += 1s;
    open(0);
    EXPECT_EQ(upstreams.next_probe(0), now + 1s) << "the back-off begins anew";
    EXPECT_EQ(upstreams.counters(0).opened, 2u);
}

TEST_F(BreakerTest, AProbeThatCouldNotBeSentSaysNothing) {
    open(0);
    now += 1s;
    probe(0, ProbeEnd::cancelled);
    EXPECT_EQ(breaker(0), Breaker::open);
    EXPECT_EQ(upstreams.next_probe(0), now + 1s) << "as long as before, not longer";
    silence(1, 3);
    probe(1, ProbeEnd::cancelled);
    EXPECT_EQ(breaker(1), Breaker::closed);
}

TEST_F(BreakerTest, AnyReplyClosesIt) {
    open(0);
    upstreams.heard(0, now); // a question that was begun before
    EXPECT_EQ(breaker(0), Breaker::closed);
    EXPECT_EQ(upstreams.recoveries(), 1u);
    EXPECT_EQ(upstreams.next_probe(), Time::max());
}

TEST_F(BreakerTest, WhileNoneIsClosedAllAreAsked) {
    upstreams.measured(2, 1ms);
    for (unsigned i : {2u, 0u}) open(i);
    EXPECT_EQ(ranked(), Order{1});
    EXPECT_TRUE(upstreams.is_any_closed());
    open(1);
    EXPECT_FALSE(upstreams.is_any_closed());
    EXPECT_EQ(ranked(), (Order{2, 0, 1})) << "the fastest first";
    for (unsigned i : {0u, 1u, 2u}) EXPECT_TRUE(upstreams.may_be_asked(i));
    reply(0);
    EXPECT_EQ(ranked(), Order{0}) << "one is enough";
}

TEST_F(BreakerTest, StaysWithTheServerThroughAReload) {
    open(1);
    upstreams.replace({upstreams.endpoint(1), upstreams.endpoint(0)});
    EXPECT_EQ(breaker(0), Breaker::open);
    EXPECT_EQ(breaker(1), Breaker::closed);
    EXPECT_EQ(upstreams.next_probe(0), now + 1s);
}

// In the whole control plane.

class BreakerFetchTest : public FetchTest {
  protected:
    cache::Key name(unsigned i) const { return make_key("n" + std::to_string(i) + ".com", LDNS_RR_TYPE_A); }
    /// Questions of one name each, a second apart.
    void ask_names(unsigned count) {
        for (unsigned i = 0; i < count; ++i) {
            ask(name(++asked_));
            run(1s);
        }
    }

    std::size_t probes_to(unsigned i) const {
        return std::size_t(std::ranges::count_if(network.sent, [&](const Sent& sent) {
            return sent.to == server(i) && question_name(sent) == ".";
        }));
    }

  private:
    unsigned asked_ = 0;
};

TEST_F(BreakerFetchTest, AnOpenServerIsAskedByProbesAlone) {
    silence(0);
    serve(1, {"1.1.1.1"}, 5ms);
    serve(2, {"2.2.2.2"}, 6ms);
    ask_names(12);
    EXPECT_NE(upstreams.breaker(0), Breaker::closed);
    auto clients_questions = [&] { return queries_to(0) - probes_to(0); };
    std::size_t before = clients_questions();
    ask_names(9);
    EXPECT_EQ(clients_questions(), before);
    EXPECT_EQ(cached_addresses(name(20)), (Hosts{"1.1.1.1", "2.2.2.2"}));
    EXPECT_GT(upstreams.counters(0).probes, 3u);
    serve(0, {"3.3.3.3"}, 1ms);
    ask_names(4);
    EXPECT_EQ(upstreams.breaker(0), Breaker::closed);
    EXPECT_EQ(cached_addresses(name(25)), (Hosts{"3.3.3.3", "1.1.1.1", "2.2.2.2"}));
}

TEST_F(BreakerFetchTest, TheProbeIsTheConfiguredQuestionWithCheckingDisabled) {
    for (unsigned i : {0u, 1u, 2u}) silence(i);
    upstreams.set_policy({.probe = make_key("probe.example", LDNS_RR_TYPE_A)});
    ask_names(12);
    auto is_probe = [](const Sent& sent) { return question_name(sent) == "probe.example."; };
    auto probe = std::ranges::find_if(network.sent, is_probe);
    ASSERT_NE(probe, network.sent.end());
    EXPECT_TRUE(probe->message[3] & 0x10) << "CD";
}

TEST_F(BreakerFetchTest, WhenAllAreOpenAllAreAskedAndOneThatIsBackIsFound) {
    for (unsigned i : {0u, 1u, 2u}) silence(i);
    ask_names(12);
    for (unsigned i : {0u, 1u, 2u}) ASSERT_NE(upstreams.breaker(i), Breaker::closed);
    serve(2, {"2.2.2.2"}, 1ms);
    auto token = ask(a);
    run(310ms);
    EXPECT_EQ(woken(token).addresses, Hosts{"2.2.2.2"});
    EXPECT_EQ(upstreams.breaker(2), Breaker::closed);
}

/// U1 is well and says SERVFAIL to names that are broken everywhere, U2 is silent.
TEST_F(BreakerFetchTest, BrokenNamesBesideADeadServerLoseNoGoodOne) {
    upstreams.replace(make_servers(2));
    network.serve(server(0), [](FakeNetwork& net, const Sent& sent) {
        bool bogus = question_name(sent).ends_with(".bogus.");
        ReplySpec spec{.rcode = bogus ? 2u : 0u};
        if (!bogus) spec.answer = {record(sent, "1.1.1.1", 60)};
        net.reply(sent, make_reply(sent.message, spec), 5ms);
    });
    silence(1);
    std::vector<std::uint64_t> good;
    for (unsigned i = 0; i < 400; ++i) { // 40 a second, four of five broken
        bool bogus = i % 5 != 0;
        auto token = ask(make_key("n" + std::to_string(i) + (bogus ? ".bogus" : ".com"), LDNS_RR_TYPE_A));
        if (!bogus) good.push_back(token);
        run(25ms);
    }
    run(4s);
    for (auto token : good) EXPECT_EQ(woken(token).addresses, Hosts{"1.1.1.1"});
    EXPECT_EQ(upstreams.breaker(0), Breaker::closed);
    EXPECT_NE(upstreams.breaker(1), Breaker::closed);
    auto broken = ask(make_key("late.bogus", LDNS_RR_TYPE_A));
    run(10ms);
    EXPECT_EQ(woken(broken).rcode, LDNS_RCODE_SERVFAIL) << "nobody waits for the dead one any more";
}

TEST_F(BreakerFetchTest, SilentNamesOpenNoBreaker) {
    for (unsigned i : {0u, 1u, 2u}) {
        network.serve(server(i), [](FakeNetwork& net, const Sent& sent) {
            if (question_name(sent) != ".") return;
            net.reply(sent, make_reply(sent.message, {.answer = {". 60 IN NS a.root."}}), 5ms);
        });
    }
    for (unsigned i = 0; i < 400; ++i) {
        ask(name(i));
        run(25ms);
    }
    for (unsigned i : {0u, 1u, 2u}) {
        EXPECT_EQ(upstreams.counters(i).opened, 0u);
        EXPECT_GT(upstreams.counters(i).probes, 0u);
        EXPECT_LE(upstreams.counters(i).probes, 11u);
    }
}

TEST_F(BreakerFetchTest, IcmpErrorsEndNothingAndOthersAreAskedSooner) {
    serve(0, {"1.1.1.1"}, 50ms);
    auto dead = [](FakeNetwork& net, const Sent& sent) {
        net.reply_error(sent, std::errc::connection_refused, 1ms);
    };
    for (unsigned i : {1u, 2u}) network.serve(server(i), dead);
    network.serve(server(0), [](FakeNetwork& net, const Sent& sent) {
        for (int i = 1; i <= 20; ++i) net.reply_error(sent, std::errc::host_unreachable, i * 1ms);
        net.reply(sent, make_reply(sent.message, {.answer = {record(sent, "1.1.1.1", 60)}}), 50ms);
    });
    auto token = ask(a);
    run(3ms);
    EXPECT_EQ(queries_to(2) - probes_to(2), 1u) << "long before the fallback";
    run(60ms);
    EXPECT_EQ(woken(token).addresses, Hosts{"1.1.1.1"});
    EXPECT_EQ(upstreams.counters(0).failures + upstreams.counters(0).timeouts, 0u);
    EXPECT_EQ(exchanges.counters().unreachable, 0u);
    EXPECT_GT(exchanges.counters().icmp, 20u);
}

// What ends with an outage.

class OutageTest : public BreakerFetchTest {
  protected:
    /// All are silent until their breakers are open.
    void begin_outage() {
        for (unsigned i : {0u, 1u, 2u}) silence(i);
        ask_names(12);
        for (unsigned i : {0u, 1u, 2u}) ASSERT_NE(upstreams.breaker(i), Breaker::closed);
    }
    /// As a client whose questions reach control where no cached failure answers them.
    void keep_asking(int seconds) {
        for (int i = 0; i < seconds; ++i) {
            if (!cached(a) || clock.now >= cached(a)->expiry) ask(a);
            run(1s);
        }
    }
    void end_outage() {
        for (unsigned i : {0u, 1u, 2u}) serve(i, {"1.1.1.1"}, 5ms);
    }
};

TEST_F(OutageTest, ANameThatWasAskedAllThroughIsAnsweredWithinFiveSecondsOfItsEnd) {
    begin_outage();
    keep_asking(90);
    ASSERT_TRUE(cached(a) && cached(a)->failure);
    EXPECT_GT(cached(a)->expiry - cached(a)->born, 5s);
    end_outage();
    keep_asking(5);
    EXPECT_EQ(cached_addresses(a), Hosts{"1.1.1.1"});
}

TEST_F(OutageTest, NobodyWaitsForServersThatAreKnownToBeSilent) {
    serve(0, {"7.7.7.7"}, 5ms, 1);
    ask(a);
    run(3s);
    ASSERT_EQ(cached_addresses(a), Hosts{"7.7.7.7"});
    begin_outage();
    std::size_t before = queries_to(0) - probes_to(0);
    auto token = ask(a);
    EXPECT_EQ(woken(token).addresses, Hosts{"7.7.7.7"});
    EXPECT_EQ(woken(token).kind, dataplane::Wake::Kind::stale);
    EXPECT_EQ(woken(token).at, clock.now) << "at once";
    EXPECT_EQ(queries_to(0) - probes_to(0), before + 1) << "but they are asked, for those who come later";
    auto second = ask(a);
    EXPECT_EQ(woken(second).at, clock.now) << "nor who comes while they are asked";
    run(4s);
    EXPECT_GT(cached(a)->refresh_after.load(), clock.now.count()) << "not again for a while";
    end_outage();
    run(4s);
    EXPECT_LE(cached(a)->refresh_after.load(), clock.now.count()) << "which the end of the outage ends";
}

TEST_F(BreakerFetchTest, DenialsBadPacketsAndOurOwnCancellationsNeverOpenIt) {
    auto spoil = [](FakeNetwork& net, const Sent& sent, unsigned at) {
        auto reply = make_reply(sent.message, {.answer = {record(sent, "9.9.9.9", 60)}});
        reply[at] ^= 0xff;
        net.reply(sent, reply, 1ms);
        reply[at] ^= 0xff;
        net.reply(sent, reply, 20ms);
    };
    script(0, {.authority = {"com. 60 IN SOA a. b. 1 2 3 4 5"}, .rcode = 3}, 5ms);
    network.serve(server(1), [=](FakeNetwork& net, const Sent& sent) { spoil(net, sent, 0); });
    network.serve(server(2), [=](FakeNetwork& net, const Sent& sent) { spoil(net, sent, 5); });
    ask_names(20);
    for (unsigned i : {0u, 1u, 2u}) {
        EXPECT_EQ(upstreams.breaker(i), Breaker::closed);
        EXPECT_EQ(upstreams.counters(i).failures + upstreams.counters(i).timeouts, 0u);
    }
    EXPECT_GT(exchanges.counters().mismatched + exchanges.counters().malformed, 0u);
}

// Our own question that an upstream forwards back to us.

class LoopTest : public BreakerFetchTest {
  protected:
    std::uint64_t ask_from(const dataplane::Address& address, const cache::Key& key, std::uint16_t id) {
        return ask_as({address, 40000}, id, key);
    }
    std::uint16_t asked = 0;
};

TEST_F(LoopTest, AnUpstreamThatAsksWhatWeAskItGetsServfailAtOnce) {
    for (unsigned i : {0u, 1u, 2u}) silence(i);
    auto client = ask(a);
    ASSERT_EQ(queries_to(0), 1u);
    ASSERT_EQ(queries_to(2), 0u);
    for (std::uint8_t flavour : cache::flavours) {
        auto back = ask_from(server(0).address, make_key("a.com", LDNS_RR_TYPE_A, flavour), flavour);
        EXPECT_EQ(woken(back).rcode, LDNS_RCODE_SERVFAIL) << unsigned(flavour);
    }
    EXPECT_EQ(fetches.counters().loops, 4u);
    EXPECT_EQ(fetches.live(), 1u) << "no Fetch was started for any of them";
    EXPECT_EQ(fetches.counters().coalesced, 0u);
    EXPECT_FALSE(clients.woken.contains(client)) << "the client still waits for the others";
}

TEST_F(LoopTest, OtherQuestionsFromAnUpstreamsAddressAreAClients) {
    for (unsigned i : {0u, 1u, 2u}) serve(i, {"1.1.1.1"}, 10ms);
    ask(a);
    auto other_name = ask_from(server(0).address, b, 1);
    auto other_type = ask_from(server(0).address, make_key("a.com", LDNS_RR_TYPE_AAAA), 2);
    auto not_asked = ask_from(server(2).address, a, 3); // this one was not asked, yet
    run(50ms);
    EXPECT_EQ(woken(other_name).rcode, 0);
    EXPECT_EQ(woken(other_type).rcode, 0);
    EXPECT_EQ(woken(not_asked).rcode, 0);
    EXPECT_EQ(fetches.counters().loops, 0u);
}

TEST_F(LoopTest, AnUpstreamsHostMayAskFirstAndAgain) {
    for (unsigned i : {0u, 1u, 2u}) serve(i, {"1.1.1.1"}, 10ms);
    auto first = ask_from(server(0).address, a, 7);
    auto again = ask_from(server(0).address, a, 7);
    run(50ms);
    EXPECT_EQ(woken(first).kind, dataplane::Wake::Kind::abandon);
    EXPECT_EQ(woken(again).rcode, 0);
    EXPECT_EQ(fetches.counters().loops, 0u);
}

TEST_F(LoopTest, ComesBackFromWhateverAddressInTheLettersThatWereDrawn) {
    upstreams.replace({*dataplane::parse_endpoint("127.0.0.1:5335", 53)});
    cache::Key question = make_key("www.example.com", LDNS_RR_TYPE_A);
    auto client = ask(question);
    ASSERT_EQ(network.sent.size(), 1u);
    auto name_sent = [&] { return std::span(network.sent.back().message).subspan(12, question.name.size); };
    auto ask_written = [&](std::uint64_t capitals) {
        Waiter waiter{0,
                      std::uint64_t(1000 + ++asked),
                      {*dataplane::parse_address("127.0.0.1"), 40000},
                      asked,
                      clock.now};
        waiter.capitals = capitals;
        clients.keys[waiter.token] = question;
        fetches.resolve(question, hash(question), waiter, clock.now);
        return waiter.token;
    };
    std::uint64_t drawn = cache::capitals_of(name_sent());
    ASSERT_NE(drawn, 0u);
    EXPECT_EQ(woken(ask_written(drawn)).rcode, LDNS_RCODE_SERVFAIL);
    EXPECT_EQ(fetches.counters().loops, 1u);
    for (std::uint64_t others : {std::uint64_t(0), drawn ^ 2}) {
        auto token = ask_written(others);
        EXPECT_FALSE(clients.woken.contains(token)) << "a client";
    }
    EXPECT_FALSE(clients.woken.contains(client));
    EXPECT_FALSE(exchanges.is_asking(server(0).address, make_key("www.example.com", LDNS_RR_TYPE_MX), drawn));
    run(5s);
    EXPECT_EQ(exchanges.open_count(), 0u);
    EXPECT_FALSE(exchanges.is_asking(server(0).address, question, drawn)) << "it is no longer asked";
    EXPECT_EQ(fetches.counters().loops, 1u);
}

TEST_F(LoopTest, LettersOfAShortNameTellNothing) {
    upstreams.replace({*dataplane::parse_endpoint("127.0.0.1:5335", 53)});
    cache::Key question = make_key("example.co.x1", LDNS_RR_TYPE_A); // ten letters
    ask(question);
    ASSERT_EQ(network.sent.size(), 1u);
    std::uint64_t drawn =
        cache::capitals_of(std::span(network.sent[0].message).subspan(12, question.name.size));
    ASSERT_NE(drawn, 0u);
    EXPECT_FALSE(exchanges.is_asking(server(0).address, question, drawn));
}

TEST_F(LoopTest, TheAddressThatAllLocalClientsHaveIsNoSign) {
    upstreams.replace({*dataplane::parse_endpoint("127.0.0.1:5335", 53)});
    ask(a);
    ASSERT_EQ(exchanges.open_count(), 1u);
    auto neighbour = ask_from(*dataplane::parse_address("127.0.0.1"), a, 1);
    EXPECT_FALSE(clients.woken.contains(neighbour));
    EXPECT_EQ(fetches.counters().loops, 0u);
}

} // namespace
} // namespace millrace::control
