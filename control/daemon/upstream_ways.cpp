#include "control/daemon/upstream_ways.hpp"

#include <algorithm>
#include <optional>
#include <utility>

#include <spdlog/spdlog.h>
#include <sys/socket.h>

#include "dataplane/descriptor.hpp"

namespace millrace::control {

namespace {

using dataplane::Endpoint;

/// What the kernel's own sockets towards it have for their address; none: it knows no way there.
std::optional<dataplane::Address> kernel_source(const Endpoint& remote) {
    sockaddr_storage peer{}, local{};
    socklen_t peer_size = dataplane::to_sockaddr(remote, peer), local_size = sizeof local;
    dataplane::Descriptor socket(::socket(peer.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    bool is_there = socket && ::connect(socket.get(), reinterpret_cast<sockaddr*>(&peer), peer_size) == 0 &&
                    ::getsockname(socket.get(), reinterpret_cast<sockaddr*>(&local), &local_size) == 0;
    return is_there ? std::optional(dataplane::from_sockaddr(local).address) : std::nullopt;
}

/// Replies to them would be taken for the port's.
void warn_of_sources(const Config::Group& group, const Config::Way& way) {
    for (const Config::Server& server : group.servers) {
        if (server.is_named()) continue;
        auto source = kernel_source(server.endpoint);
        if (!source || std::ranges::count(way.sources, *source) == 0) continue;
        spdlog::warn("group {}: the kernel's own queries to {} leave from {}, too, which is `source`: their "
                     "replies are taken for the port's and lost; give `source` an address that the kernel "
                     "does not choose",
                     group.name, to_string(server), dataplane::to_string(*source));
    }
}

} // namespace

void UpstreamWays::open(dataplane::Eal& eal, const Config& config) {
    std::vector<PortNetwork::Port> opened;
    for (std::size_t index = 0; index < config.boot.ports.size(); ++index) {
        dataplane::UpstreamPath* path = eal.upstream_path(index);
        if (!path) continue;
        std::string name = dataplane::ethdev_name(config.boot.ports[index].device);
        for (const auto& [group, way] : config.boot.ways) {
            if (way.port == name) ways_.emplace(group, PortNetwork::Way{ports_.size(), way.sources});
        }
        ports_.push_back({index, path});
        opened.push_back({path, [this, &eal, index](std::vector<Endpoint> remotes) {
                              auto taken = eal.set_remotes(index, std::move(remotes), grace_);
                              if (!taken) spdlog::error("{}", taken.error());
                              return taken.has_value();
                          }});
    }
    network_.set_ports(std::move(opened));
    place(config.live);
    for (const Config::Group& group : config.live.upstreams) {
        auto way = config.boot.ways.find(group.name);
        if (way != config.boot.ways.end()) warn_of_sources(group, way->second);
    }
}

void UpstreamWays::place(const Config::Live& live) {
    std::vector<const PortNetwork::Way*> ways;
    for (const Config::Group& group : live.upstreams) {
        auto way = ways_.find(group.name);
        ways.push_back(way == ways_.end() ? nullptr : &way->second);
    }
    network_.set_ways(ways);
}

bool UpstreamWays::tick(const Ports& ports) {
    for (const Port& port : ports_) port.path->set_usable(ports.can_send(port.index));
    return network_.poll();
}

} // namespace millrace::control
