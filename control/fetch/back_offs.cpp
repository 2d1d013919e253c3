#include "control/fetch/back_offs.hpp"

#include "cache/dns.hpp"
#include "control/limits.hpp"

namespace millrace::control {

void BackOffs::tick(cache::Generation last, Time now) {
    if (upstreams_.recoveries() != recoveries_) {
        recoveries_ = upstreams_.recoveries();
        last_ = last;
        shard_ = 0;
    }
    auto end = [now](const cache::KeyRef&, const cache::Entry& entry) {
        bool waits = now >= entry.expiry && entry.refresh_after.load(std::memory_order_relaxed) > now.count();
        if (waits) entry.refresh_after.store(now.count(), std::memory_order_relaxed);
        return entry.failure && !dns::ede::is_of_dnssec(entry.info); // that a name is bogus was no outage
    };
    for (std::size_t i = 0; i < limits::flush_shards_per_tick && has_shards_left(); ++i) {
        table_.flush(shard_++, last_, end);
    }
}

} // namespace millrace::control
