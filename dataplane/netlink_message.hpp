// What the kernel's messages say of its links, neighbours and routes (rtnetlink(7)).
//
// Each function takes one whole message of the kind it names, as mnl_nlmsg_ok() finds it, and adds to what
// there is; what is none of ours, or more than limits::kernel_... allows, is left out. Pure; threads: any.
#pragma once

#include <vector>

#include "dataplane/next_hops.hpp"

struct nlmsghdr;

namespace millrace::dataplane {

void read_link(const nlmsghdr* message, std::vector<KernelLink>& links);                ///< RTM_NEWLINK
void read_neighbour(const nlmsghdr* message, std::vector<KernelNeighbour>& neighbours); ///< RTM_NEWNEIGH
/// RTM_NEWROUTE. False: there are too many.
bool read_route(const nlmsghdr* message, KernelRoutes& routes);

} // namespace millrace::dataplane
