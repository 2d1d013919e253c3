#include "control/store/cache_file.hpp"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fstream>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cache/dns.hpp"
#include "cache/wire.hpp"
#include "control/limits.hpp"

namespace millrace::control {

using dataplane::Descriptor;

namespace {

constexpr std::uint64_t magic = 0x4d696c6c43616368, version = 1;
constexpr std::size_t boot_id_octets = 36;
constexpr Time most_time = std::chrono::hours(24 * 366 * 1000); // beyond it sums might overflow

struct FileHead {
    std::uint64_t magic = 0, version = 0, rules = 0;
    std::array<char, 64> boot{};
    std::int64_t since_boot = 0, wall = 0;
    std::uint64_t checksum = 0; ///< of what is before it
};
static_assert(std::has_unique_object_representations_v<FileHead>);

/// What of an Entry has a fixed size. Key, TTL offsets, records and text follow.
struct EntryHead {
    std::int64_t born = 0, expiry = 0, stale_until = 0;
    std::uint32_t records_size = 0;
    std::uint16_t ttl_count = 0, answers = 0, authorities = 0, info = 0, key_octets = 0;
    std::uint8_t rcode = 0, info_size = 0, flags = 0, rotating = 0;
    std::array<std::uint8_t, 6> unused{};
};
static_assert(std::has_unique_object_representations_v<EntryHead>);

enum Flag : std::uint8_t {
    authentic = 1,
    chained = 2,
    rewritten = 4,
    crossed = 8,
    rotates_ipv6 = 16,
    derived = 32
};

bool is_sane(std::int64_t time) {
    return -most_time.count() < time && time < most_time.count();
}

template <class Value>
std::span<const std::uint8_t> octets_of(const Value& value) {
    return {reinterpret_cast<const std::uint8_t*>(&value), sizeof value};
}

std::uint64_t checksum_of(const FileHead& head) {
    return XXH3_64bits(&head, offsetof(FileHead, checksum));
}

/// A block is worth something in its place alone.
std::uint64_t checksum_of(std::span<const std::uint8_t> block, std::uint64_t entries, std::uint64_t number) {
    return XXH3_64bits_withSeed(block.data(), block.size(), (number << 24) + entries);
}

std::string failure(const char* what, int error) {
    return std::string(what) + ": " + std::strerror(error);
}

std::uint8_t flags_of(const cache::Entry& entry) {
    return std::uint8_t((entry.authentic ? authentic : 0) | (entry.chained ? chained : 0) |
                        (entry.rewritten ? rewritten : 0) | (entry.crossed ? crossed : 0) |
                        (entry.rotates_ipv6 ? rotates_ipv6 : 0) | (entry.derived ? derived : 0));
}

/// Walks over one block. What it took of an Entry stays in the block.
class BlockReader {
  public:
    explicit BlockReader(std::span<const std::uint8_t> block) : rest_(block) {}

    bool is_at_end() const { return rest_.empty(); }
    bool next(const Restoring& how, StoredEntry& out, bool& is_over);

  private:
    std::span<const std::uint8_t> take(std::size_t octets) {
        if (rest_.size() < octets) return {};
        auto taken = rest_.first(octets);
        rest_ = rest_.subspan(octets);
        return taken;
    }
    bool read_key(std::span<const std::uint8_t> octets, cache::Key& key) const;
    bool is_sound(const EntryHead& head, std::span<const std::uint8_t> records) const;
    bool has_sound_times(const EntryHead& head) const;

