// The table under pressure: eviction, dead slots, rebuilds, and what readers see of them.
#include <algorithm>
#include <set>
#include <thread>

#include <gtest/gtest.h>

#include "cache/table.hpp"
#include "tests/support/entries.hpp"

namespace millrace::cache {
namespace {

using test::entry_of;
using test::key_of;

constexpr auto everything = [](const KeyRef&, const Entry&) { return true; };

class UpkeepTest : public testing::Test {
  protected:
    explicit UpkeepTest(TableLimits limits = {.entries = 1000, .bytes = 1 << 24}) : table(limits, grace) {}

    static Key name(std::size_t i) { return key_of("host-" + std::to_string(i) + ".example"); }
    Hash hash(const Key& key) { return table.hasher()(key); }
    const Entry* find(std::size_t i) { return table.find(name(i), hash(name(i))); }
    const Node* locate(std::size_t i) { return table.locate(name(i), hash(name(i))); }

    bool start(std::size_t i) { return table.start(name(i), hash(name(i)), ++generation); }
    Publication put(std::size_t i, std::size_t hosts = 1, Time ttl = 60s) {
        start(i);
        std::vector<std::uint8_t> addresses(hosts, 1);
        return publish(i, entry_of({generation, 0}, addresses, 0s, ttl, 60s));
    }
    Publication put_failure(std::size_t i, Time life) {
        start(i);
        return publish(i, Entry::make({.version = {generation, 0},
                                       .rcode = 2,
                                       .failure = true,
                                       .info = {},
                                       .expiry = life,
                                       .stale_until = life,
                                       .records = {},
                                       .ttl_offsets = {}}));
    }
    Publication publish(std::size_t i, EntryPtr entry) {
        Publication verdict = table.publish(name(i), hash(name(i)), entry);
        table.finish(name(i), hash(name(i)), generation);
        return verdict;
    }
    void ticks(int count, Time now = 0s) {
        for (int i = 0; i < count; ++i) {
            table.upkeep(now);
            grace.reclaim();
        }
    }

