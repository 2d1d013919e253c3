// Which queues of a kernel interface an AF_XDP port takes, and by which DPDK devices. Pure.
//
// DPDK's driver gives one device several queues only where the interface's queues are combined channels.
// Where each direction has its own (veth), it believes that there is one: a device for each queue then.
#pragma once

#include <string>
#include <vector>

#include <tl/expected.hpp>

#include "dataplane/eal_plan.hpp"
#include "dataplane/interface.hpp"

namespace millrace::dataplane {

struct XdpPlan {
    std::vector<std::string> devices; ///< one, with a queue for each lcore; or one for each lcore
    std::vector<std::string> warnings;
};

/// For the port's device string, in which the operator may have given start_queue, queue_count and xdp_prog.
/// The error is a sentence that names the command which helps.
tl::expected<XdpPlan, std::string> plan_xdp(const PortPlan& port, const Interface& interface);

} // namespace millrace::dataplane
