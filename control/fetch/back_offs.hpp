// Ends the back-offs of names when an upstream that was silent answers again: they were the upstream's.
//
// A failure is cached, and stale data is served without another try, for a while (RFC 9520 3.2, RFC 8767 5).
// When a breaker of the group closes again, the table is walked once, a few shards per tick: cached failures
// go, and what has expired is asked for afresh by its next hit. Control thread only.
#pragma once

#include <cstddef>
#include <cstdint>

#include "cache/table.hpp"
#include "control/upstream/upstreams.hpp"

namespace millrace::control {

class BackOffs {
  public:
    BackOffs(cache::Table& table, const Upstreams& upstreams)
        : table_(table), upstreams_(upstreams), shard_(table.shard_count()) {}

    /// `last`: the last generation issued. Failures of later ones stay.
    void tick(cache::Generation last, Time now);
    /// Whether tick() has something to do.
    bool is_due() const { return has_shards_left() || upstreams_.recoveries() != recoveries_; }

  private:
    bool has_shards_left() const { return shard_ < table_.shard_count(); }

    cache::Table& table_;
    const Upstreams& upstreams_;
    std::uint64_t recoveries_ = 0; ///< of the upstreams, that were acted upon
    cache::Generation last_ = 0;
    std::size_t shard_; ///< the next of the walk
};

} // namespace millrace::control
