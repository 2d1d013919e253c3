// Who makes up most of the queries: bounded counting, sampling that follows the traffic.
#include "control/traffic/top.hpp"

#include <gtest/gtest.h>

#include "control/limits.hpp"
#include "tests/support/messages.hpp"

namespace millrace::control {
namespace {

TEST(Hitters, FewAreCountedExactly) {
    Hitters hitters(4);
    for (int i = 0; i < 3; ++i) hitters.add("a", 2);
    hitters.add("b", 5);
    ASSERT_EQ(hitters.rows().size(), 2u);
    EXPECT_EQ(hitters.rows()[0].count, 6u);
    EXPECT_EQ(hitters.rows()[1].count, 5u);
    EXPECT_EQ(hitters.rows()[1].error, 0u);
    EXPECT_EQ(hitters.total(), 11u);
    hitters.clear();
    EXPECT_TRUE(hitters.rows().empty());
    EXPECT_EQ(hitters.total(), 0u);
    hitters.add("a", 1);
    EXPECT_EQ(hitters.rows()[0].count, 1u);
}

/// Metwally et al.: whoever has more than total / places has a place, and no count is too low, or too high by
/// more than its error.
TEST(Hitters, WhoIsFrequentHasAPlaceWhateverElseComes) {
    constexpr std::size_t places = 16;
    Hitters hitters(places);
    std::uint64_t frequent = 0;
    for (unsigned i = 0; i < 20000; ++i) {
        hitters.add("once" + std::to_string(i), 1);
        if (i % 8 == 0) hitters.add("often", 1);
        frequent += i % 8 == 0;
    }
    EXPECT_EQ(hitters.rows().size(), places);
    auto often = std::ranges::find(hitters.rows(), "often", &Hitters::Row::key);
    ASSERT_NE(often, hitters.rows().end());
    EXPECT_GE(often->count, frequent);
    EXPECT_LE(often->count - often->error, frequent);
    std::uint64_t sum = 0;
    for (const Hitters::Row& row : hitters.rows()) sum += row.count;
    EXPECT_EQ(sum, hitters.total());
}

class TopTest : public testing::Test {
  protected:
    static std::vector<std::uint8_t> asking(const std::string& name) { return test::query(name, 1); }
    void burst(dataplane::QuerySample& sample, const std::string& name, unsigned count) {
        auto message = asking(name);
        dataplane::Burst burst;
        while (count > 0) {
            burst.count = std::min<unsigned>(count, unsigned(burst.packets.size()));
            for (unsigned i = 0; i < burst.count; ++i) {
                burst.packets[i] = {message.data(), std::uint16_t(message.size()), 0, 0, client, nullptr};
            }
            count -= burst.count;
            sample.look_at(burst);
        }
    }

    using Rates = std::vector<double>;
    /// Of the names, a second later.
    Rates rates_after_a_tick() {
        top.tick(now);
        Rates rates;
        for (const Top::Row& row : top.view(now + 1s, 10).names) rates.push_back(row.rate);
        return rates;
    }

