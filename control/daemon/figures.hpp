// What the daemon shows of itself, as JSON: to the control socket's verbs, and on its page.
//
// Control thread only. Nothing here is proportional to clients, names or the table.
#pragma once

#include <cstdint>

#include <nlohmann/json_fwd.hpp>

#include "control/daemon/loop.hpp"
#include "control/daemon/parts.hpp"
#include "control/daemon/reload.hpp"
#include "control/daemon/upstream_verbs.hpp"
#include "dataplane/histogram.hpp"

namespace millrace::control {

/// What is looked at, or acted on.
struct Context : Parts {
    Reload& reload;
    Loop& loop;
    Time started = boot_time();

    NamedGroups named() const { return {groups, reload.current()}; }
};

/// What all workers and the TCP connections have counted.
struct Traffic {
    std::uint64_t received = 0, hits = 0, misses = 0;
    dataplane::Histogram hit_time, miss_time; ///< hits over TCP are not timed
};
Traffic traffic_of(const Parts& parts);

nlohmann::json health(const Context& c);
nlohmann::json status(const Context& c);
/// received = answered + misses + refused + to_kernel + all of dropped;
/// misses = woken + abandoned + those that still wait.
nlohmann::json stats(const Context& c);
nlohmann::json cache_stats(const Context& c);
nlohmann::json inflight(const Context& c); ///< some of the live Fetches, with their number

} // namespace millrace::control
