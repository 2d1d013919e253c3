#include "control/store/cache_store.hpp"

#include <filesystem>
#include <fstream>
#include <thread>

#include <gtest/gtest.h>

#include "control/local/build.hpp"
#include "tests/control/fetch/fixture.hpp"
#include "tests/support/entries.hpp"
#include "tests/support/temporary_folder.hpp"

namespace millrace::control {
namespace {

class CacheStoreTest : public FetchTest {
  protected:
    CacheStoreTest() : FetchTest(3, {}, 65'536) {
        config.live.file = folder / "cache";
        store.open();
        set();
    }
    ~CacheStoreTest() override { store.stop(); }

    void set() { store.set(config.live, boot_time()); }
    void publish(const cache::Key& key, std::uint8_t host, Time ttl = 1h) {
        auto entry = test::entry_of({fetches.take_generation(), 0}, {host}, boot_time(), ttl, 1h);
        ASSERT_EQ(table.publish(key, hash(key), entry), cache::Publication::accepted);
    }
    void empty() {
        flushes.flush_all([](std::size_t) {});
        while (flushes.is_waiting()) flushes.tick();
    }
    void turn() {
        io.restart();
        io.run_one_for(1ms);
        store.tick(boot_time());
    }
    using Result = tl::expected<std::size_t, std::string>;
    Result dump() {
        std::optional<Result> result;
        store.dump([&](const Result& r) { result = r; });
        while (!result) turn();
        return *result;
    }
    Result load() {
        std::optional<Result> result;
        store.load([&](const Result& r) { result = r; });
        while (!result) turn();
        return *result;
    }
    /// Many, of several blocks of the file's.
    void publish_large(unsigned count) {
        constexpr std::size_t records = 4000; // 72 kB
        for (unsigned i = 0; i < count; ++i) {
            cache::Key key = make_key("large" + std::to_string(i) + ".com", LDNS_RR_TYPE_A);
            auto entry = test::entry_of({fetches.take_generation(), 0}, std::vector<std::uint8_t>(records, 1),
                                        boot_time(), 1h);
            ASSERT_EQ(table.publish(key, hash(key), entry), cache::Publication::accepted);
        }
    }
    std::size_t blocks() const {
        auto reader = CacheFileReader::open(config.live.file, Moment::now(), rules_of(config.live));
        std::size_t count = 0;
        while (!reader->next({})->empty()) ++count;
        return count;
    }
    bool has_file() const { return std::filesystem::exists(config.live.file); }

