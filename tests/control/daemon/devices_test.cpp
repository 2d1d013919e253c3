// Devices without DPDK: what is done with a device in which order, when it is tried again, and what waits.
#include "control/daemon/devices.hpp"

#include <future>
#include <sstream>
#include <thread>

#include <gtest/gtest.h>
#include <spdlog/sinks/ostream_sink.h>
#include <spdlog/spdlog.h>

namespace millrace::control {
namespace {

using Wish = dataplane::Device::Wish;
using Words = std::vector<std::string>;

/// Its calls follow each other, on one thread or the other; the helper's end orders them.
class FakeDevice final : public dataplane::Device {
  public:
    Wish wish() override { return std::exchange(wished, Wish::none); }
    void suspend() override { calls.push_back("suspend"); }
    void resume() override { calls.push_back("resume"); }
    Result reset() override { return work("reset"); }
    Result remove() override { return work("remove"); }
    bool may_return() const override { return returns; }
    tl::expected<bool, std::string> bring_back() override {
        return work("bring back").map([&] { return is_there; });
    }

    Result work(const char* what) {
        calls.push_back(what);
        is_begun = true;
        if (driver.valid()) driver.get();
        return error.empty() ? Result() : tl::unexpected(error);
    }
    std::ptrdiff_t count(const char* what) const { return std::ranges::count(calls, what); }

    Wish wished = Wish::none;
    bool returns = true, is_there = false;
    std::string error;
    std::future<void> driver; ///< it comes back when this does
    std::atomic<bool> is_begun{false};
    Words calls;
};

class DevicesTest : public testing::Test {
  protected:
    DevicesTest() {
        devices.add(one, "one");
        reader.online();
        spdlog::set_default_logger(
            std::make_shared<spdlog::logger>("t", std::make_shared<spdlog::sinks::ostream_sink_mt>(text)));
    }
    ~DevicesTest() override {
        spdlog::set_default_logger(before);
        reader.offline();
    }

    /// Ticks of one moment, with turns of the lcore, until it is so.
    template <class Condition>
    bool until(Condition condition) {
        for (Time end = boot_time() + 60s; !condition() && boot_time() < end; std::this_thread::yield()) {
            reader.quiescent();
            devices.tick(now);
        }
        return condition();
    }
    bool until_serving() {
        return until([&] { return devices.view(0).is_serving; });
    }
    /// The clock moves on by seconds; in each, what has begun is waited for.
    void pass(unsigned seconds) {
        while (seconds-- > 0) {
            now += 1s;
            for (int turn = 0; turn < 3; ++turn) {
                reader.quiescent();
                devices.tick(now);
                until([&] { return !devices.is_busy(); });
            }
        }
    }
    void pass_without_waiting(unsigned seconds) {
        while (seconds-- > 0) {
            reader.quiescent();
            devices.tick(now += 1s);
        }
    }
    std::size_t lines(std::string_view with) const {
        std::istringstream all(text.str());
        std::size_t count = 0;
        for (std::string line; std::getline(all, line);) count += line.find(with) != line.npos;
        return count;
    }

