// Names that follow others: what they are told while flushes, failures and our own bounds come between.
#include "tests/control/fetch/scenarios_fixture.hpp"
#include "tests/support/entries.hpp"
#include "tests/support/rules.hpp"

namespace millrace::control {
namespace {

using dataplane::LocalNames;

/// f.com is led to k.com by a rule, k.com to t.com by its upstreams, who answer each name alone.
class FollowersTest : public Scenarios {
  protected:
    FollowersTest() {
        LocalNames::Builder names;
        names.add(cache::parse_name("f.com")->bytes(), LocalNames::Builder::exact,
                  names.alias(1, false, cache::Entry::no_info, *cache::parse_name("k.com")));
        rules.replace_local(names.build(), grace);
        fetches.set_rules(rules.current());
        say("1.1.1.1");
    }
    /// Empty: t.com fails.
    void say(const std::string& address) {
        for (unsigned i : {0u, 1u, 2u}) {
            network.serve(server(i), [=](FakeNetwork& net, const Sent& sent) {
                ReplySpec spec{.rcode = address.empty() ? 2u : 0u};
                if (question_name(sent) == "k.com.") spec = {.answer = {"k.com. 60 IN CNAME t.com."}};
                if (question_name(sent) == "t.com." && !address.empty())
                    spec.answer.push_back("t.com. 60 IN A " + address);
                net.reply(sent, make_reply(sent.message, spec), 5ms);
            });
        }
    }
    test::RulesInEffect rules;
    cache::Key f = make_key("f.com", LDNS_RR_TYPE_A), k = make_key("k.com", LDNS_RR_TYPE_A),
               t = make_key("t.com", LDNS_RR_TYPE_A);
};

TEST_F(FollowersTest, NothingIsMadeOfWhatAFlushIsOnItsWayTo) {
    for (const auto& asked : {f, k}) {
        say("1.1.1.1");
        ask(t);
        run(1s);
        ASSERT_EQ(cached_addresses(t), Hosts{"1.1.1.1"});
        say("2.2.2.2");
        ASSERT_TRUE(flushes.flush_name(t.name, [](std::size_t) {})); // the table is not walked yet
        auto client = ask(asked);
        run(1s);
        EXPECT_EQ(woken(client).addresses, Hosts{"2.2.2.2"});
        while (flushes.is_waiting()) flushes.tick();
        EXPECT_EQ(cached_addresses(asked), Hosts{"2.2.2.2"});
        run(100s);
    }
}

TEST_F(FollowersTest, StaleDataOfTheNameBetweenIsNoAnswerForItsFollowers) {
    ask(f);
    run(1s);
    ASSERT_EQ(cached_addresses(f), Hosts{"1.1.1.1"});
    cache::Version before = cached(f)->version;
    run(100s);
    say("");
    auto client = ask(f);
    run(1s);
    EXPECT_EQ(woken(client).kind, dataplane::Wake::Kind::stale);
    EXPECT_EQ(woken(client).addresses, Hosts{"1.1.1.1"});
    EXPECT_EQ(cached(f)->version, before);
}

TEST_F(FollowersTest, OurOwnBoundsAreNoFailureOfTheirs) {
    ask(t);
    run(100s); // stale by now; the others are not known
    auto client = ask(k);
    run(4ms);
    network.socket_limit = 0; // k.com's replies come, t.com cannot be asked
    run(1s);
    EXPECT_EQ(woken(client).rcode, LDNS_RCODE_SERVFAIL);
    EXPECT_FALSE(cached(k)) << "it is not the name's failure";
}

} // namespace
} // namespace millrace::control
