// A TAP interface of our own: the kernel's end of a port's exception path (exception.hpp).
//
// Why TAP, and a thread of ours that reads and writes it: it works wherever there is /dev/net/tun, and costs
// the lcores no system call. The other way that DPDK offers, virtio_user with vhost-net, needs a kernel that
// has vhost-net, and memory in one file; what it gains is throughput, of which this path has a rate anyway.
//
// Threads: at start only.
#pragma once

#include <string>

#include <tl/expected.hpp>

#include "dataplane/descriptor.hpp"
#include "dataplane/kernel_interface.hpp"

namespace millrace::dataplane {

/// Makes the interface, with this MAC address (all zero, of a port that has none: one by chance), and
/// brings it up with its MTU and addresses. It lives as long as the descriptor, which gives and takes one
/// whole frame with each read() and write(), and never blocks. `handed`: the interface as a predecessor has
/// made it, or none. An error is a sentence that says what to do.
tl::expected<Descriptor, std::string> open_tap(const KernelInterface& wanted, const Mac& mac,
                                               Descriptor handed = {});

} // namespace millrace::dataplane
