// Between one worker and control: a ring of Misses one way, a ring of Wakes the other.
//
// Both rings have one producer and one consumer and copy their elements. A worker owns as many waiters as
// its wake ring has places (rte_ring_get_capacity). A Miss that wants an answer names one of them; exactly
// one Wake gives it back. So a Wake never finds its ring full.
//
// A worker with a kernel socket sleeps in poll() on its socket and on its Sleeper, and may end
// control's sleep in turn. One on a polling lcore makes no system call: control then looks at its ring
// from time to time.
#pragma once

#include <cstdint>
#include <span>
#include <type_traits>

#include "cache/entry.hpp"
#include "cache/key.hpp"
#include "dataplane/address.hpp"
#include "dataplane/limits.hpp"
#include "dataplane/ring.hpp"
#include "dataplane/sleeper.hpp"

namespace millrace::dataplane {

/// A question that the cache did not answer. Everything by value: the mbuf is long gone when
/// control reads it.
struct Miss {
    cache::Key key;
    cache::Hash hash = 0;
    Endpoint client;          ///< for limits per client, and to recognise a retransmission
    std::uint16_t id = 0;     ///< likewise
    std::uint32_t waiter = 0; ///< index of the worker's waiter that gets the answer
    Time arrived{};
    cache::Version refresh;     ///< generation not 0: nobody waits, this version is about to expire
    std::uint64_t capitals = 0; ///< of the name as the client wrote it (cache/capitals.hpp)

    bool is_refresh() const { return refresh.generation > 0; }
};
static_assert(std::is_trivially_copyable_v<Miss> && sizeof(Miss) % 4 == 0);

/// The end of one waiter's wait.
struct Wake {
    enum class Kind : std::uint8_t {
        answer, ///< reply with `entry`, its TTLs counted down
        stale,  ///< reply with `entry`, which has expired
        abandon ///< no reply; `entry` is null
    };
    const cache::Entry* entry = nullptr; ///< not retired when this was sent
    std::uint32_t waiter = 0;
    Kind kind = Kind::answer;
};
static_assert(std::is_trivially_copyable_v<Wake> && sizeof(Wake) % 4 == 0);

class Handoff {
  public:
    Handoff();
    Handoff(const Handoff&) = delete;
    Handoff& operator=(const Handoff&) = delete;

    // The worker's side.
    bool send(const Miss& miss);          ///< false: the ring is full
    unsigned take(std::span<Wake> wakes); ///< how many were waiting, at most wakes.size()
    /// Sleeps until `descriptor` is readable, a Wake arrives, or the timeout passes.
    void sleep(int descriptor, int timeout_ms);
    /// Control may be asleep: hears of what was asked since the last call.
    void end_sleep_of(Sleeper& control);

    // Control's side.
    unsigned take(std::span<Miss> misses);
    void send(const Wake& wake);            ///< never full, by the number of waiters
    bool has_misses() const;                ///< false: none was asked before control announced its sleep
    Sleeper& sleeper() { return sleeper_; } ///< the worker's

  private:
    Ring misses_, wakes_;
    Sleeper sleeper_;
    bool has_asked_ = false; ///< the worker's alone
};

} // namespace millrace::dataplane
