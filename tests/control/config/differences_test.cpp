// Where two configurations differ, key by key.
#include "control/config/differences.hpp"

#include "tests/control/config/config_text.hpp"

namespace millrace::control {
namespace {

TEST(Differences, AreByDottedKey) {
    Config file = parsed(upstreams), running = parsed(upstreams);
    EXPECT_TRUE(differences(running, file).empty());
    running.live.stale = 5s;
    running.live.upstreams[0].servers.emplace_back(*dataplane::parse_endpoint("192.0.2.7", 53));
    running.live.block = {{"/a"}};
    std::vector<Difference> expected = {
        {"block", "", "[]"},
        {"upstreams[0].servers", R"(["192.0.2.1:53", "192.0.2.7:53"])", R"(["192.0.2.1:53"])"},
        {"cache.stale", "5s", "1d"}};
    auto found = differences(running, file);
    std::erase_if(found, [](const Difference& d) { return d.key.starts_with("block[0]."); });
    std::ranges::sort(expected, {}, &Difference::key);
    std::ranges::sort(found, {}, &Difference::key);
    EXPECT_EQ(found, expected);
}

TEST(Differences, EveryKeyHasAValue) {
    auto values = values_of(parsed(upstreams + port + block + dns64));
    EXPECT_GT(values.size(), 60u);
    for (const auto& [key, value] : values) EXPECT_FALSE(value.empty()) << key;
}

} // namespace
} // namespace millrace::control
