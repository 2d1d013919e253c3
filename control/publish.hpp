// From an Answer to what clients get: the Entry built, published under its version, or, when it cannot be,
// private.
#pragma once

#include <cstdint>

#include "cache/grace.hpp"
#include "cache/table.hpp"
#include "control/answer.hpp"
#include "control/message.hpp"

namespace millrace::control {

struct PublishCounters {
    std::uint64_t published = 0;  ///< accepted by the table
    std::uint64_t superseded = 0; ///< results and Fetches that a newer generation or a flush made void
    std::uint64_t full = 0;       ///< answered, not stored: no slot or memory
    std::uint64_t merged = 0;     ///< of the published: revision 1
    std::uint64_t failures = 0;   ///< of the published: failures
};

/// An Entry that Wakes may carry until the next statement that touches the table or this object.
/// A private one is retired when this ends, so Wakes must have been sent by then.
class Published {
  public:
    Published(cache::Publication verdict, const cache::Entry* entry) : verdict_(verdict), entry_(entry) {}
    Published(cache::Publication verdict, cache::EntryPtr owned, cache::Grace& grace)
        : verdict_(verdict), entry_(owned.get()), owned_(std::move(owned)), grace_(&grace) {}
    ~Published() {
        if (owned_) grace_->retire(std::move(owned_));
    }
    Published(Published&&) = default;

    cache::Publication verdict() const { return verdict_; }
    const cache::Entry* entry() const { return entry_; } ///< never null

  private:
    cache::Publication verdict_;
    const cache::Entry* entry_;
    cache::EntryPtr owned_;
    cache::Grace* grace_ = nullptr;
};

/// Control thread, the table's owner.
class Publisher {
  public:
    Publisher(cache::Table& table, cache::Grace& grace, const TtlPolicy& policy);

    /// Revision 0 and later of a Fetch. An answer that may not be stored (TTL 0, superseded, full) comes back
    /// as a private Entry.
    Published publish(const cache::Key& key, cache::Hash hash, const Answer& answer, cache::Version version,
                      Time latest_expiry);

    /// All upstreams failed: cached for a while that doubles from one failure to the next (RFC 9520 3.2).
    Published publish_failure(const cache::Key& key, cache::Hash hash, cache::Version version, Time now,
                              std::uint16_t info);

    /// The SERVFAIL for those who can be given nothing else. Static: never retired.
    const cache::Entry* servfail() const { return servfail_.get(); }

    const PublishCounters& counters() const { return counters_; }
    void count_superseded() { ++counters_.superseded; }

  private:
    Published place(const cache::Key& key, cache::Hash hash, cache::EntryPtr entry);
    Published keep_private(cache::Publication verdict, cache::EntryPtr entry);

    cache::Table& table_;
    cache::Grace& grace_;
    TtlPolicy policy_;
    cache::EntryPtr servfail_;
    PublishCounters counters_;
};

} // namespace millrace::control
