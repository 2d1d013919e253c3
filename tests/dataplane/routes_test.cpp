// Routes: which group a name is asked of.
#include <string>

#include <gtest/gtest.h>

#include "cache/wire.hpp"
#include "dataplane/routes.hpp"

namespace millrace::dataplane {
namespace {

cache::Name name(const std::string& text) {
    return *cache::parse_name(text);
}

Routes routes(const std::vector<std::pair<std::string, std::uint8_t>>& list) {
    std::vector<Routes::Route> made;
    for (const auto& [suffix, group] : list) made.push_back({name(suffix), group});
    return Routes(made);
}

unsigned group_of(const Routes& routes, const std::string& text, std::uint16_t qtype = 1) {
    return routes.group_of(name(text).bytes(), qtype);
}

TEST(Routes, WithoutSuffixesAllIsTheFirstGroups) {
    EXPECT_EQ(group_of(Routes(), "corp.example"), 0u);
    EXPECT_EQ(group_of(routes({}), "."), 0u);
    EXPECT_TRUE(routes({}).is_empty());
}

TEST(Routes, ASuffixNamesItselfAndAllBelow) {
    Routes r = routes({{"corp.example", 1}});
    EXPECT_EQ(group_of(r, "corp.example"), 1u);
    EXPECT_EQ(group_of(r, "a.corp.example"), 1u);
    EXPECT_EQ(group_of(r, "a.b.c.corp.example"), 1u);
    EXPECT_EQ(group_of(r, "example"), 0u);
    EXPECT_EQ(group_of(r, "."), 0u);
    EXPECT_EQ(group_of(r, "corp.example.com"), 0u);
}

TEST(Routes, DsRecordsLieInTheZoneAbove) {
    constexpr std::uint16_t ds = 43;
    Routes r = routes({{"corp.example", 1}, {".", 2}});
    EXPECT_EQ(group_of(r, "corp.example", ds), 2u);
    EXPECT_EQ(group_of(r, "a.corp.example", ds), 1u);
    EXPECT_EQ(group_of(r, "corp.example", 48), 1u) << "a DNSKEY lies in the zone itself";
    EXPECT_EQ(group_of(r, ".", ds), 2u) << "nothing is above the root";
}

TEST(Routes, ASuffixIsWholeLabels) {
    Routes r = routes({{"corp.example", 1}});
    EXPECT_EQ(group_of(r, "notcorp.example"), 0u);
    EXPECT_EQ(group_of(r, "a.notcorp.example"), 0u);
    EXPECT_EQ(group_of(r, "orp.example"), 0u);
    EXPECT_EQ(group_of(r, "not\\.corp.example"), 0u) << "a dot within a label ends none";
}

TEST(Routes, TheLongestCountsWhateverTheOrder) {
    for (bool reversed : {false, true}) {
        std::vector<std::pair<std::string, std::uint8_t>> list{
            {"example", 1}, {"corp.example", 2}, {"x.y.corp.example", 3}};
        if (reversed) std::reverse(list.begin(), list.end());
        Routes r = routes(list);
        EXPECT_EQ(group_of(r, "a.example"), 1u);
        EXPECT_EQ(group_of(r, "a.corp.example"), 2u);
        EXPECT_EQ(group_of(r, "y.corp.example"), 2u);
        EXPECT_EQ(group_of(r, "x.y.corp.example"), 3u);
        EXPECT_EQ(group_of(r, "w.x.y.corp.example"), 3u);
    }
}

TEST(Routes, ALongerSuffixMayLeadBackToTheFirstGroup) {
    Routes r = routes({{"example", 1}, {"public.example", 0}});
    EXPECT_EQ(group_of(r, "a.public.example"), 0u);
    EXPECT_EQ(group_of(r, "b.example"), 1u);
}

TEST(Routes, TheRootNamesAllThatNothingElseNames) {
    Routes r = routes({{".", 1}, {"corp.example", 2}});
    EXPECT_EQ(group_of(r, "."), 1u);
    EXPECT_EQ(group_of(r, "com"), 1u);
    EXPECT_EQ(group_of(r, "a.corp.example"), 2u);
    EXPECT_EQ(group_of(routes({{".", 3}}), "a.b"), 3u);
}

/// As a question's name is, and as the configuration's suffixes are.
TEST(Routes, BothSidesAreFolded) {
    const std::uint8_t asked[] = {4, 'C', 'o', 'R', 'p', 7, 'E', 'x', 'a', 'm', 'p', 'l', 'e', 0};
    cache::WireReader in(asked);
    cache::Name folded;
    ASSERT_TRUE(cache::read_name(in, folded));
    EXPECT_EQ(routes({{"CORP.example", 1}}).group_of(folded.bytes(), 1), 1u);
}

TEST(Routes, OfOneSuffixTwiceTheFirstCounts) {
    EXPECT_EQ(group_of(routes({{"a", 1}, {"A", 2}}), "b.a"), 1u);
}

TEST(Routes, ManySuffixesAndTheLongestName) {
    std::vector<std::pair<std::string, std::uint8_t>> list;
    for (int i = 0; i < 16'384; ++i) list.emplace_back("n" + std::to_string(i) + ".example", 1 + i % 15);
    std::string longest; // 127 labels of one octet
    for (int i = 0; i < 127; ++i) longest += "a.";
    list.emplace_back(longest, 9);
    Routes r = routes(list);
    for (int i = 0; i < 16'384; ++i) {
        EXPECT_EQ(group_of(r, "www.n" + std::to_string(i) + ".example"), unsigned(1 + i % 15));
    }
    EXPECT_EQ(group_of(r, longest), 9u);
    EXPECT_EQ(group_of(r, longest.substr(2)), 0u);
    EXPECT_EQ(group_of(r, "n16384.example"), 0u);
}

} // namespace
} // namespace millrace::dataplane
