// What the process may do: all that it was given while it starts, then no more than running needs.
//
// Capabilities are a thread's own, and those that EAL has made are there once all devices are open. So each
// gives its own up in a signal's handler, as glibc's setuid() has it done. (libcap's psx reaches threads
// alone that were made through its own wrapper, and libcap-ng the caller.) Main thread, before the workers
// turn, which take no signals afterwards.
#pragma once

#include <cstdint>
#include <string>

#include <tl/expected.hpp>

#include "control/config/config.hpp"

namespace millrace::control {

using Capabilities = std::uint64_t; ///< a bit each, by its number in linux/capability.h

/// First of all, before there are threads, which inherit it. No program that might be run ever gets
/// more than this one has: no_new_privs; bounding set (if we may), ambient and inheritable sets are
/// empty. A core, should there be one, leaves out hugepages and shared memory, where packets are.
void renounce();

/// The kernel writes no core, and nobody but root may look into our memory:
/// secrets of hashes and what clients ask are all over it, so there is no
/// leaving them out. After start: before, EAL may have to look itself.
void hide_memory();

/// What running takes after all ports are open:
/// CAP_NET_ADMIN: ports on interfaces of the kernel (AF_XDP, af_packet, tap), to leave
/// them as they were at the end; `next-hop: routed`, to ask the kernel for neighbours.
/// CAP_IPC_LOCK: PCI ports, whose memory is pinned again when a NIC comes back. Without an
/// IOMMU also CAP_SYS_RAWIO, to open it, and CAP_SYS_ADMIN, to know where its memory is.
/// CAP_NET_ADMIN and CAP_NET_RAW: NICs that stay with their kernel driver (`shares_nics`), to make raw queue
/// pairs and their steering once more.
/// CAP_NET_RAW: `ranking: icmp` where ping sockets are not allowed.
Capabilities capabilities_to_run(const Config& config, bool has_iommu, bool shares_nics);
bool machine_has_iommu();
/// Whether a port's NIC is one that its kernel driver and DPDK's work on at once.
bool shares_nics(const Config& config);

/// Every thread gives up all but these. What is left, which may be less; or a sentence.
tl::expected<Capabilities, std::string> keep_only(Capabilities wanted);

std::string to_string(Capabilities capabilities); ///< "CAP_NET_ADMIN CAP_IPC_LOCK", or "none"

} // namespace millrace::control
