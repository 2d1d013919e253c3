// The DPDK ports: what the operator sees of them, by the verbs `ports`, `status` and `stats` and by log
// lines about what the driver gave at start, when a link comes or goes, or when replies cannot be routed;
// and Devices, which keeps them in service. Control thread only.
#pragma once

#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "cache/time.hpp"
#include "control/config/config.hpp"
#include "control/daemon/devices.hpp"
#include "dataplane/eal.hpp"

namespace millrace::control {

class Ports {
  public:
    explicit Ports(cache::Grace& grace) : devices_(grace) {}

    /// Those of `eal`, which outlives this, as the configuration names them.
    void open(dataplane::Eal& eal, const std::vector<Config::Port>& ports);

    std::size_t size() const { return ports_.size(); }
    /// Of one that is away: nothing but its name.
    dataplane::EthdevView view_of(std::size_t index) const;
    Devices::View device(std::size_t index) const { return devices_.view(index); }
    void give_up() { devices_.give_up(); } ///< see Devices
    bool is_none_left() const { return devices_.is_none_left(); }
    bool are_lost() const { return are_lost_; } ///< given up, and nobody has them
    void note_lost() { are_lost_ = true; }
    /// Whether it is in service and had a link when that was last looked at.
    bool can_send(std::size_t index) const { return devices_.view(index).is_serving && ports_[index].is_up; }

    nlohmann::json show() const;
    nlohmann::json summary() const; ///< a row for each: what it is, its link, and what it lost
    nlohmann::json losses() const;  ///< of all of them together
    /// That of Devices; and once a second a look at the links and the routes. Who is at the other end of one
    /// makes it change as he likes: of each port there is a line of each in ten seconds at most, which says
    /// how it stands then.
    void tick(Time now);

  private:
    struct Port {
        std::string device;
        dataplane::Idle idle;
        std::string next_hop;  ///< as configured
        std::string interface; ///< whose routes its replies take, if they do
        bool is_up;            ///< its link, as last seen,
        bool was_up;           ///< and as last logged
        Time quiet_until{};
        std::string trouble{}, logged_trouble{}; ///< with routes: when last looked at, as last logged
        Time routes_quiet_until{};
    };
    void look_at_link(std::size_t index, Time now);
    void look_at_routes(std::size_t index, Time now);

    dataplane::Eal* eal_ = nullptr;
    std::vector<Port> ports_; ///< in the order of EalPlan::ports
    Devices devices_;         ///< likewise
    Time due_{};
    bool are_lost_ = false;
};

} // namespace millrace::control
