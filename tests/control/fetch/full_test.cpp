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

} // namespace
} // namespace millrace::control
