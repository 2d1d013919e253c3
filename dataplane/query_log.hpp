// Copies of DNS messages on their way to a log: one producer's.
//
// The producer, a worker or control, looks at the rules and copies what they want into a ring; whoever writes
// the log takes it from there. Where it is too slow the ring is full, and what finds no place is counted and
// forgotten: nobody waits for a log.
//
// Which queries are taken when only a part is wanted is decided by a keyed hash of whose they are, so that a
// query and its response are taken both, or neither.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <span>
#include <type_traits>
#include <vector>

#include "cache/replaceable.hpp"
#include "cache/time.hpp"
#include "dataplane/address.hpp"
#include "dataplane/address_set.hpp"
#include "dataplane/limits.hpp"
#include "dataplane/logged_kind.hpp"
#include "dataplane/query.hpp"
#include "dataplane/ring.hpp"

namespace millrace::dataplane {

/// What is known of a message; its octets follow.
struct LoggedMessage {
    Endpoint peer;   ///< the client, or the upstream
    Time asked{};    ///< when the query came or left; of a response 0: not known
    Time answered{}; ///< when the response left or came; of a query 0
    std::uint16_t size = 0;
    LoggedKind kind{};
    Transport transport{};
};
static_assert(std::is_trivially_copyable_v<LoggedMessage> && sizeof(LoggedMessage) <= limits::log_element);

/// Which messages are wanted. Immutable.
struct LogRules final : cache::Retired {
    static constexpr std::uint64_t all = std::uint64_t(1) << 32;

    std::array<bool, logged_kinds> kinds{};
    std::uint64_t part = all; ///< of `all`, so many
    bool all_clients = true;  ///< else
    AddressSet clients;       ///< these alone; upstreams' messages are of none
    std::uint16_t rcodes = 0; ///< bits by rcode: responses with these alone; 0: queries, and all responses

    std::size_t bytes() const override { return sizeof *this + clients.bytes(); }
};

class QueryLog {
  public:
    /// `rules` outlive it. `secret` is drawn at random.
    /// Throws std::bad_alloc.
    QueryLog(const cache::Replaceable<LogRules>& rules, std::uint64_t secret);

    /// The producer, online if it is a worker: logs the message if the rules want it. `message` has at most
    /// 65535 octets; what is shorter than a header is none.
    void add(const LoggedMessage& what, std::span<const std::uint8_t> message);

    /// The consumer. False: there is none at the moment.
    bool take(LoggedMessage& what, std::vector<std::uint8_t>& message);

    std::uint64_t dropped() const { return dropped_.load(std::memory_order_relaxed); } ///< any thread

  private:
    bool is_wanted(const LoggedMessage& what, std::span<const std::uint8_t> message) const;

    const cache::Replaceable<LogRules>& rules_;
    std::uint64_t secret_;
    Ring ring_;
    std::vector<std::uint8_t> copy_; ///< the producer's: head and octets, as they go into the ring
    std::atomic<std::uint64_t> dropped_{0};
};

} // namespace millrace::dataplane
