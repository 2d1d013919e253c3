// Exchanges: asking, resending, deadlines, and what is not taken for a reply.
#include "tests/control/upstream/exchange_fixture.hpp"

namespace millrace::control {
namespace {

TEST_F(ExchangeTest, DeliversTheReply) {
    network.serve(one, answering(address));
    ASSERT_TRUE(open());
    EXPECT_TRUE(answers.empty());
    run(1s);
    ASSERT_EQ(answers.size(), 1u);
    EXPECT_EQ(answers[0].first, fetch);
    EXPECT_EQ(answers[0].second.kind, Kind::positive);
    EXPECT_EQ(answers[0].second.upstream, 0u);
    EXPECT_EQ(answers[0].second.received, start + 20ms);
    EXPECT_EQ(groups[0].srtt(0), 20ms);
    EXPECT_EQ(network.open_count(), 0u);
    EXPECT_EQ(exchanges->open_count(), 0u);
    EXPECT_EQ(exchanges->next_timer(), Time::max());
    EXPECT_EQ(counters().sent, 1u);
    EXPECT_EQ(counters().accepted, 1u);
}

TEST_F(ExchangeTest, TheNetworkIsToldTheGroup) {
    groups.push_back(groups[0]);
    exchanges = std::make_unique<Exchanges>(network, random, groups, limits());
    exchanges->set_listener(*this);
    key.group = 1;
    ASSERT_TRUE(exchanges->open(fetch, key, 0, start + 3s, start));
    EXPECT_EQ(network.groups, std::vector<unsigned>{1});
}

TEST_F(ExchangeTest, UsesWhatItDrew) {
    random.ids = {0xbeef};
    network.ports = {4242};
    ASSERT_TRUE(open());
    ASSERT_EQ(network.sent.size(), 1u);
    EXPECT_EQ(cache::load_u16(network.sent[0].message.data()), 0xbeef);
    EXPECT_EQ(network.sent[0].source_port, 4242);
    EXPECT_EQ(network.sent[0].to, one);
}

TEST_F(ExchangeTest, MixesTheLetterCase) {
    key = make_key("abcdefghijklmnopqrstuvwxyz.com", LDNS_RR_TYPE_A);
    ASSERT_TRUE(open());
    auto name = std::span(network.sent[0].message).subspan(12, key.name.size);
    EXPECT_FALSE(std::ranges::equal(name, key.name.bytes()));
    EXPECT_TRUE(std::ranges::equal(name, key.name.bytes(), {}, cache::fold));
}

TEST_F(ExchangeTest, LeavesTheCaseAloneOnlyWhereItIsToldTo) {
    groups[0].replace({{one, false, false}, two});
    key = make_key("abcdefghijklmnopqrstuvwxyz.com", LDNS_RR_TYPE_A);
    ASSERT_TRUE(open(0));
    ASSERT_TRUE(open(1));
    auto name = [&](int i) {
        return std::span(network.sent[std::size_t(i)].message).subspan(12, key.name.size);
    };
    EXPECT_TRUE(std::ranges::equal(name(0), key.name.bytes()));
    EXPECT_FALSE(std::ranges::equal(name(1), key.name.bytes()));
}

TEST_F(ExchangeTest, WithoutRandomCaseTheReplysCaseIsStillCompared) {
    groups[0].replace({{one, false, false}, two});
    network.serve(one, answering(address, 10ms, [](Octets& reply) { reply[13] = 'A'; }));
    ASSERT_TRUE(open());
    run(15ms);
    EXPECT_TRUE(answers.empty());
    EXPECT_EQ(counters().mismatched, 1u);
    EXPECT_EQ(counters().tcp, 1u);
}

TEST_F(ExchangeTest, TellsWhoseAdMayBePassedOn) {
    groups[0].replace({{one, true}, two});
    for (unsigned upstream : {0u, 1u}) {
        network.serve(upstream ? two : one, answering({.answer = address.answer, .authentic = true}));
        ASSERT_TRUE(open(upstream));
    }
    run(1s);
    ASSERT_EQ(answers.size(), 2u);
    for (const auto& [id, answer] : answers) {
        EXPECT_EQ(answer.authentic, answer.is_trusted);
        EXPECT_EQ(answer.is_trusted, answer.upstream == 0);
    }
}

TEST_F(ExchangeTest, GivesUpWhenNoPortIsFree) {
    network.open_error = std::errc::address_in_use;
    EXPECT_FALSE(open());
    EXPECT_EQ(counters().refused_full, 1u);
}

// Resends and deadlines.

TEST_F(ExchangeTest, ResendsTheSameDatagramTwiceDoublingTheWait) {
    ASSERT_TRUE(open(0, 10s));
    run(4s);
    ASSERT_EQ(network.sent.size(), 3u); // 100 ms unmeasured: after 400 ms, then 800 ms
    EXPECT_EQ(network.sent[1].at, start + 400ms);
    EXPECT_EQ(network.sent[2].at, start + 1200ms);
    for (const Sent& again : network.sent) {
        EXPECT_EQ(again.message, network.sent[0].message);
        EXPECT_EQ(again.socket, network.sent[0].socket);
    }
    EXPECT_EQ(counters().resent, 2u);
    EXPECT_EQ(counters().sent, 1u);
    EXPECT_TRUE(failures.empty());
    run(7s);
    ASSERT_EQ(failures.size(), 1u);
    EXPECT_EQ(failures[0].failure, ExchangeFailure::timeout);
    EXPECT_EQ(failures[0].at, start + 10s);
    EXPECT_EQ(health().timeouts, 1u);
}

TEST_F(ExchangeTest, S25_OneLostDatagramIsSentAgain) {
    groups[0].measured(0, 5ms);
    int seen = 0;
    network.serve(one, [&](FakeNetwork& net, const Sent& sent) {
        if (++seen == 2) net.reply(sent, make_reply(sent.message, address), 5ms);
    });
    ASSERT_TRUE(open());
    run(3s);
    ASSERT_EQ(answers.size(), 1u);
    EXPECT_EQ(answers[0].second.received, start + 55ms);
}

TEST_F(ExchangeTest, CollectBringsTheDeadlineForwardOnly) {
    ASSERT_TRUE(open());
    exchanges->collect(fetch, 0, clock.now + 200ms);
    exchanges->collect(fetch, 0, clock.now + 10s);
    exchanges->collect({9, 9}, 0, clock.now);
    run(5s);
    ASSERT_EQ(failures.size(), 1u);
    EXPECT_EQ(failures[0].at, start + 200ms);
    EXPECT_EQ(counters().timeouts, 1u);
}

TEST_F(ExchangeTest, CloseCancelsWithoutATrace) {
    network.serve(one, answering(address));
    ASSERT_TRUE(open());
    run(10ms);
    exchanges->close(fetch, 0, clock.now);
    EXPECT_EQ(network.open_count(), 0u);
    EXPECT_EQ(exchanges->next_timer(), Time::max());
    run(5s);
    EXPECT_TRUE(answers.empty() && failures.empty());
    EXPECT_EQ(health().timeouts + health().failures + health().replies, 0u);
    EXPECT_FALSE(groups[0].is_measured(0));
    EXPECT_EQ(network.undeliverable, 1u);
    EXPECT_EQ(counters().cancelled, 1u);
    exchanges->close(fetch, 0, clock.now);
    EXPECT_EQ(counters().cancelled, 1u);
}

// The accept filter keeps waiting.

struct Wrong {
    const char* name;
    std::function<void(Octets&)> change;
    std::uint64_t ExchangeCounters::*counted;
};

class WrongReply : public ExchangeTest, public testing::WithParamInterface<Wrong> {};

TEST_P(WrongReply, IsCountedAndTheExchangeKeepsWaiting) {
    network.serve(one, [&](FakeNetwork& net, const Sent& sent) {
        Octets reply = make_reply(sent.message, address);
        Octets wrong = reply;
        GetParam().change(wrong);
        net.reply(sent, wrong, 1ms);
        net.reply(sent, reply, 50ms);
    });
    ASSERT_TRUE(open());
    run(40ms);
    EXPECT_TRUE(answers.empty() && failures.empty());
    EXPECT_EQ(counters().*GetParam().counted, 1u);
    EXPECT_EQ(health().replies + health().failures, 0u);
    EXPECT_FALSE(groups[0].is_measured(0));
    run(1s);
    ASSERT_EQ(answers.size(), 1u);
    EXPECT_EQ(network.sent.size(), 1u);
}

INSTANTIATE_TEST_SUITE_P(
    Table, WrongReply,
    testing::Values(
        Wrong{"a_query", [](Octets& m) { m[2] &= 0x7f; }, &ExchangeCounters::malformed},
        Wrong{"other_opcode", [](Octets& m) { m[2] |= 0x08; }, &ExchangeCounters::malformed},
        Wrong{"no_question", [](Octets& m) { m[5] = 0; }, &ExchangeCounters::malformed},
        Wrong{"two_questions", [](Octets& m) { m[5] = 2; }, &ExchangeCounters::malformed},
        Wrong{"short_header", [](Octets& m) { m.resize(11); }, &ExchangeCounters::malformed},
        Wrong{"empty", [](Octets& m) { m.clear(); }, &ExchangeCounters::malformed},
        Wrong{"cut_in_a_record", [](Octets& m) { m.resize(m.size() - 1); }, &ExchangeCounters::malformed},
        Wrong{"more_records_than_there_are", [](Octets& m) { m[7] = 9; }, &ExchangeCounters::malformed}),
    [](const auto& info) { return info.param.name; });

class NearMiss : public WrongReply {};

TEST_P(NearMiss, IsCountedAndTheFirstGoesOverTcp) {
    network.serve(one, [&](FakeNetwork& net, const Sent& sent) {
        Octets reply = make_reply(sent.message, address);
        if (!sent.tcp) GetParam().change(reply);
        net.reply(sent, reply, sent.tcp ? 30ms : 1ms);
    });
    ASSERT_TRUE(open());
    run(20ms);
    EXPECT_TRUE(answers.empty() && failures.empty());
    EXPECT_EQ(counters().*GetParam().counted, 1u);
    EXPECT_EQ(counters().tcp, 1u);
    EXPECT_EQ(health().replies + health().failures, 0u);
    run(1s);
    ASSERT_EQ(answers.size(), 1u);
    EXPECT_EQ(network.sent.size(), 2u);
    EXPECT_FALSE(groups[0].is_measured(0));
}

INSTANTIATE_TEST_SUITE_P(
    Table, NearMiss,
    testing::Values(Wrong{"other_id", [](Octets& m) { m[0] ^= 0xff; }, &ExchangeCounters::mismatched},
                    Wrong{"other_id_and_case", [](Octets& m) { m[0] ^= 0xff, m[13] ^= 0x20; },
                          &ExchangeCounters::mismatched},
                    Wrong{"other_name", [](Octets& m) { m[13] = 'b'; }, &ExchangeCounters::late},
                    Wrong{"other_type", [](Octets& m) { m[20] = 28; }, &ExchangeCounters::late},
                    Wrong{"other_class", [](Octets& m) { m[22] = 3; }, &ExchangeCounters::late}),
    [](const auto& info) { return info.param.name; });

TEST_F(ExchangeTest, ReplyFromElsewhereFindsNobody) {
    ASSERT_TRUE(open());
    Octets reply = make_reply(network.sent[0].message, address);
    network.datagram(two, network.sent[0].source_port, reply);
    network.datagram(one, network.sent[0].source_port + 1, reply);
    run(100ms);
    EXPECT_TRUE(answers.empty());
    EXPECT_EQ(network.undeliverable, 2u);
}

TEST_F(ExchangeTest, S5_LateReplyOfAClosedExchangeHarmsNobody) {
    ASSERT_TRUE(open());
    Sent a = network.sent[0];
    exchanges->close(fetch, 0, clock.now);
    FetchId successor{2, 11};
    ASSERT_TRUE(exchanges->open(successor, key, 0, clock.now + 3s, clock.now));
    Sent b = network.sent[1];
    ASSERT_NE(a.source_port, b.source_port);
    ReplySpec foreign{.answer = {"a.com. 60 IN A 192.0.2.66"}};
    network.datagram(one, a.source_port, make_reply(b.message, foreign)); // B's ID on A's port
    run(10ms);
    EXPECT_EQ(network.undeliverable, 1u);
    network.datagram(one, b.source_port, make_reply(a.message, foreign)); // A's ID on B's port
    run(10ms);
    EXPECT_TRUE(answers.empty());
    EXPECT_EQ(counters().mismatched, 1u);
    ASSERT_EQ(network.sent.size(), 3u) << "a near miss: over TCP from here on";
    network.reply(network.sent[2], make_reply(b.message, address));
    run(10ms);
    ASSERT_EQ(answers.size(), 1u);
    EXPECT_EQ(answers[0].first, successor);
    EXPECT_EQ(ldns_rdf_data(ldns_rr_rdf(answers[0].second.records[0].get(), 0))[3], 77);
}

TEST_F(ExchangeTest, S5_APortAndIdAreNotUsedAgainForTenSeconds) {
    auto force = [&] { network.ports = {6000}, random.ids = {1, 1, 2}; };
    auto id = [&] { return cache::load_u16(network.sent.back().message.data()); };
    force();
    ASSERT_TRUE(open());
    EXPECT_EQ(id(), 1);
    exchanges->close(fetch, 0, clock.now);
    force();
    ASSERT_TRUE(open()); // draws 1 twice in vain
    EXPECT_EQ(id(), 2);
    exchanges->close(fetch, 0, clock.now);
    network.ports = {6000};
    for (int i = 0; i < 8; ++i) random.ids.push_back(i % 2 + 1);
    run(9s);
    EXPECT_FALSE(open()); // nothing but used ones
    EXPECT_EQ(counters().refused_full, 1u);
    EXPECT_EQ(network.open_count(), 0u);
    force();
    ASSERT_TRUE(open(1)); // another upstream is another matter
    EXPECT_EQ(id(), 1);
    exchanges->close(fetch, 1, clock.now);
    force();
    key = make_key("b.com", LDNS_RR_TYPE_A);
    ASSERT_TRUE(open()); // and so is another question
    EXPECT_EQ(id(), 1);
    exchanges->close(fetch, 0, clock.now);
    force();
    key = make_key("a.com", LDNS_RR_TYPE_A, cache::dnssec_ok);
    ASSERT_TRUE(open()); // but another flavour is the same question to a late reply
    EXPECT_GT(id(), 2);
}

} // namespace
} // namespace millrace::control
