// Clients that wait for an answer: how many, for how long, and how their wait ends.
//
// Each Waiter is woken exactly once: with an answer, with stale data, or with nothing. A client that asks
// again with the same port and ID is a retransmission: it takes the place of its first question, which is
// abandoned. Patience (RFC 8767 5, DNSBomb; `fanout: patience`): a UDP client that has waited for so long is
// abandoned, a TCP client waits for the end; stale data, where there is any, goes out a little earlier.
//
// Control thread only. Nothing here knows of Fetches.
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <span>
#include <unordered_map>
#include <utility>
#include <vector>

#include "cache/entry.hpp"
#include "cache/reserve.hpp"
#include "control/config/config.hpp"
#include "control/fetch/counters.hpp"
#include "control/limits.hpp"
#include "dataplane/address.hpp"
#include "dataplane/handoff.hpp"

namespace millrace::control {

/// A client that waits for an answer. `source` and `token` are the business of whoever delivers it.
struct Waiter {
    std::uint32_t source = 0; ///< index of a worker, or tcp_source
    std::uint64_t token = 0;  ///< the worker's waiter, or the connection's question
    dataplane::Endpoint client;
    std::uint16_t id = 0; ///< of the message: recognises a retransmission
    Time arrived{};
    std::uint64_t capitals = 0; ///< of the name as the client wrote it (cache/capitals.hpp)
    std::uint64_t prefix = 0;   ///< its client's, as limits count; a keyed hash, set by the FetchTable

    static constexpr std::uint32_t tcp_source = 0xffffffff;
    bool is_tcp() const { return source == tcp_source; }
};

/// Delivers the end of a wait: exactly one call for each Waiter that was given to the FetchTable.
class Waker {
  public:
    virtual ~Waker() = default;
    /// `entry` is null exactly for Kind::abandon, and not retired. Must not call back into the FetchTable.
    virtual void wake(const Waiter& waiter, const cache::Entry* entry, dataplane::Wake::Kind kind) = 0;
};

/// Those who wait for one Fetch. Changed by Waiters alone. To find who has run out of patience takes
/// logarithmic time for each of them, however many wait: thousands may, for one silent name. A few, as nearly
/// always, are looked through.
class WaiterList {
  public:
    bool empty() const { return waiters_.empty(); }
    std::size_t size() const { return waiters_.size(); }
    std::span<const Waiter> view() const { return waiters_; }
    bool has_retransmission(const Waiter& waiter) const { return place_of(waiter).has_value(); }
    Time due() const { return due_; } ///< when the first may run out of patience; Time::max() without any

    std::vector<Waiter> take(); ///< all of them; their waits go on

  private:
    friend class Waiters;
    /// A UDP client's question, as a retransmission repeats it.
    struct Asker {
        dataplane::Endpoint client;
        std::uint16_t id;
        bool operator==(const Asker&) const = default;
    };
    struct HashAsker {
        std::size_t operator()(const Asker& asker) const;
    };

    using ByArrival = std::set<std::pair<Time, std::size_t>>; ///< and place in `waiters_`

    static constexpr std::size_t few = 8;

    ByArrival& arrivals_of(const Waiter& waiter) { return waiter.is_tcp() ? tcp_ : udp_; }
    std::optional<std::size_t> place_of(const Waiter& repeated) const;
    std::optional<std::size_t> oldest(bool is_tcp) const;
    void add(const Waiter& waiter);
    void note(std::size_t place);
    Waiter remove(std::size_t place);
    void clear();

    std::vector<Waiter> waiters_;
    bool has_index_ = false;                                   ///< there were more than a few:
    std::unordered_map<Asker, std::size_t, HashAsker> places_; ///< of UDP clients in `waiters_`
    ByArrival udp_, tcp_;
    Time due_ = Time::max();
};

/// Everyone who waits.
class Waiters {
  public:
    using Kind = dataplane::Wake::Kind;

    /// `servfail` is static: never retired.
    Waiters(Waker& waker, const cache::Entry* servfail, FetchCounters& counters)
        : waker_(waker), servfail_(servfail), counters_(counters) {}

    /// Of those who come from here on.
    void set_patience(Time patience) { patience_ = patience; }

    /// One more waits: from here on it is owed its end. False: its prefix waits for too much already.
    [[nodiscard]] bool admit(const Waiter& waiter);
    std::size_t count_of_prefix(std::uint64_t prefix) const {
        auto at = by_prefix_.find(prefix);
        return at == by_prefix_.end() ? 0 : at->second;
    }
    /// Those of one worker. Its clients' credits are bounded.
    std::size_t count_of(std::uint32_t source) const {
        return source < by_source_.size() ? by_source_[source] : 0;
    }
    /// Adds it to a list, in the place of the question that it repeats. False: the list is full.
    [[nodiscard]] bool join(WaiterList& list, const Waiter& waiter);

    // The ends of a wait.

    void wake(const Waiter& waiter, const cache::Entry* entry, Kind kind);
    void abandon(std::span<const Waiter> waiters);
    /// SERVFAIL; `why` says which limit or mistake.
    void refuse(const Waiter& waiter, std::uint64_t FetchCounters::*why = &FetchCounters::refused);
    /// Stale data where there is any (not null), else SERVFAIL.
    void give_stale_or_refuse(const Waiter& waiter, const cache::Entry* stale,
                              std::uint64_t FetchCounters::*why);
    /// Stale data where there is any, else this Entry; not counted here.
    void give_stale_or(const Waiter& waiter, const cache::Entry* stale, const cache::Entry* entry) {
        wake(waiter, stale ? stale : entry, stale ? Kind::stale : Kind::answer);
    }
    /// All of a list. `hold`, of a private Entry, is told of each Wake.
    void wake_all(WaiterList& list, const cache::Entry* entry, Kind kind,
                  cache::Reserve::Hold* hold = nullptr);
    /// With an answer, but for clients over UDP that have waited too long: those are abandoned.
    void answer_in_time(std::span<const Waiter> waiters, const cache::Entry* entry,
                        cache::Reserve::Hold* hold, Time now, Kind kind = Kind::answer);
    /// So many clients over UDP, the oldest, with stale data or SERVFAIL.
    void release_oldest(WaiterList& list, std::size_t count, const cache::Entry* stale);
    /// Those who have run out of patience; `stale` is what there is for them, or null; `hold`: when private.
    void expire(WaiterList& list, const cache::Entry* stale, Time now, cache::Reserve::Hold* hold = nullptr);
    void expire(std::vector<Waiter>& waiters, const cache::Entry* stale, Time now);

    std::size_t count() const { return count_; }

  private:
    bool replace_retransmission(WaiterList& list, const Waiter& waiter);
    void expire(WaiterList& list, bool is_tcp, Time patience, const cache::Entry* stale, Time now,
                cache::Reserve::Hold* hold);
    Time stale_after() const { return patience_ - limits::stale_before; }
    Time due(const Waiter& waiter, const cache::Entry* stale) const;

    Waker& waker_;
    const cache::Entry* servfail_;
    FetchCounters& counters_;
    Time patience_ = Config::Fanout{}.patience;
    std::unordered_map<std::uint64_t, unsigned> by_prefix_;
    std::vector<std::size_t> by_source_; ///< of workers
    std::size_t count_ = 0;
};

} // namespace millrace::control
