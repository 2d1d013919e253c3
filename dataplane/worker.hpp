// One worker: one queue's packets from burst to burst. The packet path, read top to bottom, is worker.cpp.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "cache/table.hpp"
#include "dataplane/answer.hpp"
#include "dataplane/clock.hpp"
#include "dataplane/gate.hpp"
#include "dataplane/handoff.hpp"
#include "dataplane/idle.hpp"
#include "dataplane/port.hpp"
#include "dataplane/query.hpp"

namespace millrace::dataplane {

/// What a worker works with. Everything outlives it.
struct WorkerContext {
    Port& port;
    const cache::Table& table;
    cache::Grace::Reader& reader;
    Handoff& handoff;
    Counters& counters;
    const cache::Replaceable<Rules>& rules;
    const TscClock* clock = nullptr; ///< null: CLOCK_BOOTTIME (socket workers: no TSC rate without EAL)
    Sleeper* control = nullptr;      ///< told of Misses by a worker whose port can be waited for; or null
    Idle idle = Idle::poll;          ///< on a port that must be polled
    Time longest_nap = limits::longest_nap; ///< see Rest
};

/// Constructed by control before its thread starts; afterwards used by that thread alone.
/// After construction it allocates nothing, locks nothing and, on a polling port, makes no system call of its
/// own but for naps that were asked for (Idle::sleep).
class alignas(64) Worker { // other workers' are on other cache lines
  public:
    explicit Worker(const WorkerContext& context);

    /// Until `stop`: bursts, and naps where the port can be waited for. Online for RCU while it runs.
    void run(const std::atomic<bool>& stop);

    /// One turn: Wakes answered, one burst received, judged, looked up, replied to; quiescent at the end.
    /// Returns whether there was anything to do. The thread must be online.
    bool turn();

    /// Waiters not in use. The worker's own thread.
    std::size_t credits() const { return free_waiters_.size(); }
    std::uint64_t heartbeats() const { return heartbeats_.load(std::memory_order_relaxed); } ///< any thread
    /// TSC cycles of the turns that had something to do. Any thread.
    std::uint64_t busy_cycles() const { return busy_cycles_.load(std::memory_order_relaxed); }

  private:
    /// A client that waits for a Wake. The index is the waiter credit.
    struct Waiter {
        ReturnPath path;
        Head head;
        Gate::Charge charge;
        Time asked; ///< when control was
        std::array<std::uint8_t, cache::limits::name_octets + dns::type_class_octets> question;
    };
    /// What is known of a packet's question on its way through a turn.
    struct Lookup {
        Query query;
        cache::Hash hash;
        bool is_wanted; ///< the gate has not answered or dropped it
        cache::Table::Finding ahead;
    };

    Time now();
    std::uint64_t hits() const;
    void count_time(std::uint64_t begin, Time now, std::uint64_t hits);
    unsigned answer_wakes(Time now);
    void answer_wake(const Wake& wake, Time now);
    void answer_or_miss(Packet& packet, const Lookup& lookup, Time now);
    void ask_for_refresh(const Packet& packet, const Query& query, cache::Hash hash,
                         const cache::Entry& entry, Time now);
    const cache::Entry* look_up(const Lookup& lookup);
    void reply_with(Packet& packet, const Query& query, cache::Hash hash, const cache::Entry& entry, Time now,
                    answer::Age age);
    bool may_reply(Packet& packet, const Head& head, std::span<const std::uint8_t> question,
                   const Gate::Charge& charge, const cache::Entry& entry, Time now);
    bool hand_over(const Packet& packet, const Query& query, cache::Hash hash, Time now);

    WorkerContext c_;
    Gate gate_;
    std::unique_ptr<Waiter[]> waiters_;
    std::vector<std::uint32_t> free_waiters_; ///< a stack; its size is the number of credits left
    Burst burst_;
    std::array<Lookup, limits::burst> lookups_;
    std::array<Wake, limits::burst> wakes_;
    Time last_now_{};
    std::atomic<std::uint64_t> heartbeats_{0}, busy_cycles_{0};
};

} // namespace millrace::dataplane
