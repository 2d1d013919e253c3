// What a message meets before the cache is looked into: is it a query, may this client ask, and so often, and
// is it answered right here. The same for UDP on any port and for TCP.
//
// Threads: each front end has its own, used by its own thread, online for RCU. No lock, no allocation. All
// that is done between two take_rules() goes by the same rules: a worker's turn, a message over TCP.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "cache/entry.hpp"
#include "dataplane/counters.hpp"
#include "dataplane/query.hpp"
#include "dataplane/rules.hpp"

namespace millrace::dataplane {

class Gate {
  public:
    Gate(const cache::Replaceable<Rules>& rules, Counters& counters) : now_(rules), counters_(counters) {
        take_rules();
    }

    /// Those in effect. Before anything else, and again once the thread has been quiescent.
    void take_rules() {
        const Rules& rules = now_.get();
        access_ = rules.access.get();
        local_ = rules.local.get();
        routes_ = rules.routes.get();
    }
    /// Of the rules taken.
    const Access& access() const { return *access_; }

    struct Message {
        std::span<const std::uint8_t> octets;
        Transport transport;
        Address client;
        Time now;
    };
    /// Judges a message and counts its verdict. True: `query` is to be looked up, and its verdict is
    /// the caller's. Else `reply` octets were written into `out`, which may be where the message lies;
    /// 0: it is dropped.
    bool admit(const Message& message, Query& query, std::span<std::uint8_t> out, std::size_t& reply);

    /// Whom and what a later reply is charged to. Hashes; all 0 while there are no limits.
    struct Charge {
        std::uint64_t prefix = 0; ///< the client's
        std::uint64_t answer = 0; ///< the question
        std::uint64_t denial = 0; ///< the name without its first label: random ones are all denied there
    };
    Charge charge_of(const Address& client, const Query& query, cache::Hash hash) const;

    /// Whether an answer over UDP may go out: whole, as TC=1 alone, or not at all.
    enum class Flow : std::uint8_t { send, slip, drop };
    Flow flow(const Charge& charge, const cache::Entry& answer, Time now);

  private:
    bool within(Access::Taken taken, Event over, Event dry);
    bool slips(std::uint64_t prefix);
    bool within_queries(const Message& message, const Query& query, std::span<std::uint8_t> out,
                        std::size_t& reply);
    void send_local(const Message& message, const Query& query, const cache::Entry& entry, std::uint8_t above,
                    std::uint16_t info, std::span<std::uint8_t> out, std::size_t& reply);
    std::size_t refuse(const Query& query, std::span<const std::uint8_t> question,
                       std::span<std::uint8_t> out);
    bool may_send_error(const Message& message);
    bool answer_chaos(const Message& message, Query& query, std::span<std::uint8_t> out, std::size_t& reply);
    bool answer_here(const Message& message, const Query& query, std::span<std::uint8_t> out,
                     std::size_t& reply);

    const cache::Replaceable<Rules>& now_;
    const Access* access_;
    const LocalNames* local_; ///< null: nothing is answered here
    const Routes* routes_;    ///< null: all is asked of the first group
    Counters& counters_;
    /// What was over a limit since the last slip, by some bits of the client's prefix.
    std::array<std::uint8_t, 256> over_{};
};

} // namespace millrace::dataplane
