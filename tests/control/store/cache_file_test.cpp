#include "control/store/cache_file.hpp"

#include <csignal>
#include <filesystem>
#include <fstream>
#include <iterator>

#include <gtest/gtest.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/support/entries.hpp"
#include "tests/support/temporary_folder.hpp"

namespace millrace::control {
namespace {

using test::entry_of;
using test::key_of;

constexpr std::uint64_t rules = 7;

class CacheFileTest : public testing::Test {
  protected:
    CacheFileTest() {
        path = folder / "cache";
        written.boot = {'b', 'o', 'o', 't'};
        written.since_boot = 100s;
        written.wall = 1'000'000s;
        restoring.generation = 5;
        restoring.policy = {.stale = 1h};
        restoring.now = 100s;
    }

    static void add(CacheFileWriter& writer, const cache::Key& key, const cache::EntryPtr& entry) {
        writer.add({1, key.bytes().data()}, *entry);
    }
    /// a.com for a minute, b.com with two addresses that rotate, from 90 s on.
    void write() {
        auto writer = CacheFileWriter::create(path, written, rules);
        ASSERT_TRUE(writer) << writer.error();
        add(*writer, a, entry_of({1, 0}, {1}, 90s, 60s, 1h));
        add(*writer, b, entry_of({2, 1}, {2, 3}, 90s, 300s, 2h, true));
        auto count = writer->finish();
        ASSERT_TRUE(count) << count.error();
        EXPECT_EQ(*count, 2u);
    }
    tl::expected<CacheFileReader, std::string> open(const Moment& now) const {
        return CacheFileReader::open(path, now, rules);
    }
    std::vector<StoredEntry> read() {
        auto reader = open(written);
        if (!reader) ADD_FAILURE() << reader.error();
        if (!reader) return {};
        auto batch = reader->next(restoring);
        return batch ? std::move(*batch) : std::vector<StoredEntry>{};
    }
    std::string fault(const Moment& now) const {
        auto reader = open(now);
        return reader ? "" : reader.error();
    }
    std::string contents() const {
        std::ifstream file(path, std::ios::binary);
        return {std::istreambuf_iterator<char>(file), {}};
    }
    void put(const std::string& octets) const { std::ofstream(path, std::ios::binary) << octets; }

