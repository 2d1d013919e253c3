// What a tick does of the table's long work: counted, not timed. And that nothing is lost between two pieces.
#include <algorithm>

#include <gtest/gtest.h>

#include "cache/table.hpp"
#include "tests/support/entries.hpp"

namespace millrace::cache {
namespace {

using test::entry_of;
using test::key_of;

constexpr auto everything = [](const KeyRef&, const Entry&) { return true; };

class TablePieces : public testing::Test {
  protected:
    static constexpr std::size_t many = 2500,
                                 most = 2750; // of one shard, a quarter of whose slots may be dead

    explicit TablePieces(std::size_t entries = most) : table({entries, std::size_t(1) << 30}, grace) {}

    static Key name(std::size_t i) { return key_of("host-" + std::to_string(i) + ".example"); }
    Hash hash(const Key& key) { return table.hasher()(key); }
    const Entry* find(std::size_t i) { return table.find(name(i), hash(name(i))); }
    bool start(std::size_t i) { return table.start(name(i), hash(name(i)), ++generation); }
    Publication publish(std::size_t i, Generation of) {
        EntryPtr entry = entry_of({of, 0}, {1}, 0s, 60s, 60s);
        return table.publish(name(i), hash(name(i)), entry);
    }
    void finish(std::size_t i, Generation of) { table.finish(name(i), hash(name(i)), of); }
    void put(std::size_t i) {
        start(i);
        ASSERT_EQ(publish(i, generation), Publication::accepted) << i;
        finish(i, generation);
    }
    /// So many names, of which the first `dead` are flushed again; the rebuild that this asks for is at work,
    /// and has passed the first slots.
    void begin_rebuild(std::size_t dead) {
        for (std::size_t i = 0; i < dead; ++i) put(i);
        Generation last = generation;
        for (std::size_t i = dead; i < many; ++i) put(i);
        while (table.upkeep(0s)) {
        }
        test::flush_shard(table, 0, last, everything);
        ASSERT_TRUE(table.upkeep(0s));
        ASSERT_EQ(table.rebuilt(), 0u) << "it takes several ticks";
    }
    void end_rebuild() {
        while (table.rebuilt() == 0) ASSERT_TRUE(table.upkeep(0s) || table.rebuilt() == 1);
    }
    std::size_t steps_of_a_tick(Time now = 0s) {
        std::uint64_t before = table.upkeep_steps();
        table.upkeep(now);
        return table.upkeep_steps() - before;
    }

