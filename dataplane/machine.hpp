// What this machine offers to DPDK, as its files say. Facts only; eal_plan judges them.
//
// Threads: any. At start only: reads files.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "dataplane/nic.hpp"

namespace millrace::dataplane {

/// CPUs and memory that are near to each other (NUMA).
struct Node {
    unsigned number = 0;
    std::vector<unsigned> cpus;    ///< all that are online
    std::uint64_t free_octets = 0; ///< in hugepages of every size that nobody has
    std::uint64_t page_octets = 0; ///< the smallest size of which a page is free; 0: none is
    std::uint64_t used_pages = 0;  ///< of 2 MiB: reserved ones that somebody has
};

struct Machine {
    std::vector<unsigned> cpus; ///< that this process may run on, ascending
    std::vector<Node> nodes;    ///< ascending; where the kernel knows of no nodes, one with all CPUs
    std::optional<std::uint64_t> lockable_octets = std::nullopt; ///< of memory; none: without limit
    std::vector<Nic> nics{};                                     ///< those that were asked for

    /// This one. `nics`: PCI addresses to look at; `root`: where sys and proc are, a test's own tree. CPUs of
    /// this process and limits are the caller's in any case.
    static Machine inspect(const std::vector<std::string>& nics = {},
                           const std::filesystem::path& root = "/");

    /// The node of a CPU; the first one for a CPU of none.
    std::size_t node_of(unsigned cpu) const;
};

/// "0-3,8" as sysfs writes CPUs.
std::vector<unsigned> parse_cpus(std::string_view list);

/// How much memory a process may lock; CAP_IPC_LOCK exempts (mlock(2), and vfio_pin_pages_remote of the
/// kernel). `status`: /proc/self/status.
std::optional<std::uint64_t> lockable_octets(std::string_view status, std::uint64_t limit);

} // namespace millrace::dataplane