    test::TemporaryFolder folder;
    std::string path;
    Moment written;
    Restoring restoring;
    cache::Key a = key_of("a.com"), b = key_of("b.com");
};

TEST_F(CacheFileTest, WhatWasWrittenIsRead) {
    write();
    auto entries = read();
    ASSERT_EQ(entries.size(), 2u);
    auto before = entry_of({5, 0}, {2, 3}, 90s, 300s, 1h, true);
    const cache::Entry& after = *entries[1].entry;
    EXPECT_TRUE(entries[0].key == a && entries[1].key == b);
    EXPECT_EQ(after.version, before->version) << "the reader's own generation";
    EXPECT_TRUE(std::ranges::equal(after.records(), before->records()));
    EXPECT_TRUE(std::ranges::equal(after.ttl_offsets(), before->ttl_offsets()));
    EXPECT_EQ(after.answers, 2u);
    EXPECT_EQ(after.rotating, 2u);
    EXPECT_EQ(after.born, 90s);
    EXPECT_EQ(after.expiry, 390s);
    EXPECT_EQ(after.stale_until, before->stale_until) << "as is configured now";
    EXPECT_EQ(after.refresh_after.load(), Time(360s).count()) << "the last tenth of its life";
}

TEST_F(CacheFileTest, EveryPropertyIsKept) {
    cache::EntryDraft draft;
    draft.rcode = 3;
    draft.authentic = draft.chained = draft.rewritten = draft.crossed = draft.rotates_ipv6 = true;
    draft.source = 9;
    draft.info = 18;
    draft.info_text = "no thanks";
    draft.expiry = draft.stale_until = 300s;
    auto writer = CacheFileWriter::create(path, written, rules);
    ASSERT_TRUE(writer);
    add(*writer, a, cache::Entry::make(draft));
    ASSERT_TRUE(writer->finish());
    auto entries = read();
    ASSERT_EQ(entries.size(), 1u);
    const cache::Entry& e = *entries[0].entry;
    EXPECT_EQ(e.rcode, 3u);
    EXPECT_TRUE(e.authentic && e.chained && e.rewritten && e.crossed && e.rotates_ipv6 && e.derived);
    EXPECT_EQ(e.source(), 5u) << "the answer that it was made of is of the same file";
    EXPECT_EQ(e.info, 18u);
    EXPECT_EQ(std::string(e.info_text().begin(), e.info_text().end()), "no thanks");
}

TEST_F(CacheFileTest, NoFlagIsTakenForAnother) {
    auto of_one = [](unsigned one) {
        std::array<bool, 6> flags{};
        flags[one] = true;
        return flags;
    };
    auto writer = CacheFileWriter::create(path, written, rules);
    ASSERT_TRUE(writer);
    for (unsigned i = 0; i < 6; ++i) {
        cache::EntryDraft draft;
        auto flags = of_one(i);
        draft.authentic = flags[0];
        draft.chained = flags[1];
        draft.rewritten = flags[2];
        draft.crossed = flags[3];
        draft.rotates_ipv6 = flags[4];
        draft.source = flags[5] ? 9 : 0;
        draft.expiry = draft.stale_until = 300s;
        add(*writer, a, cache::Entry::make(draft));
    }
    ASSERT_TRUE(writer->finish());
    auto entries = read();
    ASSERT_EQ(entries.size(), 6u);
    for (unsigned i = 0; i < 6; ++i) {
        const cache::Entry& e = *entries[i].entry;
        std::array<bool, 6> flags{e.authentic, e.chained, e.rewritten, e.crossed, e.rotates_ipv6, e.derived};
        EXPECT_EQ(flags, of_one(i)) << i;
    }
}

TEST_F(CacheFileTest, TheStaleLifeIsTheShorterOfThenAndNow) {
    write();
    restoring.policy.stale = 90min;
    auto entries = read();
    ASSERT_EQ(entries.size(), 2u);
    EXPECT_EQ(entries[0].entry->stale_until, 150s + 1h) << "as was written";
    EXPECT_EQ(entries[1].entry->stale_until, 390s + 90min) << "as is configured now";
}

TEST_F(CacheFileTest, ABlockOfNothingOfUseIsNotTheEnd) {
    auto writer = CacheFileWriter::create(path, written, rules);
    ASSERT_TRUE(writer);
    add(*writer, a, entry_of({1, 0}, {1}, 90s, 60s, 1h));
    ASSERT_TRUE(writer->write_block());
    add(*writer, b, entry_of({2, 0}, {2}, 90s, 300s, 2h));
    ASSERT_TRUE(writer->write_block());
    EXPECT_EQ(writer->finish(), 2u);
    auto keys = [&] {
        std::vector<cache::Key> out;
        auto reader = open(written);
        for (auto batch = reader->next(restoring); !batch->empty(); batch = reader->next(restoring)) {
            EXPECT_EQ(batch->size(), 1u) << "of one block";
            out.push_back(batch->front().key);
        }
        return out;
    };
    auto both = keys();
    ASSERT_EQ(both.size(), 2u);
    EXPECT_TRUE(both[0] == a && both[1] == b);
    restoring.now = 150s + 1h; // a.com's stale life has ended
    auto rest = keys();
    ASSERT_EQ(rest.size(), 1u);
    EXPECT_TRUE(rest[0] == b);
}

TEST_F(CacheFileTest, WhatHasExpiredForGoodIsLeftOut) {
    write();
    restoring.now = 150s + 1h; // a.com's stale life has ended
    auto entries = read();
    ASSERT_EQ(entries.size(), 1u);
    EXPECT_TRUE(entries[0].key == b);
    restoring.now = 150s;
    restoring.policy.stale = 0s;
    EXPECT_EQ(read().size(), 1u) << "nothing is served stale any more";
}

TEST_F(CacheFileTest, AfterABootLivesGoOnByTheWallClock) {
    write();
    Moment now{{'n', 'e', 'x', 't'}, 3s, 1'000'030s}; // half a minute later
    auto reader = open(now);
    ASSERT_TRUE(reader) << reader.error();
    EXPECT_EQ(reader->shift(), 3s - 130s);
    restoring.shift = reader->shift();
    restoring.now = now.since_boot;
    auto entries = reader->next(restoring);
    ASSERT_TRUE(entries && !entries->empty());
    EXPECT_EQ((*entries)[0].entry->expiry - now.since_boot, 150s - 130s);
    EXPECT_LT((*entries)[0].entry->born, 0s) << "before this boot";
}

TEST_F(CacheFileTest, AClockThatWentBackLengthensNoLife) {
    write();
    EXPECT_EQ(fault({{'n', 'e', 'x', 't'}, 3s, 999'999s}),
              "was written later than it is now; is the clock right?");
    EXPECT_EQ(fault({{}, 3s, 999'999s}), "was written later than it is now; is the clock right?");
    Moment same = written;
    same.wall = 5s; // set meanwhile; since boot has gone on
    EXPECT_EQ(fault(same), "");
    EXPECT_EQ(open(same)->shift(), 0s);
}

TEST_F(CacheFileTest, OfOtherRulesItIsRefused) {
    write();
    auto reader = CacheFileReader::open(path, written, rules + 1);
    ASSERT_FALSE(reader);
    EXPECT_EQ(reader.error(), "was written under another configuration of upstreams or of answers");
}

TEST_F(CacheFileTest, AnyOctetThatIsAnotherIsNoticed) {
    write();
    std::string good = contents();
    for (std::size_t at = 0; at < good.size(); ++at) {
        std::string bad = good;
        bad[at] = char(bad[at] ^ 0x10);
        put(bad);
        EXPECT_NE(fault(written), "") << at;
    }
    put(good);
    EXPECT_EQ(fault(written), "");
}

TEST_F(CacheFileTest, AnyLengthThatIsAnotherIsNoticed) {
    write();
    std::string good = contents();
    for (std::size_t size = 0; size < good.size(); ++size) {
        put(good.substr(0, size));
        EXPECT_NE(fault(written), "") << size;
    }
    put(good + '\0');
    EXPECT_EQ(fault(written), "is damaged");
}

TEST_F(CacheFileTest, OnlyARegularFileIsOne) {
    EXPECT_EQ(fault(written), "cannot be opened: No such file or directory");
    path = folder.path();
    EXPECT_EQ(fault(written), "is no regular file");
    path = "/dev/zero";
    EXPECT_EQ(fault(written), "is no regular file");
}

TEST_F(CacheFileTest, AWriterThatDoesNotFinishLeavesWhatWasThere) {
    write();
    std::string good = contents();
    {
        auto writer = CacheFileWriter::create(path, written, rules);
        ASSERT_TRUE(writer);
        add(*writer, a, entry_of({1, 0}, {9}, 90s, 60s));
        ASSERT_TRUE(writer->write_block());
        EXPECT_EQ(contents(), good);
    }
    EXPECT_EQ(contents(), good);
    EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder.path()), {}), 1)
        << "nothing stays beside it";
}

TEST_F(CacheFileTest, WhatAnEndedWriterLeftIsNotInTheWay) {
    std::filesystem::create_symlink(folder / "other", WholeFile::beside(path));
    write();
    EXPECT_EQ(fault(written), "");
    EXPECT_FALSE(std::filesystem::exists(folder / "other")) << "nothing is written through a link";
    auto mode = std::filesystem::status(path).permissions();
    EXPECT_EQ(mode, std::filesystem::perms(0600)) << "it says what was asked for";
}

/// Runs `work` in a process of its own, killed before or behind its system call number `stop`: at no other
/// moment does what is on the disk change. False: it ended before.
template <class Work>
bool kill_at(int stop, Work work) {
    pid_t child = ::fork();
    if (child == 0) {
        ::ptrace(PTRACE_TRACEME, 0, nullptr, nullptr);
        ::raise(SIGSTOP);
        work();
        ::_exit(0);
    }
    int status = 0;
    for (int at = 0; ::waitpid(child, &status, 0) == child && WIFSTOPPED(status); ++at) {
        if (at < stop) {
            ::ptrace(PTRACE_SYSCALL, child, nullptr, nullptr);
        } else {
            ::kill(child, SIGKILL);
        }
    }
    return WIFSIGNALED(status);
}

TEST_F(CacheFileTest, KilledAtAnyMomentItLosesThatDumpAlone) {
    write();
    std::string before = contents(), after;
    auto dump = [&] {
        auto writer = CacheFileWriter::create(path, written, rules);
        for (std::uint8_t host = 3; writer && host < 6; ++host) {
            add(*writer, a, entry_of({3, 0}, {host}, 90s, 60s, 1h));
            if (!writer->write_block()) return;
        }
        if (writer) static_cast<void>(writer->finish());
    };
    dump();
    after = contents();
    int old_ones = 0, new_ones = 0, stop = 0;
    put(before);
    for (; kill_at(stop, dump); ++stop) {
        std::string found = contents();
        ASSERT_TRUE(found == before || found == after) << "killed at stop " << stop;
        ++(found == before ? old_ones : new_ones);
        put(before);
        dump();
        ASSERT_EQ(contents(), after) << "what one that was killed at stop " << stop << " left is in the way";
        put(before);
    }
    EXPECT_EQ(contents(), after) << "it came to its end";
    EXPECT_GT(old_ones, 20);
    EXPECT_GT(new_ones, 0) << "killed between its name and its end";
}

// What a checksum cannot tell: a block of somebody who can make one.

class BlockTest : public testing::Test {
  protected:
    BlockTest() {
        cache::Key key = key_of("a.com");
        auto entry = entry_of({1, 0}, {1, 2}, 90s, 60s, 1h, true);
        append_entry(block, {1, key.bytes().data()}, *entry);
        how.policy.stale = 1h;
    }
    bool read(std::size_t count = 1) {
        out.clear();
        return read_block(block, count, how, out);
    }
    std::vector<std::uint8_t> block;
    Restoring how;
    std::vector<StoredEntry> out;
};

TEST_F(BlockTest, TheNumberOfEntriesIsTheirNumber) {
    EXPECT_TRUE(read());
    EXPECT_FALSE(read(0));
    EXPECT_FALSE(read(2));
}

TEST_F(BlockTest, CutAnywhereItIsNone) {
    auto good = block;
    for (std::size_t size = 0; size < good.size(); ++size) {
        block.assign(good.begin(), good.begin() + std::ptrdiff_t(size));
        EXPECT_FALSE(read()) << size;
    }
}

/// The first is owned by the root, which takes an octet less than where all of them are pointers.
TEST_F(BlockTest, MoreThatRotatesThanThereIsRoomForIsNone) {
    cache::EntryDraft draft;
    const std::vector<std::uint8_t> records{0,  0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 1, 0xc0,
                                            12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 2};
    const std::vector<std::uint16_t> offsets{5, 21};
    draft.version = {1, 0};
    draft.born = 90s;
    draft.expiry = draft.stale_until = 150s;
    draft.answers = 2;
    draft.records = records;
    draft.ttl_offsets = offsets;
    block.clear();
    append_entry(block, {1, key_of("a.com").bytes().data()}, *cache::Entry::make(draft));
    EXPECT_TRUE(read());
    constexpr std::size_t rotating_at = 41; // of an EntryHead
    block[rotating_at] = 1;
    EXPECT_TRUE(read());
    ASSERT_EQ(out[0].entry->rotating, 1u);
    block[rotating_at] = 2;
    EXPECT_FALSE(read());
}

TEST_F(BlockTest, TimesThatCannotBeAddedToAreNone) {
    for (std::size_t at : {7u, 15u, 23u}) { // the highest octet of each
        auto good = block;
        for (std::size_t i = at - 7; i <= at; ++i) block[i] = 0;
        block[at] = 0x80; // the lowest number there is
        EXPECT_FALSE(read());
        block = good;
    }
}

/// What is read lies within its records, whichever octet is another.
TEST_F(BlockTest, WhatIsReadIsSound) {
    auto good = block;
    for (std::size_t at = 0; at < good.size(); ++at) {
        for (int value : {0, 1, 0x7f, 0x80, 0xff}) {
            block = good;
            block[at] = std::uint8_t(value);
            if (!read() || out.empty()) continue;
            const cache::Entry& e = *out[0].entry;
            for (std::uint16_t offset : e.ttl_offsets()) EXPECT_LE(offset + 4u, e.records_size) << at;
            EXPECT_EQ(e.ttl_count, e.answers + e.authorities) << at;
            EXPECT_LE(e.rotating * e.rotating_octets(), e.records_size) << at;
            EXPECT_LE(e.born, e.expiry) << at;
            EXPECT_LE(e.expiry, e.stale_until) << at;
        }
    }
}

} // namespace
} // namespace millrace::control
