// Keeps what is cached over a restart: `cache: file`.
//
// Basic algorithm: a helper thread, one job at a time. To dump, it reads the table as a reader of
// its own, which is quiescent after each shard, and writes the file. To load, it checks the whole
// file, then makes Entries of it, a bounded number ahead of the control thread, which fills them
// into slots that hold nothing, within a tick's time, while clients are served. Filled Entries
// are older than anything that is asked from then on. Each is judged by the rules and routes in
// effect; a flush meanwhile ends the loading, as the file knows nothing of it. For the same
// reason the file goes when a name is flushed, before that is acknowledged, and is written anew.
//
// The file is written at intervals, on command and at the end; not while it is being
// loaded, nor when that was not completed: it then holds what the table does not.
//
// Threads: control's, but for the helper, which uses what is marked so.
#pragma once

#include <utility> // asio 1.22 with GCC 12 needs it first

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include <asio/io_context.hpp>
#include <tl/expected.hpp>

#include "cache/grace.hpp"
#include "cache/replaceable.hpp"
#include "cache/table.hpp"
#include "control/config/config.hpp"
#include "control/config/helper_cpus.hpp"
#include "control/fetch/flush.hpp"
#include "control/fetch/table.hpp"
#include "control/store/cache_file.hpp"

namespace millrace::control {

/// Of the configuration: what cached answers depend on, but for
/// what each Entry is judged by. Others, and the file is of no use.
std::uint64_t rules_of(const Config::Live& live);

class CacheStore {
  public:
    /// What the store works with. Outlives it.
    struct Parts {
        asio::io_context& io;
        cache::Table& table;
        cache::Grace& grace;
        FetchTable& fetches;
        Flushes& flushes;
        const cache::Replaceable<dataplane::Rules>& rules;
    };
    /// Told once: how many answers were written or filled in, or why none were.
    using Done = std::function<void(const tl::expected<std::size_t, std::string>&)>;
    using Forgotten = std::function<void(const tl::expected<void, std::string>&)>;

    /// Before EAL binds this thread to a CPU.
    CacheStore(const Parts& parts, const Config::Boot& boot);
    ~CacheStore(); ///< ends the helper

    void set(const Config::Live& live, Time now); ///< at start, and after a reload
    /// After all workers were added, whose readers come first.
    void open();

    void load_if_there(); ///< at start
    bool is_loading() const { return !loads_.empty(); }
    void load(Done done);
    void dump(Done done);
    /// The file is removed, and written anew soon: something that
    /// it holds was flushed. `then` is called when it is gone, or with the reason why it is not.
    void forget(Forgotten then);

    /// Fills in for a bounded time, or begins what is due. Whether more can be done at once.
    bool tick(Time now);
    /// From here on the file is another process's.
    void give_up();
    /// At the end, when nothing is published any more: ends what is under way, and writes the file.
    void stop();

  private:
    enum class Job : std::uint8_t { none, forget, load, dump };
    using Result = tl::expected<std::size_t, std::string>;

    Job next_job(Time now) const;
    void begin(Job job);
    void on_ended(Job job, const Result& result);
    void on_dumped(Result result);
    void tell_forgotten(const Result& result);
    bool fill_some(Time now);
    void fill_few();
    void fill(StoredEntry& one, cache::Hash hash);
    void conclude_load();
    void abort();
    void plan_dump(Time now);
    void warn_without_reader() const;

    // The helper's. Without a helper control may write, too.
    void help(Job job, const std::string& path, std::uint64_t rules, const Restoring& how);
    static Result remove_file(const std::string& path);
    Result write_file(const std::string& path, std::uint64_t rules, cache::Grace::Reader* reader) const;
    Result read_file(const std::string& path, std::uint64_t rules, Restoring how);
    bool offer(std::vector<StoredEntry>&& batch);

    Parts p_;
    HelperCpus helper_cpus_;
    cache::Grace::Reader* reader_ = nullptr; ///< null: too many, and the end alone can write the file
    TtlPolicy policy_;
    std::string path_;
    bool is_open_ = false, is_given_away_ = false;
    std::uint64_t rules_ = 0;
    Time interval_{};
    Time due_ = Time::max();          ///< the next dump
    std::vector<Done> loads_, dumps_; ///< asked for, or under way; who waits for them
    std::vector<Forgotten> forgotten_;
    bool has_failed_ = false; ///< the latest dump: a change alone is logged

    // Of the load under way.
    std::vector<StoredEntry> batch_;  ///< that is being filled in, from its end
    std::optional<Result> read_;      ///< how reading has ended
    std::uint64_t flushes_begun_ = 0; ///< before it
    bool is_reading_ = false;         ///< the helper has begun
    std::size_t filled_ = 0;
    Time began_{};

    std::thread helper_;
    std::atomic<bool> abort_{false};
    std::mutex mutex_; ///< of what follows; held for a few moves
    std::condition_variable room_;
    std::deque<std::vector<StoredEntry>> batches_; ///< read, not yet filled in
};

} // namespace millrace::control