    std::span<const std::uint8_t> rest_;
    std::vector<std::uint16_t> offsets_;
};

bool BlockReader::read_key(std::span<const std::uint8_t> octets, cache::Key& key) const {
    constexpr std::size_t header = cache::Key::header_octets;
    if (octets.size() <= header || octets.size() > sizeof(cache::Key)) return false;
    std::memcpy(static_cast<void*>(&key), octets.data(), octets.size());
    cache::Name name;
    cache::WireReader in(octets.subspan(header));
    return key.name.size == octets.size() - header && key.group < cache::limits::groups &&
           cache::read_name(in, name) && in.remaining() == 0 && name == key.name;
}

/// Whatever is written of it later stays within it: each TTL is where the records have theirs.
bool BlockReader::is_sound(const EntryHead& head, std::span<const std::uint8_t> records) const {
    constexpr std::size_t ttl_at = 6; // behind a pointer, type and class
    if (head.rcode > dns::rcode_mask || head.ttl_count != head.answers + head.authorities) return false;
    cache::WireReader in(records);
    for (std::uint16_t offset : offsets_) {
        in.skip_name();
        in.skip(4);
        if (!in.ok() || in.position() != offset) return false;
        in.skip(4);
        in.skip(in.u16());
    }
    if (!in.ok() || in.remaining() > 0 || head.rotating > offsets_.size()) return false;
    std::size_t octets = head.flags & rotates_ipv6 ? 28 : 16;
    if (head.rotating * octets > records.size()) return false;
    for (std::size_t i = 1; i <= head.rotating; ++i) {
        if (offsets_[offsets_.size() - i] + i * octets != records.size() + ttl_at) return false;
    }
    return true;
}

bool BlockReader::has_sound_times(const EntryHead& head) const {
    return is_sane(head.born) && is_sane(head.expiry) && is_sane(head.stale_until) &&
           head.born <= head.expiry && head.expiry <= head.stale_until;
}

/// False: this is no block. `is_over`: the Entry is of no use any more.
bool BlockReader::next(const Restoring& how, StoredEntry& out, bool& is_over) {
    EntryHead head;
    auto fixed = take(sizeof head);
    if (fixed.empty()) return false;
    std::memcpy(&head, fixed.data(), sizeof head);
    if (head.records_size > cache::limits::message_octets || !has_sound_times(head)) return false;
    std::size_t rest =
        std::size_t(head.key_octets) + head.ttl_count * 2U + head.records_size + head.info_size;
    if (rest_.size() < rest || !read_key(take(head.key_octets), out.key)) return false;
    offsets_.resize(head.ttl_count);
    auto offsets = take(head.ttl_count * 2U);
    if (!offsets.empty()) std::memcpy(offsets_.data(), offsets.data(), offsets.size());
    auto records = take(head.records_size), text = take(head.info_size);
    auto is_printable = [](std::uint8_t c) { return c >= 0x20 && c < 0x7f; };
    if (!is_sound(head, records) || text.size() > cache::limits::info_octets ||
        !std::ranges::all_of(text, is_printable))
        return false;

    cache::EntryDraft draft;
    draft.version = {how.generation, 0};
    draft.source = head.flags & derived ? how.generation : 0;
    draft.rcode = head.rcode;
    draft.authentic = head.flags & authentic;
    draft.chained = head.flags & chained;
    draft.rewritten = head.flags & rewritten;
    draft.crossed = head.flags & crossed;
    if (head.info != cache::Entry::no_info) draft.info = head.info;
    draft.info_text = {reinterpret_cast<const char*>(text.data()), text.size()};
    draft.born = Time(head.born) + how.shift;
    draft.expiry = Time(head.expiry) + how.shift;
    draft.stale_until = std::min(Time(head.stale_until) + how.shift, draft.expiry + how.policy.stale);
    is_over = how.now >= draft.stale_until;
    if (is_over) return true;
    plan_refresh(draft, how.policy);
    draft.answers = head.answers;
    draft.authorities = head.authorities;
    draft.rotating = head.rotating;
    draft.rotates_ipv6 = head.flags & rotates_ipv6;
    draft.records = records;
    draft.ttl_offsets = offsets_;
    out.entry = cache::Entry::make(draft);
    return bool(out.entry);
}

} // namespace

Moment Moment::now() {
    Moment moment;
    std::ifstream("/proc/sys/kernel/random/boot_id").read(moment.boot.data(), boot_id_octets);
    ::readlink("/proc/self/ns/time", moment.boot.data() + boot_id_octets,
               moment.boot.size() - boot_id_octets);
    moment.since_boot = boot_time();
    moment.wall = wall_time();
    return moment;
}

std::uint64_t digest_of(std::string_view text) {
    return XXH3_64bits(text.data(), text.size());
}

void append_entry(std::vector<std::uint8_t>& block, const cache::KeyRef& key, const cache::Entry& entry) {
    EntryHead head;
    head.born = entry.born.count();
    head.expiry = entry.expiry.count();
    head.stale_until = entry.stale_until.count();
    head.records_size = entry.records_size;
    head.ttl_count = entry.ttl_count;
    head.answers = entry.answers;
    head.authorities = entry.authorities;
    head.info = entry.info;
    head.key_octets = std::uint16_t(key.size());
    head.rcode = entry.rcode;
    head.info_size = entry.info_size;
    head.flags = flags_of(entry);
    head.rotating = entry.rotating;
    auto append = [&](std::span<const std::uint8_t> octets) {
        block.insert(block.end(), octets.begin(), octets.end());
    };
    append(octets_of(head));
    append({key.bytes, key.size()});
    auto offsets = entry.ttl_offsets();
    append({reinterpret_cast<const std::uint8_t*>(offsets.data()), offsets.size_bytes()});
    append(entry.records());
    append(entry.info_text());
}

bool read_block(std::span<const std::uint8_t> block, std::size_t count, const Restoring& how,
                std::vector<StoredEntry>& out) {
    BlockReader reader(block);
    for (std::size_t i = 0; i < count; ++i) {
        StoredEntry one;
        bool is_over = false;
        if (!reader.next(how, one, is_over)) return false;
        if (!is_over) out.push_back(std::move(one));
    }
    return reader.is_at_end();
}

tl::expected<CacheFileWriter, std::string>
CacheFileWriter::create(const std::string& path, const Moment& moment, std::uint64_t rules) {
    auto file = WholeFile::create(path); // for its owner alone: it says what was asked for
    if (!file) return tl::unexpected(file.error());
    CacheFileWriter writer(std::move(*file));
    FileHead head{magic, version, rules, {}, moment.since_boot.count(), moment.wall.count(), 0};
    head.boot = moment.boot;
    head.checksum = checksum_of(head);
    if (Result written = writer.file_.write(octets_of(head)); !written)
        return tl::unexpected(written.error());
    return writer;
}

void CacheFileWriter::add(const cache::KeyRef& key, const cache::Entry& entry) {
    append_entry(block_, key, entry);
    ++in_block_;
}

bool CacheFileWriter::is_block_full() const {
    return block_.size() >= limits::cache_block_octets;
}

CacheFileWriter::Result CacheFileWriter::write_block_of(std::span<const std::uint8_t> octets,
                                                        std::uint64_t entries) {
    std::uint64_t head[] = {octets.size(), entries, checksum_of(octets, entries, blocks_++)};
    Result written = file_.write(octets_of(head));
    return written ? file_.write(octets) : written;
}

CacheFileWriter::Result CacheFileWriter::write_block() {
    if (in_block_ == 0) return {};
    Result written = write_block_of(block_, in_block_);
    entries_ += std::exchange(in_block_, 0);
    block_.clear();
    return written;
}

tl::expected<std::size_t, std::string> CacheFileWriter::finish() {
    Result written = write_block();
    if (written) written = write_block_of({}, entries_);
    if (written) written = file_.finish();
    if (!written) return tl::unexpected(written.error());
    return entries_;
}

tl::expected<CacheFileReader, std::string> CacheFileReader::open(const std::string& path, const Moment& now,
                                                                 std::uint64_t rules,
                                                                 const std::function<bool()>& is_wanted) {
    Descriptor file(
        ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)); // a pipe would wait for a writer
    if (!file) return tl::unexpected(failure("cannot be opened", errno));
    struct stat status {};
    if (::fstat(file.get(), &status) != 0 || !S_ISREG(status.st_mode))
        return tl::unexpected(std::string("is no regular file"));
    CacheFileReader reader(std::move(file));
    Result good = reader.check_head(now, rules);
    if (good) good = reader.check_blocks(is_wanted);
    if (!good) return tl::unexpected(good.error());
    return reader;
}