    Grace grace;
    Table table;
    Generation generation = 0;
};

class ManyShardsPieces : public TablePieces {
  protected:
    ManyShardsPieces() : TablePieces(10 * limits::shard_fill) {}
};

TEST_F(ManyShardsPieces, ShardsAreBuiltAheadSomeInATick) {
    std::size_t before = 0;
    for (bool more = true; more; before = table.built()) {
        more = table.upkeep(0s);
        EXPECT_LE(table.built(), before + limits::shards_per_tick);
        EXPECT_EQ(more, table.built() < table.shard_count());
        ASSERT_GT(table.built(), before);
    }
    EXPECT_EQ(table.slots(), 0u);
    std::size_t octets = table.bytes();
    EXPECT_EQ(octets, table.shard_count() * Table::shard_octets()) << "they count";
    EXPECT_FALSE(table.upkeep(0s));
    put(1);
    EXPECT_EQ(table.built(), table.shard_count()) << "none is built for it";
}

TEST_F(ManyShardsPieces, NoShardIsBuiltAheadThatMemoryHasNoRoomFor) {
    std::size_t limit = std::size_t(1) << 21;
    Table small({100'000, limit}, grace);
    ASSERT_GT(small.shard_count(), 2u);
    Grace::Reader& reader = *grace.add_reader();
    reader.online(); // and never quiescent: limbo fills up
    Key key = name(1);
    for (Publication last = Publication::accepted; last == Publication::accepted;) {
        small.start(key, small.hasher()(key), ++generation);
        EntryPtr entry = entry_of({generation, 0}, std::vector<std::uint8_t>(40, 1), 0s, 60s);
        last = small.publish(key, small.hasher()(key), entry);
    }
    while (small.upkeep(0s)) {
    }
    EXPECT_LE(small.bytes(), limit);
    EXPECT_EQ(small.built(), 1u);
    reader.offline();
}

TEST_F(TablePieces, ARebuildGoesThroughSomeSlotsInATick) {
    begin_rebuild(1000);
    std::size_t ticks = 1;
    for (; table.rebuilt() == 0; ++ticks) ASSERT_LE(steps_of_a_tick(), limits::upkeep_slots);
    EXPECT_EQ(ticks, (many + limits::upkeep_slots - 1) / limits::upkeep_slots);
    EXPECT_EQ(table.slots(), many - 1000);
    for (std::size_t i = 0; i < many; ++i) EXPECT_EQ(find(i) != nullptr, i >= 1000) << i;
}

TEST_F(TablePieces, WhatChangesBetweenPiecesOfARebuildIsInTheNewShard) {
    begin_rebuild(1000);
    std::size_t passed = 10, dead_yet = 900;
    ASSERT_LT(passed, limits::upkeep_slots);
    ASSERT_GT(dead_yet, limits::upkeep_slots);
    Generation superseded = generation;
    start(passed); // a slot that was dead when it was passed
    start(dead_yet);
    put(passed + 1);
    put(many); // a new name
    start(2000);
    Generation again = generation;
    EXPECT_EQ(publish(2000, again), Publication::accepted);
    const Entry* renewed = find(2000);
    table.withdraw(name(2001), hash(name(2001)));
    end_rebuild();
    EXPECT_EQ(find(2000), renewed);
    EXPECT_EQ(find(2001), nullptr);
    EXPECT_NE(find(passed + 1), nullptr);
    EXPECT_NE(find(many), nullptr);
    EXPECT_EQ(publish(passed, superseded), Publication::superseded) << "its slot knows what was started";
    EXPECT_EQ(publish(dead_yet, superseded), Publication::superseded);
    EXPECT_EQ(publish(2000, again - 1), Publication::superseded);
    EXPECT_EQ(table.entries(), many - 1000 + 2 - 1);
    std::size_t found = 0;
    table.for_each(0, 0s, [&](const KeyRef&, const Entry&) { ++found; });
    EXPECT_EQ(found, table.entries());
}

TEST_F(TablePieces, WhatIsSetAsideForARebuildCounts) {
    for (std::size_t i = 0; i < many; ++i) put(i);
    while (table.upkeep(0s)) {
    }
    test::flush_shard(table, 0, 1000, everything);
    std::size_t before = table.bytes();
    ASSERT_TRUE(table.upkeep(0s));
    EXPECT_GT(table.bytes(), before + (many - 1000) * sizeof(Node));
    end_rebuild();
    for (int i = 0; i < 8; ++i) grace.reclaim();
    EXPECT_LT(table.bytes(), before) << "and no more when it is over";
}

TEST_F(TablePieces, EvictionGoesThroughSomeSlotsInATick) {
    std::size_t names = 0;
    for (; table.entries() <= most * 15 / 16; ++names) put(names);
    table.upkeep(0s); // what was inserted allows for more in this one
    for (std::size_t i = 0; i < names; ++i) {
        if (const Entry* entry = find(i)) entry->visited = 1; // the hand spares all of them once
    }
    for (int tick = 0; tick < 4; ++tick) EXPECT_LE(steps_of_a_tick(), 2 * limits::upkeep_slots);
    EXPECT_LE(steps_of_a_tick(), 2 * limits::upkeep_slots) << "eviction, and a rebuild";
}

TEST_F(TablePieces, UpkeepDoesMoreWhereMoreIsNew) {
    for (std::size_t i = 0; i < 100; ++i) put(i);
    test::flush_shard(table, 0, generation, everything);
    for (std::size_t i = 100; i < many; ++i) put(i);
    test::flush_shard(table, 0, 1000, everything);
    EXPECT_EQ(steps_of_a_tick(), many) << "a rebuild in one";
    EXPECT_EQ(table.rebuilt(), 1u);
}

TEST_F(TablePieces, AFlushLooksAtSoManySlots) {
    for (std::size_t i = 0; i < many; ++i) put(i);
    std::size_t looks = 0, emptied = 0;
    auto all = [&](const KeyRef&, const Entry&) { return ++looks > 0; };
    Table::Place at;
    for (std::size_t before = 0; at.shard < table.shard_count(); before = looks) {
        std::size_t steps = 500;
        emptied += table.flush(at, steps, generation, all);
        EXPECT_LE(looks - before, 500u);
        EXPECT_TRUE(steps == 0 || at.shard == 1);
    }
    EXPECT_EQ(emptied, many);
    EXPECT_EQ(table.entries(), 0u);
}

TEST_F(TablePieces, NoRebuildBetweenTwoPiecesOfAFlushHidesASlot) {
    begin_rebuild(1000);
    put(10); // in a slot that the rebuild has passed as a dead one
    Table::Place at;
    std::size_t steps = many / 2;
    table.flush(at, steps, generation, everything);
    ASSERT_EQ(at.shard, 0u);
    ASSERT_NE(find(10), nullptr) << "its turn comes later";
    end_rebuild();
    for (Generation last = generation; at.shard == 0;) {
        steps = 100;
        table.flush(at, steps, last, everything);
    }
    EXPECT_EQ(table.entries(), 0u);
}

} // namespace
} // namespace millrace::cache
