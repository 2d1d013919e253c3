#include "dataplane/handoff.hpp"

#include <chrono>
#include <thread>

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/support/entries.hpp"

namespace millrace::dataplane {
namespace {

TEST(Handoff, MissesArriveWholeAndInOrder) {
    Handoff handoff;
    for (std::uint16_t i = 0; i < 100; ++i) {
        Miss miss;
        miss.key = test::key_of("name-" + std::to_string(i) + ".example");
        miss.id = i;
        miss.waiter = i;
        ASSERT_TRUE(handoff.send(miss));
    }
    std::vector<Miss> taken(200);
    ASSERT_EQ(handoff.take(taken), 100u);
    for (std::uint16_t i = 0; i < 100; ++i) {
        EXPECT_EQ(taken[i].key, test::key_of("name-" + std::to_string(i) + ".example"));
        EXPECT_EQ(taken[i].id, i);
    }
    EXPECT_EQ(handoff.take(taken), 0u);
}

TEST(Handoff, AFullMissRingRefuses) {
    Handoff handoff;
    Miss miss;
    miss.key = test::key_of("a");
    for (std::size_t i = 0; i < limits::waiters; ++i) ASSERT_TRUE(handoff.send(miss));
    EXPECT_FALSE(handoff.send(miss));
}

TEST(Handoff, AWakeForEveryWaiterFits) {
    Handoff handoff;
    for (std::uint32_t i = 0; i < limits::waiters; ++i) handoff.send({nullptr, i, Wake::Kind::abandon});
    std::vector<Wake> taken(limits::waiters + 1);
    EXPECT_EQ(handoff.take(taken), limits::waiters);
    EXPECT_EQ(taken[limits::waiters - 1].waiter, limits::waiters - 1);
}

// The worker sleeps whenever its ring is empty; every Wake must end the sleep. A lost one would cost
// the long timeout.
TEST(HandoffThreads, NoWakeIsLostToSleep) {
    Handoff handoff;
    int pair[2];
    ASSERT_EQ(socketpair(AF_UNIX, SOCK_DGRAM, 0, pair), 0);
    constexpr std::uint32_t total = 20000;
    constexpr int long_sleep_ms = 20000;
    std::atomic<std::uint32_t> finished{0};
    std::thread worker([&] {
        std::array<Wake, 32> wakes;
        for (std::uint32_t expected = 0; expected < total;) {
            unsigned count = handoff.take(wakes);
            for (unsigned i = 0; i < count; ++i) ASSERT_EQ(wakes[i].waiter, expected++);
            finished.store(expected);
            if (!count) handoff.sleep(pair[0], long_sleep_ms);
        }
    });
    auto begin = std::chrono::steady_clock::now();
    for (std::uint32_t i = 0; i < total; ++i) {
        handoff.send({nullptr, i, Wake::Kind::abandon});
        handoff.sleeper().end_sleep();
        if (i % 3 == 0) {
            while (finished.load() <= i && std::chrono::steady_clock::now() - begin < 15s)
                std::this_thread::yield();
        }
        while (finished.load() + limits::waiters - 1 <= i) std::this_thread::yield();
    }
    worker.join();
    EXPECT_LT(std::chrono::steady_clock::now() - begin, 15s) << "a Wake was slept through";
    close(pair[0]);
    close(pair[1]);
}

/// Control sleeps as Loop::sleep does; the worker asks and ends its sleep as Worker::run does.
TEST(HandoffThreads, NoMissIsLostToControlsSleep) {
    Handoff handoff;
    Sleeper control;
    constexpr std::uint32_t total = 20000;
    constexpr int long_sleep_ms = 20000;
    std::atomic<std::uint32_t> taken{0};
    std::thread owner([&] {
        std::array<Miss, 8> misses;
        while (taken.load() < total) {
            unsigned count = handoff.take(misses);
            for (unsigned i = 0; i < count; ++i) ASSERT_EQ(misses[i].waiter, taken.load() + i);
            taken += count;
            if (count > 0) continue;
            control.announce();
            pollfd wait{control.descriptor(), POLLIN, 0};
            if (!handoff.has_misses() && taken.load() < total && poll(&wait, 1, long_sleep_ms) > 0)
                control.drain();
            control.awake();
        }
    });
    auto begin = std::chrono::steady_clock::now();
    auto is_late = [&] { return std::chrono::steady_clock::now() - begin > 15s; };
    for (std::uint32_t i = 0; i < total; ++i) {
        Miss miss{};
        miss.waiter = i;
        while (!handoff.send(miss)) std::this_thread::yield();
        handoff.end_sleep_of(control);
        while (i % 3 == 0 && taken.load() <= i && !is_late()) std::this_thread::yield();
    }
    EXPECT_FALSE(is_late()) << "a Miss was slept through";
    control.nudge();
    owner.join();
}

TEST(Handoff, AReadableDescriptorEndsASleep) {
    Handoff handoff;
    int pair[2];
    ASSERT_EQ(socketpair(AF_UNIX, SOCK_DGRAM, 0, pair), 0);
    ASSERT_EQ(write(pair[1], "x", 1), 1);
    auto begin = std::chrono::steady_clock::now();
    handoff.sleep(pair[0], 20000);
    EXPECT_LT(std::chrono::steady_clock::now() - begin, 10s);
    close(pair[0]);
    close(pair[1]);
}

} // namespace
} // namespace millrace::dataplane
