// Whom a question goes to first: priority and weight.
#include <array>
#include <deque>

#include "tests/control/upstream/exchange_fixture.hpp"
#include "tests/control/upstream/upstreams_fixture.hpp"

namespace millrace::control {
namespace {

/// Draws what was put in, then zeros.
class Draws final : public Random {
  public:
    std::deque<std::uint64_t> next;

    std::uint16_t id() override { return ++id_; }
    std::uint64_t bits() override {
        if (next.empty()) return 0;
        std::uint64_t drawn = next.front();
        next.pop_front();
        return drawn;
    }

  private:
    std::uint16_t id_ = 0;
};

Config::Server with(Config::Server server, unsigned priority, unsigned weight) {
    server.priority = priority;
    server.weight = weight;
    return server;
}

class ServerChoice : public UpstreamsTest {
  protected:
    void set(const std::vector<std::pair<unsigned, unsigned>>& priorities_and_weights) {
        std::vector<Config::Server> servers;
        for (auto [priority, weight] : priorities_and_weights) {
            servers.push_back(with(upstreams.endpoint(unsigned(servers.size())), priority, weight));
        }
        upstreams.replace(servers);
    }
    Order drawn(std::deque<std::uint64_t> next) {
        Draws draws;
        draws.next = std::move(next);
        return upstreams.ranked(draws);
    }
};

TEST_F(ServerChoice, ALowerPriorityNumberComesBeforeAnySpeed) {
    set({{7, 1}, {0, 1}, {7, 1}});
    upstreams.measured(2, 1ms);
    upstreams.measured(1, 900ms);
    EXPECT_EQ(ranked(), (Order{1, 2, 0}));
}

TEST_F(ServerChoice, ThoseThatAreOutAreLeftOutWhateverTheirPriority) {
    set({{0, 1}, {1, 1}, {2, 1}});
    open(0);
    EXPECT_EQ(ranked(), (Order{1, 2}));
    upstreams.set_override(1, Override::down, now);
    EXPECT_EQ(ranked(), Order{2});
    open(2);
    EXPECT_EQ(ranked(), (Order{0, 2})) << "nobody is closed: all are asked as if all were";
    reply(0);
    EXPECT_EQ(ranked(), Order{0});
}

TEST_F(ServerChoice, TheFirstOneIsDrawnInProportionToTheWeights) {
    set({{0, 5}, {0, 3}, {0, 2}});
    std::array<unsigned, 3> first{};
    for (std::uint64_t draw = 0; draw < 100; ++draw) ++first[drawn({draw}).front()];
    EXPECT_EQ(first, (std::array{50u, 30u, 20u}));
}

TEST_F(ServerChoice, SoIsTheNextFromThoseThatAreLeft) {
    set({{0, 5}, {0, 3}, {0, 2}});
    std::array<unsigned, 3> second{};
    for (std::uint64_t draw = 0; draw < 50; ++draw) ++second[drawn({0, draw})[1]];
    EXPECT_EQ(second, (std::array{0u, 30u, 20u}));
    EXPECT_EQ(drawn({9, 7}), (Order{2, 1, 0}));
}

TEST_F(ServerChoice, OneWithoutAWeightHasOneAndWeightsAreOfAPriority) {
    set({{0, 3}, {0, 1}, {1, 1000}});
    std::array<unsigned, 3> first{};
    for (std::uint64_t draw = 0; draw < 40; ++draw) {
        Order order = drawn({draw});
        EXPECT_EQ(order.back(), 2u);
        ++first[order.front()];
    }
    EXPECT_EQ(first, (std::array{30u, 10u, 0u}));
}

TEST_F(ServerChoice, OneThatIsOutLeavesItsShareToTheOthers) {
    set({{0, 5}, {0, 3}, {0, 1}});
    open(0);
    std::array<unsigned, 3> first{};
    for (std::uint64_t draw = 0; draw < 40; ++draw) ++first[drawn({draw}).front()];
    EXPECT_EQ(first, (std::array{0u, 30u, 10u}));
}

TEST_F(ServerChoice, WithoutWeightsNothingIsDrawn) {
    upstreams.measured(2, 1ms);
    Draws draws;
    draws.next = {1, 2, 3};
    EXPECT_EQ(upstreams.ranked(draws), (Order{2, 0, 1}));
    EXPECT_EQ(draws.next.size(), 3u);
}

class ServerChoiceByChance : public ExchangeTest {};

TEST_F(ServerChoiceByChance, IsThatOfTheExchanges) {
    Draws draws;
    groups[0].replace({with(one, 0, 3), with(two, 0, 1)});
    exchanges = std::make_unique<Exchanges>(network, draws, groups, limits());
    exchanges->set_listener(*this);
    for (std::uint64_t draw : {0u, 1u, 2u, 3u}) {
        draws.next = {draw};
        EXPECT_EQ(exchanges->ranked(0).front(), draw / 3);
    }
    exchanges.reset();
}

} // namespace
} // namespace millrace::control
