// From an Answer to what clients get: the Entry built, published under its version, or, when it
// cannot be, private.
#pragma once

#include <array>
#include <cstdint>

#include "cache/grace.hpp"
#include "cache/reserve.hpp"
#include "cache/table.hpp"
#include "control/message/answer.hpp"
#include "control/message/entry_build.hpp"

namespace millrace::control {

struct PublishCounters {
    std::uint64_t published = 0;  ///< accepted by the table
    std::uint64_t superseded = 0; ///< results and Fetches that a newer generation or a flush made void
    std::uint64_t full = 0;       ///< answered, not stored: no slot or memory
    std::uint64_t merged = 0;     ///< of the published: revision 1
    std::uint64_t failures = 0;   ///< of the published: failures
};

/// An Entry that Wakes may carry until the next statement that touches the table or this object.
struct Published {
    cache::Publication verdict;
    const cache::Entry* entry;   ///< never null
    cache::Reserve::Hold hold{}; ///< of a private Entry: in no Slot. It must be told of every Wake.
};

/// Control thread, the table's owner.
class Publisher {
  public:
    /// `policy` is every group's at first.
    Publisher(cache::Table& table, cache::Grace& grace, const TtlPolicy& policy);

    /// By the policy of the key's group. Null as build_entry() says; nothing is thrown: when memory is
    /// exhausted it is the answer that is lost, not the service.
    cache::EntryPtr build(const cache::Key& key, const Answer& answer, cache::Version version,
                          Time latest_expiry) const;

    /// Revision 0 and later of a Fetch. A revision 0 that may not be stored (TTL 0, superseded, full) comes
    /// back as a private Entry of the reserve; when that is exhausted, or nothing was built, as the static
    /// SERVFAIL, and the Slot is left as it was.
    Published publish(const cache::Key& key, cache::Hash hash, cache::EntryPtr entry);
    Published publish(const cache::Key& key, cache::Hash hash, const Answer& answer, cache::Version version,
                      Time latest_expiry) {
        return publish(key, hash, build(key, answer, version, latest_expiry));
    }

    /// An Entry for those who are told of it, in no Slot. Empty: there is no room.
    cache::Reserve::Hold make_private(const cache::Key& key, const Answer& answer, cache::Version version,
                                      Time latest_expiry);

    /// All upstreams failed: cached for a while that doubles from one failure to the next (RFC 9520 3.2).
    /// What an upstream said of it (`said`) is told to all; without, who waits gets a private Entry that says
    /// why (`info`), and who asks later hears of a cached error (RFC 8914 4.14).
    /// `is_crossed`: another group's servers have.
    Published publish_failure(const cache::Key& key, cache::Hash hash, cache::Version version, Time now,
                              const std::optional<ExtendedError>& said, std::uint16_t info,
                              bool is_crossed = false);

    /// The SERVFAIL for those who can be given nothing else. Static: never retired.
    const cache::Entry* servfail() const { return servfail_.get(); }
    /// The same for those whose question is over a limit of the operator's.
    const cache::Entry* limited() const { return limited_.get(); }

    const PublishCounters& counters() const { return counters_; }
    void count_superseded() { ++counters_.superseded; }
    const cache::Reserve& reserve() const { return reserve_; }
    void reclaim() { reserve_.reclaim(); } ///< once per tick
    void set_policy(unsigned group, const TtlPolicy& policy) { policies_[group] = policy; }

  private:
    Published place(const cache::Key& key, cache::Hash hash, cache::EntryPtr entry);
    Published keep_private(const cache::Key& key, cache::Hash hash, cache::Publication verdict,
                           cache::EntryPtr entry);

    cache::Table& table_;
    cache::Reserve reserve_;
    std::array<TtlPolicy, cache::limits::groups> policies_; ///< by Key::group
    cache::EntryPtr servfail_, limited_;
    PublishCounters counters_;
};

} // namespace millrace::control
