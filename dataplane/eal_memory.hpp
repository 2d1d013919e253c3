// What memory DPDK is told to take. Pure.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <tl/expected.hpp>

#include "dataplane/eal_plan.hpp"
#include "dataplane/limits.hpp"

namespace millrace::dataplane {

// What is taken of hugepages, with a margin for drivers: one lcore took 18 MiB (NIC, net_ring), two took 36,
// a kernel interface 6.
inline constexpr std::size_t eal_hugepage_octets = 4 << 20; ///< EAL's own, and drivers'
inline constexpr std::size_t queue_hugepage_octets = ///< buffers, with the pool's caches and the NIC's rings
    limits::mbufs_per_queue * limits::mbuf_octets + (4 << 20);

/// Octets of hugepages that the plan's ports need of each of the machine's nodes: buffers and rings lie where
/// the lcore is that uses them, what EAL needs itself where control's CPU is, what a driver needs where its
/// NIC is. Whole pages.
std::vector<std::uint64_t> hugepage_demand(const EalPlan& plan, unsigned control_cpu, const Machine& machine);

/// EAL's arguments about memory, besides those `given` by the operator. Hugepages are taken where there are
/// enough, and insisted on for PCI devices; the error says which are missing, on which node, or that this
/// process may not lock as much memory as a NIC is shown.
tl::expected<std::vector<std::string>, std::string> memory_arguments(const EalPlan& plan,
                                                                     unsigned control_cpu,
                                                                     const Machine& machine,
                                                                     const std::vector<std::string>& given);

} // namespace millrace::dataplane
