// Exchanges with servers that lack EDNS, or lose the letter case of names.
#include "cache/dns.hpp"
#include "tests/control/upstream/exchange_fixture.hpp"

namespace millrace::control {
namespace {

const ReplySpec denial{.authority = {"com. 60 IN SOA a. b. 1 2 3 4 5"}, .rcode = 3};

bool has_opt(const Sent& sent) {
    return sent.message[11] != 0;
}

class HabitsTest : public ExchangeTest {
  protected:
    void SetUp() override {
        ExchangeTest::SetUp();
        groups[0].habits(0) = {}; // nothing is known of it yet
        key = make_key("abcdefghijklmnopqrstuvwxyz.com", LDNS_RR_TYPE_A);
    }
    Habits& habits() { return groups[0].habits(0); }
    bool is_mixed(const Sent& sent) const {
        auto name = std::span(sent.message).subspan(dns::header_octets, key.name.size);
        return !std::ranges::equal(name, key.name.bytes());
    }
    /// The name's answer.
    ReplySpec known() const { return {.answer = {"abcdefghijklmnopqrstuvwxyz.com. 60 IN A 192.0.2.77"}}; }
    /// Says so to a query with OPT, without a question if `is_header`; to others it answers.
    FakeNetwork::Script without_edns(std::uint8_t rcode, bool is_header = false) {
        return [=, this](FakeNetwork& net, const Sent& sent) {
            Octets reply = make_reply(sent.message, has_opt(sent) ? ReplySpec{.rcode = rcode} : known());
            if (has_opt(sent) && is_header) {
                reply.resize(dns::header_octets);
                reply[5] = 0;
            }
            net.reply(sent, reply, 10ms);
        };
    }
    /// What it says to a name in mixed case, and to one in lower case.
    FakeNetwork::Script by_case(std::optional<ReplySpec> mixed, std::optional<ReplySpec> folded) {
        return [=, this](FakeNetwork& net, const Sent& sent) {
            const auto& spec = is_mixed(sent) ? mixed : folded;
            if (spec) net.reply(sent, make_reply(sent.message, *spec), 10ms);
        };
    }
    void ask(Time span = 4s) {
        ASSERT_TRUE(open());
        run(span);
    }
};

// EDNS.

TEST_F(HabitsTest, AnErrorIsAskedAgainWithoutOptOnAFreshPort) {
    for (std::uint8_t rcode : {1, 4}) {
        for (bool is_header : {false, true}) {
            habits() = {};
            network.sent.clear(), answers.clear();
            network.serve(one, without_edns(rcode, is_header));
            ask();
            ASSERT_EQ(answers.size(), 1u);
            EXPECT_EQ(answers[0].second.kind, Kind::positive);
            ASSERT_EQ(network.sent.size(), 2u);
            EXPECT_TRUE(has_opt(network.sent[0]));
            EXPECT_FALSE(has_opt(network.sent[1]));
            EXPECT_NE(network.sent[0].source_port, network.sent[1].source_port);
            EXPECT_NE(cache::load_u16(network.sent[0].message.data()),
                      cache::load_u16(network.sent[1].message.data()));
            EXPECT_TRUE(habits().lacks_edns(clock.now)) << "remembered";
        }
    }
    EXPECT_EQ(counters().without_edns, 4u);
    EXPECT_EQ(counters().sent, 4u);
    EXPECT_TRUE(has_happened(ExchangeEvent::without_edns));
}

TEST_F(HabitsTest, ABadVersionToo) {
    network.serve(one, [&](FakeNetwork& net, const Sent& sent) {
        Octets reply = make_reply(sent.message, has_opt(sent) ? ReplySpec{} : known());
        if (has_opt(sent)) {
            reply.insert(reply.end(), {0, 0, 41, 4, 208, 1, 0, 0, 0, 0, 0});
            reply[11] = 1;
        }
        net.reply(sent, reply, 10ms);
    });
    ask();
    ASSERT_EQ(answers.size(), 1u);
    EXPECT_EQ(answers[0].second.kind, Kind::positive);
}

TEST_F(HabitsTest, WithoutOptForTenMinutes) {
    network.serve(one, without_edns(1));
    ask();
    network.sent.clear();
    run(9min);
    ask();
    ASSERT_EQ(network.sent.size(), 1u);
    EXPECT_FALSE(has_opt(network.sent[0]));
    run(1min);
    ask();
    EXPECT_TRUE(has_opt(network.sent[1])) << "then it may have learned it";
}

TEST_F(HabitsTest, AServerMarkedTrustedIsNeverAskedWithoutOpt) {
    groups[0].replace({{one, true}, two});
    for (bool is_header : {false, true}) {
        network.serve(one, without_edns(1, is_header));
        ask();
    }
    network.serve(one, {});
    network.serve(one, [](FakeNetwork&, const Sent&) {});
    ask();
    EXPECT_TRUE(std::ranges::all_of(network.sent, has_opt));
    EXPECT_FALSE(habits().lacks_edns(clock.now));
}

TEST_F(HabitsTest, WhoErrsWithoutOptTooIsTakenAtItsWord) {
    network.serve(one, answering({.rcode = 1}));
    ask();
    ASSERT_EQ(answers.size(), 1u);
    EXPECT_EQ(answers[0].second.rcode, 1);
    EXPECT_EQ(network.sent.size(), 2u);
    EXPECT_FALSE(habits().lacks_edns(clock.now));
}

TEST_F(HabitsTest, OneErrorOfAServerThatSpeaksEdnsIsNotRemembered) {
    habits().heard_opt();
    network.serve(one, without_edns(1));
    for (int i = 1; i <= 4; ++i) {
        ask();
        EXPECT_EQ(habits().lacks_edns(clock.now), i == 4) << i;
    }
    EXPECT_EQ(answers.size(), 4u);
}

TEST_F(HabitsTest, SilenceToTwoDatagramsWithOptThenOneWithout) {
    network.serve(one, [&](FakeNetwork& net, const Sent& sent) {
        if (!has_opt(sent)) net.reply(sent, make_reply(sent.message, known()), 10ms);
    });
    for (int i = 1; i <= 2; ++i) {
        network.sent.clear();
        ask();
        EXPECT_EQ(answers.size(), std::size_t(i));
        ASSERT_EQ(network.sent.size(), 3u);
        EXPECT_TRUE(has_opt(network.sent[0]) && has_opt(network.sent[1]));
        EXPECT_FALSE(has_opt(network.sent[2]));
        EXPECT_EQ(habits().lacks_edns(clock.now), i == 2) << "once may be loss";
    }
    budget = 0;
    habits() = {};
    network.sent.clear();
    ask();
    EXPECT_EQ(network.sent.size(), 2u) << "one with, one without: no budget keeps it from being heard";
}

TEST_F(HabitsTest, AReplyWithOptProvesEdns) {
    network.serve(one, answering(known(), 20ms, [](Octets& reply) {
                      reply.insert(reply.end(), {0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0});
                      ++reply[11];
                  }));
    ask();
    EXPECT_TRUE(habits().is_edns_proved());
    network.serve(one, [](FakeNetwork&, const Sent&) {});
    ask();
    EXPECT_TRUE(std::ranges::all_of(network.sent, has_opt));
}

// Letter case.

TEST_F(HabitsTest, ADenialInMixedCaseIsHeldAgainstTheNameInLowerCase) {
    network.serve(one, by_case(denial, known()));
    ask();
    ASSERT_EQ(answers.size(), 1u);
    EXPECT_EQ(answers[0].second.kind, Kind::positive);
    ASSERT_EQ(network.sent.size(), 2u);
    EXPECT_TRUE(network.sent[1].tcp) << "the guard against forgers";
    EXPECT_EQ(habits().letter_case(), LetterCase::denied);
    EXPECT_TRUE(has_happened(ExchangeEvent::case_doubted));
    EXPECT_TRUE(has_happened(ExchangeEvent::case_blamed));
    ask();
    EXPECT_EQ(answers.size(), 2u);
    ASSERT_EQ(network.sent.size(), 3u);
    EXPECT_TRUE(network.sent[2].tcp);
    EXPECT_FALSE(is_mixed(network.sent[2])) << "from then on";
    run(10min);
    ask();
    EXPECT_TRUE(is_mixed(network.sent[3]));
}

TEST_F(HabitsTest, ADenialThatBothSayIsOne) {
    network.serve(one, by_case(denial, denial));
    ask();
    ASSERT_EQ(answers.size(), 1u);
    EXPECT_EQ(answers[0].second.kind, Kind::nxdomain);
    EXPECT_EQ(answers[0].second.received, start + 20ms) << "the one over TCP";
    EXPECT_EQ(habits().letter_case(), LetterCase::unproved);
}

TEST_F(HabitsTest, ADenialStandsWhereTcpSaysNothing) {
    network.serve(one, by_case(denial, std::nullopt));
    ask(900ms);
    ASSERT_EQ(answers.size(), 1u);
    EXPECT_EQ(answers[0].second.kind, Kind::nxdomain);
    EXPECT_EQ(health().timeouts, 0u);
    network.sent.clear();
    ask();
    EXPECT_EQ(answers.size(), 2u);
    EXPECT_EQ(network.sent.size(), 1u) << "not tried again so soon";
    habits() = {};
    for (const ReplySpec& spec : {ReplySpec{.rcode = 2}, ReplySpec{.truncated = true}}) {
        network.serve(one, by_case(denial, spec));
        habits() = {};
        ask();
        EXPECT_EQ(answers.back().second.kind, Kind::nxdomain);
    }
    habits() = {};
    network.tcp_limit = 0;
    ask();
    EXPECT_EQ(answers.size(), 5u);
}

TEST_F(HabitsTest, ADenialIsBelievedOfWhoKnewANameInMixedCase) {
    network.serve(one, answering(known()));
    ask();
    EXPECT_EQ(habits().letter_case(), LetterCase::kept);
    network.serve(one, by_case(denial, known()));
    ask();
    ASSERT_EQ(answers.size(), 2u);
    EXPECT_EQ(answers[1].second.kind, Kind::nxdomain);
    EXPECT_EQ(counters().tcp_tries, 0u);
}

TEST_F(HabitsTest, ADenialOfAChainsEndIsNone) {
    network.serve(one, answering({.answer = {"abcdefghijklmnopqrstuvwxyz.com. 60 IN CNAME b.com."},
                                  .authority = denial.authority,
                                  .rcode = 3}));
    ask();
    EXPECT_EQ(answers.size(), 1u);
    EXPECT_EQ(network.sent.size(), 1u);
    EXPECT_EQ(habits().letter_case(), LetterCase::kept);
}

TEST_F(HabitsTest, ACancelledDoubtLeavesNothing) {
    network.serve(one, by_case(denial, std::nullopt));
    ask(100ms);
    EXPECT_EQ(network.tcp_count(), 1u);
    exchanges->close(fetch, 0, clock.now);
    EXPECT_EQ(network.open_count(), 0u);
    run(4s);
    EXPECT_TRUE(answers.empty() && failures.empty());
    EXPECT_EQ(health().probes, 0u);
}

TEST_F(HabitsTest, SilenceToMixedCaseIsTriedInLowerCase) {
    network.serve(one, by_case(std::nullopt, known()));
    for (int i = 1; i <= 2; ++i) {
        ask();
        ASSERT_EQ(answers.size(), std::size_t(i));
        EXPECT_TRUE(network.sent.back().tcp);
        EXPECT_FALSE(is_mixed(network.sent.back()));
        EXPECT_EQ(habits().letter_case(), i == 1 ? LetterCase::unproved : LetterCase::unanswered);
    }
    network.sent.clear();
    ask(50ms);
    EXPECT_EQ(answers.size(), 3u);
    EXPECT_EQ(network.sent.size(), 1u);
}

TEST_F(HabitsTest, ALateAnswerInMixedCaseEndsWhatSilenceSuggested) {
    for (int i = 0; i < 2; ++i) habits().left_mixed_case_unanswered(clock.now);
    EXPECT_TRUE(habits().loses_case(clock.now));
    habits().knew_mixed_case(LetterCase::kept, clock.now);
    EXPECT_FALSE(habits().loses_case(clock.now));
    habits().denied_mixed_case(clock.now);
    habits().knew_mixed_case(LetterCase::kept, clock.now);
    EXPECT_TRUE(habits().loses_case(clock.now));
    EXPECT_EQ(habits().letter_case(), LetterCase::denied);
}

TEST_F(HabitsTest, SilenceOfAServerThatKeepsTheCaseIsTriedInMixedCase) {
    habits().knew_mixed_case(LetterCase::kept, clock.now);
    ask();
    ASSERT_TRUE(network.sent.back().tcp);
    EXPECT_TRUE(is_mixed(network.sent.back()));
}

TEST_F(HabitsTest, TheNameInLowerCaseIsNeverDoubted) {
    groups[0].replace({{one, false, false}, two});
    network.serve(one, by_case(known(), denial));
    ask();
    ASSERT_EQ(answers.size(), 1u);
    EXPECT_EQ(answers[0].second.kind, Kind::nxdomain);
    EXPECT_EQ(network.sent.size(), 1u);
}

TEST_F(HabitsTest, AnotherCaseOverTcpIsSeen) {
    network.serve(one, answering(known(), 10ms, [](Octets& reply) { reply[13] ^= 0x20; }));
    ask();
    EXPECT_EQ(answers.size(), 1u);
    EXPECT_EQ(habits().letter_case(), LetterCase::changed);
}

TEST_F(HabitsTest, AServerThatChangesTheCaseAndHasNoTcpIsNamedOnce) {
    network.serve(one, [&](FakeNetwork& net, const Sent& sent) {
        if (sent.tcp) return net.reply_error(sent, std::errc::connection_refused, 1ms);
        Octets reply = make_reply(sent.message, known());
        reply[13] ^= 0x20;
        net.reply(sent, reply, 1ms);
    });
    ask();
    EXPECT_EQ(failures.size(), 1u);
    EXPECT_FALSE(habits().begin_naming());
}

} // namespace
} // namespace millrace::control
