// What the control socket's verbs do: status, stats, inflight, trace, cache lookup, cache flush, config
// reload, quit. Control thread only.
#pragma once

#include "control/command_server.hpp"
#include "control/exchange.hpp"
#include "control/fetch_table.hpp"
#include "control/flush.hpp"
#include "control/loop.hpp"
#include "control/publish.hpp"
#include "control/reload.hpp"
#include "control/stream.hpp"
#include "control/upstreams.hpp"
#include "control/workers.hpp"

namespace millrace::control {

/// Everything that a verb looks at or acts on. Outlives the server.
struct VerbContext {
    cache::Table& table;
    cache::Grace& grace;
    const Publisher& publisher;
    FetchTable& fetches;
    const Exchanges& exchanges;
    const Upstreams& upstreams;
    const Workers& workers;
    const StreamServer& streams;
    Flushes& flushes;
    const cache::Replaceable<dataplane::LocalNames>& local;
    Reload& reload;
    Loop& loop;
    Time started;
};

void add_verbs(CommandServer& server, const VerbContext& context);

} // namespace millrace::control