    Grace grace;
    Table table;
    Generation generation = 0;
};

TEST_F(UpkeepTest, ATableThatIsNeverFullTakesEveryNewName) {
    for (std::size_t i = 0; i < 20000; ++i) {
        ASSERT_EQ(put(i), Publication::accepted) << i;
        ticks(1);
        ASSERT_LE(table.entries(), 1000u);
        ASSERT_LE(table.slots(), 1333u);
    }
    EXPECT_GT(table.entries(), 700u) << "eviction stops where it should";
    EXPECT_GT(table.evicted(), 18000u);
    EXPECT_GT(table.rebuilt(), 10u);
    EXPECT_LT(table.rebuilt(), 20000u / 250) << "each frees a good part of the slots";
}

TEST_F(UpkeepTest, NamesThatAreHitOutlastAScan) {
    constexpr std::size_t hot = 300;
    for (std::size_t i = 0; i < hot; ++i) put(i);
    for (std::size_t i = hot; i < 10000; ++i) {
        put(i);
        for (std::size_t h = 0; i % 10 == 0 && h < hot; ++h) {
            if (const Entry* entry = find(h)) entry->visited = 1;
        }
        ticks(1);
    }
    std::size_t kept = 0;
    for (std::size_t i = 0; i < hot; ++i) kept += find(i) != nullptr;
    EXPECT_EQ(kept, hot) << "ten thousand names asked once have not pushed out those asked often";
}

TEST_F(UpkeepTest, FailuresAndWhatIsPastItsStaleLifeGoFirst) {
    constexpr std::size_t answers = 740, all = 940;
    for (std::size_t i = 0; i < answers; ++i) put(i, 1, 600s);
    for (std::size_t i = answers; i < all; ++i) {
        Publication verdict = i % 2 ? put_failure(i, 600s) : put(i);
        ASSERT_EQ(verdict, Publication::accepted);
    }
    for (std::size_t i = 0; i < all; ++i) find(i)->visited = 1; // whoever is of use would be spared for it
    ticks(10, 121s);
    EXPECT_LE(table.entries(), 812u) << "there was something to evict";
    std::size_t kept = 0, failures = 0, ended = 0;
    for (std::size_t i = 0; i < answers; ++i) kept += find(i) != nullptr;
    for (std::size_t i = answers; i < all; ++i) (i % 2 ? failures : ended) += find(i) != nullptr;
    EXPECT_EQ(kept, answers) << "none of them while there are others, though these are newer";
    EXPECT_LT(failures, 100u);
    EXPECT_LT(ended, 100u);
}

TEST_F(UpkeepTest, ARebuildKeepsEveryEntryAndEveryLiveFetch) {
    for (std::size_t i = 0; i < 400; ++i) put(i);
    for (std::size_t i = 400; i < 410; ++i) start(i); // live, nothing published yet
    std::set<std::size_t> flushed;
    for (std::size_t i = 0; i < 200; ++i) flushed.insert(i);
    test::flush_shard(table, 0, generation, [&](const KeyRef& key, const Entry&) {
        return std::ranges::any_of(flushed, [&](std::size_t i) { return key.key() == name(i); });
    });
    const Node* before = locate(300);
    std::size_t slots = table.slots(), bytes = table.bytes();
    ticks(1);
    EXPECT_EQ(table.rebuilt(), 1u);
    EXPECT_EQ(table.slots(), slots - 200);
    EXPECT_NE(locate(300), before);
    for (std::size_t i = 200; i < 400; ++i) EXPECT_NE(find(i), nullptr) << i;
    for (std::size_t i = 400; i < 410; ++i) EXPECT_NE(locate(i), nullptr) << "a live Fetch's slot";
    for (std::size_t i = 0; i < 200; ++i) EXPECT_EQ(locate(i), nullptr);
    ticks(2);
    EXPECT_LT(table.bytes(), bytes) << "the old shard has left limbo";
}

TEST_F(UpkeepTest, WhatWasSupersededBeforeARebuildStaysSuperseded) {
    start(0);
    Generation first = generation;
    start(0); // supersedes it
    for (std::size_t i = 1; i < 300; ++i) {
        start(i);
        table.finish(name(i), hash(name(i)), generation); // dead
    }
    ticks(2);
    ASSERT_GE(table.rebuilt(), 1u);
    EntryPtr late = entry_of({first, 0}, {1}, 0s, 60s);
    EXPECT_EQ(table.publish(name(0), hash(name(0)), late), Publication::superseded);
}

TEST_F(UpkeepTest, AnOldShardIsFreedOnlyAfterItsReaders) {
    Grace::Reader& reader = *grace.add_reader();
    reader.online();
    for (std::size_t i = 0; i < 300; ++i) put(i);
    const Node* place = locate(299);
    test::flush_shard(table, 0, generation - 1, everything);
    ticks(5);
    ASSERT_EQ(table.rebuilt(), 1u);
    EXPECT_EQ(place->first.key(), name(299)) << "still readable (AddressSanitizer)";
    EXPECT_GT(grace.limbo_bytes(), 0u);
    reader.quiescent();
    ticks(3);
    EXPECT_EQ(grace.limbo_bytes(), 0u);
    reader.offline();
}

class SmallMemory : public UpkeepTest {
  protected:
    SmallMemory() : UpkeepTest({.entries = 100000, .bytes = 1 << 21}) {}
};

TEST_F(SmallMemory, TheMemoryBoundHoldsWithLimboCounted) {
    std::size_t accepted = 0;
    for (std::size_t i = 0; i < 20000; ++i) {
        accepted += put(i, 1 + i % 40) == Publication::accepted;
        ticks(1);
        ASSERT_LE(table.bytes(), table.limits().bytes);
    }
    EXPECT_GT(accepted, 19900u) << "room is made ahead of need";
}

TEST_F(SmallMemory, AStalledReaderFillsLimboUpToTheBoundAndNoFurther) {
    Grace::Reader& reader = *grace.add_reader();
    reader.online();
    std::size_t refused = 0;
    for (std::size_t i = 0; i < 20000; ++i) {
        refused += put(i % 50, 30) == Publication::full;
        ticks(1);
        ASSERT_LE(table.bytes(), table.limits().bytes);
    }
    EXPECT_GT(refused, 10000u);
    reader.quiescent();
    ticks(3);
    EXPECT_EQ(put(1), Publication::accepted);
    reader.offline();
}

class OneShard : public UpkeepTest {
  protected:
    OneShard() : UpkeepTest({.entries = 1000, .bytes = limit}) {}
    static inline const std::size_t limit = 2 * Table::shard_octets() + 400'000;
};

class TightShard : public UpkeepTest, public testing::WithParamInterface<std::size_t> {
  protected:
    TightShard() : UpkeepTest({.entries = 1000, .bytes = 2 * Table::shard_octets() + GetParam()}) {}
};

TEST_P(TightShard, NewNamesFindRoomAgainAndAgain) {
    std::size_t accepted = 0;
    for (std::size_t i = 0; i < 20000; ++i) {
        accepted += put(i) == Publication::accepted;
        ticks(2);
    }
    EXPECT_GT(accepted, 15000u) << table.entries() << " entries in " << table.slots() << " slots, "
                                << table.bytes() << " octets, " << table.rebuilt() << " rebuilds";
}

INSTANTIATE_TEST_SUITE_P(Bytes, TightShard, testing::Range<std::size_t>(220'000, 420'000, 20'000));

TEST_F(OneShard, RebuildsPassTheBoundByOneShardHoweverLongAReaderStalls) {
    Grace::Reader& reader = *grace.add_reader();
    reader.online(); // and never quiescent
    std::size_t names = 0;
    while (names < 900 && put(names) == Publication::accepted) ++names;
    std::size_t shard = table.slots() * 256;
    for (std::size_t i = 0; i < names; ++i) {
        auto one = [&](const KeyRef& key, const Entry&) { return key.hash == hash(name(i)); };
        for (std::size_t s = 0; s < table.shard_count(); ++s) test::flush_shard(table, s, generation, one);
        ticks(1);
        ASSERT_LE(table.bytes(), limit + shard) << i << " flushed, " << table.rebuilt() << " shards rebuilt";
    }
    EXPECT_GT(table.rebuilt(), 0u);
    reader.offline();
    ticks(3);
    EXPECT_LT(table.slots(), names / 4) << "what was put off is made up for";
}

// One owner that publishes, evicts, flushes and rebuilds; readers that look names up as workers do, ahead for
// a burst and then one by one. A reader must never find another name's Entry, nor read what was freed.
TEST(UpkeepThreads, ReadersNeverSeeAnotherNamesEntry) {
    Grace grace;
    Table table({.entries = 2000, .bytes = 1 << 22}, grace);
    constexpr unsigned names = 6007;
    std::vector<Key> keys;
    std::vector<Hash> hashes;
    for (unsigned i = 0; i < names; ++i) {
        keys.push_back(key_of("n" + std::to_string(i) + ".example"));
        hashes.push_back(table.hasher()(keys.back()));
    }
    std::atomic<bool> stop{false};
    std::atomic<std::uint64_t> seen{0}, foreign{0};
    auto read = [&](Grace::Reader& reader, unsigned seed) {
        std::array<Table::Finding, 32> ahead;
        reader.online();
        for (std::uint64_t n = seed; !stop.load(std::memory_order_relaxed); ++n) {
            auto asked = [&](std::size_t at) { return unsigned((n * 32 + at) * 2654435761u % names); };
            for (std::size_t at = 0; at < ahead.size(); ++at) ahead[at] = table.look_ahead(hashes[asked(at)]);
            for (std::size_t at = 0; at < ahead.size(); ++at) {
                unsigned i = asked(at);
                const Node* node = table.locate(keys[i], hashes[i], ahead[at]);
                if (!node) continue;
                const Entry* entry = node->second.entry.load(std::memory_order_acquire);
                if (!entry) continue;
                // The name's number is written into the Entry's TTL, see below.
                foreign += (entry->expiry - entry->born) / 1s != i + 1;
                entry->visited.store(1, std::memory_order_relaxed);
                ++seen;
            }
            reader.quiescent();
        }
        reader.offline();
    };
    std::vector<std::thread> readers;
    for (unsigned i = 0; i < 2; ++i) readers.emplace_back(read, std::ref(*grace.add_reader()), i);
    // The readers' threads may begin late; and while one that is online has no CPU, the table is full.
    unsigned published = 0;
    for (Generation g = 1; published < 60000 || seen < 1000; ++g) {
        unsigned i = unsigned(g * 40503u % names);
        if (!table.start(keys[i], hashes[i], g)) {
            table.upkeep(0s);
            grace.reclaim();
            std::this_thread::yield();
            continue;
        }
        EntryPtr entry = entry_of({g, 0}, {1, 2}, 0s, std::chrono::seconds(i + 1), 1h);
        published += table.publish(keys[i], hashes[i], entry) == Publication::accepted;
        table.finish(keys[i], hashes[i], g);
        if (published % 5000 == 0) {
            for (std::size_t s = 0; s < table.shard_count(); ++s) test::flush_shard(table, s, g, everything);
        }
        if (g % 8 == 0) table.upkeep(0s);
        grace.reclaim();
    }
    stop = true;
    for (auto& reader : readers) reader.join();
    EXPECT_EQ(foreign, 0u);
    EXPECT_GT(table.rebuilt(), 20u);
    EXPECT_GT(table.evicted(), 1000u);
}

} // namespace
} // namespace millrace::cache
