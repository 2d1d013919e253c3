// S7: the owner is stopped anywhere inside Table::publish, and a reader looks the key up. The cache is
// compiled with a call at the beginning and the end of every function, inlined ones included (meson.build).
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <thread>
#include <utility>
#include <vector>

#include "cache/table.hpp"
#include "tests/support/entries.hpp"

namespace millrace::stress {
namespace {

using test::entry_of;
using test::key_of;

thread_local const std::function<void()>* at_point = nullptr; ///< what this thread does at each point

void pass_point() {
    const auto* now = std::exchange(at_point, nullptr); // what it does there has points, too
    if (now) (*now)();
    at_point = now;
}

/// An Entry whose every address is its generation: a mixture of two would show.
cache::EntryPtr whole_entry(std::uint8_t generation) {
    return entry_of({generation, 0}, {generation, generation, generation}, Time(generation), 60s);
}
bool is_whole(const cache::Entry& entry) {
    auto g = std::uint8_t(entry.version.generation);
    auto expected = whole_entry(g);
    return std::ranges::equal(entry.records(), expected->records()) && entry.born == Time(g) &&
           entry.expiry == Time(g) + 60s;
}

class Publishing : public testing::Test {
  protected:
    cache::Grace grace;
    cache::Table table{{.entries = 100, .bytes = 1 << 20}, grace};
    cache::Key key = key_of("a.com");
    cache::Hash hash = table.hasher()(key);
};

TEST_F(Publishing, S7_ReadersSeeOneWholeSnapshotWhereverTheOwnerStops) {
    auto old_entry = whole_entry(1), new_entry = whole_entry(2);
    ASSERT_TRUE(table.start(key, hash, 1));
    ASSERT_EQ(table.publish(key, hash, old_entry), cache::Publication::accepted);
    ASSERT_TRUE(table.start(key, hash, 2));
    std::vector<cache::Generation> seen;
    std::function<void()> look = [&] {
        std::thread reader([&] {
            const cache::Entry* entry = table.find(key, hash);
            ASSERT_TRUE(entry && is_whole(*entry));
            seen.push_back(entry->version.generation);
        });
        reader.join();
    };
    at_point = &look;
    auto verdict = table.publish(key, hash, new_entry);
    at_point = nullptr;
    ASSERT_EQ(verdict, cache::Publication::accepted);
    EXPECT_GT(std::ranges::count(seen, 1u), 10) << "points before the new Entry is there,";
    EXPECT_GT(std::ranges::count(seen, 2u), 10) << "and after";
    EXPECT_TRUE(std::ranges::is_sorted(seen));
}

TEST_F(Publishing, S7_APublishByAnotherThreadIsAnAssertionFailure) {
    GTEST_FLAG_SET(death_test_style, "threadsafe");
    auto from_elsewhere = [&] {
        std::thread other([&] {
            auto entry = whole_entry(1);
            table.publish(key, hash, entry);
        });
        other.join();
    };
    EXPECT_DEATH(from_elsewhere(), "one writer per key");
}

} // namespace

/// What the compiler calls.
extern "C" {
[[gnu::no_instrument_function]] void __cyg_profile_func_enter(void*, void*) {
    pass_point();
}
[[gnu::no_instrument_function]] void __cyg_profile_func_exit(void*, void*) {
    pass_point();
}
}

} // namespace millrace::stress
