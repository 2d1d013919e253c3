// The owner of the table: what control's thread does to it, at random and without a network.
//
// Each Fetch here publishes three revisions at random times and ends. One that a newer generation or a
// flush has made void becomes a ghost: it goes on trying to publish, as an unowned background task would,
// and must be refused.
#pragma once

#include <map>
#include <random>
#include <span>
#include <unordered_map>
#include <vector>

#include "cache/reserve.hpp"
#include "tests/stress/flusher.hpp"
#include "tests/support/rules.hpp"

namespace millrace::stress {

class Owner {
  public:
    Owner(const Options& options, cache::Table& table, cache::Grace& grace, const Names& names,
          Checks& checks, Acknowledged& acknowledged, test::RulesInEffect& rules,
          std::span<const std::unique_ptr<WorkerThread>> readers);

    void tick();
    /// Nobody asks any more: goes on until every Wake is finished and every retired Entry is freed.
    void drain();

  private:
    struct Waiter {
        unsigned reader;
        std::uint32_t index; ///< the worker's
    };
    struct Fetch {
        unsigned name;
        cache::Version version; ///< the next to be published
        std::vector<Waiter> waiters{};
        cache::Reserve::Hold held{}; ///< the answer that the table had no room for
        bool in_table = false;       ///< it has a slot: older generations cannot publish
        bool floored = false;        ///< a ghost that a floor keeps out
    };
    using Timers = std::multimap<Time, std::pair<unsigned, cache::Generation>>;

    void take_misses(unsigned reader);
    void refresh(unsigned name, cache::Version version);
    void ask(unsigned name, const Waiter& waiter);
    void start(unsigned name, std::vector<Waiter> waiters);
    std::vector<Waiter> retire(unsigned name, bool by_floor);
    void finish(unsigned name);
    void run_timers();
    void run_ghosts();
    void publish(Fetch& fetch, bool is_void);
    void judge(const Fetch& fetch, bool is_void, cache::Publication verdict);
    void wake(std::vector<Waiter>& waiters, const cache::Entry* entry, cache::Reserve::Hold* hold = nullptr);
    void flush_something();
    void flush(const Scope& scope);
    void look_after();
    void take_stock();
    void replace_access();
    Time some_time(Time longest) {
        return now_ + Time(std::int64_t(chance_() % std::uint64_t(longest.count())));
    }

    Time some_life();

    cache::Table& table_;
    cache::Grace& grace_;
    test::RulesInEffect& rules_;
    cache::Reserve reserve_;
    const Names& names_;
    Checks& checks_;
    std::span<const std::unique_ptr<WorkerThread>> readers_;
    Flusher flusher_;
    std::mt19937_64 chance_;
    Time now_{}, stock_due_{};
    cache::Generation last_generation_ = 0;
    std::unordered_map<unsigned, Fetch> live_; ///< by name
    Timers timers_;
    std::multimap<Time, Fetch> ghosts_;
    std::vector<cache::Version> published_; ///< of each name, the newest
    cache::EntryPtr servfail_;
    std::uint64_t placed_ = 0;        ///< Entries that came into an empty slot
    std::uint64_t round_evicted_ = 0; ///< when the present round of flushes began
    unsigned flushes_left_ = 0;       ///< in it
    std::uint64_t evicted_ = 0, rebuilt_ = 0;
};

} // namespace millrace::stress
