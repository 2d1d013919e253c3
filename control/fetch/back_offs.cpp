#include "control/fetch/back_offs.hpp"

#include <algorithm>

#include "cache/dns.hpp"
#include "control/limits.hpp"

namespace millrace::control {

void BackOffs::tick(cache::Generation last, Time now) {
    for (unsigned group = 0; group < groups_.size(); ++group) {
        if (groups_[group].recoveries() == recoveries_[group]) continue;
        recoveries_[group] = groups_[group].recoveries();
        bool is_within = at_.left != cache::Table::Place::whole; // the rest of this shard is no shard
        left_[group] = table_.shard_count() + (is_within ? 1 : 0);
        last_ = last;
    }
    auto end = [now, this](const cache::KeyRef& key, const cache::Entry& entry) {
        if (left_[key.group()] == 0 && !entry.crossed) return false;
        bool waits = now >= entry.expiry && entry.refresh_after.load(std::memory_order_relaxed) > now.count();
        if (waits) entry.refresh_after.store(now.count(), std::memory_order_relaxed);
        return entry.failure && !dns::ede::is_of_dnssec(entry.info); // that a name is bogus was no outage
    };
    for (std::size_t steps = limits::flush_slots_per_tick; steps > 0 && has_shards_left();) {
        std::size_t before = at_.shard;
        table_.flush(at_, steps, last_, end);
        if (at_.shard == before) return;
        at_.shard %= table_.shard_count();
        for (std::size_t& left : left_) left -= left > 0;
    }
}

bool BackOffs::has_shards_left() const {
    return std::ranges::any_of(left_, [](std::size_t left) { return left > 0; });
}

bool BackOffs::is_due() const {
    auto has_recovered = [&](unsigned group) { return groups_[group].recoveries() != recoveries_[group]; };
    unsigned group = 0;
    while (group < groups_.size() && !has_recovered(group)) ++group;
    return group < groups_.size() || has_shards_left();
}

} // namespace millrace::control
