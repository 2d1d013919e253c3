// What becomes of those who wait when every place for a Fetch is taken.
#include "control/limits.hpp"
#include "tests/control/fetch/scenarios_fixture.hpp"
#include "tests/support/rules.hpp"

namespace millrace::control {
namespace {

/// f.com is led to k.com by a rule, k.com to t.com by its upstream, which has two addresses of other names.
class FullTest : public Scenarios {
  protected:
    FullTest() : Scenarios(1, {}, 40'000, 4096) {
        upstreams.set_policy({.outstanding = 4096, .rate = 10'000'000});
        dataplane::LocalNames::Builder names;
        names.add(cache::parse_name("f.com")->bytes(), dataplane::LocalNames::Builder::exact,
                  names.alias(1, false, cache::Entry::no_info, k.name));
        rules.replace_local(names.build(), grace);
        fetches.set_rules(rules.current());
        fetches.set_ranker(&ranker);
        network.serve(server(0), [](FakeNetwork& net, const Sent& sent) {
            ReplySpec spec{.answer = {"k.com. 60 IN CNAME t.com."}};
            if (question_name(sent) != "k.com.")
                spec.answer = {record(sent, "1.1.1.1", 60), record(sent, "2.2.2.2", 60)};
            net.reply(sent, make_reply(sent.message, spec), 1ms);
        });
    }
    void ask_another() { ask(make_key("n" + std::to_string(++others_) + ".com", LDNS_RR_TYPE_A)); }
    /// What is on its way arrives, and nothing ticks.
    void hear() {
        while (network.step()) {
        }
        clock.now += 1ms;
        while (network.step()) {
        }
    }
    /// So many Fetches whose answers are being ranked: those give way to nobody.
    void occupy(std::size_t count) {
        while (fetches.live() < count) {
            for (unsigned i = 0; i < 512 && fetches.live() < count; ++i) ask_another();
            hear();
        }
    }
    test::RulesInEffect rules;
    cache::Key f = make_key("f.com", LDNS_RR_TYPE_A), k = make_key("k.com", LDNS_RR_TYPE_A);

  private:
    unsigned others_ = 0;
};

TEST_F(FullTest, WhoFollowsANameThatCannotBeAskedAgainIsToldSo) {
    occupy(limits::fetches - 1);
    auto follower = ask(f, true);
    auto client = ask(k);
    hear(); // k.com's chain: its end is to be asked in the next tick
    ASSERT_FALSE(clients.woken.contains(follower) || clients.woken.contains(client));
    ask_another();
    ASSERT_EQ(fetches.live(), limits::fetches);
    fetches.supersede(
        [this](const cache::Key& key, const cache::Entry*) { return key == k; }); // it is to be asked afresh
    fetches.tick(clock.now);
    EXPECT_EQ(woken(client).rcode, LDNS_RCODE_SERVFAIL);
    while (fetches.is_superseding()) fetches.tick(clock.now); // till then it is tried again and again
    fetches.tick(clock.now);
    ASSERT_TRUE(clients.woken.contains(follower)) << "nobody else would end this wait";
    EXPECT_EQ(woken(follower).rcode, LDNS_RCODE_SERVFAIL);
    EXPECT_FALSE(cached(f));
}

/// x1.com and x2.com have no AAAA records to be had, so that DNS64 asks for A records once that is known.
class FullDns64Test : public FullTest {
  protected:
    FullDns64Test() {
        dataplane::ClientPolicy policy;
        policy.dns64 = {
            {*dataplane::parse_prefix("64:ff9b::/96"), {*dataplane::parse_prefix("2001:db8::/32")}, {}}};
        const dataplane::Rules& r = rules.now.get();
        auto access = std::make_shared<const dataplane::Access>(policy);
        rules.now.replace(std::make_unique<const dataplane::Rules>(access, r.local, r.routes), grace);
        network.serve(server(0), [](FakeNetwork& net, const Sent& sent) {
            bool has_none = question_name(sent).starts_with("x") && type_of(sent) == LDNS_RR_TYPE_AAAA;
            ReplySpec spec{.answer = {record(sent, "1.1.1.1", 60), record(sent, "2.2.2.2", 60)}};
            net.reply(sent,
                      make_reply(sent.message, has_none ? ReplySpec{.rcode = LDNS_RCODE_SERVFAIL} : spec),
                      1ms);
        });
    }
    void ask_translated(const char* name, std::uint16_t id) {
        cache::Key key = make_key(name, LDNS_RR_TYPE_AAAA);
        key.set_dns64(1);
        ask_as({*dataplane::parse_address("2001:db8::1"), id}, id, key);
    }
};

TEST_F(FullDns64Test, AFetchThatFailsGivesWayToNobodyItTells) {
    occupy(limits::fetches - 2);
    ask_translated("x1.com", 1);
    ask_translated("x2.com", 2);
    ASSERT_EQ(fetches.live(), limits::fetches);
    hear();
    hear();
    for (unsigned flavour : {cache::plain, cache::dnssec_ok}) {
        const cache::Entry* entry = cached(make_key("x1.com", LDNS_RR_TYPE_A, flavour));
        EXPECT_FALSE(entry && entry->failure) << "another question's failure";
    }
    auto client = ask(make_key("x1.com", LDNS_RR_TYPE_A, cache::dnssec_ok));
    hear();
    EXPECT_FALSE(clients.woken.contains(client) && woken(client).rcode != LDNS_RCODE_NOERROR);
}

} // namespace
} // namespace millrace::control
