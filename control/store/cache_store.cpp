#include "control/store/cache_store.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <exception>
#include <utility>

#include <asio/post.hpp>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include "control/limits.hpp"

namespace millrace::control {

namespace {

/// A reader that holds something: not for longer than its scope, whatever ends that.
class Online {
  public:
    explicit Online(cache::Grace::Reader* reader) : reader_(reader) {
        if (reader_) reader_->online();
    }
    ~Online() { end(); }
    Online(const Online&) = delete;
    Online& operator=(const Online&) = delete;
    void end() {
        if (auto* reader = std::exchange(reader_, nullptr)) reader->offline();
    }

  private:
    cache::Grace::Reader* reader_;
};

constexpr const char* too_many = "too many wait for that already; try again";
constexpr const char* no_reader = "too many lcores and listen addresses for one more reader of the cache";

} // namespace

std::uint64_t rules_of(const Config::Live& live) {
    const Config::Live usual;
    Config::Live rules = live;
    // Whom it is answered, how it is asked, when it is asked again.
    rules.allow = usual.allow;
    rules.limits = usual.limits;
    rules.tcp = usual.tcp;
    rules.dnstap = usual.dnstap;
    rules.log_level = usual.log_level;
    rules.fanout = usual.fanout;
    rules.stale = usual.stale;
    rules.stale_answer = usual.stale_answer;
    rules.prefetch = usual.prefetch;
    rules.keep_warm = usual.keep_warm;
    rules.keep_warm_rate = usual.keep_warm_rate;
    rules.file = usual.file;
    rules.save_interval = usual.save_interval;
    // By these each Entry is judged when it is filled in.
    rules.local = usual.local;
    rules.block = usual.block;
    rules.routes = usual.routes;
    for (Config::Group& group : rules.upstreams) {
        group.fanout = std::nullopt;
        group.bootstrap.clear();
    }
    return digest_of(to_yaml({{}, std::move(rules)}));
}

CacheStore::CacheStore(const Parts& parts, const Config::Boot& boot) : p_(parts), helper_cpus_(boot) {}

CacheStore::~CacheStore() {
    abort();
    if (helper_.joinable()) helper_.join();
}

void CacheStore::set(const Config::Live& live, Time now) {
    std::uint64_t rules = rules_of(live);
    bool is_same = live.file == path_ && rules == rules_;
    bool is_planned = is_same && live.save_interval == interval_;
    if (!is_same) abort();
    path_ = live.file;
    rules_ = rules;
    bool is_at_once = live.stale_answer == Config::StaleAnswer::at_once;
    policy_ = {.stale = live.stale, .stale_at_once = is_at_once, .prefetch = live.prefetch};
    interval_ = live.save_interval;
    if (!is_planned) { // what was to be written soon still is
        Time earlier = path_.empty() ? Time::max() : due_;
        plan_dump(now);
        due_ = std::min(due_, earlier);
    }
    if (!is_same) warn_without_reader();
}

void CacheStore::open() {
    reader_ = p_.grace.add_reader();
    is_open_ = true;
    warn_without_reader();
}

void CacheStore::warn_without_reader() const {
    if (is_open_ && !path_.empty() && !reader_)
        spdlog::warn("{}: {}; it is written at the end alone", path_, no_reader);
}

void CacheStore::give_up() {
    abort();
    path_.clear();
    is_given_away_ = true;
    due_ = Time::max();
}

void CacheStore::plan_dump(Time now) {
    due_ = path_.empty() || interval_ == Time{} ? Time::max() : now + interval_;
}

void CacheStore::load_if_there() {
    if (path_.empty() || ::access(path_.c_str(), F_OK) != 0) return;
    load([](const Result&) {});
}

void CacheStore::load(Done done) {
    if (path_.empty()) return done(tl::unexpected(std::string("`cache: file` names no file")));
    if (loads_.size() >= limits::store_waits) return done(tl::unexpected(std::string(too_many)));
    loads_.push_back(std::move(done));
}

void CacheStore::dump(Done done) {
    if (path_.empty()) return done(tl::unexpected(std::string("`cache: file` names no file")));
    if (!reader_) return done(tl::unexpected(std::string(no_reader)));
    if (dumps_.size() >= limits::store_waits) return done(tl::unexpected(std::string(too_many)));
    dumps_.push_back(std::move(done));
}

void CacheStore::forget(Forgotten then) {
    if (path_.empty()) return then({});
    forgotten_.push_back(std::move(then));
    abort(); // of a dump that has begun
}

bool CacheStore::tick(Time now) {
    if (fill_some(now)) return true;
    if (helper_.joinable()) return false;
    if (Job job = next_job(now); job != Job::none) begin(job);
    return false;
}

CacheStore::Job CacheStore::next_job(Time now) const {
    if (!forgotten_.empty()) return Job::forget;
    // A flush under way would not find what is loaded now.
    if (is_loading()) return read_ || p_.flushes.is_waiting() ? Job::none : Job::load;
    bool is_due = now >= due_ && reader_;
    return is_due || !dumps_.empty() ? Job::dump : Job::none;
}

void CacheStore::begin(Job job) {
    Restoring how;
    if (job == Job::load) {
        how = {p_.fetches.take_generation(), policy_, boot_time(), {}};
        flushes_begun_ = p_.flushes.begun();
        is_reading_ = true;
        filled_ = 0;
        began_ = how.now;
    }
    abort_.store(false, std::memory_order_relaxed);
    try {
        helper_ =
            std::thread([this, job, path = path_, rules = rules_, how] { help(job, path, rules, how); });
    } catch (const std::exception& error) {
        Result result = tl::unexpected(std::string("no thread: ") + error.what());
        on_ended(job, job == Job::forget ? remove_file(path_) : result);
    }
}

void CacheStore::help(Job job, const std::string& path, std::uint64_t rules, const Restoring& how) {
    helper_cpus_.enter("millrace-store");
    Result result = 0;
    try {
        if (job == Job::forget) result = remove_file(path);
        if (job == Job::load) result = read_file(path, rules, how);
        if (job == Job::dump) result = write_file(path, rules, reader_);
    } catch (const std::exception& error) { // most likely no memory
        result = tl::unexpected(std::string(error.what()));
    }
    asio::post(p_.io, [this, job, result] {
        if (!helper_.joinable()) return; // stop() has been there
        helper_.join();
        on_ended(job, result);
    });
}

CacheStore::Result CacheStore::remove_file(const std::string& path) {
    for (const std::string& name : {WholeFile::beside(path), path}) {
        if (::unlink(name.c_str()) == 0 || errno == ENOENT) continue;
        return tl::unexpected(std::string("cannot be removed: ") + std::strerror(errno));
    }
    return 0;
}

CacheStore::Result CacheStore::write_file(const std::string& path, std::uint64_t rules,
                                          cache::Grace::Reader* reader) const {
    auto writer = CacheFileWriter::create(path, Moment::now(), rules);
    if (!writer) return tl::unexpected(writer.error());
    CacheFileWriter::Result written;
    for (std::size_t shard = 0; written && shard < p_.table.shard_count(); ++shard) {
        if (abort_.load(std::memory_order_relaxed)) return tl::unexpected(std::string("given up"));
        Online online(reader);
        p_.table.for_each(shard, boot_time(), [&](const cache::KeyRef& key, const cache::Entry& entry) {
            if (!entry.failure) writer->add(key, entry);
        });
        online.end();
        if (writer->is_block_full()) written = writer->write_block();
    }
    if (!written) return tl::unexpected(written.error());
    return writer->finish();
}

CacheStore::Result CacheStore::read_file(const std::string& path, std::uint64_t rules, Restoring how) {
    auto is_wanted = [this] { return !abort_.load(std::memory_order_relaxed); };
    auto file = CacheFileReader::open(path, Moment::now(), rules, is_wanted);
    if (!file) return tl::unexpected(file.error());
    how.shift = file->shift();
    for (;;) {
        auto batch = file->next(how);
        if (!batch) return tl::unexpected(batch.error());
        if (batch->empty()) return file->entries();
        if (!offer(std::move(*batch))) return tl::unexpected(std::string("given up"));
    }
}

/// Waits for room. False: nobody wants any more.
bool CacheStore::offer(std::vector<StoredEntry>&& batch) {
    std::unique_lock lock(mutex_);
    room_.wait(lock, [&] { return batches_.size() < limits::cache_blocks_ahead || abort_.load(); });
    if (abort_.load()) return false;
    batches_.push_back(std::move(batch));
    return true;
}

void CacheStore::abort() {
    std::lock_guard lock(mutex_); // else the helper could miss it between its look and its wait
    abort_.store(true);
    batches_.clear();
    batch_.clear();
    room_.notify_all();
}

bool CacheStore::fill_some(Time now) {
    if (!is_loading()) return false;
    if (is_reading_ && p_.flushes.begun() != flushes_begun_) abort();
    if (batch_.empty()) {
        std::lock_guard lock(mutex_);
        if (!batches_.empty()) {
            batch_ = std::move(batches_.front());
            batches_.pop_front();
            room_.notify_all();
        }
    }
    if (batch_.empty()) {
        if (read_) conclude_load();
        return false;
    }
    do {
        fill_few();
    } while (!batch_.empty() && boot_time() < now + limits::filling);
    return true;
}

/// Between two looks at the clock: a key may be the first of its shard, which takes 0.3 ms to build. As with
/// a burst of packets, the cache misses overlap.
void CacheStore::fill_few() {
    std::array<cache::Hash, 4> hashes;
    std::size_t count = std::min(hashes.size(), batch_.size()), rest = batch_.size() - count;
    for (std::size_t i = 0; i < count; ++i) {
        hashes[i] = p_.table.hasher()(batch_[rest + i].key);
        p_.table.prefetch(hashes[i]);
    }
    for (std::size_t i = 0; i < count; ++i) fill(batch_[rest + i], hashes[i]);
    batch_.resize(rest);
}

void CacheStore::fill(StoredEntry& one, cache::Hash hash) {
    cache::KeyRef key{hash, one.key.bytes().data()};
    const dataplane::Rules& rules = p_.rules.get();
    if (Flushes::is_made_otherwise(*rules.local, *rules.routes, key, *one.entry)) return;
    filled_ += p_.table.fill(one.key, hash, one.entry) == cache::Publication::accepted;
}

void CacheStore::conclude_load() {
    is_reading_ = false;
    Result result = *std::exchange(read_, std::nullopt);
    bool is_flushed = p_.flushes.begun() != flushes_begun_;
    if (is_flushed) result = tl::unexpected(std::string("was left where it was, as something was flushed"));
    if (result) {
        spdlog::info("{}: {} of {} answers taken into the cache in {} ms", path_, filled_, *result,
                     (boot_time() - began_) / 1ms);
        result = filled_;
    } else {
        spdlog::warn("{} {}; {} answers were taken from it", path_, result.error(), filled_);
        result = tl::unexpected(path_ + " " + result.error());
    }
    for (const Done& done : std::exchange(loads_, {})) done(result);
}

void CacheStore::on_ended(Job job, const Result& result) {
    switch (job) {
    case Job::none: break;
    case Job::load: read_ = result; break;
    case Job::dump: on_dumped(result); break;
    case Job::forget:
        due_ = boot_time() + limits::kept_again;
        tell_forgotten(result);
        break;
    }
}

void CacheStore::tell_forgotten(const Result& result) {
    tl::expected<void, std::string> gone;
    if (!result) gone = tl::unexpected(path_ + " " + result.error());
    for (const Forgotten& then : std::exchange(forgotten_, {})) then(gone);
}

void CacheStore::on_dumped(Result result) {
    bool is_given_up = !result && abort_.load(std::memory_order_relaxed);
    if (is_given_up && (!path_.empty() || is_given_away_)) return; // it is written anew later, or by another
    plan_dump(boot_time());
    if (!result && !has_failed_) spdlog::error("the cache is not kept: {} {}", path_, result.error());
    if (result && has_failed_) spdlog::info("the cache is kept again in {}", path_);
    has_failed_ = !result;
    if (!result) result = tl::unexpected(path_ + " " + result.error());
    for (const Done& done : std::exchange(dumps_, {})) done(result);
}

void CacheStore::stop() {
    bool is_whole = !is_loading(); // else the file holds what the table does not
    abort();
    if (helper_.joinable()) helper_.join();
    abort_.store(false);
    if (!forgotten_.empty()) tell_forgotten(remove_file(path_));
    if (path_.empty() || !is_whole) return;
    Result written = 0;
    try {
        written = write_file(path_, rules_, nullptr);
    } catch (const std::exception& error) { // most likely no memory
        written = tl::unexpected(std::string(error.what()));
    }
    written ? spdlog::info("{} answers kept in {}", *written, path_)
            : spdlog::error("the cache is not kept: {} {}", path_, written.error());
}

} // namespace millrace::control
