// Names that a validator finds bogus, and what upstreams say of failures (dataplane/RULES.md, failures).
#include "dataplane/answer.hpp"
#include "tests/control/fetch/scenarios_fixture.hpp"

namespace millrace::control {
namespace {

using cache::Version;
using dataplane::Wake;

const ReplySpec bogus{.rcode = 2, .info = 6, .info_text = "signature of a.com does not fit"};

std::string text_of(const cache::Entry& entry) {
    auto text = entry.info_text();
    return {text.begin(), text.end()};
}

/// Server 0 validates, the others do not.
class BogusTest : public Scenarios {
  protected:
    BogusTest() { mark_first(); }
    void mark_first() { upstreams.replace({{server(0), true}, server(1), server(2)}); }
    void expect_bogus(const cache::Key& key) {
        ASSERT_TRUE(cached(key));
        EXPECT_TRUE(cached(key)->failure);
        EXPECT_EQ(cached(key)->info, 6);
        EXPECT_EQ(text_of(*cached(key)), bogus.info_text);
        EXPECT_EQ(fetches.live(), 0u);
    }
};

TEST_F(BogusTest, AValidatorsWordDecidesAtOnce) {
    script(0, bogus, 1ms);
    for (unsigned i : {1u, 2u}) serve(i, {"6.6.6.6"}, 5ms);
    auto token = ask(a);
    run(2ms);
    EXPECT_EQ(woken(token).rcode, LDNS_RCODE_SERVFAIL);
    EXPECT_EQ(woken(token).info, 6);
    expect_bogus(a);
    run(2s);
    expect_bogus(a);
    EXPECT_EQ(queries_to(2), 0u) << "nobody else is asked";
    EXPECT_EQ(fetches.counters().bogus, 1u);
    EXPECT_EQ(fetches.counters().revoked, 0u);
}

TEST_F(BogusTest, ItRevokesWhatAQuickerServerSaid) {
    script(0, bogus, 20ms);
    for (unsigned i : {1u, 2u}) serve(i, {"6.6.6.6"}, 5ms);
    auto token = ask(a);
    run(10ms);
    EXPECT_EQ(woken(token).addresses, Hosts{"6.6.6.6"}) << "who waits is not kept waiting";
    run(20ms);
    expect_bogus(a);
    EXPECT_EQ(cached(a)->version, (Version{1, 1}));
    EXPECT_EQ(cached(a)->expiry - cached(a)->born, 5s);
    EXPECT_EQ(fetches.counters().revoked, 1u);
}

TEST_F(BogusTest, ItIsHeardOutWhateverIsAskedAndSaid) {
    cache::Key mx = make_key("a.com", LDNS_RR_TYPE_MX), checked = make_key("b.com", LDNS_RR_TYPE_A, 1);
    for (const ReplySpec& quick : {ReplySpec{.answer = {"a.com. 600 IN MX 1 evil.com."}}, nxdomain, nodata}) {
        script(0, bogus, 20ms);
        for (unsigned i : {1u, 2u}) script(i, quick, 5ms);
        ask(mx);
        run(1s);
        expect_bogus(mx);
        run(1min);
    }
    for (unsigned i : {1u, 2u}) serve(i, {"6.6.6.6"}, 5ms);
    ask(checked);
    run(1s);
    expect_bogus(checked);
}

TEST_F(BogusTest, ATrustedServerIsHeardHoweverLongItTakes) {
    upstreams.measured(0, 10ms);
    script(0, bogus, 900ms);
    for (unsigned i : {1u, 2u}) serve(i, {"6.6.6.6"}, 5ms, 600);
    ask(a);
    run(2s);
    expect_bogus(a);
}

TEST_F(BogusTest, NeitherAnAnswerThatIsNotKeptNorAChainWithoutItsEndSilencesIt) {
    script(0, bogus, 900ms);
    for (unsigned i : {1u, 2u}) serve(i, {"6.6.6.6"}, 5ms, 0);
    ask(a);
    run(1s);
    expect_bogus(a);
    for (unsigned i : {1u, 2u}) script(i, {.answer = {"b.com. 600 IN CNAME evil.net."}}, 5ms);
    auto token = ask(b);
    run(1s);
    EXPECT_EQ(woken(token).rcode, LDNS_RCODE_SERVFAIL);
    expect_bogus(b);
}

TEST_F(BogusTest, NoStaleDataStandsInForIt) {
    for (unsigned i : {0u, 1u, 2u}) serve(i, {"1.1.1.1"}, 5ms, 1);
    ask(a);
    run(2s);
    script(0, bogus, 1ms);
    for (unsigned i : {1u, 2u}) serve(i, {"6.6.6.6"}, 5ms);
    auto token = ask(a);
    run(1s);
    EXPECT_EQ(woken(token).rcode, LDNS_RCODE_SERVFAIL);
    expect_bogus(a);
}

TEST_F(BogusTest, WhereSomebodyIsTrustedNobodyElsesWordIsFinal) {
    serve(0, {"1.1.1.1"}, 20ms);
    for (unsigned i : {1u, 2u}) script(i, bogus, 1ms);
    auto token = ask(a);
    run(1s);
    EXPECT_EQ(woken(token).addresses, Hosts{"1.1.1.1"});
    EXPECT_EQ(cached_addresses(a), Hosts{"1.1.1.1"});
    EXPECT_EQ(fetches.counters().bogus, 0u);
}

TEST_F(BogusTest, WhereNobodyIsTrustedAnybodysIs) {
    upstreams.replace(make_servers(3));
    for (unsigned i : {0u, 2u}) serve(i, {"6.6.6.6"}, 1ms);
    script(1, bogus, 20ms);
    ask(a);
    run(1s);
    expect_bogus(a);
}

TEST_F(BogusTest, OtherFailuresAreNotFinal) {
    for (int code : {-1, 0, 3, 4, 13, 14, 22, 23}) {
        cache::Key key = make_key("n" + std::to_string(code + 1) + ".com", LDNS_RR_TYPE_A);
        script(0, {.rcode = 2, .info = code}, 1ms);
        for (unsigned i : {1u, 2u}) serve(i, {"1.1.1.1"}, 5ms);
        auto token = ask(key);
        run(1s);
        EXPECT_EQ(woken(token).addresses, Hosts{"1.1.1.1"}) << code;
    }
    script(0, {.rcode = 5, .info = 6}, 1ms);
    auto token = ask(a);
    run(1s);
    EXPECT_EQ(woken(token).addresses, Hosts{"1.1.1.1"}) << "REFUSED is no validator's word";
}

// What goes on to clients.

TEST_F(BogusTest, OfSeveralFailuresTheMostTellingErrorIsPassedOn) {
    script(0, {.rcode = 2, .info = 0, .info_text = "other"}, 1ms);
    script(1,
           {.rcode = 2,
            .info = 22,
            .info_text = "no reachable \x01"
                         "authority"},
           2ms);
    script(2, servfail, 3ms);
    auto token = ask(a);
    run(1s);
    EXPECT_EQ(woken(token).info, 22);
    ASSERT_TRUE(cached(a));
    EXPECT_EQ(cached(a)->info, 22) << "from the cache too";
    EXPECT_EQ(text_of(*cached(a)), "no reachable ?authority");
}

TEST_F(BogusTest, TheTextIsBounded) {
    const ReplySpec long_winded{.rcode = 2, .info = 22, .info_text = std::string(500, 'x')};
    for (unsigned i : {0u, 1u, 2u}) script(i, long_winded, 1ms);
    ask(a);
    run(1s);
    ASSERT_TRUE(cached(a));
    EXPECT_EQ(text_of(*cached(a)), std::string(cache::limits::info_octets, 'x'));
    dataplane::Head head;
    head.edns = true;
    head.limit = 1232;
    std::vector<std::uint8_t> question{1, 'a', 0, 0, 1, 0, 1}, out(1232);
    head.question_size = std::uint16_t(question.size());
    auto counted = dataplane::answer::Age::counted;
    EXPECT_EQ(dataplane::answer::write(head, question, *cached(a), clock.now, counted, out),
              12u + question.size() + 11 + 6 + cache::limits::info_octets);
}

} // namespace
} // namespace millrace::control
