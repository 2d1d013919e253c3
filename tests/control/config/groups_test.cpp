// Several groups of upstreams, policies of their own, and routes to them.
#include "tests/control/config/config_text.hpp"

namespace millrace::control {
namespace {

const std::string two = "upstreams:\n"
                        " - {group: g, servers: [192.0.2.1, 192.0.2.2]}\n"
                        " - {group: h, servers: [192.0.2.1, 192.0.2.3]";

std::string with(const std::string& own) {
    return two + (own.empty() ? "" : ", ") + own + "}\n";
}

TEST(ConfigGroups, AnAddressMayBeInSeveral) {
    Config config = parsed(with(""));
    ASSERT_EQ(config.live.upstreams.size(), 2u);
    EXPECT_EQ(config.live.upstreams[0].servers[0], config.live.upstreams[1].servers[0]);
    EXPECT_EQ(config.live.index_of("h"), 1u);
    EXPECT_EQ(config.live.index_of("i"), 2u);
}

TEST(ConfigGroups, WhatAGroupDoesNotSayIsTheFiles) {
    for (const std::string& text : {with("fanout: {active: 3}, merge: {policy: quorum}") +
                                        "fanout: {batch: 4, patience: 1s}\nmerge: {policy: off, quorum: 2}\n",
                                    "fanout: {batch: 4, patience: 1s}\nmerge: {policy: off, quorum: 2}\n" +
                                        with("fanout: {active: 3}, merge: {policy: quorum}")}) {
        Config config = parsed(text);
        const Config::Live& live = config.live;
        const Config::Group &g = live.upstreams[0], &h = live.upstreams[1];
        EXPECT_EQ(live.fanout_of(g), live.fanout);
        EXPECT_EQ(live.merge_of(g), live.merge);
        EXPECT_EQ(live.fanout_of(h).active, 3u);
        EXPECT_EQ(live.fanout_of(h).batch, 4u);
        EXPECT_EQ(live.fanout_of(h).patience, 1s);
        EXPECT_EQ(live.merge_of(h).policy, Config::MergePolicy::quorum);
        EXPECT_EQ(live.merge.policy, Config::MergePolicy::off);
    }
}

TEST(ConfigGroups, ParseBackToTheSame) {
    for (const std::string& text :
         {with(""), with("fanout: {strategy: race, deadline: 9s}, merge: {policy: off}"),
          with("fanout: {}") + "fanout: {patience: 1s, deadline: 2s, fallback: 1s}\n",
          with("") + "routes:\n - {suffix: Corp.Example., group: h}\n - {suffix: ., group: g}\n"
                     " - {suffix: 'a\\.b.example', group: h}\n"}) {
        Config config = parsed(text);
        auto again = parse_config(to_yaml(config), "again");
        ASSERT_TRUE(again) << to_string(again.error()) << "\n" << to_yaml(config);
        EXPECT_EQ(*again, config) << to_yaml(config);
    }
}

TEST(ConfigGroups, SuffixesAreNames) {
    Config config = parsed(with("") + "routes: [{suffix: Corp.EXAMPLE, group: h}]\n");
    ASSERT_EQ(config.live.routes.size(), 1u);
    EXPECT_EQ(config.live.routes[0], (Config::Route{"corp.example.", "h"}));
}

TEST(ConfigGroups, AFileOfThousandsOfRoutesIsRead) {
    std::string text = with("") + "routes:\n";
    for (int i = 0; i < 16'384; ++i) text += "- {suffix: n" + std::to_string(i) + ".example, group: h}\n";
    EXPECT_LT(text.size(), 1u << 20);
    EXPECT_EQ(parsed(text).live.routes.size(), 16'384u);
    EXPECT_NE(complaint(text + "- {suffix: more.example, group: h}\n").find("expected at most 16384 items"),
              std::string::npos);
}

TEST(ConfigGroups, WhatIsWrongIsNamed) {
    const std::string suffix_form = "expected a domain name, such as \"corp.example\", found ";
    const std::pair<std::string, std::string> refused[] = {
        {with("") + "routes: [{suffix: a, group: i}]",
         "t:4: routes[0].group: expected the name of a group of upstreams, found \"i\""},
        {with("") + "routes:\n - {suffix: A.b, group: h}\n - {suffix: a.B., group: g}",
         "t:6: routes[1].suffix: expected each suffix once, found \"a.B.\""},
        {with("") + "routes: [{suffix: a..b, group: h}]",
         "t:4: routes[0].suffix: " + suffix_form + "\"a..b\""},
        {with("") + "routes: [{group: h}]", "t:4: routes[0].suffix: " + suffix_form + "nothing"},
        {with("") + "routes: [{suffix: '*.corp.example', group: h}]",
         "t:4: routes[0].suffix: expected the suffix alone, without \"*.\": all names below it follow, found "
         "\"*.corp.example\""},
        {with("") + "routes: [{suffix: a}]", "t:4: routes[0].group: expected a group's name, found nothing"},
        {with("fanout: 1"), "t:3: upstreams[1].fanout: expected a map, found \"1\""},
        {with("fanout: {x: 1}"),
         "t:3: upstreams[1].fanout.\"x\": expected one of the keys strategy, active, batch, stagger, "
         "fallback, "
         "deadline, patience, outstanding, rate, probe, probe-interval, probe-fall, probe-rise, found an "
         "unknown key"},
        {with("fanout: {patience: 1s}"),
         "t:3: upstreams[1].fanout.patience: expected patience in the file's own fanout: clients know of no "
         "groups, found \"1s\""},
        {with("fanout: {stagger: 2s}") + "fanout: {deadline: 1s}\n",
         "t:3: upstreams[1].fanout.stagger: expected at most the deadline of 1s, found 2s"},
        {with("merge: {policy: quorum, quorum: 3}"),
         "t:3: upstreams[1].merge.quorum: expected at most the number of servers, 2, found 3"},
        {with("fanout: {strategy: race}") + "merge: {policy: quorum}\n",
         "t:4: merge.policy: expected union, order or off with `strategy: race` of group \"h\", which takes "
         "the "
         "first reply as it is, found quorum"},
        {with("merge: {policy: off}") + "merge: {policy: quorum, quorum: 3}\n",
         "t:4: merge.quorum: expected at most the number of servers of group \"g\", 2, found 3"},
    };
    for (const auto& [text, words] : refused) EXPECT_EQ(complaint(text), words) << text;
    EXPECT_EQ(complaint(with("merge: {policy: off}") + "merge: {policy: quorum, quorum: 2}\n"),
              "no complaint");
}

} // namespace
} // namespace millrace::control
