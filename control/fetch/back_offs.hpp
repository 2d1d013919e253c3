// Ends the back-offs of names when an upstream that was silent answers again: they were the upstream's.
//
// A failure is cached, and stale data is served without another try, for a while (RFC 9520 3.2, RFC 8767 5).
// When a breaker of a group closes again, the table is walked once, a piece per tick: the group's cached
// failures go, and those of other groups' names that lead to another group; what has expired is asked for
// afresh by its next hit. A walk begins where the last one is, and goes round: servers that come and go would
// else keep it from ever reaching the last shards. Control thread only.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "cache/table.hpp"
#include "control/upstream/upstreams.hpp"

namespace millrace::control {

class BackOffs {
  public:
    /// `groups` is indexed by Key::group.
    BackOffs(cache::Table& table, std::span<const Upstreams> groups) : table_(table), groups_(groups) {}

    /// `last`: the last generation issued. Failures of later ones stay.
    void tick(cache::Generation last, Time now);
    /// Whether tick() has something to do.
    bool is_due() const;

  private:
    bool has_shards_left() const;

    cache::Table& table_;
    std::span<const Upstreams> groups_;
    std::array<std::uint64_t, cache::limits::groups> recoveries_{}; ///< that were acted upon
    std::array<std::size_t, cache::limits::groups> left_{};         ///< shards of the group's walk
    cache::Generation last_ = 0;
    cache::Table::Place at_; ///< of all walks
};

} // namespace millrace::control
