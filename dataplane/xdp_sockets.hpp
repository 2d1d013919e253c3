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
    /// Of XDP: "native", in the NIC's driver; "generic", behind it, slower; "offloaded"; "no".
    std::string program = "no";
    bool zero_copy = false;  ///< the NIC reads and writes our buffers; else the kernel copies
    bool busy_polls = false; ///< the lcore's system calls do the driver's work, with its interrupts deferred
};

/// Descriptors, ascending.
std::vector<int> open_xdp_sockets();

/// What is so of each of the sockets, nothing when there are none; `program` is the caller's to fill in.
XdpMode mode_of(std::span<const int> sockets);

/// "native XDP, packets copied, need_wakeup, busy polling".
std::string to_string(const XdpMode& mode);

} // namespace millrace::dataplane