    Config config = *parse_config("upstreams: [{group: g, servers: [198.51.100.1]}]\n", "t");
    test::TemporaryFolder folder;
    asio::io_context io;
    cache::Replaceable<dataplane::Rules> rules{std::make_unique<const dataplane::Rules>(
        nullptr, dataplane::LocalNames::Builder().build(), std::make_shared<const dataplane::Routes>())};
    CacheStore store{{io, table, grace, fetches, flushes, rules}, config.boot};
};

TEST_F(CacheStoreTest, WhatIsDumpedIsLoadedAgain) {
    publish(a, 1);
    publish(b, 2);
    Time expiry = cached(a)->expiry;
    EXPECT_EQ(dump(), 2u);
    empty();
    EXPECT_EQ(load(), 2u);
    EXPECT_EQ(cached_addresses(a), Hosts{"192.0.2.1"});
    EXPECT_EQ(cached_addresses(b), Hosts{"192.0.2.2"});
    EXPECT_EQ(cached(a)->expiry, expiry);
    EXPECT_GT(cached(a)->version.generation, table.floor(0));
}

TEST_F(CacheStoreTest, ItTakesThePlaceOfNothing) {
    publish(a, 1);
    publish(b, 2);
    EXPECT_EQ(dump(), 2u);
    empty();
    publish(a, 9);
    EXPECT_EQ(load(), 1u);
    EXPECT_EQ(cached_addresses(a), Hosts{"192.0.2.9"});
}

TEST_F(CacheStoreTest, ALiveFetchPublishesAllTheSame) {
    publish(a, 1);
    EXPECT_EQ(dump(), 1u);
    empty();
    serve(0, {"9.9.9.9"}, 5ms);
    ask(a);
    EXPECT_EQ(load(), 0u) << "what it gets is newer";
    run(3s);
    EXPECT_EQ(cached_addresses(a), Hosts{"9.9.9.9"});
}

TEST_F(CacheStoreTest, AFetchThatHasEndedWithNothingIsNewerThanTheFile) {
    publish(a, 1);
    EXPECT_EQ(dump(), 1u);
    empty();
    std::optional<Result> result;
    store.load([&](const Result& r) { result = r; });
    store.tick(boot_time()); // the helper begins
    table.start(a, hash(a), fetches.take_generation());
    table.finish(a, hash(a), fetches.last_generation());
    while (!result) turn();
    EXPECT_EQ(cached(a), nullptr);
}

TEST_F(CacheStoreTest, AFlushEndsTheLoading) {
    publish(a, 1);
    EXPECT_EQ(dump(), 1u);
    empty();
    std::optional<Result> result;
    store.load([&](const Result& r) { result = r; });
    store.tick(boot_time());
    flushes.flush_name(a.name, [](std::size_t) {});
    while (!result) turn();
    EXPECT_FALSE(*result);
    EXPECT_EQ(cached(a), nullptr);
    while (flushes.is_waiting()) flushes.tick();
}

/// A flush under way would not find what is loaded now: it has the later generation.
TEST_F(CacheStoreTest, AFlushUnderWayIsWaitedFor) {
    publish(a, 1);
    publish(b, 2);
    EXPECT_EQ(dump(), 2u);
    empty();
    bool is_flushed = false;
    auto forget = [&](std::size_t) {
        store.forget([&](const auto& gone) { is_flushed = gone.has_value(); });
    };
    ASSERT_TRUE(flushes.flush_name(a.name, forget));
    std::optional<Result> result;
    store.load([&](const Result& r) { result = r; });
    for (int i = 0; i < 50; ++i) { // a helper that had begun would be through
        turn();
        std::this_thread::sleep_for(1ms);
    }
    EXPECT_FALSE(result);
    EXPECT_EQ(table.entries(), 0u);
    while (flushes.is_waiting()) flushes.tick();
    while (!result) turn();
    EXPECT_TRUE(is_flushed);
    EXPECT_FALSE(*result) << "the file has gone first";
    EXPECT_EQ(table.entries(), 0u);
}

TEST_F(CacheStoreTest, WhatIsForgottenIsGoneBeforeThatIsSaidAndIsWrittenAnew) {
    publish(a, 1);
    publish(b, 2);
    EXPECT_EQ(dump(), 2u);
    table.withdraw(a, hash(a));
    bool is_said = false, was_there = true;
    store.forget([&](const auto& gone) {
        is_said = gone.has_value();
        was_there = has_file();
    });
    EXPECT_FALSE(is_said);
    while (!is_said) turn();
    EXPECT_FALSE(was_there);
    while (!has_file()) turn();
    empty();
    EXPECT_EQ(load(), 1u);
    EXPECT_EQ(cached(a), nullptr);
}

TEST_F(CacheStoreTest, FailuresAreNotKept) {
    auto entry = build_failure({fetches.take_generation(), 0}, boot_time(), boot_time() + 1h, {22});
    ASSERT_EQ(table.publish(a, hash(a), entry), cache::Publication::accepted);
    EXPECT_EQ(dump(), 0u);
}

TEST_F(CacheStoreTest, RulesThatHaveChangedCountForEachAnswer) {
    publish(a, 1);
    publish(b, 2);
    EXPECT_EQ(dump(), 2u);
    empty();
    config.live.local.records = {"a.com. 60 IN CNAME b.com."};
    auto built = build_local_names(config.live);
    ASSERT_TRUE(built);
    rules.replace(
        std::make_unique<const dataplane::Rules>(nullptr, std::move(built->names), rules.get().routes),
        grace);
    EXPECT_EQ(load(), 1u);
    EXPECT_EQ(cached(a), nullptr) << "a rule leads it elsewhere now";
}

TEST_F(CacheStoreTest, OfOtherUpstreamsNothingIsTaken) {
    publish(a, 1);
    EXPECT_EQ(dump(), 1u);
    empty();
    config.live.upstreams[0].servers.emplace_back(server(1));
    set();
    auto loaded = load();
    ASSERT_FALSE(loaded);
    EXPECT_EQ(loaded.error(),
              config.live.file + " was written under another configuration of upstreams or of answers");
    EXPECT_EQ(table.entries(), 0u);
}

TEST_F(CacheStoreTest, RulesAreWhatAnswersDependOn) {
    auto differs = [&](auto change) {
        Config::Live live = config.live;
        change(live);
        return rules_of(live) != rules_of(config.live);
    };
    EXPECT_FALSE(differs([](auto& live) { live.allow.clear(); }));
    EXPECT_FALSE(differs([](auto& live) { live.upstreams[0].fanout = Config::Fanout{}; }));
    EXPECT_FALSE(differs([](auto& live) { live.stale = 5s; }));
    EXPECT_FALSE(differs([](auto& live) { live.log_level = Config::LogLevel::error; }));
    EXPECT_FALSE(differs([](auto& live) { live.dnstap.sample = 9; }));
    EXPECT_TRUE(differs([](auto& live) { live.upstreams[0].name = "h"; }));
    EXPECT_TRUE(differs([](auto& live) { live.min_ttl = 5s; }));
    EXPECT_TRUE(differs([](auto& live) { live.dns64.emplace_back(); }));
    EXPECT_TRUE(differs([](auto& live) { live.merge.policy = Config::MergePolicy::off; }));
}

TEST_F(CacheStoreTest, ADamagedFileIsRefusedAndReplaced) {
    publish(a, 1);
    EXPECT_EQ(dump(), 1u);
    std::filesystem::resize_file(config.live.file, std::filesystem::file_size(config.live.file) - 1);
    empty();
    auto loaded = load();
    ASSERT_FALSE(loaded);
    EXPECT_EQ(loaded.error(), config.live.file + " is damaged");
    publish(b, 2);
    EXPECT_EQ(dump(), 1u);
    EXPECT_FALSE(load() != 0u) << "b.com is there already";
}

TEST_F(CacheStoreTest, AnEndDuringTheLoadKeepsTheFile) {
    publish(a, 1);
    EXPECT_EQ(dump(), 1u);
    empty();
    bool is_told = false;
    store.load([&](const Result&) { is_told = true; });
    store.tick(boot_time());
    store.stop();
    EXPECT_EQ(table.entries(), 0u);
    auto reader = CacheFileReader::open(config.live.file, Moment::now(), rules_of(config.live));
    ASSERT_TRUE(reader) << reader.error();
    EXPECT_EQ(reader->entries(), 1u);
}

TEST_F(CacheStoreTest, TheEndWritesTheFile) {
    publish(a, 1);
    EXPECT_FALSE(has_file());
    store.stop();
    EXPECT_TRUE(has_file());
}

TEST_F(CacheStoreTest, ItIsWrittenAtIntervals) {
    publish(a, 1);
    config.live.save_interval = 1min;
    Time now = boot_time();
    store.set(config.live, now);
    for (int i = 0; i < 50; ++i) { // a helper that had begun would be through
        io.restart();
        io.poll();
        store.tick(now + 1min - 1us);
        std::this_thread::sleep_for(1ms);
    }
    EXPECT_FALSE(has_file());
    store.tick(now + 1min);
    while (!has_file()) turn();
}

TEST_F(CacheStoreTest, ChangesOfOtherKeysDoNotPutItOff) {
    publish(a, 1);
    config.live.save_interval = 1min;
    Time now = boot_time();
    store.set(config.live, now);
    config.live.log_level = Config::LogLevel::error;
    store.set(config.live, now + 50s);
    config.live.save_interval = 1h;
    store.set(config.live, now + 55s);
    store.tick(now + 1min);
    while (!has_file()) turn();
}

TEST_F(CacheStoreTest, WhatCannotBeForgottenIsSaid) {
    config.live.file = folder / "folder";
    std::filesystem::create_directory(config.live.file);
    set();
    tl::expected<void, std::string> gone;
    bool is_said = false;
    store.forget([&](const auto& result) {
        gone = result;
        is_said = true;
    });
    while (!is_said) turn();
    ASSERT_FALSE(gone);
    EXPECT_EQ(gone.error(), config.live.file + " cannot be removed: Is a directory");
    config.live.file.clear(); // or the end would write it
    set();
}

TEST_F(CacheStoreTest, ALoadThatWaitsDoesNotEndTheDumpBeforeIt) {
    publish(a, 1);
    flushes.flush_name(b.name, [](std::size_t) {}); // one more than when a load began last
    while (flushes.is_waiting()) flushes.tick();
    std::optional<Result> dumped, loaded;
    store.dump([&](const Result& r) { dumped = r; });
    store.tick(boot_time()); // begins it
    store.load([&](const Result& r) { loaded = r; });
    while (!dumped || !loaded) turn();
    EXPECT_EQ(*dumped, 1u);
    EXPECT_EQ(*loaded, 0u) << "all of it is there";
}

TEST_F(CacheStoreTest, WithoutAFileThereIsNothingToDo) {
    config.live.file.clear();
    set();
    EXPECT_EQ(dump(), tl::unexpected(std::string("`cache: file` names no file")));
    EXPECT_EQ(load(), tl::unexpected(std::string("`cache: file` names no file")));
    bool is_said = false;
    store.forget([&](const auto& gone) { is_said = gone.has_value(); });
    EXPECT_TRUE(is_said);
}

TEST_F(CacheStoreTest, WhereNothingCanBeWrittenThatIsSaid) {
    config.live.file = folder / "none/cache";
    set();
    auto dumped = dump();
    ASSERT_FALSE(dumped);
    EXPECT_EQ(dumped.error(), config.live.file + " cannot be created: No such file or directory");
}

TEST_F(CacheStoreTest, MoreBlocksThanAreReadAhead) {
    publish_large(160);
    EXPECT_EQ(dump(), 160u);
    EXPECT_GT(blocks(), limits::cache_blocks_ahead);
    empty();
    std::optional<Result> result;
    store.load([&](const Result& r) { result = r; });
    store.tick(boot_time());
    std::this_thread::sleep_for(100ms); // the helper reads as far as it may, and waits
    while (!result) turn();
    EXPECT_EQ(*result, 160u);
    EXPECT_EQ(table.entries(), 160u);
}

/// What a dump reads is replaced, withdrawn and freed meanwhile.
TEST_F(CacheStoreTest, PublishedAndFlushedBesideADump) {
    std::vector<cache::Key> keys;
    for (unsigned i = 0; i < 50; ++i) {
        keys.push_back(make_key("n" + std::to_string(i) + ".com", LDNS_RR_TYPE_A));
        publish(keys.back(), 0);
    }
    unsigned published = 0, done = 0;
    for (unsigned dumps = 1; dumps <= 600; ++dumps) {
        store.dump([&](const Result& result) {
            EXPECT_TRUE(result) << result.error();
            ++done;
        });
        while (done < dumps) {
            const cache::Key& key = keys[published++ % keys.size()];
            publish(key, std::uint8_t(published));
            if (published % 8 == 0) flushes.flush_name(key.name, [](std::size_t) {});
            flushes.tick();
            for (int i = 0; i < 3; ++i) grace.reclaim(); // as soon as may be
            io.restart();
            io.poll();
            store.tick(boot_time());
        }
    }
    while (flushes.is_waiting()) flushes.tick();
    std::size_t entries = table.entries();
    EXPECT_EQ(dump(), entries);
    empty();
    EXPECT_EQ(load(), entries);
}

TEST_F(CacheStoreTest, ATickFillsInALittle) {
    for (unsigned i = 0; i < 900; ++i) publish(make_key("n" + std::to_string(i) + ".com", LDNS_RR_TYPE_A), 1);
    EXPECT_EQ(dump(), 900u);
    empty();
    std::optional<Result> result;
    store.load([&](const Result& r) { result = r; });
    while (table.entries() == 0) {
        io.restart();
        io.run_one_for(1ms);
        store.tick(Time{}); // its time is over when it begins
    }
    EXPECT_LE(table.entries(), 4u);
    while (!result) turn();
    EXPECT_EQ(table.entries(), 900u);
}

} // namespace
} // namespace millrace::control
