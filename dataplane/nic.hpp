// A PCI function as the kernel shows it, and whether DPDK can have it. Facts are gathered from files, and
// judged apart from that.
//
// Threads: any. At start only: reads files. Nothing here changes anything.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace millrace::dataplane {

/// What sysfs and /dev say. A function that is not there has its address alone.
struct Nic {
    std::string address; ///< "0000:03:00.0"
    bool present = false;
    unsigned pci_class = 0;                ///< base class, subclass, interface: 0x020000 is Ethernet
    std::string id{};                      ///< "8086:10d3", vendor and device
    std::string driver{};                  ///< the kernel's, to which it is bound; empty: none
    std::vector<std::string> interfaces{}; ///< the kernel's network interfaces of it
    bool vfio_loaded = false;              ///< vfio-pci is there to be bound to
    std::string group{};                   ///< of the IOMMU; empty: there is none
    bool isolated = true;                  ///< its group is not VFIO's substitute for a machine without IOMMU
    std::vector<std::string>
        group_of_kernel{}; ///< "0000:03:00.1 (igb)": of the group, with drivers of the kernel
    std::string file{};    ///< through which DPDK opens it: "/dev/vfio/7"; empty: none
    int open_error = 0;    ///< errno of trying so
    int node = -1;         ///< NUMA node; -1: none or unknown

    /// `root`: where sys and dev are; a test's own tree.
    static Nic inspect(const std::string& address, const std::filesystem::path& root = "/");

    bool is_vfio() const { return driver == "vfio-pci"; }
    bool is_shared() const; ///< its kernel driver and DPDK's work at once (verbs)
    bool is_uio() const { return driver == "uio_pci_generic" || driver == "igb_uio"; }

    /// Whether the kernel pins what the device may reach, and counts that against RLIMIT_MEMLOCK.
    bool pins_memory() const { return is_vfio() && isolated; }
};

/// Why DPDK will not get it, and what to do, as a sentence; empty when nothing is known to stand in the way.
std::string fault_of(const Nic& nic);

} // namespace millrace::dataplane