    Top top;
    dataplane::QuerySample &sample = top.add(), &other = top.add(); // two workers'
    dataplane::Endpoint client = *dataplane::parse_endpoint("192.0.2.7:4000", 0);
    Time now = 100s;
};

TEST_F(TopTest, EveryQueryWhileThereAreFew) {
    burst(sample, "www.Example.co.uk", 3);
    burst(sample, "mail.example.co.uk", 1);
    top.note(*dataplane::parse_endpoint("[2001:db8::1]:9", 0), asking("www.example.co.uk"));
    top.tick(now);
    auto view = top.view(now + 10s, 10);
    EXPECT_EQ(view.stride, 1u);
    EXPECT_DOUBLE_EQ(view.seconds, 10);
    EXPECT_DOUBLE_EQ(view.rate, 0.5);
    ASSERT_EQ(view.names.size(), 2u);
    EXPECT_EQ(view.names[0].name, "www.example.co.uk. A");
    EXPECT_DOUBLE_EQ(view.names[0].rate, 0.4);
    EXPECT_EQ(view.names[1].name, "mail.example.co.uk. A");
    ASSERT_EQ(view.zones.size(), 1u);
    EXPECT_EQ(view.zones[0].name, "example.co.uk.");
    ASSERT_EQ(view.clients.size(), 2u);
    EXPECT_EQ(view.clients[0].name, "192.0.2.7");
    EXPECT_EQ(view.clients[1].name, "2001:db8::1");
    EXPECT_EQ(top.view(now + 10s, 1).names.size(), 1u);
}

TEST_F(TopTest, WhatIsNoQuestionIsTheClientsAlone) {
    top.note(client, std::vector<std::uint8_t>(12));
    top.note(client, std::vector<std::uint8_t>(3));
    std::vector<std::uint8_t> cut = asking("www.example");
    cut.resize(cut.size() - 3);
    top.note(client, cut);
    top.tick(now);
    auto view = top.view(now, 10);
    EXPECT_EQ(view.clients.size(), 1u);
    EXPECT_TRUE(view.names.empty());
}

TEST_F(TopTest, OneInSoManyStandsForThem) {
    // As many as come in a second, ten times what is to be looked at.
    const unsigned rate = unsigned(limits::top_rate) * 10;
    top.tick(now);
    for (int second = 0; second < 8; ++second) {
        for (unsigned part = 0; part < 100; ++part) {
            burst(part % 2 ? other : sample, "busy.example", rate / 100);
            for (int tick = 0; tick < 8; ++tick) top.tick(now);
            now += 10ms;
        }
    }
    std::uint32_t stride = top.view(now, 1).stride;
    EXPECT_GE(stride, 8u);
    EXPECT_LE(stride, 32u);
    // Whatever was counted before: from now on each stands for `stride`.
    double before = top.view(now, 1).names[0].rate * top.view(now, 1).seconds;
    burst(other, "busy.example", 100 * stride);
    for (int tick = 0; tick < 8; ++tick) top.tick(now);
    double more = top.view(now, 1).names[0].rate * top.view(now, 1).seconds - before;
    EXPECT_GT(more, 50.0 * stride);
    EXPECT_LT(more, 200.0 * stride);
    // Quiet again, every query is looked at.
    for (int second = 0; second < 8; ++second) top.tick(now += 1s);
    EXPECT_EQ(top.view(now, 1).stride, 1u);
}

TEST_F(TopTest, ATickIsBounded) {
    burst(sample, "a.example", 600);
    top.tick(now);
    EXPECT_EQ(top.view(now + 1s, 1).names[0].rate, limits::top_per_tick);
}

TEST_F(TopTest, EachWorkersQueriesCount) {
    burst(sample, "one.example", 2);
    burst(other, "two.example", 3);
    EXPECT_EQ(rates_after_a_tick(), (Rates{3, 2}));
    EXPECT_EQ(top.view(now + 1s, 1).names[0].name, "two.example. A");
}

TEST_F(TopTest, NoWorkerTakesTheWholeTick) {
    burst(sample, "one.example", 600);
    burst(other, "two.example", 600);
    EXPECT_EQ(rates_after_a_tick(), (Rates{limits::top_per_tick / 2, limits::top_per_tick / 2}));
}

TEST_F(TopTest, WindowsPass) {
    top.tick(now);
    top.note(client, asking("old.example"));
    now += limits::top_window;
    top.tick(now);
    top.note(client, asking("new.example"));
    EXPECT_EQ(top.view(now, 10).names.size(), 2u) << "this window, and the one before";
    now += limits::top_window;
    top.tick(now);
    ASSERT_EQ(top.view(now, 10).names.size(), 1u);
    EXPECT_EQ(top.view(now, 10).names[0].name, "new.example. A");
    now += limits::top_window;
    top.tick(now);
    EXPECT_TRUE(top.view(now, 10).names.empty());
}

TEST_F(TopTest, ThereIsRoomForSoMany) {
    for (unsigned i = 0; i < 3 * limits::top_places; ++i) {
        top.note(client, asking("n" + std::to_string(i) + ".example"));
    }
    top.tick(now);
    EXPECT_EQ(top.view(now, 10000).names.size(), limits::top_places);
    EXPECT_GT(top.view(now, 10000).names[0].error, 0);
}

TEST_F(TopTest, UpstreamsByWhatTheyWereAskedSinceTheWindowsBegan) {
    Top::Totals totals{{"a", 100}, {"b", 30}, {"c", 0}};
    top.set_upstreams([&] { return totals; });
    Time now = 1h;
    top.tick(now);
    EXPECT_EQ(top.view(now + 10s, 10).upstreams.at(0).rate, 10) << "all since the start";
    for (int window = 0; window < 2; ++window) top.tick(now += limits::top_window);
    totals = {{"a", 160}, {"b", 150}, {"c", 0}};
    Top::View view = top.view(now, 10);
    ASSERT_EQ(view.upstreams.size(), 2u) << "one is asked nothing";
    EXPECT_EQ(view.upstreams[0].name, "b");
    EXPECT_DOUBLE_EQ(view.upstreams[0].rate * view.seconds, 120);
    EXPECT_DOUBLE_EQ(view.upstreams[1].rate * view.seconds, 60);
    EXPECT_DOUBLE_EQ(view.asked, view.upstreams[0].rate + view.upstreams[1].rate);
    EXPECT_EQ(top.view(now, 1).upstreams.size(), 1u);
    totals = {{"a", 20}};
    EXPECT_DOUBLE_EQ(top.view(now, 10).upstreams.at(0).rate * view.seconds, 20) << "a reload made it anew";
}

} // namespace
} // namespace millrace::control
