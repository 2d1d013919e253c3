// What must never happen, what has to happen at least once, and the account of both.
//
// Any thread reports. Relaxed atomics throughout: what is counted here must not order what is being tested.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <string>

#include "cache/time.hpp"
#include "cache/version.hpp"
#include "tests/stress/options.hpp"

namespace millrace::stress {

enum class Rule : std::uint8_t {
    whole,        ///< a reply is one Entry, octet by octet, not freed, not half written
    own_name,     ///< and it is the one of the name that was asked for
    forwards,     ///< a reader's versions of one name never go backwards
    above_floor,  ///< none at or below the floor that was seen before the lookup
    flushed,      ///< none that a flush covers, once this was acknowledged
    acknowledged, ///< no flush is acknowledged while a reader stands still that was there when it ended
    judged,       ///< publish accepts what is new, refuses what is superseded
    accounted,    ///< nothing published is lost, but what was replaced, flushed or evicted
    bounded,      ///< live and retired bytes stay within the bound, and the reserve
    ended,        ///< every Miss was answered
    count_
};

enum class Event : std::uint8_t {
    lookups,
    hits,
    misses,
    wakes,
    refreshes,
    publishes,
    superseded,
    full,
    evictions,
    rebuilds,
    name_flushes,
    zone_flushes,
    whole_flushes,
    stalls, ///< of two seconds, with flushes waiting (S21)
    count_
};

class Checks {
  public:
    void violated(Rule rule, const std::string& detail);
    void add(Event event, std::uint64_t count = 1) {
        events_[std::size_t(event)].fetch_add(count, std::memory_order_relaxed);
    }
    void note_limbo(std::size_t bytes) { max_limbo_ = bytes > max_limbo_ ? bytes : max_limbo_; } ///< owner
    bool failed() const { return failed_.load(std::memory_order_relaxed); }

    /// Prints everything; the last line is "N passed, N failed". Returns the exit code.
    int report() const;

  private:
    Time started_ = boot_time();
    std::array<std::atomic<std::uint64_t>, std::size_t(Rule::count_)> violations_{};
    std::array<std::atomic<std::uint64_t>, std::size_t(Event::count_)> events_{};
    std::atomic<bool> failed_{false};
    std::size_t max_limbo_ = 0;
};

/// The newest generation whose flush was acknowledged: of everything, of each zone and of each name.
/// The owner stores.
struct Acknowledged {
    std::atomic<cache::Generation> everything{0};
    std::array<std::atomic<cache::Generation>, zone_count> zones{};
    std::array<std::atomic<cache::Generation>, name_count> names{};
};

} // namespace millrace::stress
