// What the daemon is made of, as its loop, its reload and its verbs see it. Everything outlives them. Control
// thread only, but for what a part itself allows others.
#pragma once

#include <utility> // asio 1.22 with GCC 12 needs it first

#include <memory>
#include <span>

#include <asio/io_context.hpp>

#include "cache/grace.hpp"
#include "cache/replaceable.hpp"
#include "cache/table.hpp"
#include "control/daemon/ports.hpp"
#include "control/daemon/tcp_server.hpp"
#include "control/daemon/upstream_ways.hpp"
#include "control/daemon/workers.hpp"
#include "control/fetch/flush.hpp"
#include "control/fetch/keep_warm.hpp"
#include "control/fetch/publish.hpp"
#include "control/fetch/table.hpp"
#include "control/rank/prober.hpp"
#include "control/store/cache_store.hpp"
#include "control/traffic/dnstap.hpp"
#include "control/traffic/top.hpp"
#include "control/upstream/exchange.hpp"
#include "control/upstream/server_names.hpp"
#include "control/upstream/upstreams.hpp"
#include "dataplane/eal.hpp"
#include "dataplane/rules.hpp"

namespace millrace::control {

struct Parts {
    asio::io_context& io;
    cache::Grace& grace;
    cache::Table& table;
    Publisher& publisher;
    /// By Key::group; those that are not configured have no servers. Behind them those of bootstrap servers.
    std::span<Upstreams> groups;
    Exchanges& exchanges;
    FetchTable& fetches;
    Flushes& flushes;
    cache::Replaceable<dataplane::Rules>& rules;
    Workers& workers;
    TcpServer& tcp;
    Prober& prober;
    KeepWarm& warm;
    ServerNames& names;
    const std::unique_ptr<dataplane::Eal>& eal; ///< null without ports
    Ports& ports;
    UpstreamWays& ways;
    CacheStore& store;
    Dnstap& dnstap;
    Top& top;
};

} // namespace millrace::control