    std::ostringstream text;
    std::shared_ptr<spdlog::logger> before = spdlog::default_logger();
    Time now = 1h;
    cache::Grace grace;
    cache::Grace::Reader& reader = *grace.add_reader();
    FakeDevice one, two;
    Devices devices{grace};
};

TEST_F(DevicesTest, AResetWaitsUntilNoLcoreIsInTheDriver) {
    one.wished = Wish::reset;
    for (int tick = 0; tick < 100; ++tick) devices.tick(now += 1s);
    EXPECT_FALSE(devices.is_busy());
    EXPECT_EQ(one.calls, Words{"suspend"});
    EXPECT_FALSE(devices.view(0).is_serving);
    EXPECT_FALSE(devices.view(0).is_removed);
    ASSERT_TRUE(until_serving());
    EXPECT_EQ(one.calls, (Words{"suspend", "reset", "resume"}));
    EXPECT_EQ(devices.view(0).resets, 1u);
}

TEST_F(DevicesTest, NoTickWaitsForADriverAndNoOtherDeviceIsTouchedMeanwhile) {
    std::promise<void> comes_back;
    one.driver = comes_back.get_future();
    devices.add(two, "two");
    one.wished = Wish::reset;
    ASSERT_TRUE(until([&] { return one.is_begun.load(); })); // a tick that waited would never end
    two.wished = Wish::reset;
    pass_without_waiting(100);
    EXPECT_EQ(two.calls, Words{"suspend"});
    comes_back.set_value();
    ASSERT_TRUE(until([&] { return devices.view(0).is_serving && devices.view(1).is_serving; }));
    EXPECT_EQ(two.calls, (Words{"suspend", "reset", "resume"}));
}

TEST_F(DevicesTest, AllAreGivenUpForAnotherProcessWhateverTheirState) {
    FakeDevice three;
    devices.add(two, "two");
    devices.add(three, "three");
    two.wished = Wish::removal;
    ASSERT_TRUE(until([&] { return devices.view(1).removals == 1; }));
    std::promise<void> comes_back;
    three.driver = comes_back.get_future();
    three.wished = Wish::reset;
    ASSERT_TRUE(until([&] { return three.is_begun.load(); }));
    two.is_there = true;
    EXPECT_FALSE(devices.is_none_left());
    devices.give_up();
    pass_without_waiting(10);
    EXPECT_FALSE(devices.is_none_left()) << "one is being reset";
    comes_back.set_value();
    ASSERT_TRUE(until([&] { return devices.is_none_left(); }));
    one.wished = Wish::reset;
    pass(100);
    EXPECT_EQ(one.calls, (Words{"suspend", "remove"}));
    EXPECT_EQ(two.calls, (Words{"suspend", "remove"})) << "it is there, and another's";
    EXPECT_EQ(three.calls, (Words{"suspend", "reset", "resume", "suspend", "remove"}));
    EXPECT_EQ(lines("restart millraced"), 0u);
}

TEST_F(DevicesTest, AResetThatFailsIsTriedAgainEverLessOften) {
    one.error = "no answer";
    one.wished = Wish::reset;
    pass(128);
    EXPECT_EQ(one.count("reset"), 8) << "after 1, 2, 4, 8, 16, 32 and 64 s";
    pass(640);
    EXPECT_EQ(one.count("reset"), 18) << "then every 64 s";
    EXPECT_EQ(lines("is not reset: no answer"), 18u);
    one.error.clear();
    pass(64);
    EXPECT_TRUE(devices.view(0).is_serving);
    EXPECT_EQ(one.count("suspend"), 1);
    EXPECT_EQ(lines("has been reset and serves again"), 1u);
}

TEST_F(DevicesTest, ADriverThatAsksAllTheTimeIsServedOnceASecondAndLoggedOnceInTen) {
    for (int second = 0; second < 100; ++second) {
        one.wished = Wish::reset;
        pass(1);
    }
    EXPECT_GE(one.count("reset"), 49);
    EXPECT_LE(one.count("reset"), 100);
    EXPECT_EQ(lines("asks for a reset"), 10u);
    EXPECT_EQ(lines("serves again"), 10u);
}

TEST_F(DevicesTest, WhatTheKernelWantsIsGivenBackAndTakenAgainWhenItIsThere) {
    one.wished = Wish::removal;
    pass(10);
    EXPECT_TRUE(devices.view(0).is_removed);
    EXPECT_EQ(one.calls[1], "remove");
    EXPECT_GE(one.count("bring back"), 8) << "looked for once a second";
    EXPECT_EQ(one.count("resume"), 0);
    EXPECT_EQ(lines("one"), 2u) << text.str(); // that it is asked for, that it is given; not each look
    one.is_there = true;
    pass(2);
    EXPECT_TRUE(devices.view(0).is_serving);
    EXPECT_EQ(one.calls.back(), "resume");
    EXPECT_EQ(devices.view(0).removals, 1u);
    EXPECT_EQ(devices.view(0).resets, 0u);
    EXPECT_EQ(lines("its device is back and serves again"), 1u);
}

TEST_F(DevicesTest, OneThatIsThereButDoesNotStartIsTriedEverLessOften) {
    one.wished = Wish::removal;
    pass(2);
    one.error = "no memory";
    pass(63);
    auto tries = lines("does not come back: no memory");
    EXPECT_GE(tries, 5u);
    EXPECT_LE(tries, 7u);
}

TEST_F(DevicesTest, AVirtualDeviceDoesNotReturn) {
    one.returns = false;
    one.is_there = true;
    one.wished = Wish::loss;
    pass(100);
    EXPECT_EQ(one.calls, (Words{"suspend", "remove"}));
    EXPECT_TRUE(devices.view(0).is_removed);
    EXPECT_EQ(lines("its device is gone"), 1u);
    EXPECT_EQ(lines("restart millraced"), 1u);
}

TEST_F(DevicesTest, ARemovalDuringAResetComesNext) {
    std::promise<void> comes_back;
    one.driver = comes_back.get_future();
    one.wished = Wish::reset;
    ASSERT_TRUE(until([&] { return one.is_begun.load(); }));
    one.wished = Wish::removal;
    for (int tick = 0; tick < 10; ++tick) devices.tick(now);
    comes_back.set_value();
    ASSERT_TRUE(until([&] { return devices.view(0).removals == 1; }));
    EXPECT_EQ(one.calls, (Words{"suspend", "reset", "resume", "suspend", "remove"}));
}

TEST_F(DevicesTest, ARemovalEndsTheTriesToReset) {
    one.error = "no answer";
    one.wished = Wish::reset;
    pass(20);
    auto resets = one.count("reset");
    one.wished = Wish::removal;
    pass(1);
    EXPECT_EQ(devices.view(0).removals, 1u) << "though closing it failed, too";
    pass(200);
    EXPECT_EQ(one.count("reset"), resets);
    EXPECT_EQ(one.count("remove"), 1);
}

TEST_F(DevicesTest, WhatIsWishedOfADeviceThatIsAwayIsNothingNew) {
    one.wished = Wish::removal;
    pass(2);
    for (Wish wish : {Wish::reset, Wish::removal, Wish::loss}) {
        one.wished = wish;
        pass(2);
    }
    EXPECT_EQ(one.count("remove"), 1);
    EXPECT_EQ(one.count("suspend"), 1);
    EXPECT_EQ(one.count("reset"), 0);
}

} // namespace
} // namespace millrace::control
