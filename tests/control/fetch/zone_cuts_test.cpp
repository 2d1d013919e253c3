// Zones learned from answers, and what their names are charged.
#include <gtest/gtest.h>

#include "control/fetch/zone_cuts.hpp"
#include "control/limits.hpp"
#include "control/message/reply.hpp"
#include "tests/support/clock.hpp"
#include "tests/support/messages.hpp"
#include "tests/support/replies.hpp"

namespace millrace::control {
namespace {

using support::make_key;
using support::ReplySpec;
using Charge = ZoneCuts::Charge;

class ZoneCutsTest : public testing::Test {
  protected:
    static constexpr unsigned rate = 10;

    Answer answer_to(const cache::Key& key, const ReplySpec& spec) {
        auto query = test::query(cache::to_string(key.name.bytes()));
        return *parse_reply(support::make_reply(query, spec), key, 0, now);
    }
    static ReplySpec denial(const std::string& zone, unsigned rcode = LDNS_RCODE_NXDOMAIN) {
        return {.authority = {zone + " 60 IN SOA ns. host. 1 2 3 4 60"}, .rcode = rcode};
    }
    static ReplySpec address(const std::string& name) { return {.answer = {name + " 60 IN A 192.0.2.1"}}; }
    static cache::Key key_of(const std::string& name, std::uint8_t group = 0) {
        return make_key(name, LDNS_RR_TYPE_A, cache::plain, group);
    }
    /// A question and its end. False: it was over its zone's rate, and not asked.
    bool ask(const std::string& name, const ReplySpec& spec, std::uint8_t group = 0) {
        cache::Key key = key_of(name, group);
        auto admission = cuts.admit(key, rate, now);
        if (!admission.is_over) cuts.learn(key, answer_to(key, spec), admission.charge, rate, now);
        return !admission.is_over;
    }
    bool ask_random(const std::string& zone) {
        return ask("r" + std::to_string(++drawn) + "." + zone, denial(zone));
    }
    void flood(const std::string& zone) {
        for (unsigned i = 0; i < 5 * rate; ++i) ask_random(zone);
    }
    bool knows(const std::string& name) const { return cuts.has(cache::parse_name(name)->bytes(), 0); }

