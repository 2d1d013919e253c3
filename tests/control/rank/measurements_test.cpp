// What is remembered of addresses, and the order that follows.
#include <gtest/gtest.h>

#include "control/rank/measurements.hpp"
#include "tests/control/rank/addresses.hpp"

namespace millrace::control {
namespace {

class MeasurementsTest : public testing::Test {
  protected:
    void answers(const std::string& address, Time rtt) { known.note_answer(at(address), 443, rtt, now); }
    void fails(const std::string& address) { known.note_failure(at(address), 80, now); }
    Texts order(const Texts& addresses, bool is_cut = false) {
        return texts(order_of(all(addresses), known, is_cut));
    }

    Measurements known{4};
    Time now{}; // as on a machine that has just booted
};

TEST_F(MeasurementsTest, TheFastestFirst) {
    answers("1.0.0.1", 90ms);
    answers("1.0.0.2", 10ms);
    answers("1.0.0.3", 40ms);
    EXPECT_EQ(order({"1.0.0.1", "1.0.0.2", "1.0.0.3"}), (Texts{"1.0.0.2", "1.0.0.3", "1.0.0.1"}));
}

TEST_F(MeasurementsTest, WhereTheEndIsCutOffTheUnknownGoBehindThoseThatAnswer) {
    answers("1.0.0.2", 10ms);
    fails("1.0.0.3");
    EXPECT_EQ(order({"1.0.0.1", "1.0.0.3", "1.0.0.2"}, true), (Texts{"1.0.0.2", "1.0.0.1", "1.0.0.3"}));
}

TEST_F(MeasurementsTest, WhereAllAreDeadThereIsNoOrder) {
    for (const char* address : {"1.0.0.1", "1.0.0.2"}) fails(address);
    EXPECT_EQ(order({"1.0.0.1", "1.0.0.2"}), Texts{});
}

TEST_F(MeasurementsTest, TheDeadSinkAndTheUnknownKeepTheirPlaces) {
    fails("1.0.0.1");
    answers("1.0.0.3", 40ms);
    answers("1.0.0.5", 10ms);
    EXPECT_EQ(order({"1.0.0.1", "1.0.0.2", "1.0.0.3", "1.0.0.4", "1.0.0.5"}),
              (Texts{"1.0.0.2", "1.0.0.5", "1.0.0.4", "1.0.0.3", "1.0.0.1"}));
    EXPECT_EQ(order({"1.0.0.1", "1.0.0.2"}), (Texts{"1.0.0.2", "1.0.0.1"}));
}

TEST_F(MeasurementsTest, WhereNothingIsKnownThereIsNoOrder) {
    EXPECT_EQ(order({"1.0.0.1", "1.0.0.2"}), Texts{});
}

TEST_F(MeasurementsTest, EqualsStayAsTheyWere) {
    for (const char* address : {"1.0.0.1", "1.0.0.2", "1.0.0.3"}) answers(address, 10ms);
    EXPECT_EQ(order({"1.0.0.3", "1.0.0.1", "1.0.0.2"}), (Texts{"1.0.0.3", "1.0.0.1", "1.0.0.2"}));
}

TEST_F(MeasurementsTest, OneLostPacketCostsMuchAndASecondKills) {
    answers("1.0.0.1", 10ms);
    answers("1.0.0.2", 300ms);
    fails("1.0.0.1");
    EXPECT_FALSE(known.find(at("1.0.0.1"))->is_dead());
    EXPECT_EQ(order({"1.0.0.1", "1.0.0.2"}), (Texts{"1.0.0.2", "1.0.0.1"}));
    EXPECT_EQ(order({"1.0.0.1", "1.0.0.3"}), (Texts{"1.0.0.1", "1.0.0.3"})) << "it is not dead";
    fails("1.0.0.1");
    EXPECT_TRUE(known.find(at("1.0.0.1"))->is_dead());
    EXPECT_EQ(order({"1.0.0.1", "1.0.0.3"}), (Texts{"1.0.0.3", "1.0.0.1"}));
    for (int i = 0; i < 4; ++i) answers("1.0.0.1", 10ms);
    EXPECT_EQ(order({"1.0.0.2", "1.0.0.1"}), (Texts{"1.0.0.1", "1.0.0.2"})) << "it has recovered";
    EXPECT_EQ(known.find(at("1.0.0.1"))->failures, 0u);
}

TEST_F(MeasurementsTest, RoundTripsAreSmoothed) {
    answers("1.0.0.1", 100ms);
    EXPECT_EQ(known.find(at("1.0.0.1"))->srtt, Time(100ms));
    answers("1.0.0.1", 20ms);
    EXPECT_EQ(known.find(at("1.0.0.1"))->srtt, Time(80ms));
    EXPECT_EQ(known.find(at("1.0.0.1"))->probes, 2u);
    EXPECT_EQ(known.find(at("1.0.0.1"))->last_port, 443u);
}

TEST_F(MeasurementsTest, ARoundTripOfNothingIsStillAnAnswer) {
    for (int i = 0; i < 3; ++i) answers("1.0.0.1", 0ms);
    EXPECT_TRUE(known.find(at("1.0.0.1"))->has_answered());
}

TEST_F(MeasurementsTest, FailuresAreFreshForATenthOfTheTime) {
    answers("1.0.0.1", 1ms);
    fails("1.0.0.2");
    const Measurement &good = *known.find(at("1.0.0.1")), &bad = *known.find(at("1.0.0.2"));
    EXPECT_TRUE(good.is_fresh(now + 599s, 600s) && bad.is_fresh(now + 59s, 600s));
    EXPECT_FALSE(good.is_fresh(now + 600s, 600s) || bad.is_fresh(now + 60s, 600s));
}

TEST_F(MeasurementsTest, TheLongestUnusedIsForgotten) {
    for (const char* address : {"1.0.0.1", "1.0.0.2", "1.0.0.3", "1.0.0.4"}) answers(address, 1ms);
    order({"1.0.0.1"}); // is use
    answers("1.0.0.5", 1ms);
    answers("1.0.0.6", 1ms);
    EXPECT_EQ(known.size(), 4u);
    EXPECT_TRUE(known.find(at("1.0.0.1")) && known.find(at("1.0.0.4")) && known.find(at("1.0.0.6")));
    EXPECT_FALSE(known.find(at("1.0.0.2")) || known.find(at("1.0.0.3")));
}

} // namespace
} // namespace millrace::control
