// What is stored by way of the denial of a name above (RFC 8020) goes when that is revoked, or flushed.
#include "tests/control/fetch/dns64_fixture.hpp"
#include "tests/support/rules.hpp"

namespace millrace::control {
namespace {

/// Server 0 is trusted, and denies "no.com". Of what is below it two answers are stored: to a name that leads
/// there, and to a client of a DNS64 rule.
class DeniedBelow : public Scenarios {
  protected:
    DeniedBelow() : Scenarios(1, hardened()) {
        upstreams.replace({{server(0), true}});
        upstreams.habits(0).heard_opt();
        upstreams.habits(0).knew_mixed_case(LetterCase::kept, clock.now);
        fetches.set_rules(rules.current());
        translated.set_dns64(1);
        network.serve(server(0), [this](FakeNetwork& net, const Sent& sent) {
            std::string name = question_name(sent);
            if (name == "no.com.") return net.reply(sent, make_reply(sent.message, of_no), delay);
            ReplySpec spec{.answer = {record(sent, "1.1.1.1", 600)}};
            if (name == "alias.com.") spec = {.answer = {"alias.com. 600 IN CNAME x.no.com."}};
            if (name == "gone.com.") spec = nxdomain;
            if (name == "v4.no.com." && type_of(sent) == type_aaaa) spec = nodata;
            net.reply(sent, make_reply(sent.message, spec), 1ms);
        });
    }
    ~DeniedBelow() override { fetches.set_rules({}); }

    static dataplane::ClientPolicy clients_with_ipv6() {
        dataplane::ClientPolicy policy;
        policy.dns64 = {{*parse_prefix("64:ff9b::/96"), {*parse_prefix("::/0")}}};
        return policy;
    }
    void use(const cache::Key& key) {
        ask(key);
        run(10ms);
    }
    /// The denied name is asked afresh, which takes a while; meanwhile the two are used.
    void use_while_it_is_asked(const ReplySpec& reply) {
        use(no);
        of_no = reply;
        delay = 900ms;
        fetches.refresh(no, hash(no), cached(no)->version, clock.now);
        use(alias);
        ask_as({*dataplane::parse_address("2001:db8::1"), 1024}, 1, translated);
        run(10ms);
        for (const auto& key : {alias, translated}) {
            ASSERT_TRUE(cached(key));
            EXPECT_EQ(cached(key)->rcode, LDNS_RCODE_NXDOMAIN);
            EXPECT_LE(cached(key)->expiry, clock.now + limits::followed_ttl);
        }
        EXPECT_EQ(fetches.counters().below_denied, 2u);
    }

    const ReplySpec denial{.authority = {"com. 600 IN SOA a. b. 1 2 3 4 600"}, .rcode = 3, .authentic = true};
    ReplySpec of_no = denial;
    Time delay = 1ms;
    test::RulesInEffect rules{clients_with_ipv6()};
    cache::Key no = make_key("no.com", type_a), alias = make_key("alias.com", type_a),
               translated = make_key("x.no.com", type_aaaa);
};

TEST_F(DeniedBelow, GoesWhenAValidatorRevokesTheDenial) {
    use_while_it_is_asked({.rcode = 2, .info = 6});
    run(2s);
    ASSERT_TRUE(cached(no));
    ASSERT_TRUE(cached(no)->failure);
    EXPECT_FALSE(cached(alias));
    EXPECT_FALSE(cached(translated));
}

TEST_F(DeniedBelow, StaysWhenItIsDeniedAgain) {
    use_while_it_is_asked(denial);
    run(2s);
    EXPECT_EQ(fetches.live(), 0u);
    EXPECT_TRUE(cached(alias));
    EXPECT_TRUE(cached(translated));
}

TEST_F(DeniedBelow, GoesWithAFlushOfTheDeniedName) {
    cache::Key there = make_key("y.no.com", type_a), gone = make_key("gone.com", type_a);
    for (const auto& key : {there, gone, no, alias}) use(key);
    ask_as({*dataplane::parse_address("2001:db8::1"), 1024}, 1, translated);
    run(10ms);
    for (const auto& key : {alias, translated}) {
        ASSERT_TRUE(cached(key));
        EXPECT_GT(cached(key)->expiry, clock.now + 500s);
    }
    ASSERT_TRUE(flushes.flush_name(no.name, [](std::size_t) {}));
    while (flushes.is_waiting()) flushes.tick();
    for (const auto& key : {no, alias, translated}) EXPECT_FALSE(cached(key));
    EXPECT_TRUE(cached(there)) << "not denied";
    EXPECT_TRUE(cached(gone)) << "not below it";
}

/// The AAAA question for the name below was answered before the denial came, the A question by it.
TEST_F(DeniedBelow, OfDns64NodataGoesToo) {
    cache::Key native = make_key("v4.no.com", type_aaaa), made = native;
    made.set_dns64(1);
    for (const auto& key : {native, no}) use(key);
    ASSERT_TRUE(cached(native));
    ask_as({*dataplane::parse_address("2001:db8::1"), 1024}, 1, made);
    run(10ms);
    ASSERT_TRUE(cached(made));
    EXPECT_EQ(cached(made)->rcode, LDNS_RCODE_NOERROR);
    EXPECT_EQ(cached(made)->answers, 0u);
    ASSERT_TRUE(flushes.flush_name(no.name, [](std::size_t) {}));
    while (flushes.is_waiting()) flushes.tick();
    EXPECT_FALSE(cached(made));
    EXPECT_TRUE(cached(native)) << "it was said of the name itself";
}

} // namespace
} // namespace millrace::control
