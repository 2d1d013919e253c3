#include "cache/table.hpp"

#include <set>
#include <thread>

#include <gtest/gtest.h>

#include "tests/support/entries.hpp"

namespace millrace::cache {
namespace {

using test::entry_of;
using test::key_of;

class TableTest : public testing::Test {
  protected:
    Grace grace;
    Table table{{.entries = 1000, .bytes = 1 << 20}, grace};
    Key a = key_of("a.com"), b = key_of("b.com");

    Hash hash(const Key& key) { return table.hasher()(key); }
    const Entry* find(const Key& key) { return table.find(key, hash(key)); }
    bool start(const Key& key, Generation g) { return table.start(key, hash(key), g); }
    Publication publish(const Key& key, Version version, std::vector<std::uint8_t> hosts = {1}) {
        EntryPtr entry = entry_of(version, hosts, 0s, 60s);
        return table.publish(key, hash(key), entry);
    }
};

TEST_F(TableTest, NothingIsFoundBeforeItIsPublished) {
    EXPECT_EQ(find(a), nullptr);
    start(a, 1);
    EXPECT_EQ(find(a), nullptr);
    EXPECT_EQ(publish(a, {1, 0}), Publication::accepted);
    ASSERT_NE(find(a), nullptr);
    EXPECT_EQ(find(a)->version, (Version{1, 0}));
    EXPECT_EQ(find(b), nullptr);
}

TEST_F(TableTest, AFetchesOwnLaterRevisionsAreAccepted) {
    start(a, 7);
    EXPECT_EQ(publish(a, {7, 0}), Publication::accepted);
    EXPECT_EQ(publish(a, {7, 1}), Publication::accepted);
    EXPECT_EQ(publish(a, {7, 2}), Publication::accepted);
    EXPECT_EQ(publish(a, {7, 1}), Publication::superseded);
    EXPECT_EQ(publish(a, {7, 2}), Publication::superseded) << "each version once";
    EXPECT_EQ(find(a)->version, (Version{7, 2}));
}

TEST_F(TableTest, StartingTheNextGenerationSupersedesTheLastEvenIfItEndsWithNothing) {
    start(a, 1);
    EXPECT_EQ(publish(a, {1, 0}), Publication::accepted);
    start(a, 2);
    EXPECT_EQ(publish(a, {1, 1}), Publication::superseded);
    EXPECT_EQ(find(a)->version, (Version{1, 0})) << "what was published stays";
}

TEST_F(TableTest, FillTakesThePlaceOfNothing) {
    auto fill = [&](const Key& key, Generation g) {
        EntryPtr entry = entry_of({g, 0}, {7}, 0s, 60s);
        return table.fill(key, hash(key), entry);
    };
    EXPECT_EQ(fill(a, 5), Publication::accepted);
    EXPECT_EQ(fill(a, 6), Publication::superseded) << "there is one";
    start(b, 1);
    EXPECT_EQ(fill(b, 6), Publication::superseded) << "a Fetch is at work";
    EXPECT_EQ(publish(b, {1, 0}), Publication::accepted) << "which has not been superseded";
    Key c = key_of("c.com");
    start(c, 9);
    table.finish(c, hash(c), 9);
    EXPECT_EQ(fill(c, 6), Publication::superseded) << "somebody newer found nothing";
    table.raise_floor(0, 10);
    EXPECT_EQ(fill(key_of("d.com"), 6), Publication::superseded) << "a flush forbids it";
}

TEST_F(TableTest, WhatMayBeServedIsGoneThroughShardByShard) {
    auto count = [&](Time now) {
        std::size_t found = 0;
        for (std::size_t i = 0; i < table.shard_count(); ++i)
            table.for_each(i, now, [&](const KeyRef&, const Entry&) { ++found; });
        return found;
    };
    EXPECT_EQ(count(0s), 0u);
    publish(a, {1, 0});
    publish(b, {2, 0});
    start(key_of("c.com"), 3);
    EXPECT_EQ(count(59s), 2u);
    EXPECT_EQ(count(60s), 0u) << "past their stale lives";
    table.raise_floor(0, 1);
    EXPECT_EQ(count(0s), 1u);
}

TEST_F(TableTest, KeysDoNotInterfere) {
    start(a, 1);
    start(b, 2);
    EXPECT_EQ(publish(b, {2, 0}), Publication::accepted);
    EXPECT_EQ(publish(a, {1, 0}), Publication::accepted) << "generation 2 is another key's";
}

TEST_F(TableTest, TypeClassFlavourAndGroupArePartsOfTheKey) {
    start(a, 1);
    publish(a, {1, 0});
    std::vector<Key> others(4, a);
    others[0].qtype = 28;
    others[1].qclass = 3;
    others[2].flavour = dnssec_ok;
    others[3].group = 1;
    for (const Key& other : others) EXPECT_EQ(find(other), nullptr);
}

TEST_F(TableTest, TheFloorRefusesOlderGenerations) {
    start(a, 5);
    table.raise_floor(0, 5);
    EXPECT_EQ(publish(a, {5, 0}), Publication::superseded);
    EXPECT_EQ(publish(a, {6, 0}), Publication::accepted);
    table.raise_floor(0, 3);
    EXPECT_EQ(table.floor(0), 5u) << "a floor never falls";
}

TEST_F(TableTest, FlushEmptiesOnlyWhatIsOldEnoughAndMatches) {
    start(a, 1);
    start(b, 2);
    publish(a, {1, 0});
    publish(b, {2, 0});
    auto everything = [](const KeyRef&, const Entry&) { return true; };
    auto flush = [&](Generation last, auto matches) {
        std::size_t emptied = 0;
        for (std::size_t i = 0; i < table.shard_count(); ++i)
            emptied += test::flush_shard(table, i, last, matches);
        return emptied;
    };
    EXPECT_EQ(flush(1, everything), 1u);
    EXPECT_EQ(find(a), nullptr);
    EXPECT_NE(find(b), nullptr);
    EXPECT_EQ(flush(9, [&](const KeyRef& key, const Entry&) { return key.key() == a; }), 0u);
    EXPECT_EQ(flush(9, [&](const KeyRef& key, const Entry&) { return key.key() == b; }), 1u);
    EXPECT_EQ(find(b), nullptr);
    EXPECT_EQ(publish(b, {2, 1}), Publication::accepted) << "the flusher supersedes the Fetch, not the table";
}

TEST_F(TableTest, ReplacedEntriesWaitInLimboAndCount) {
    start(a, 1);
    publish(a, {1, 0}, {1, 2, 3});
    std::size_t before = table.bytes();
    publish(a, {1, 1}, {1, 2, 3});
    EXPECT_GT(table.bytes(), before);
    EXPECT_EQ(grace.limbo_entries(), 1u);
    grace.reclaim();
    grace.reclaim();
    EXPECT_EQ(table.bytes(), before);
    EXPECT_EQ(table.entries(), 1u);
}

TEST_F(TableTest, RefusesKeysBeyondItsEntries) {
    Table small({.entries = 2, .bytes = 1 << 20}, grace);
    Generation g = 0;
    auto put = [&](const char* name) {
        Key key = key_of(name);
        small.start(key, small.hasher()(key), ++g);
        EntryPtr entry = entry_of({g, 0}, {1}, 0s, 60s);
        return small.publish(key, small.hasher()(key), entry);
    };
    EXPECT_EQ(put("a.com"), Publication::accepted);
    EXPECT_EQ(put("b.com"), Publication::accepted);
    EXPECT_EQ(put("c.com"), Publication::full);
    EXPECT_EQ(put("a.com"), Publication::accepted) << "a key that has its slot can always be replaced";
    EXPECT_EQ(small.slots(), 2u);
}

TEST_F(TableTest, RefusesEntriesBeyondItsBytesAndTheCallerKeepsThem) {
    Table small({.entries = 100, .bytes = 2 * Table::shard_octets() + 600}, grace);
    small.start(a, small.hasher()(a), 1);
    EntryPtr large = entry_of({1, 0}, std::vector<std::uint8_t>(100, 1), 0s, 60s);
    EXPECT_EQ(small.publish(a, small.hasher()(a), large), Publication::full);
    EXPECT_NE(large, nullptr);
    EntryPtr little = entry_of({1, 0}, {1}, 0s, 60s);
    EXPECT_EQ(small.publish(a, small.hasher()(a), little), Publication::accepted);
    EXPECT_EQ(little, nullptr);
}

TEST_F(TableTest, FillsToItsLimitWithoutAShardFillingFirst) {
    constexpr std::size_t entries = 20000, slots = entries + entries / 3;
    Table full({.entries = entries, .bytes = 1 << 26}, grace);
    Generation generation = 0;
    auto put = [&](std::size_t i) {
        Key key = key_of("host-" + std::to_string(i) + ".example");
        if (!full.start(key, full.hasher()(key), ++generation)) return false;
        EntryPtr entry = entry_of({generation, 0}, {1}, 0s, 60s);
        bool is_kept = full.publish(key, full.hasher()(key), entry) == Publication::accepted;
        EXPECT_EQ(is_kept, i < entries) << i << ": Entries have their bound,";
        return true;
    };
    for (std::size_t i = 0; i < slots; ++i) ASSERT_TRUE(put(i)) << i;
    EXPECT_FALSE(put(slots)) << "and slots another";
    EXPECT_EQ(full.entries(), entries);
    EXPECT_EQ(full.slots(), slots);
}

/// Whatever else a key holds makes another hash of it: with the same name, no two share a bucket by design.
TEST_F(TableTest, AHashCoversAllOfAKeyAndDoMakesItsSibling) {
    std::set<Hash> hashes;
    std::set<Hash> lines;
    std::size_t keys = 0;
    for (std::uint16_t qtype : {1, 28, 65, 256}) {
        for (std::uint16_t qclass : {1, 3}) {
            for (std::uint8_t group : {0, 1, 15}) {
                for (std::uint8_t flavour : {0, 2, 1 << dns64_shift, 15 << dns64_shift}) {
                    Key key = a;
                    key.qtype = qtype;
                    key.qclass = qclass;
                    key.group = group;
                    key.flavour = flavour;
                    Hash plain_hash = hash(key);
                    key.flavour |= dnssec_ok;
                    EXPECT_EQ(hash(key), sibling_of(plain_hash));
                    EXPECT_EQ(sibling_of(hash(key)), plain_hash);
                    hashes.insert({plain_hash, hash(key)});
                    lines.insert(plain_hash & (limits::shard_buckets - 1));
                    keys += 2;
                }
            }
        }
    }
    EXPECT_EQ(hashes.size(), keys);
    EXPECT_GT(lines.size(), 50u) << "96 keys of one name, spread over the lines";
    EXPECT_EQ(Hasher(7)(a), Hasher(7)(a));
    EXPECT_NE(Hasher(7)(a), Hasher(8)(a));
}

TEST_F(TableTest, LocatesAKeyFromItsStart) {
    EXPECT_EQ(table.locate(a, hash(a)), nullptr);
    start(a, 1);
    const Node* node = table.locate(a, hash(a));
    ASSERT_NE(node, nullptr);
    EXPECT_EQ(node->first.key(), a);
    EXPECT_EQ(table.look_ahead(hash(a)).node, node);
}

using TableDeathTest = TableTest;
TEST_F(TableDeathTest, APublishByAnotherThreadIsAnAssertionFailure) {
    GTEST_FLAG_SET(death_test_style, "threadsafe");
    EXPECT_DEATH(std::thread([&] { publish(a, {1, 0}); }).join(), "one writer per key");
}

// One owner publishes ever newer versions, readers look: each sees whole Entries, versions never fall, and
// nothing is read after it was freed (ASan, TSan). Every record of an Entry carries the same host octet, so
// that a torn Entry would show.
TEST(TableThreads, ReadersSeeWholeEntriesThatNeverGoBack) {
    Grace grace;
    Table table({.entries = 10000, .bytes = 1 << 24}, grace);
    constexpr unsigned keys = 64, generations = 300;
    std::vector<Key> names;
    for (unsigned i = 0; i < keys; ++i) names.push_back(key_of("name-" + std::to_string(i) + ".example"));
    std::atomic<bool> stop{false};
    std::atomic<unsigned> seen{0}, torn{0}, backwards{0};
    auto read = [&](Grace::Reader& reader) {
        std::vector<Version> last(keys);
        reader.online();
        while (!stop.load(std::memory_order_relaxed)) {
            for (unsigned i = 0; i < keys; ++i) {
                const Entry* entry = table.find(names[i], table.hasher()(names[i]));
                if (!entry) continue;
                auto records = entry->records();
                std::set<std::uint8_t> hosts;
                for (std::size_t at = 15; at < records.size(); at += 16) hosts.insert(records[at]);
                torn += hosts.size() != 1 || *hosts.begin() != std::uint8_t(entry->version.generation);
                backwards += entry->version < last[i];
                last[i] = entry->version;
                ++seen;
            }
            reader.quiescent();
        }
        reader.offline();
    };
    std::vector<std::thread> readers;
    for (int i = 0; i < 2; ++i) readers.emplace_back(read, std::ref(*grace.add_reader()));
    Generation generation = 0;
    while (generation < Generation(keys) * generations ||
           seen < 1000) { // the readers' threads may begin late
        const Key& key = names[generation % keys];
        Hash hash = table.hasher()(key);
        table.start(key, hash, ++generation);
        for (std::uint32_t revision : {0u, 1u}) {
            std::vector<std::uint8_t> hosts(1 + generation % 5 + revision, std::uint8_t(generation));
            EntryPtr entry = entry_of({generation, revision}, hosts, 0s, 60s);
            ASSERT_EQ(table.publish(key, hash, entry), Publication::accepted);
        }
        if (generation % 1000 == 0) {
            for (std::size_t s = 0; s < table.shard_count(); ++s)
                test::flush_shard(table, s, generation, [](auto&, auto&) { return true; });
        }
        grace.reclaim();
    }
    stop = true;
    for (auto& reader : readers) reader.join();
    EXPECT_EQ(torn, 0u);
    EXPECT_EQ(backwards, 0u);
}

} // namespace
} // namespace millrace::cache
