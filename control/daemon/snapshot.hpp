// What the daemon has counted, copied at one moment (a port's and a group's figures ticks later), for another
// thread to make text of. Plain values.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "control/daemon/tcp_server.hpp"
#include "control/fetch/counters.hpp"
#include "control/fetch/publish.hpp"
#include "control/rank/prober.hpp"
#include "control/traffic/dnstap.hpp"
#include "control/upstream/exchange.hpp"
#include "control/upstream/port_network.hpp"
#include "control/upstream/upstreams.hpp"
#include "dataplane/counters.hpp"
#include "dataplane/eal.hpp"
#include "dataplane/ethdev_view.hpp"

namespace millrace::control {

struct Snapshot {
    /// A worker, or what clients over TCP asked, which control answers itself: "tcp".
    struct Worker {
        std::string name;
        std::optional<unsigned> lcore;
        std::array<std::uint64_t, dataplane::verdicts> verdicts{};
        std::array<std::uint64_t, dataplane::events> events{};
        std::optional<dataplane::Histogram> hit_time; ///< none: not measured
        dataplane::Histogram miss_time;
        std::optional<double> busy_seconds; ///< of a polling lcore: of turns that had something to do
        Time stalled{};
    };
    struct Upstream {
        std::string group;
        dataplane::Endpoint endpoint;
        std::string name; ///< empty: given by address
        UpstreamCounters counters;
        unsigned outstanding = 0;
        bool is_closed = false, is_down = false; ///< its breaker; by the operator's word
        std::optional<Time> srtt;
        std::optional<double> loss;
    };
    struct Port {
        std::string device;
        dataplane::EthdevView view;
        bool is_serving = false;
        unsigned resets = 0, removals = 0;
        std::vector<dataplane::Eal::Pool> pools; ///< of its queues
    };
    struct KernelInterface {
        std::string interface, port;
        std::uint64_t written, refused, read, too_long;
    };
    /// What is at the moment, or was at most, rather than what has happened.
    struct Gauges {
        bool is_healthy = false, is_drained = false;
        std::size_t cache_entries = 0, cache_entries_limit = 0, cache_slots = 0, cache_bytes = 0;
        std::size_t cache_bytes_limit = 0, limbo_entries = 0, limbo_bytes = 0, reserve_bytes = 0;
        std::size_t live_fetches = 0, waiting = 0, tcp_connections = 0, probes_open = 0, measured = 0;
        std::size_t local_names = 0, local_bytes = 0, warm_questions = 0, warm_fresh = 0;
        Time longest_tick{};
    };

    std::vector<Worker> workers;
    FetchCounters fetches;
    ExchangeCounters exchanges;
    PortNetworkCounters via_port;
    PublishCounters publications;
    RankingCounters ranking;
    TcpCounters tcp;
    Dnstap::Counters dnstap;
    std::uint64_t generations = 0, evicted = 0, rebuilt = 0, warm_asked = 0;
    dataplane::Histogram ticks;
    Gauges gauges;
    double started = 0; ///< seconds since 1970
    std::vector<Port> ports;
    std::vector<KernelInterface> kernels;
    std::vector<Upstream> upstreams;
};

/// In Prometheus' format. Any thread; reads what the kernel says of this process, too.
std::string metrics_text(const Snapshot& snapshot);

} // namespace millrace::control
