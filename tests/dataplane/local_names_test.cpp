#include "dataplane/local_names.hpp"

#include <random>
#include <set>

#include <gtest/gtest.h>

#include "tests/support/entries.hpp"

namespace millrace::dataplane {
namespace {

using Action = LocalNames::Action;
using Builder = LocalNames::Builder;
using test::entry_of;

cache::Name name(const std::string& text) {
    return *cache::parse_name(text);
}

class LocalNamesTest : public testing::Test {
  protected:
    Builder::RuleId deny(unsigned source, Action action = Action::nxdomain) {
        return names.deny(source, true, action, 15, entry_of({}, {1}, 0s, 60s));
    }
    void add(const std::string& text, unsigned reach, Builder::RuleId rule) {
        names.add(name(text).bytes(), reach, rule);
    }
    /// The source of the rule for a name; -1: none.
    int source_of(const std::string& text) {
        auto match = built->find(name(text).bytes());
        return match ? built->info(*match) : -1;
    }
    Builder names;
    std::unique_ptr<const LocalNames> built;
};

TEST_F(LocalNamesTest, ExactBelowAndBoth) {
    add("exact.com", Builder::exact, deny(0));
    add("below.com", Builder::below, deny(0));
    add("both.com", Builder::both, deny(0));
    built = names.build();
    struct {
        const char* text;
        bool found;
    } rows[] = {{"exact.com", true},    {"a.exact.com", false}, {"xexact.com", false},
                {"below.com", false},   {"a.below.com", true},  {"b.a.below.com", true},
                {"both.com", true},     {"a.both.com", true},   {"abelow.com", false},
                {"com", false},         {".", false},           {"exact.com.net", false},
                {"exact\\.com", false}, {"both.com.", true}};
    for (const auto& row : rows)
        EXPECT_EQ(built->find(name(row.text).bytes()).has_value(), row.found) << row.text;
}

TEST_F(LocalNamesTest, TheMatchSaysWhereTheNameInTheSetBegins) {
    add("both.com", Builder::both, deny(0));
    built = names.build();
    EXPECT_EQ(built->find(name("both.com").bytes())->above, 0);
    EXPECT_EQ(built->find(name("a.bc.both.com").bytes())->above, 5);
}

TEST_F(LocalNamesTest, TheEarlierSourceCountsThenTheLongerName) {
    auto rule = [&](unsigned source, std::uint16_t info) {
        return names.deny(source, true, Action::nxdomain, info, entry_of({}, {1}, 0s, 60s));
    };
    add("com", Builder::below, rule(2, 20));
    add("a.com", Builder::both, rule(2, 21));
    add("x.a.com", Builder::exact, rule(1, 10));
    add("b.a.com", Builder::both, rule(3, 30));
    built = names.build();
    EXPECT_EQ(source_of("z.com"), 20);
    EXPECT_EQ(source_of("a.com"), 21);
    EXPECT_EQ(source_of("y.a.com"), 21) << "the longer name of the same source";
    EXPECT_EQ(source_of("x.a.com"), 10) << "the earlier source";
    EXPECT_EQ(source_of("b.a.com"), 21) << "a longer name of a later source";
    EXPECT_EQ(source_of("net"), -1);
}

TEST_F(LocalNamesTest, ASourceThatIsStoppedLeavesTheWordToTheNext) {
    auto rule = [&](unsigned source, std::uint16_t info) {
        return names.deny(source, true, Action::nxdomain, info, entry_of({}, {1}, 0s, 60s));
    };
    add("com", Builder::below, rule(1, 10));
    add("x.y.a.com", Builder::exact, rule(1, 11));
    add(".", Builder::below, rule(3, 30));
    add("com", Builder::below, rule(2, 20));
    add("b.com", Builder::exact, rule(1, 12));
    EXPECT_EQ(names.end_wildcards(2), 0u) << "nothing is below its wildcard";
    EXPECT_EQ(names.end_wildcards(1), 2u) << "a.com and y.a.com";
    EXPECT_EQ(names.end_wildcards(4), 0u);
    built = names.build();
    EXPECT_EQ(source_of("z.com"), 10);
    EXPECT_EQ(source_of("b.com"), 12);
    EXPECT_EQ(source_of("z.b.com"), 20);
    EXPECT_EQ(source_of("a.com"), 20) << "an empty non-terminal";
    EXPECT_EQ(source_of("z.a.com"), 20);
    EXPECT_EQ(source_of("y.a.com"), 20);
    EXPECT_EQ(source_of("x.y.a.com"), 11);
    EXPECT_EQ(source_of("z.x.y.a.com"), 20);
    EXPECT_EQ(source_of("net"), 30);
    EXPECT_EQ(built->find(name("z.a.com").bytes())->above, 4) << "com is in the set, not a.com";
}

/// A name costs what it is long, however many labels it has.
TEST_F(LocalNamesTest, EndedWildcardsTakeNoOctetsOfNames) {
    std::string deep;
    for (int i = 0; i < 126; ++i) deep += "a.";
    add(".", Builder::below, deny(0));
    add(deep, Builder::exact, deny(0));
    EXPECT_EQ(names.end_wildcards(0), 125u);
    built = names.build();
    EXPECT_LT(built->bytes(), 20'000u);
    EXPECT_FALSE(built->find(name("b." + deep.substr(2)).bytes()));
    EXPECT_TRUE(built->find(name(deep).bytes()));
    EXPECT_TRUE(built->find(name("b.").bytes()));
}

/// Offsets and indexes never wrap: what has no room is left out, and said to be.
TEST_F(LocalNamesTest, MoreThanThereIsRoomFor) {
    auto filled = [&](LocalNames::Room room) {
        names = Builder(room);
        for (const char* text : {"a.com", "b.com", "a.com"}) add(text, Builder::both, deny(0)); // 14 octets
    };
    filled({.octets = 14, .names = 2});
    EXPECT_FALSE(names.is_full());
    add("com", Builder::both, deny(0));
    EXPECT_TRUE(names.is_full());
    built = names.build();
    EXPECT_EQ(built->size(), 2u);
    EXPECT_FALSE(names.is_full());

    filled({.octets = 13});
    EXPECT_TRUE(names.is_full());
    filled({.names = 1});
    EXPECT_TRUE(names.is_full());

    names = Builder({.names = 4});
    add("com", Builder::below, deny(0));
    add("c.b.a.com", Builder::exact, deny(0));
    EXPECT_FALSE(names.is_full());
    EXPECT_EQ(names.end_wildcards(0), 2u) << "b.a.com and a.com";
    EXPECT_FALSE(names.is_full());
    add("z.y.com", Builder::exact, deny(0));
    EXPECT_TRUE(names.is_full());
    built = names.build();
    names = Builder({.names = 3});
    add("com", Builder::below, deny(0));
    add("c.b.a.com", Builder::exact, deny(0));
    names.end_wildcards(0);
    EXPECT_TRUE(names.is_full()) << "what ends wildcards takes room as well";
}

TEST_F(LocalNamesTest, OfTheSameNameTheEarlierRuleStays) {
    EXPECT_TRUE(names.add(name("a.com").bytes(), Builder::exact, deny(1)));
    EXPECT_FALSE(names.add(name("a.com").bytes(), Builder::exact, deny(1)));
    EXPECT_FALSE(names.add(name("a.com").bytes(), Builder::exact, deny(2)));
    EXPECT_TRUE(names.add(name("a.com").bytes(), Builder::both, deny(2))) << "below was free";
    EXPECT_TRUE(names.add(name("a.com").bytes(), Builder::exact, deny(0)));
    built = names.build();
    EXPECT_EQ(built->size(), 1u);
}

TEST_F(LocalNamesTest, RecordsAnswerTheirTypesAndTheRestIsNoData) {
    std::vector<std::pair<std::uint16_t, cache::EntryPtr>> entries;
    entries.emplace_back(1, entry_of({}, {1}, 0s, 60s));
    entries.emplace_back(0, entry_of({}, {}, 0s, 60s));
    add("a.com", Builder::exact, names.records(0, false, cache::Entry::no_info, std::move(entries)));
    built = names.build();
    auto match = *built->find(name("a.com").bytes());
    EXPECT_EQ(built->action(match), Action::records);
    EXPECT_EQ(built->answer(match, 1)->answers, 1);
    EXPECT_EQ(built->answer(match, 28)->answers, 0);
    EXPECT_FALSE(built->find_for_chain(name("a.com").bytes())) << "no block list says it";
}

TEST_F(LocalNamesTest, ForwardedNamesAreNotAnsweredAndNotBlocked) {
    add("good.a.com", Builder::both, names.forward(0, false));
    add("a.com", Builder::both, deny(1));
    built = names.build();
    auto match = built->find(name("x.good.a.com").bytes());
    ASSERT_TRUE(match);
    EXPECT_EQ(built->answer(*match, 1), nullptr);
    EXPECT_EQ(built->find_for_chain(name("x.good.a.com").bytes())->rule, match->rule);
    auto blocked = built->find_for_chain(name("bad.a.com").bytes());
    ASSERT_TRUE(blocked);
    EXPECT_TRUE(built->is_blocked(*blocked));
}

TEST_F(LocalNamesTest, TextsOfClassChaos) {
    names.chaos(name("id.server"), entry_of({}, {9}, 0s, 0s));
    built = names.build();
    EXPECT_NE(built->chaos(name("id.server").bytes(), 16), nullptr);
    EXPECT_EQ(built->chaos(name("id.server").bytes(), 1), nullptr);
    EXPECT_EQ(built->chaos(name("version.bind").bytes(), 16), nullptr);
}

TEST_F(LocalNamesTest, TheRootAndTheLongestNames) {
    std::string deep;
    for (int i = 0; i < 127; ++i) deep += "a.";
    add(deep, Builder::exact, deny(0));
    built = names.build();
    EXPECT_TRUE(built->find(name(deep).bytes()));
    EXPECT_FALSE(built->find(name(deep.substr(2)).bytes()));
    add(".", Builder::below, deny(0));
    built = names.build();
    EXPECT_TRUE(built->find(name("com").bytes()));
    EXPECT_FALSE(built->find(name(".").bytes()));
}

/// Against a set of strings and a loop over the labels.
TEST_F(LocalNamesTest, AgreesWithAPlainSet) {
    std::mt19937 random(7);
    auto draw = [&] {
        std::string text;
        for (unsigned labels = 3 + random() % 3; labels > 0; --labels) {
            text += "x" + std::to_string(random() % 6) + std::string(random() % 2 * 9, 'y') + ".";
        }
        return text;
    };
    std::set<std::string> exact, below;
    auto rule = deny(0);
    for (int i = 0; i < 1000; ++i) {
        std::string text = draw();
        unsigned reach = 1 + random() % 3;
        if (reach & Builder::exact) exact.insert(text);
        if (reach & Builder::below) below.insert(text);
        add(text, reach, rule);
    }
    built = names.build();
    unsigned found = 0;
    for (int i = 0; i < 50000; ++i) {
        std::string text = draw();
        bool expected = exact.contains(text);
        for (std::string rest = text; rest.find('.') + 1 < rest.size();) {
            rest = rest.substr(rest.find('.') + 1);
            expected = expected || below.contains(rest);
        }
        ASSERT_EQ(built->find(name(text).bytes()).has_value(), expected) << text;
        found += expected;
    }
    EXPECT_GT(found, 1000u);
    EXPECT_LT(found, 49000u);
}

} // namespace
} // namespace millrace::dataplane