    ZoneCuts cuts;
    Time now = support::clock_start();
    unsigned drawn = 0;
};

TEST_F(ZoneCutsTest, NamesThatAreNotFoundAreCappedByZone) {
    unsigned asked = 0;
    for (unsigned i = 0; i < 100; ++i) asked += ask_random("a.com.");
    EXPECT_EQ(asked, rate);
    EXPECT_FALSE(ask("x.y.a.com.", denial("a.com."))) << "however far below";
    EXPECT_TRUE(ask_random("b.com.")) << "another zone";
    EXPECT_TRUE(ask("r.a.com.", denial("a.com."), 1)) << "another group";
    for (unsigned i = 0; i < 1000; ++i, now += 10ms) asked += ask_random("a.com.");
    EXPECT_NEAR(asked, rate * 11, 1) << "in ten seconds";
}

TEST_F(ZoneCutsTest, NamesThatAreFoundAreNotCounted) {
    ask("nothing.com.", denial("com."));
    for (unsigned i = 0; i < 100; ++i) {
        std::string name = "n" + std::to_string(i) + ".com.";
        EXPECT_TRUE(ask(name, address(name))) << i;
    }
}

/// Most of a flood is on its way when the first answer comes back.
TEST_F(ZoneCutsTest, AFloodIsChargedAtItsStart) {
    ask("r.a.com.", denial("a.com."));
    std::vector<std::pair<cache::Key, Charge>> open;
    unsigned asked = 0;
    for (unsigned i = 0; i < 5000; ++i, now += 1ms) { // five seconds, a hundred times the rate
        cache::Key key = key_of("q" + std::to_string(i) + ".a.com.");
        auto admission = cuts.admit(key, rate, now);
        if (!admission.is_over) open.emplace_back(key, admission.charge);
        asked += !admission.is_over;
        if (i % 200 != 0) continue;
        for (auto& [asked_key, charge] : std::exchange(open, {}))
            cuts.learn(asked_key, answer_to(asked_key, denial("a.com.")), charge, rate, now);
    }
    EXPECT_NEAR(asked, 6 * rate, 2);
}

TEST_F(ZoneCutsTest, WhatCameBeforeTheFirstDenialIsPaidLater) {
    std::vector<cache::Key> open;
    for (unsigned i = 0; i < 50; ++i) {
        open.push_back(key_of("q" + std::to_string(i) + ".a.com."));
        EXPECT_FALSE(cuts.admit(open.back(), rate, now).is_over);
    }
    for (const cache::Key& key : open) cuts.learn(key, answer_to(key, denial("a.com.")), {}, rate, now);
    now += 3900ms; // five seconds' worth, of which one at once
    EXPECT_FALSE(ask_random("a.com."));
    now += 300ms;
    EXPECT_TRUE(ask_random("a.com."));
    for (unsigned i = 0; i < 10'000; ++i) // more than a zone may owe
        cuts.learn(key_of("p.a.com."), answer_to(key_of("p.a.com."), denial("a.com.")), {}, rate, now);
    now += limits::zone_debt;
    EXPECT_TRUE(ask_random("a.com."));
}

TEST_F(ZoneCutsTest, SilenceIsPaidForAndSuccessIsNot) {
    ask("r.a.com.", denial("a.com."));
    std::vector<Charge> charges;
    for (unsigned i = 0; i < rate - 1; ++i) {
        auto admission = cuts.admit(key_of("q.a.com."), rate, now);
        ASSERT_FALSE(admission.is_over);
        charges.push_back(admission.charge);
    }
    EXPECT_TRUE(cuts.admit(key_of("q.a.com."), rate, now).is_over) << "though nobody has answered";
    cuts.learn(key_of("q.a.com."), answer_to(key_of("q.a.com."), address("q.a.com.")), charges[0], rate, now);
    EXPECT_FALSE(cuts.admit(key_of("p.a.com."), rate, now).is_over) << "one was found";
}

/// A flood ends in silence: no denial says any more that it goes on.
TEST_F(ZoneCutsTest, NoAnswerEndsAFloodBeforeItIsPaidFor) {
    auto silent = [this] {
        unsigned passed = 0;
        for (unsigned i = 0; i < 100; ++i) passed += !cuts.admit(key_of("q.a.com."), rate, now).is_over;
        return passed;
    };
    ask_random("a.com.");
    ask("a.com.", address("a.com."));
    ask("www.a.com.", address("www.a.com."));
    EXPECT_LE(silent(), rate);
    now += 5s;
    ask("a.com.", address("a.com."));
    EXPECT_LE(silent(), rate) << "the zone's own name always exists";
    now += 5s;
    ask("w.a.com.", address("w.a.com."));
    EXPECT_EQ(silent(), 100u) << "it is over";
}

/// As x.evil.com does below a DNAME to victim.com.
TEST_F(ZoneCutsTest, ANameThatLeadsToNothingDoesNotExist) {
    ask("r.evil.com.", denial("evil.com."));
    unsigned asked = 0;
    for (unsigned i = 0; i < 100; ++i) {
        std::string name = "x" + std::to_string(i) + ".evil.com.";
        ReplySpec spec = denial("victim.com.");
        spec.answer = {name + " 60 IN CNAME r" + std::to_string(i) + ".victim.com."};
        asked += ask(name, spec);
    }
    EXPECT_EQ(asked, rate - 1);
    EXPECT_FALSE(knows("x0.evil.com."));
    EXPECT_TRUE(ask_random("victim.com.")) << "which cannot help it";
}

/// As of an AAAA question that is answered before the A question.
TEST_F(ZoneCutsTest, WhatANameHasNotIsPaidBackWhenTheNameIsFound) {
    for (unsigned i = 0; i < 5 * rate; ++i) {
        std::string name = "n" + std::to_string(i) + ".a.com.";
        EXPECT_TRUE(ask(name, denial("a.com.", 0))) << i;
        EXPECT_TRUE(ask(name, denial("a.com.", 0))) << "of another type";
        EXPECT_TRUE(ask(name, address(name))) << i;
    }
    for (unsigned i = 0; i < 3; ++i) ask_random("a.com.");
    ask("n.a.com.", denial("a.com.", 0));
    for (unsigned i = 0; i < 5; ++i) ask("n.a.com.", address("n.a.com.")); // paid back once
    unsigned asked = 0;
    for (unsigned i = 0; i < 5 * rate; ++i)
        asked += ask("w" + std::to_string(i) + ".a.com.", denial("a.com.", 0));
    EXPECT_EQ(asked, rate - 3) << "names that have nothing may be random ones";
}

TEST_F(ZoneCutsTest, WhatIsSparedIsNotCharged) {
    ask("r.a.com.", denial("a.com."));
    cache::Key key = key_of("old.a.com.");
    for (unsigned i = 0; i < 100; ++i)
        cuts.learn(key, answer_to(key, denial("a.com.")), {.is_spared = true}, rate, now);
    EXPECT_TRUE(ask_random("a.com."));
}

/// What has answered anything is not in the way of what a registry denies at random.
TEST_F(ZoneCutsTest, ZonesThatHaveAnsweredDoNotFeelTheirRegistrysFlood) {
    ask("nothing.com.", denial("com."));
    ask("www.shop.com.", address("www.shop.com."));
    EXPECT_TRUE(knows("shop.com."));
    flood("com.");
    EXPECT_FALSE(ask("r.com.", denial("com.")));
    EXPECT_TRUE(ask("new.shop.com.", address("new.shop.com.")));
    EXPECT_TRUE(ask("none.shop.com.", denial("shop.com.")));
}

TEST_F(ZoneCutsTest, NamesBelowAnExistingOneAreNoWayAroundTheCap) {
    ask_random("a.com.");
    ask("www.a.com.", address("www.a.com."));
    flood("a.com.");
    EXPECT_TRUE(ask("www.a.com.", address("www.a.com."))) << "it exists";
    EXPECT_TRUE(ask("r.www.a.com.", denial("a.com.")));
    EXPECT_FALSE(ask("s.www.a.com.", denial("a.com.")));
}

/// Who owns evil.com says of its names that they are com.'s: it takes no zone to use that up, and the others
/// keep their own.
TEST_F(ZoneCutsTest, ALieCostsTheLiar) {
    ask("nothing.com.", denial("com."));
    ask("www.shop.com.", address("www.shop.com."));
    for (unsigned i = 0; i < 5 * rate; ++i) ask("r" + std::to_string(i) + ".evil.com.", denial("com."));
    EXPECT_FALSE(ask("x.evil.com.", denial("com.")));
    ask("none.shop.com.", denial("shop.com."));
    EXPECT_TRUE(ask("new.shop.com.", address("new.shop.com."))) << "it has said what it is";
    EXPECT_TRUE(ask_random("shop.com."));
    // An SOA at what does not exist, or beside it, is no zone's.
    cuts.learn(key_of("r.b.com."), answer_to(key_of("r.b.com."), denial("r.b.com.")), {}, rate, now);
    EXPECT_FALSE(knows("r.b.com."));
    cache::Key key = key_of("r.b.com.");
    cuts.learn(key, answer_to(key_of("r.c.com."), denial("c.com.")), {}, rate, now);
    EXPECT_FALSE(knows("c.com."));
    cuts.learn(key_of("b.com."), answer_to(key_of("b.com."), denial("b.com.", 0)), {}, rate, now);
    EXPECT_TRUE(knows("b.com.")) << "NODATA at the top of a zone";
}

TEST_F(ZoneCutsTest, NamesOfAZoneThatDeniesNothingAreNoCuts) {
    ask("nothing.com.", denial("com."));
    for (unsigned i = 0; i < 3; ++i) ask("www.shop.com.", address("www.shop.com."));
    EXPECT_TRUE(knows("shop.com."));
    EXPECT_FALSE(knows("www.shop.com."));
}

/// All names of evil.com exist, and it has as many as there are places.
TEST_F(ZoneCutsTest, NewCutsPushOutNoneThatWasAskedAgain) {
    for (const char* zone : {"a.com.", "b.com.", "c.com.", "evil.com."}) ask_random(zone);
    ask_random("a.com.");
    cuts.touch(key_of("known.b.com."), now);
    ask_random("evil.com.");
    const Answer found = answer_to(key_of("w.evil.com."), address("w.evil.com."));
    for (unsigned i = 0; i < 4 * limits::zone_cuts; ++i) {
        now += 1us;
        cuts.learn(key_of("w" + std::to_string(i) + ".evil.com."), found, {}, rate, now);
    }
    EXPECT_TRUE(knows("a.com."));
    EXPECT_TRUE(knows("b.com.")) << "if only for names that are not charged";
    EXPECT_FALSE(knows("c.com.")) << "which came once";
}

TEST_F(ZoneCutsTest, WhoComesOnceDoesNotPushOutWhoComesOften) {
    flood("a.com.");
    for (unsigned i = 0; i < 4 * limits::zone_cuts; ++i) {
        std::string zone = "z" + std::to_string(i) + ".net.";
        cache::Key key = key_of("r." + zone);
        static const Answer one = answer_to(key_of("r.z.net."), denial("z.net."));
        Answer answer = one;
        RecordHandle soa(ldns_rr_clone(one.authority.front().get()));
        ldns_rdf_deep_free(ldns_rr_owner(soa.get()));
        ldns_rr_set_owner(soa.get(), ldns_dname_new_frm_str(zone.c_str()));
        answer.authority = {Record(std::move(soa))};
        cuts.learn(key, answer, {}, rate, now);
        if (i % 1000 == 0) ask_random("a.com.");
        now += 1us;
    }
    EXPECT_TRUE(knows("a.com."));
    EXPECT_FALSE(knows("z0.net.")) << "memory is bounded";
}

} // namespace
} // namespace millrace::control
