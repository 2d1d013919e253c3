// What the operator sees of the DPDK ports: the verb `ports`, and log lines when a link comes or goes.
// Control thread only.
#pragma once

#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "cache/time.hpp"
#include "control/config/config.hpp"
#include "dataplane/eal.hpp"

namespace millrace::control {

class Ports {
  public:
    /// Those of `eal`, which outlives this, as the configuration names them.
    void open(const dataplane::Eal& eal, const std::vector<Config::Port>& ports);

    nlohmann::json show() const;
    /// Looks at the links, once a second. Who is at the other end of one makes it change as he likes: of each
    /// port there is a line in ten seconds at most, which says how it stands then.
    void tick(Time now);

  private:
    struct Port {
        std::string device;
        bool was_up; ///< as last logged
        Time quiet_until{};
    };
    const dataplane::Eal* eal_ = nullptr;
    std::vector<Port> ports_; ///< in the order of EalPlan::ports
    Time due_{};
};

} // namespace millrace::control
