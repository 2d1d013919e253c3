// The workers as control sees them: their threads, rings, counters, and the Wakes sent to them.
//
// A worker on a polling port runs on its lcore, one on a kernel socket in an ordinary thread. Added before
// start(), never removed. Control thread only.
#pragma once

#include <array>
#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include <tl/expected.hpp>

#include "control/fetch/table.hpp"
#include "control/limits.hpp"
#include "dataplane/worker.hpp"

namespace millrace::control {

class Workers {
  public:
    Workers(const cache::Table& table, cache::Grace& grace, const cache::Replaceable<dataplane::Rules>& rules)
        : table_(table), grace_(grace), rules_(rules) {}
    ~Workers(); ///< stop() came first, or start() never did

    /// One more worker on `port`, which outlives it. With an lcore it polls there, rests as `idle` says,
    /// `longest_nap` at most, and reads `clock`; without, it gets a thread. `name` is for people
    /// ("net_af_xdp0 queue 0", "127.0.0.1:5300").
    tl::expected<void, std::string> add(dataplane::Port& port, std::string name,
                                        std::optional<unsigned> lcore, const dataplane::TscClock* clock,
                                        dataplane::Idle idle = dataplane::Idle::poll,
                                        Time longest_nap = dataplane::limits::longest_nap);
    tl::expected<void, std::string> start();
    void stop(); ///< returns when every worker has left its loop

    /// Takes Misses from every ring, a bounded number each, until `end`. Returns how many. What is left stays
    /// in the rings; another worker comes first the next time.
    unsigned drain(const std::function<void(const dataplane::Miss&, const Waiter&)>& take, Time end);
    /// The Wake is in its ring at once; a worker that sleeps hears of it by end_sleeps(), once per tick.
    void wake(const Waiter& waiter, const cache::Entry* entry, dataplane::Wake::Kind kind);
    void end_sleeps();
    /// Names, in the log, workers whose loop has stopped turning: they hold up flushes and the freeing of
    /// memory. Once per tick.
    void watch(Time now);
    bool is_any_stalled() const;       ///< as of the latest watch()
    bool have_turned() const;          ///< each of them, once at least
    std::uint64_t outstanding() const; ///< Wakes sent and not finished

    /// Control's own sleep: workers on kernel sockets end it when they have Misses, those on lcores do not.
    dataplane::Sleeper& sleeper() { return sleeper_; }
    bool end_its_sleep() const; ///< all of them do
    bool have_misses() const;

    struct View {
        const std::string& name;
        std::optional<unsigned> lcore;
        const dataplane::Counters& counters;
        std::uint64_t busy_cycles; ///< see Worker
        Time stalled; ///< not turning for so long, as of the latest watch(); 0: up to limits::stall
    };
    std::size_t size() const { return units_.size(); }
    View view(std::size_t index) const;

  private:
    struct Unit {
        std::string name;
        std::optional<unsigned> lcore;
        cache::Grace::Reader* reader;
        dataplane::Handoff handoff;
        dataplane::Counters counters;
        std::unique_ptr<dataplane::Worker> worker;
        const std::atomic<bool>* stop;
        std::thread thread;           ///< of a worker without an lcore
        std::uint64_t heartbeats = 0; ///< when last looked at,
        Time turned{};                ///< and since when it is that; known from the first watch() on
        bool is_stalled = false;
        bool is_sent_to = false; ///< Wakes since end_sleeps()
    };
    static int run_on_lcore(void* unit);

    const cache::Table& table_;
    cache::Grace& grace_;
    const cache::Replaceable<dataplane::Rules>& rules_;
    std::vector<std::unique_ptr<Unit>> units_;
    std::array<dataplane::Miss, limits::miss_batch> misses_;
    dataplane::Sleeper sleeper_;
    std::optional<Time> watch_due_; ///< when the workers are looked at next; none: not yet
    Time watched_{};                ///< the latest watch()
    std::uint32_t first_ = 0;       ///< whose ring is drained first
    std::atomic<bool> stop_{false};
    bool running_ = false;
};

} // namespace millrace::control
