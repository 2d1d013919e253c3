#include "control/fetch/back_offs.hpp"

#include "cache/dns.hpp"
#include "control/limits.hpp"

namespace millrace::control {

void BackOffs::tick(cache::Generation last, Time now) {
    if (!has_shards_left()) walked_for_ = 0;
    for (unsigned group = 0; group < groups_.size(); ++group) {
        if (groups_[group].recoveries() == recoveries_[group]) continue;
        recoveries_[group] = groups_[group].recoveries();
        walked_for_ |= 1u << group;
        last_ = last;
        shard_ = 0;
    }
    auto end = [now, this](const cache::KeyRef& key, const cache::Entry& entry) {
        if (!(walked_for_ >> key.group() & 1) && !entry.crossed) return false;
        bool waits = now >= entry.expiry && entry.refresh_after.load(std::memory_order_relaxed) > now.count();
        if (waits) entry.refresh_after.store(now.count(), std::memory_order_relaxed);
        return entry.failure && !dns::ede::is_of_dnssec(entry.info); // that a name is bogus was no outage
    };
    for (std::size_t i = 0; i < limits::flush_shards_per_tick && has_shards_left(); ++i) {
        table_.flush(shard_++, last_, end);
    }
}

bool BackOffs::is_due() const {
    auto has_recovered = [&](unsigned group) { return groups_[group].recoveries() != recoveries_[group]; };
    unsigned group = 0;
    while (group < groups_.size() && !has_recovered(group)) ++group;
    return group < groups_.size() || has_shards_left();
}

} // namespace millrace::control
