// Which group of upstreams is asked by which port (`via`), as the configuration names groups and ports, for
// PortNetwork, which knows them by their numbers; and whether the ports can send. Control thread only.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "cache/grace.hpp"
#include "control/config/config.hpp"
#include "control/daemon/ports.hpp"
#include "control/upstream/port_network.hpp"
#include "dataplane/eal.hpp"

namespace millrace::control {

class UpstreamWays {
  public:
    /// The network outlives this.
    UpstreamWays(PortNetwork& network, cache::Grace& grace) : network_(network), grace_(grace) {}

    /// Once the ports are open; `eal` outlives this. Logs what is likely a mistake.
    void open(dataplane::Eal& eal, const Config& config);
    /// When groups have got their numbers: those of `live` are asked as their names were at the start.
    void place(const Config::Live& live);

    /// Once per tick: which ports can send, and what has come. Whether anything has.
    bool tick(const Ports& ports);

    const PortNetworkCounters& counters() const { return network_.counters(); }

  private:
    struct Port {
        std::size_t index; ///< as the configuration counts them
        dataplane::UpstreamPath* path;
    };

    PortNetwork& network_;
    cache::Grace& grace_;
    std::vector<Port> ports_; ///< those that upstreams are asked by, as PortNetwork counts them
    std::map<std::string, PortNetwork::Way, std::less<>> ways_; ///< by group
};

} // namespace millrace::control
