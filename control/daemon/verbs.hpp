// What the control socket's verbs do: status, stats, inflight, trace, cache lookup, cache flush, config
// reload, quit. Control thread only.
#pragma once

#include "control/command/server.hpp"
#include "control/daemon/loop.hpp"
#include "control/daemon/reload.hpp"
#include "control/daemon/tcp_server.hpp"
#include "control/daemon/workers.hpp"
#include "control/fetch/flush.hpp"
#include "control/fetch/publish.hpp"
#include "control/fetch/table.hpp"
#include "control/upstream/exchange.hpp"
#include "control/upstream/upstreams.hpp"

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
    const TcpServer& tcp;
    Flushes& flushes;
    const cache::Replaceable<dataplane::LocalNames>& local;
    Reload& reload;
    Loop& loop;
    Time started;
};

void add_verbs(CommandServer& server, const VerbContext& context);

} // namespace millrace::control
