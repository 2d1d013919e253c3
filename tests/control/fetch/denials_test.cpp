// Nothing is below a name that a validator denies (RFC 8020; `cache: harden-below-nxdomain`).
#include "tests/control/fetch/scenarios_fixture.hpp"
#include "tests/support/rules.hpp"

namespace millrace::control {
namespace {

/// Server 0 is trusted; the name "no.com" and all below it do not exist.
class DenialsTest : public Scenarios {
  protected:
    DenialsTest() : Scenarios(1, hardened()) {
        trust(true);
        deny();
    }
    void trust(bool trusts) {
        upstreams.replace({{server(0), trusts}});
        upstreams.habits(0).heard_opt();
        upstreams.habits(0).knew_mixed_case(LetterCase::kept, clock.now);
    }
    void deny(bool authentic = true, unsigned ttl = 60) {
        std::string life = " " + std::to_string(ttl) + " IN ";
        std::string signature = "8 1 60 20300101000000 20200101000000 1 com. AAAA";
        script(
            0,
            {.authority = {"com." + life + "SOA a. b. 1 2 3 4 60", "com." + life + "RRSIG SOA " + signature,
                           "nn.com." + life + "NSEC np.com. A RRSIG NSEC",
                           "nn.com." + life + "RRSIG NSEC " + signature},
             .rcode = 3,
             .authentic = authentic},
            1ms);
    }
    void use(const cache::Key& key) {
        ask(key);
        run(10ms);
    }
    static cache::Key key_of(const std::string& name, std::uint8_t flavour = cache::plain,
                             std::uint16_t type = LDNS_RR_TYPE_A) {
        return make_key(name, type, flavour);
    }
    /// Whether the question costs the upstream one.
    bool is_asked(const cache::Key& key) {
        std::size_t before = queries_to(0);
        token = ask(key);
        run(10ms);
        EXPECT_EQ(woken(token).rcode, LDNS_RCODE_NXDOMAIN);
        return queries_to(0) > before;
    }
    std::uint64_t token = 0; ///< of the latest question
    cache::Key no = key_of("no.com"), below = key_of("x.y.no.com");
};

TEST_F(DenialsTest, NothingIsAskedBelowADeniedName) {
    use(no);
    run(20s);
    EXPECT_FALSE(is_asked(below));
    EXPECT_LE(woken(token).expiry, cached(no)->expiry) << "no longer than the denial";
    EXPECT_GT(woken(token).expiry, cached(no)->expiry - 2s);
    EXPECT_TRUE(woken(token).authentic);
    EXPECT_FALSE(cached(below)) << "nothing limits how many there are";
    EXPECT_FALSE(is_asked(key_of("z.no.com", cache::plain, LDNS_RR_TYPE_MX))) << "of whatever type";
    EXPECT_EQ(fetches.counters().below_denied, 2u);
    EXPECT_TRUE(is_asked(key_of("no2.com")));
    EXPECT_TRUE(is_asked(key_of("xno.com"))) << "not below it";
    run(60s);
    EXPECT_TRUE(is_asked(below)) << "the denial has expired";
}

/// Who validates needs the proof; who has asked without DO does not get it.
TEST_F(DenialsTest, WithDoTheProofComesWithIt) {
    use(no);
    cache::Key secure = key_of("x.no.com", cache::dnssec_ok);
    EXPECT_FALSE(is_asked(secure));
    EXPECT_EQ(woken(token).authorities, 4u);
    EXPECT_FALSE(is_asked(key_of("x.no.com")));
    EXPECT_EQ(woken(token).authorities, 1u);
    EXPECT_TRUE(is_asked(key_of("x.no.com", cache::checking_disabled))) << "another answer";
}

TEST_F(DenialsTest, WithDoThereIsAProofOrNothing) {
    script(0, {.authority = {"com. 60 IN SOA a. b. 1 2 3 4 60"}, .rcode = 3, .authentic = true}, 1ms);
    use(no);
    EXPECT_TRUE(is_asked(key_of("x.no.com", cache::dnssec_ok)));
    EXPECT_FALSE(is_asked(key_of("y.no.com")));
}

/// Their questions have no Fetch: it is those that they lead to that are not asked.
TEST_F(DenialsTest, ItHoldsForDns64) {
    dataplane::ClientPolicy policy;
    policy.dns64 = {{*dataplane::parse_prefix("64:ff9b::/96"), {*dataplane::parse_prefix("::/0")}}};
    test::RulesInEffect rules(policy);
    fetches.set_rules(rules.current());
    use(no);
    cache::Key key = key_of("x.no.com", cache::plain, LDNS_RR_TYPE_AAAA);
    key.set_dns64(1);
    std::size_t before = queries_to(0);
    auto client = ask_as({*dataplane::parse_address("2001:db8::1"), 1024}, 1, key);
    run(10ms);
    EXPECT_EQ(woken(client).rcode, LDNS_RCODE_NXDOMAIN);
    EXPECT_EQ(queries_to(0), before);
    EXPECT_EQ(fetches.counters().below_denied, 1u);
    run(10s); // nothing is left that looks at `rules`
    fetches.set_rules({});
}

TEST_F(DenialsTest, OnlyASignedDenialByATrustedServerCounts) {
    deny(false);
    use(no);
    EXPECT_TRUE(is_asked(below)) << "insecure, or opt-out";
    deny();
    run(61s);
    use(no);
    deny(false);
    run(61s);
    use(no);
    EXPECT_TRUE(is_asked(key_of("z.no.com"))) << "no longer signed";
    deny();
    trust(false);
    use(key_of("no3.com"));
    EXPECT_TRUE(is_asked(key_of("x.no3.com"))) << "anybody can set AD";
}

TEST_F(DenialsTest, OffUnlessConfigured) {
    fetches.set_policy(0, {});
    use(no);
    EXPECT_TRUE(is_asked(below));
    fetches.set_policy(0, hardened());
    EXPECT_TRUE(is_asked(key_of("z.no.com"))) << "what came before is not known";
}

TEST_F(DenialsTest, AFlushedDenialIsNone) {
    use(no);
    EXPECT_FALSE(is_asked(below));
    bool is_flushed = false;
    ASSERT_TRUE(flushes.flush_name(no.name, [&](std::size_t) { is_flushed = true; }));
    EXPECT_TRUE(is_asked(below)) << "though the flush has not come to it yet";
    while (flushes.tick() && !is_flushed) run(1ms);
    EXPECT_TRUE(is_asked(key_of("z.no.com")));
}

/// The chain's end does not exist; the name does.
TEST_F(DenialsTest, ADenialOfAChainsEndIsNotTheNames) {
    network.serve(server(0), [](FakeNetwork& net, const Sent& sent) {
        ReplySpec spec{.answer = {question_name(sent) + " 60 IN CNAME end.com."},
                       .authority = {"com. 60 IN SOA a. b. 1 2 3 4 60"},
                       .rcode = 3,
                       .authentic = true};
        net.reply(sent, make_reply(sent.message, spec), 1ms);
    });
    use(key_of("alias.com"));
    EXPECT_TRUE(is_asked(key_of("x.alias.com")));
}

} // namespace
} // namespace millrace::control