CacheFileReader::Result CacheFileReader::check_head(const Moment& now, std::uint64_t rules) {
    FileHead head;
    if (!read(&head, sizeof head) || head.magic != magic)
        return tl::unexpected(std::string("is no cache of Millrace's"));
    if (head.version != version) return tl::unexpected(std::string("is of another version of Millrace"));
    bool has_sane_times = is_sane(head.since_boot) && is_sane(head.wall);
    if (head.checksum != checksum_of(head) || !has_sane_times)
        return tl::unexpected(std::string("is damaged"));
    if (head.rules != rules)
        return tl::unexpected(
            std::string("was written under another configuration of upstreams or of answers"));
    bool is_same_boot = now.boot.front() != 0 && now.boot == head.boot;
    if (!is_same_boot && now.wall.count() < head.wall)
        return tl::unexpected(std::string("was written later than it is now; is the clock right?"));
    if (!is_same_boot) shift_ = Time(head.wall - head.since_boot) - (now.wall - now.since_boot);
    return {};
}

CacheFileReader::Result CacheFileReader::check_blocks(const std::function<bool()>& is_wanted) {
    for (;;) {
        if (!is_wanted()) return tl::unexpected(std::string("given up"));
        auto head = read_next();
        if (!head) return tl::unexpected(head.error());
        if (head->octets == 0) {
            bool is_whole = head->entries == entries_ && !read(&*head, 1);
            if (!is_whole) return tl::unexpected(std::string("is damaged"));
            rewind();
            return {};
        }
        entries_ += head->entries;
    }
}

void CacheFileReader::rewind() {
    ::lseek(file_.get(), sizeof(FileHead), SEEK_SET);
    blocks_ = 0;
}

bool CacheFileReader::read(void* at, std::size_t octets) {
    auto* to = static_cast<std::uint8_t*>(at);
    while (octets > 0) {
        ssize_t size = ::read(file_.get(), to, octets);
        if (size < 0 && errno == EINTR) continue;
        if (size <= 0) return false;
        to += size;
        octets -= std::size_t(size);
    }
    return true;
}

/// Head and octets of the next block, checked.
tl::expected<CacheFileReader::BlockHead, std::string> CacheFileReader::read_next() {
    BlockHead head;
    bool good = read(&head, sizeof head) && head.octets <= limits::longest_cache_block;
    if (good) {
        block_.resize(head.octets);
        good = read(block_.data(), block_.size()) &&
               head.checksum == checksum_of(block_, head.entries, blocks_++);
    }
    if (!good) return tl::unexpected(std::string("is damaged"));
    return head;
}

tl::expected<std::vector<StoredEntry>, std::string> CacheFileReader::next(const Restoring& how) {
    std::vector<StoredEntry> out;
    while (out.empty()) {
        auto head = read_next();
        if (!head) return tl::unexpected(head.error());
        if (head->octets == 0) break;
        if (!read_block(block_, head->entries, how, out)) return tl::unexpected(std::string("is damaged"));
    }
    return out;
}

} // namespace millrace::control
