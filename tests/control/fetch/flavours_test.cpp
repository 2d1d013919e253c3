// One Fetch for both flavours of a question: DO=0 and DO=1.
#include "control/message/entry_read.hpp"
#include "tests/control/fetch/scenarios_fixture.hpp"

namespace millrace::control {
namespace {

using cache::Version;

class FlavoursTest : public Scenarios {
  protected:
    cache::Key with_do(cache::Key key) const {
        key.flavour |= cache::dnssec_ok;
        return key;
    }
    /// Types of the records of what was published.
    std::vector<unsigned> types(const cache::Key& key) const {
        auto answer = read_entry(key, *cached(key), clock.now);
        std::vector<unsigned> types;
        for (const auto* part :
             {&answer->chain, &answer->records, &answer->authority, &answer->signatures, &answer->proofs}) {
            for (const Record& r : *part) types.push_back(ldns_rr_get_type(r.get()));
        }
        return types;
    }
    cache::Key a_do = with_do(a);
    const std::string signature = "60 IN RRSIG A 8 2 60 20300101000000 20200101000000 1 com. AAAA";
};

TEST_F(FlavoursTest, OneFetchAnswersWhoWaitsForEitherAndWhoComesLater) {
    for (unsigned i : {0u, 1u, 2u}) {
        script(i, {.answer = {"a.com. 60 IN A 1.1.1.1", "a.com. " + signature}}, 5ms);
    }
    for (const auto& [first, second] : {std::pair(a, a_do), std::pair(a_do, a)}) {
        std::uint64_t before = fetches.counters().fetches;
        auto one = ask(first);
        auto other = ask(second);
        run(1s);
        EXPECT_EQ(woken(one).addresses, Hosts{"1.1.1.1"});
        EXPECT_EQ(woken(other).addresses, Hosts{"1.1.1.1"});
        EXPECT_EQ(fetches.counters().fetches, before + 1);
        EXPECT_EQ(types(a), std::vector<unsigned>{LDNS_RR_TYPE_A});
        EXPECT_EQ(types(a_do), (std::vector<unsigned>{LDNS_RR_TYPE_A, LDNS_RR_TYPE_RRSIG}));
        EXPECT_EQ(cached(a)->version, cached(a_do)->version);
        ask(first);
        ask(second);
        EXPECT_EQ(fetches.counters().fetches, before + 1) << "in the table by now";
        run(61s);
    }
}

TEST_F(FlavoursTest, AMergeConcernsWhoDoesNotValidate) {
    serve(0, {"1.1.1.1"}, 1ms);
    for (unsigned i : {1u, 2u}) serve(i, {"2.2.2.2"}, 5ms);
    ask(a_do);
    run(1s);
    EXPECT_EQ(cached_addresses(a_do), Hosts{"1.1.1.1"});
    EXPECT_EQ(cached_addresses(a), (Hosts{"1.1.1.1", "2.2.2.2"}));
    EXPECT_EQ(cached(a_do)->version, (Version{1, 0}));
    EXPECT_EQ(cached(a)->version, (Version{1, 1}));
}

/// What one server says where a quorum is wanted lasts briefly, but for who judges by himself.
TEST_F(FlavoursTest, AnAnswerWithoutQuorumIsShortForWhoDoesNotValidate) {
    FetchPolicy policy;
    policy.merge.policy = Config::MergePolicy::quorum;
    policy.fanout.strategy = Config::Strategy::race;
    fetches.set_policy(0, policy);
    for (unsigned i : {0u, 1u, 2u}) serve(i, {"1.1.1.1"}, 1ms, 300);
    ask(a);
    run(1s);
    EXPECT_EQ(cached(a_do)->expiry - cached(a_do)->born, 300s);
    EXPECT_LT(cached(a)->expiry, cached(a_do)->expiry);
}

TEST_F(FlavoursTest, AnAnswerThatIsNotStoredReachesBoth) {
    for (unsigned i : {0u, 1u, 2u}) serve(i, {"1.1.1.1"}, 5ms, 0);
    auto one = ask(a), other = ask(a_do);
    run(1s);
    EXPECT_EQ(woken(one).addresses, Hosts{"1.1.1.1"});
    EXPECT_EQ(woken(other).addresses, Hosts{"1.1.1.1"});
    EXPECT_EQ(fetches.counters().fetches, 1u);
}

TEST_F(FlavoursTest, FailuresAndWhatAValidatorRevokesConcernBoth) {
    upstreams.replace({{server(0), true}, server(1), server(2)});
    script(0, {.rcode = 2, .info = 6}, 20ms);
    for (unsigned i : {1u, 2u}) serve(i, {"6.6.6.6"}, 5ms);
    auto token = ask(a);
    run(10ms);
    EXPECT_EQ(woken(token).addresses, Hosts{"6.6.6.6"});
    EXPECT_EQ(cached_addresses(a_do), Hosts{"6.6.6.6"});
    run(20ms);
    for (const auto& key : {a, a_do}) {
        EXPECT_TRUE(cached(key)->failure);
        EXPECT_EQ(cached(key)->version, (Version{1, 1}));
    }
    EXPECT_EQ(fetches.counters().failed, 1u);
    EXPECT_EQ(fetches.counters().revoked, 1u);
}

TEST_F(FlavoursTest, TheEndOfAChainIsAskedOnceForBoth) {
    for (unsigned i : {0u, 1u, 2u}) {
        network.serve(server(i), [this](FakeNetwork& net, const Sent& sent) {
            ReplySpec bare{.answer = {"a.com. 60 IN CNAME x.com."}};
            ReplySpec end{.answer = {"x.com. 60 IN A 1.1.1.1", "x.com. " + signature}};
            net.reply(sent, make_reply(sent.message, question_name(sent) == "a.com." ? bare : end), 5ms);
        });
    }
    auto one = ask(a), other = ask(a_do);
    run(1s);
    EXPECT_EQ(woken(one).addresses, Hosts{"1.1.1.1"});
    EXPECT_EQ(woken(other).addresses, Hosts{"1.1.1.1"});
    EXPECT_EQ(types(a), (std::vector<unsigned>{LDNS_RR_TYPE_CNAME, LDNS_RR_TYPE_A}));
    EXPECT_EQ(types(a_do), (std::vector<unsigned>{LDNS_RR_TYPE_CNAME, LDNS_RR_TYPE_A, LDNS_RR_TYPE_RRSIG}));
    EXPECT_EQ(fetches.counters().fetches, 2u);
}

TEST_F(FlavoursTest, AFlushSendsBothToOneSuccessor) {
    for (unsigned i : {0u, 1u, 2u}) silence(i);
    auto one = ask(a), other = ask(a_do);
    run(10ms);
    for (unsigned i : {0u, 1u, 2u}) serve(i, {"3.3.3.3"}, 5ms);
    ASSERT_TRUE(flushes.flush_name(a.name, [](std::size_t) {}));
    while (flushes.tick()) {
    }
    run(1s);
    EXPECT_EQ(woken(one).addresses, Hosts{"3.3.3.3"});
    EXPECT_EQ(woken(other).addresses, Hosts{"3.3.3.3"});
    EXPECT_EQ(fetches.counters().fetches, 2u);
}

} // namespace
} // namespace millrace::control
