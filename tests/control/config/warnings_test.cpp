// What --check, the start and a reload warn of.
#include "control/config/warnings.hpp"
#include "tests/control/config/config_text.hpp"

namespace millrace::control {
namespace {

/// What is warned of, in one line.
std::string warnings(const std::string& text) {
    std::string all;
    for (const std::string& warning : warnings_of(parsed(text).live)) all += warning + "; ";
    return all;
}

const std::string trusting = "upstreams: [{group: g, servers: [{address: 192.0.2.1, trusted: true}]}]\n";

TEST(Warnings, NoneOfWhatDoesSomething) {
    EXPECT_EQ(warnings(upstreams), "");
    EXPECT_EQ(warnings(trusting + "cache: {harden-below-nxdomain: true}\n"), "");
    EXPECT_EQ(warnings(upstreams + "cache: {stale-answer: at-once}\n"), "");
    EXPECT_EQ(warnings(upstreams + "cache: {stale: 0s}\n"), "");
    EXPECT_EQ(warnings(upstreams + "merge: {policy: order}\nranking: {ports: [443], max-addresses: 2}\n"),
              "");
    EXPECT_EQ(warnings(upstreams + "merge: {policy: 'off'}\n"), "");
}

TEST(Warnings, NewAreThoseThatWereNotTrueBefore) {
    std::string idle = "ranking: {max-addresses: 2}\n", stale = "cache: {stale-answer: at-once, stale: 0s}\n";
    auto added = [](const std::string& before, const std::string& after) {
        return new_warnings(parsed(upstreams + before).live, parsed(upstreams + after).live);
    };
    EXPECT_EQ(added("", ""), std::vector<std::string>{});
    EXPECT_EQ(added(idle, idle + "cache: {stale: 5s}\n"), std::vector<std::string>{}) << "said before";
    EXPECT_EQ(added(idle, idle + stale),
              std::vector<std::string>{"cache.stale-answer at-once does nothing: cache.stale is 0s"});
    EXPECT_EQ(added(idle, ""), std::vector<std::string>{});
    EXPECT_EQ(added("", idle).size(), 1u) << "true again";
}

TEST(Warnings, SayWhatHasNoEffectAndWhy) {
    EXPECT_EQ(warnings(upstreams + "cache: {harden-below-nxdomain: true}\n"),
              "cache.harden-below-nxdomain does nothing: no server is trusted; ");
    EXPECT_EQ(warnings(upstreams + "cache: {stale-answer: at-once, stale: 0s}\n"),
              "cache.stale-answer at-once does nothing: cache.stale is 0s; ");
    EXPECT_EQ(warnings(upstreams + "merge: {policy: order}\n"),
              "merge.policy order leaves addresses as the first server has them: `ranking` has neither ports "
              "nor icmp; ");
    EXPECT_EQ(warnings(upstreams + "ranking: {max-addresses: 2}\n"),
              "ranking.max-addresses does nothing: `ranking` has neither ports nor icmp; ");
    EXPECT_EQ(warnings(upstreams + "merge: {policy: 'off'}\nranking: {icmp: true}\n"),
              "ranking does nothing: merge.policy is off; ");
}

TEST(Warnings, OfAGroupThatIsTrustedInPart) {
    std::string text = "upstreams: [{group: g, servers: [{address: 192.0.2.1, trusted: true}, 192.0.2.2]}]\n";
    EXPECT_NE(warnings(text).find("upstreams, group g: 1 of 2 servers are trusted"), std::string::npos);
}

} // namespace
} // namespace millrace::control
