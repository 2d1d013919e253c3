// Copies of DNS messages on their way out of the packet path: rings, each with one producer, a worker or
// control, and one consumer. Where the consumer is too slow its ring is full; what then finds no place is
// counted and forgotten. Nobody waits for a log.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <span>
#include <vector>

#include "cache/replaceable.hpp"
#include "cache/time.hpp"
#include "dataplane/address.hpp"
#include "dataplane/address_set.hpp"
#include "dataplane/burst.hpp"
#include "dataplane/limits.hpp"
#include "dataplane/logged_kind.hpp"
#include "dataplane/message_ring.hpp"
#include "dataplane/query.hpp"

namespace millrace::dataplane {

/// What is known of a message; its octets follow.
struct LoggedMessage {
    Endpoint peer;   ///< the client, or the upstream
    Time asked{};    ///< when the query came or left; of a response 0: not known
    Time answered{}; ///< when the response left or came; of a query 0
    std::uint16_t size = 0;
    LoggedKind kind{};
    Transport transport{};
    std::uint32_t stands_for = 1; ///< so many queries, of a sample
};

class LogRing {
  public:
    /// `places` are a power of two, of limits::log_element octets
    /// each; `longest` message in octets. Throws std::bad_alloc.
    LogRing(std::size_t places, std::size_t longest) : ring_(places, longest) {}

    /// The producer. `message` is cut where it is too long.
    void put(const LoggedMessage& what, std::span<const std::uint8_t> message);
    /// The consumer. False: there is none at the moment.
    bool take(LoggedMessage& what, std::vector<std::uint8_t>& message);

    std::uint64_t dropped() const { return dropped_.load(std::memory_order_relaxed); } ///< any thread

  private:
    MessageRing<LoggedMessage> ring_;
    std::atomic<std::uint64_t> dropped_{0};
};

/// Which messages are logged. Immutable.
struct LogRules final : cache::Retired {
    static constexpr std::uint64_t all = std::uint64_t(1) << 32;

    std::array<bool, logged_kinds> kinds{};
    std::uint64_t part = all; ///< of `all`, so many
    bool all_clients = true;  ///< else
    AddressSet clients;       ///< these alone; upstreams' messages are of none
    std::uint16_t rcodes = 0; ///< bits by rcode: responses with these alone; 0: queries, and all responses

    std::size_t bytes() const override { return sizeof *this + clients.bytes(); }
};

/// One producer's part of the log. Which queries are taken when only a part is wanted is decided by a keyed
/// hash of whose they are, so that a query and its response are taken both, or neither.
class QueryLog {
  public:
    /// `rules` outlive it. Throws std::bad_alloc.
    explicit QueryLog(const cache::Replaceable<LogRules>& rules);

    /// The producer, online if it is a worker: logs the message if the rules want it. `message` has at most
    /// 65535 octets; what is shorter than a header is none.
    void add(const LoggedMessage& what, std::span<const std::uint8_t> message) {
        if (is_wanted(what, message) && is_of_part(rules_.get(), what.peer, message))
            ring_.put(what, message);
    }
    /// The same for a burst at once, of queries or of replies: a bit for each packet whose query and response
    /// are in the part that is taken.
    std::uint32_t choose(const Burst& burst) const;
    void add_chosen(const LoggedMessage& what, std::span<const std::uint8_t> message) {
        if (is_wanted(what, message)) ring_.put(what, message);
    }
    LogRing& ring() { return ring_; } ///< the consumer's

  private:
    /// As if all were taken.
    bool is_wanted(const LoggedMessage& what, std::span<const std::uint8_t> message) const;
    static bool is_of_part(const LogRules& rules, const Endpoint& peer,
                           std::span<const std::uint8_t> message);

    const cache::Replaceable<LogRules>& rules_;
    LogRing ring_;
};

/// One in so many of a worker's queries, for whoever wants to know what is asked: costs a burst a comparison.
class QuerySample {
  public:
    QuerySample();

    void look_at(const Burst& burst); ///< the producer, before the replies are written
    /// The consumer: one query in `stride` from now on, at distances that nobody can foresee; 0: none.
    void set_stride(std::uint32_t stride) { stride_.store(stride, std::memory_order_relaxed); }
    LogRing& ring() { return ring_; } ///< the consumer's

  private:
    std::atomic<std::uint32_t> stride_{0};
    // The producer's.
    std::uint64_t skip_ = 0, state_;
    LogRing ring_;
};

} // namespace millrace::dataplane
