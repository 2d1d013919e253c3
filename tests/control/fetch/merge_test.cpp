// What is merged with what, and what is not (dataplane/RULES.md, merging).
#include "control/fetch/merge.hpp"
#include "tests/control/fetch/scenarios_fixture.hpp"

namespace millrace::control {
namespace {

using cache::Version;

using MergeTest = Scenarios;

TEST_F(MergeTest, TheSameChainIsMerged) {
    auto through = [](const char* host) {
        return ReplySpec{.answer = {"a.com. 60 IN CNAME X.net.", std::string("x.NET. 60 IN A ") + host}};
    };
    script(0, through("1.1.1.1"), 1ms);
    script(1, through("2.2.2.2"), 5ms);
    silence(2);
    ask(a);
    run(2s);
    EXPECT_EQ(cached_addresses(a), (Hosts{"1.1.1.1", "2.2.2.2"}));
}

TEST_F(MergeTest, TheDnameOfAChainIsNotEverybodys) {
    cache::Key key = make_key("a.b.com", LDNS_RR_TYPE_A);
    const std::string dname = "b.com. 20 IN DNAME c.net.", cname = "a.b.com. 60 IN CNAME a.c.net.";
    script(0, {.answer = {cname, "a.c.net. 60 IN A 1.1.1.1"}}, 1ms);
    script(1, {.answer = {dname, "a.c.net. 60 IN A 2.2.2.2"}}, 5ms);
    script(2, {.answer = {dname, cname, "a.c.net. 60 IN A 3.3.3.3"}}, 9ms);
    ask(key);
    run(2s);
    EXPECT_EQ(cached_addresses(key), (Hosts{"1.1.1.1", "2.2.2.2", "3.3.3.3"}));
    EXPECT_LE(cached(key)->expiry, start + 5ms + 20s) << "what a contributor's DNAME allows";
}

TEST_F(MergeTest, PrivateAddressesAreNeverAddedByAMerge) {
    serve(0, {"1.1.1.1"}, 1ms);
    serve(1, {"10.0.0.1", "192.168.1.1", "127.0.0.1", "169.254.1.1", "2.2.2.2"}, 5ms);
    silence(2);
    ask(a);
    run(2s);
    EXPECT_EQ(cached_addresses(a), (Hosts{"1.1.1.1", "2.2.2.2"}));
}

TEST_F(MergeTest, NorAreIpv6AddressesThatLeadToThem) {
    cache::Key key = make_key("a.com", LDNS_RR_TYPE_AAAA);
    auto through = [](const Hosts& hosts) {
        ReplySpec spec;
        for (const auto& host : hosts) spec.answer.push_back("a.com. 60 IN AAAA " + host);
        return spec;
    };
    script(0, through({"2001:db8::1"}), 1ms);
    // NAT64, 6to4, Teredo (which carries the client's address inverted): of 10.0.0.1, then of 9.9.9.9.
    script(1,
           through({"64:ff9b::a00:1", "2002:a00:1::1", "2001:0:102:304::f5ff:fffe", "64:ff9b::909:909",
                    "2002:909:909::1", "2001:0:102:304::f6f6:f6f6"}),
           5ms);
    silence(2);
    ask(key);
    run(2s);
    EXPECT_EQ(cached_addresses(key),
              (Hosts{"2001:db8::1", "64:ff9b::909:909", "2002:909:909::1", "2001:0:102:304::f6f6:f6f6"}));
}

TEST_F(MergeTest, ThousandsOfAddressesAreWeighedButNotMerged) {
    std::vector<Answer> answers(4);
    for (std::size_t server = 0; server < answers.size(); ++server) {
        answers[server].kind = Kind::positive;
        for (unsigned i = 0; i < 1000; ++i) {
            const std::uint8_t octets[] = {9, std::uint8_t(server), std::uint8_t(i >> 8), std::uint8_t(i)};
            RecordHandle one(ldns_rr_new());
            ldns_rr_set_owner(one.get(), ldns_dname_new_frm_str("a.com."));
            ldns_rr_set_type(one.get(), LDNS_RR_TYPE_A);
            ldns_rr_push_rdf(one.get(), ldns_rdf_new_frm_data(LDNS_RDF_TYPE_A, 4, octets));
            answers[server].records.push_back(std::move(one));
        }
    }
    EXPECT_FALSE(merge(answers, {}, {}).answer);
    Config::Merge quorum{.policy = Config::MergePolicy::quorum, .quorum = 2};
    Merged merged = merge(answers, quorum, {});
    ASSERT_TRUE(merged.answer);
    EXPECT_EQ(merged.answer->records.size(), 1000u) << "nobody agrees: the winner, briefly";
}

TEST_F(MergeTest, MoreThanSixteenAddressesAreNotMerged) {
    Hosts many;
    for (int i = 0; i < 16; ++i) many.push_back("9.9.9." + std::to_string(i));
    serve(0, {"1.1.1.1"}, 1ms);
    serve(1, many, 5ms);
    silence(2);
    ask(a);
    run(2s);
    EXPECT_EQ(cached_addresses(a), Hosts{"1.1.1.1"});
}

TEST_F(MergeTest, AMergeLivesNoLongerThanItsShortestContributor) {
    serve(0, {"1.1.1.1"}, 1ms, 60);
    serve(1, {"2.2.2.2"}, 101ms, 10);
    silence(2);
    ask(a);
    run(2s);
    EXPECT_EQ(cached_addresses(a).size(), 2u);
    EXPECT_EQ(cached(a)->born, start + 1ms);
    EXPECT_LE(cached(a)->expiry, start + 101ms + 10s);
    EXPECT_GE(cached(a)->expiry, start + 10s);
    serve(0, {"1.1.1.1"}, 1ms, 10);
    serve(1, {"2.2.2.2"}, 101ms, 600);
    ask(b);
    Time asked = clock.now;
    run(2s);
    EXPECT_LE(cached(b)->expiry, asked + 1ms + 10s) << "a later reply never lengthens a life";
}

TEST_F(MergeTest, TheSameAddressesWithAShorterLifeShortenIt) {
    serve(0, {"1.1.1.1"}, 1ms, 60);
    serve(1, {"1.1.1.1"}, 101ms, 10);
    silence(2);
    ask(a);
    run(2s);
    EXPECT_EQ(cached_addresses(a), Hosts{"1.1.1.1"});
    EXPECT_LE(cached(a)->expiry, start + 101ms + 10s);
}

TEST_F(MergeTest, AnAnswerWithAdIsNotAddedToOneWithout) {
    upstreams.replace({server(0), {server(1), true}, server(2)});
    serve(0, {"1.1.1.1"}, 1ms);
    script(1, {.answer = {"a.com. 60 IN A 2.2.2.2"}, .authentic = true}, 5ms);
    silence(2);
    ask(a);
    run(2s);
    EXPECT_EQ(cached_addresses(a), Hosts{"1.1.1.1"});
}

TEST_F(MergeTest, AuthenticIsWhatATrustedServerSaysAndItIsNeverMerged) {
    upstreams.replace({{server(0), true}, server(1), server(2)});
    script(0, {.answer = {"a.com. 60 IN A 1.1.1.1"}, .authentic = true}, 1ms);
    serve(1, {"2.2.2.2"}, 5ms);
    serve(2, {"3.3.3.3"}, 5ms);
    ask(a);
    run(2s);
    EXPECT_EQ(cached_addresses(a), Hosts{"1.1.1.1"});
    EXPECT_TRUE(cached(a)->authentic);
    EXPECT_EQ(queries_to(2), 0u) << "nobody else can change it";
}

TEST_F(MergeTest, AdOfAServerThatIsNotTrustedIsNotWeighed) {
    script(0, {.answer = {"a.com. 60 IN A 1.1.1.1"}, .authentic = true}, 1ms);
    serve(1, {"2.2.2.2"}, 5ms);
    silence(2);
    ask(a);
    run(2s);
    EXPECT_EQ(cached_addresses(a), (Hosts{"1.1.1.1", "2.2.2.2"}));
}

TEST_F(MergeTest, AuthenticFromAServerThatIsNotTrustedIsNot) {
    upstreams.replace({server(0), {server(1), true}, server(2)});
    script(0, {.answer = {"a.com. 60 IN A 1.1.1.1"}, .authentic = true}, 1ms);
    script(1, {.answer = {"a.com. 60 IN A 1.1.1.1"}, .authentic = true}, 5ms);
    silence(2);
    ask(a);
    run(2s);
    EXPECT_EQ(cached_addresses(a), Hosts{"1.1.1.1"});
    EXPECT_FALSE(cached(a)->authentic);
}

TEST_F(MergeTest, WhoValidatesHimselfGetsOneUpstreamsAnswer) {
    serve(0, {"1.1.1.1"}, 1ms);
    serve(1, {"2.2.2.2"}, 5ms);
    serve(2, {"3.3.3.3"}, 5ms);
    for (std::uint8_t flavour : {cache::checking_disabled, cache::dnssec_ok}) {
        cache::Key key = make_key("a.com", LDNS_RR_TYPE_A, flavour);
        ask(key);
        run(2s);
        EXPECT_EQ(cached_addresses(key), Hosts{"1.1.1.1"});
        if (flavour == cache::dnssec_ok) continue; // the others complete the answer of those who do not
        EXPECT_EQ(queries_to(2), 0u) << "nobody else can change it";
    }
}

TEST_F(MergeTest, PositiveAgainstNegativeKeepsTheEarlierForThirtySeconds) {
    serve(0, {"1.1.1.1"}, 1ms, 3600);
    script(1, {.authority = {"com. 900 IN SOA ns.com. h.com. 1 2 3 4 300"}, .rcode = 3}, 5ms);
    silence(2);
    ask(a);
    run(2s);
    EXPECT_EQ(cached_addresses(a), Hosts{"1.1.1.1"});
    EXPECT_EQ(cached(a)->expiry, start + 1ms + 30s);
    EXPECT_EQ(fetches.counters().disagreements, 1u);
}

/// The fixture under another policy.
template <Config::MergePolicy policy, unsigned quorum = 2>
class PolicyTest : public FetchTest {
  protected:
    PolicyTest() : FetchTest(3, {{}, {policy, quorum}}) {}
};
using NoMergeTest = PolicyTest<Config::MergePolicy::off>;
using OrderTest = PolicyTest<Config::MergePolicy::order>;
using QuorumTest = PolicyTest<Config::MergePolicy::quorum>;

TEST_F(NoMergeTest, NobodyElseIsAsked) {
    serve(0, {"1.1.1.1"}, 1ms);
    serve(1, {"2.2.2.2"}, 5ms);
    ask(a);
    run(2s);
    EXPECT_EQ(cached_addresses(a), Hosts{"1.1.1.1"});
    EXPECT_EQ(queries_to(2), 0u);
    EXPECT_EQ(cached(a)->version, (Version{1, 0}));
}

TEST_F(OrderTest, TheWinnersOwnAddresses) {
    serve(0, {"1.1.1.1", "2.2.2.2"}, 1ms);
    serve(1, {"3.3.3.3"}, 5ms);
    ask(a);
    run(2s);
    EXPECT_EQ(cached_addresses(a), (Hosts{"1.1.1.1", "2.2.2.2"}));
    EXPECT_EQ(queries_to(2), 0u) << "nobody else can change them";
}

TEST_F(QuorumTest, OnlyWhatEnoughRepliesHold) {
    serve(0, {"1.1.1.1", "2.2.2.2"}, 1ms);
    serve(1, {"2.2.2.2", "3.3.3.3"}, 5ms);
    serve(2, {"3.3.3.3", "4.4.4.4"}, 5ms);
    ask(a);
    run(2s);
    EXPECT_EQ(cached_addresses(a), (Hosts{"2.2.2.2", "3.3.3.3"}));
    EXPECT_EQ(cached(a)->version, (Version{1, 1}));
}

TEST_F(QuorumTest, WithoutAnyTheWinnersOwnBriefly) {
    serve(0, {"1.1.1.1"}, 1ms, 600);
    serve(1, {"2.2.2.2"}, 5ms, 600);
    serve(2, {"3.3.3.3"}, 5ms, 600);
    ask(a);
    run(2s);
    EXPECT_EQ(cached_addresses(a), Hosts{"1.1.1.1"});
    EXPECT_EQ(cached(a)->expiry, start + 1ms + 30s);
}

TEST_F(QuorumTest, RepliesThatGiveNothingDoNotShortenItsLife) {
    serve(0, {"1.1.1.1"}, 1ms, 600);
    serve(1, {"1.1.1.1"}, 5ms, 500);
    serve(2, {"2.2.2.2"}, 5ms, 1);
    ask(a);
    run(2s);
    EXPECT_EQ(cached(a)->expiry, start + 1ms + 500s);
    EXPECT_EQ(cached_addresses(a), Hosts{"1.1.1.1"});
}

TEST_F(QuorumTest, OneWhomNobodyIsLeftToAgreeWithLivesBriefly) {
    for (unsigned i : {1u, 2u}) script(i, servfail, 1ms);
    serve(0, {"1.1.1.1"}, 5ms, 600);
    ask(a);
    run(2s);
    EXPECT_EQ(cached(a)->expiry, start + 5ms + 30s);
}

TEST_F(QuorumTest, NorIsItUndoneByHowManyAddressesTheOthersHold) {
    Hosts many;
    for (int i = 0; i < 17; ++i) many.push_back("9.9.9." + std::to_string(i));
    serve(0, {"6.6.6.6"}, 1ms, 600);
    for (unsigned i : {1u, 2u}) serve(i, many, 5ms, 600);
    ask(a);
    run(2s);
    EXPECT_EQ(cached_addresses(a), Hosts{"6.6.6.6"});
    EXPECT_EQ(cached(a)->expiry, start + 1ms + 30s);
}

TEST_F(QuorumTest, AHeaderBitOfTheQuickestServerUndoesNothing) {
    script(0, {.answer = {"a.com. 600 IN A 6.6.6.6"}, .authentic = true}, 1ms);
    for (unsigned i : {1u, 2u}) serve(i, {"1.1.1.1"}, 5ms, 600);
    ask(a);
    run(2s);
    EXPECT_EQ(cached_addresses(a), Hosts{"1.1.1.1"});
}

/// What cannot be changed needs others that hold the same: signed, of a trusted validator, of another chain.
TEST_F(QuorumTest, AWinnerThatCannotBeChangedNeedsOthersThatAgree) {
    const std::string signature = "a.com. 600 IN RRSIG A 8 2 600 20300101000000 20200101000000 1 a.com. AAAA";
    for (bool agree : {false, true}) {
        script(0, {.answer = {"a.com. 600 IN A 6.6.6.6", signature}}, 1ms);
        for (unsigned i : {1u, 2u}) serve(i, {agree ? "6.6.6.6" : "1.1.1.1"}, 5ms, 600);
        Time asked = clock.now;
        cache::Key key = make_key(agree ? "b.com" : "a.com", LDNS_RR_TYPE_A);
        if (agree) {
            script(0, {.answer = {"b.com. 600 IN A 6.6.6.6", "b" + signature.substr(1)}}, 1ms);
        }
        ask(key);
        run(2s);
        EXPECT_EQ(cached_addresses(key), Hosts{"6.6.6.6"});
        EXPECT_EQ(cached(key)->expiry, asked + 1ms + (agree ? 600s : 30s));
    }
}

TEST_F(QuorumTest, AWinnerOfAnotherChainLivesBriefly) {
    script(0, {.answer = {"a.com. 600 IN CNAME x.net.", "x.net. 600 IN A 6.6.6.6"}}, 1ms);
    for (unsigned i : {1u, 2u}) serve(i, {"1.1.1.1"}, 5ms, 600);
    ask(a);
    run(2s);
    EXPECT_EQ(cached_addresses(a), Hosts{"6.6.6.6"});
    EXPECT_EQ(cached(a)->expiry, start + 1ms + 30s);
}

TEST_F(QuorumTest, AnAddressOfOneReplyTwiceIsHeldOnce) {
    serve(0, {"1.1.1.1", "2.2.2.2"}, 1ms);
    script(1, {.answer = {"a.com. 60 IN A 3.3.3.3", "a.com. 60 IN A 3.3.3.3", "a.com. 60 IN A 1.1.1.1"}},
           5ms);
    silence(2);
    ask(a);
    run(2s);
    EXPECT_EQ(cached_addresses(a), Hosts{"1.1.1.1"});
}

TEST_F(QuorumTest, PrivateAddressesAreNeverAdded) {
    serve(0, {"1.1.1.1"}, 1ms);
    serve(1, {"1.1.1.1", "10.0.0.1"}, 5ms);
    serve(2, {"1.1.1.1", "10.0.0.1"}, 5ms);
    ask(a);
    run(2s);
    EXPECT_EQ(cached_addresses(a), Hosts{"1.1.1.1"});
}

/// Answers live five minutes at least.
class LongLives : public Scenarios {
  protected:
    static constexpr TtlPolicy lives{.min_ttl = 300s};
    LongLives() : Scenarios(3, {{}, {}, lives}) { publisher.set_policy(0, lives); }
};

TEST_F(LongLives, AContradictedAnswerStillLivesThirtySecondsAtMost) {
    serve(0, {"1.1.1.1"}, 1ms, 5);
    script(1, {.authority = {"com. 900 IN SOA ns.com. h.com. 1 2 3 4 300"}, .rcode = 3}, 5ms);
    silence(2);
    ask(a);
    run(2s);
    EXPECT_EQ(cached(a)->expiry, start + 1ms + 30s);
}

TEST_F(LongLives, NorDoesTheOrderOfItsAddressesLengthenThat) {
    fetches.set_ranker(&ranker);
    serve(0, {"1.1.1.1", "2.2.2.2"}, 1ms, 5);
    script(1, nxdomain, 5ms);
    silence(2);
    ask(a);
    run(1s);
    fetches.on_ranked(ranker.asked.at(0).fetch, reversed(ranker.asked[0].addresses));
    EXPECT_EQ(cached(a)->version, (Version{1, 2}));
    EXPECT_EQ(cached(a)->expiry, start + 1ms + 30s);
}

TEST_F(LongLives, AMergeKeepsTheLeastTtl) {
    serve(0, {"1.1.1.1"}, 1ms, 5);
    serve(1, {"2.2.2.2"}, 5ms, 7);
    silence(2);
    ask(a);
    run(2s);
    EXPECT_EQ(cached_addresses(a).size(), 2u);
    EXPECT_EQ(cached(a)->expiry, start + 1ms + 300s);
}

TEST_F(MergeTest, AnAnswerForSomeClientSubnetsOnlyIsNotMerged) {
    auto scoped = [](FakeNetwork& net, const Sent& sent) {
        auto reply = make_reply(sent.message, {.answer = {record(sent, "1.1.1.1", 60)}});
        const std::uint8_t opt[] = {0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 11, 0, 8, 0, 7, 0, 1, 24, 24, 192, 0, 2};
        reply.insert(reply.end(), std::begin(opt), std::end(opt));
        ++reply[11];
        net.reply(sent, reply, 5ms);
    };
    silence(2);
    for (unsigned scoped_one : {0u, 1u}) { // the first reply, the second
        const cache::Key& key = scoped_one ? b : a;
        network.serve(server(scoped_one), scoped);
        serve(1 - scoped_one, {"2.2.2.2"}, scoped_one ? 1ms : 9ms);
        ask(key);
        run(2s);
        EXPECT_EQ(cached_addresses(key), Hosts{scoped_one ? "2.2.2.2" : "1.1.1.1"});
    }
}

TEST_F(MergeTest, WhatDoesNotFitAUdpReplyIsNotMerged) {
    // Sixteen AAAA records of 28 octets fit; behind a chain of long names they do not.
    std::string label(60, 'x'), target;
    ReplySpec chain;
    std::string owner = "a.com.";
    for (char c : {'p', 'q', 'r', 's'}) {
        target = std::string(1, c) + label + "." + label + "." + label + "." + std::string(1, c) + ".net.";
        chain.answer.push_back(owner + " 60 IN CNAME " + target);
        owner = target;
    }
    ReplySpec first = chain, second = chain;
    for (int i = 0; i < 8; ++i) first.answer.push_back(target + " 60 IN AAAA 2001:db8::" + std::to_string(i));
    for (int i = 0; i < 8; ++i)
        second.answer.push_back(target + " 60 IN AAAA 2001:db8::1" + std::to_string(i));
    script(0, first, 1ms);
    script(1, second, 5ms);
    silence(2);
    cache::Key key = make_key("a.com", LDNS_RR_TYPE_AAAA);
    ask(key);
    run(2s);
    EXPECT_EQ(cached_addresses(key).size(), 8u);
}

} // namespace
} // namespace millrace::control
