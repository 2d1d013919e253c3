// The AF_XDP sockets that DPDK's driver has opened in this process, which it shows to nobody.
//
// Threads: the control thread, at start.
#pragma once

#include <span>
#include <string>
#include <vector>

namespace millrace::dataplane {

/// How packets come to an AF_XDP port and leave it, as the kernel agreed to it.
struct XdpMode {
    std::string program;     ///< "native": in the NIC's driver; "generic": behind it, slower; "offloaded"
    bool zero_copy = false;  ///< the NIC reads and writes our buffers; else the kernel copies
    bool busy_polls = false; ///< the lcore's system calls do the driver's work, with its interrupts deferred
};

/// Descriptors, ascending.
std::vector<int> open_xdp_sockets();

/// Of all of the sockets; `program` is the caller's to fill in. Sockets that one queue could not have are no
/// port's: without any, nothing is true.
XdpMode mode_of(std::span<const int> sockets);

/// "native XDP, packets copied, need_wakeup, busy polling".
std::string to_string(const XdpMode& mode);

} // namespace millrace::dataplane
