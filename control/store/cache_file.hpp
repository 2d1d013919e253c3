// The cache as a file: what is written when it is dumped, and what is believed of it when it is loaded.
//
//     head            what it is, when it was written, under which rules
//     blocks          each: octets, Entries, checksum; then the Entries, one behind the other
//     an empty block  says how many Entries there were: without it the file is not whole
//
// For this machine and this version alone: numbers as they are in memory. A WholeFile: whatever ends the
// writer loses that dump and nothing else.
// Whoever reads it checks every block before the first Entry is believed, and each Entry for itself: a file
// that is damaged, of another version or of other rules is refused whole. Failures and what has expired for
// good are not written.
//
// Threads: each object is one thread's. Errors are sentences without the path.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <tl/expected.hpp>

#include "cache/entry.hpp"
#include "cache/key.hpp"
#include "cache/slot.hpp"
#include "control/message/entry_build.hpp"
#include "control/whole_file.hpp"
#include "dataplane/descriptor.hpp"

namespace millrace::control {

/// One moment by both clocks. As long as the machine is not
/// booted, that since boot counts, which nobody sets.
struct Moment {
    std::array<char, 64> boot{}; ///< which one it is, and the time namespace; not known: zeros
    Time since_boot{};           ///< CLOCK_BOOTTIME
    Time wall{};                 ///< CLOCK_REALTIME, since 1970

    static Moment now();
};

std::uint64_t digest_of(std::string_view text); ///< the same in every process

struct StoredEntry {
    cache::Key key;
    cache::EntryPtr entry;
};

/// What an Entry becomes when it is read.
struct Restoring {
    cache::Generation generation = 0; ///< its own, and of what it was made of
    TtlPolicy policy;                 ///< of stale data, prefetch: they may be others than before
    Time now{};                       ///< what is past its stale life by then is left out
    Time shift{};                     ///< added to its times
};

/// Appends the Entry to a block.
void append_entry(std::vector<std::uint8_t>& block, const cache::KeyRef& key, const cache::Entry& entry);
/// The Entries of a block, or false: it is not one. Work is linear in its octets.
bool read_block(std::span<const std::uint8_t> block, std::size_t count, const Restoring& how,
                std::vector<StoredEntry>& out);

class CacheFileWriter {
  public:
    using Result = tl::expected<void, std::string>;

    /// `rules`: a digest of the configuration that the answers were made under.
    static tl::expected<CacheFileWriter, std::string> create(const std::string& path, const Moment& moment,
                                                             std::uint64_t rules);

    /// Collects it; write_block() puts it into the file.
    void add(const cache::KeyRef& key, const cache::Entry& entry);
    bool is_block_full() const;
    Result write_block();
    /// What was added is in the file, and the file on the
    /// disk and in its place. Returns the number of Entries.
    tl::expected<std::size_t, std::string> finish();

  private:
    explicit CacheFileWriter(WholeFile file) : file_(std::move(file)) {}
    Result write_block_of(std::span<const std::uint8_t> octets, std::uint64_t entries);

    WholeFile file_;
    std::vector<std::uint8_t> block_;
    std::uint64_t blocks_ = 0, in_block_ = 0, entries_ = 0;
};

class CacheFileReader {
  public:
    /// Checks the whole file, as long as it is wanted. `now` and `rules` are those of the reader.
    static tl::expected<CacheFileReader, std::string> open(
        const std::string& path, const Moment& now, std::uint64_t rules,
        const std::function<bool()>& is_wanted = [] { return true; });

    std::size_t entries() const { return entries_; } ///< in all blocks
    Time shift() const { return shift_; }            ///< of its times to the reader's, see Restoring
    /// The next block. Empty: there is none left, unless the file
    /// has changed since it was checked, which ends it as well.
    tl::expected<std::vector<StoredEntry>, std::string> next(const Restoring& how);

  private:
    struct BlockHead {
        std::uint64_t octets = 0, entries = 0, checksum = 0;
    };
    using Result = tl::expected<void, std::string>;

    explicit CacheFileReader(dataplane::Descriptor file) : file_(std::move(file)) {}
    Result check_head(const Moment& now, std::uint64_t rules);
    Result check_blocks(const std::function<bool()>& is_wanted);
    tl::expected<BlockHead, std::string> read_next();
    bool read(void* at, std::size_t octets);
    void rewind();

    dataplane::Descriptor file_;
    std::vector<std::uint8_t> block_;
    std::uint64_t blocks_ = 0;
    std::size_t entries_ = 0;
    Time shift_{};
};

} // namespace millrace::control
