// A tree of files as the kernel would show them, in a temporary folder.
#pragma once

#include <filesystem>
#include <fstream>
#include <string>

#include "tests/support/temporary_folder.hpp"

namespace millrace::tests {

class Sysfs {
  public:
    const std::filesystem::path& root() const { return folder_.path(); }

    void make(const std::string& folder) const { std::filesystem::create_directories(root() / folder); }
    void write(const std::string& file, const std::string& text) const {
        make(std::filesystem::path(file).parent_path());
        std::ofstream(root() / file) << text;
    }
    void link(const std::string& file, const std::string& target) const {
        std::filesystem::create_symlink(target, root() / file);
    }

    /// An Ethernet function of Intel's, bound to `driver`, in the IOMMU group `group`; empty: none.
    void add_nic(const std::string& address, const std::string& driver, const std::string& group = "") const {
        std::string device = "sys/bus/pci/devices/" + address;
        write(device + "/class", "0x020000\n");
        write(device + "/vendor", "0x8086\n");
        write(device + "/device", "0x10d3\n");
        write(device + "/numa_node", "-1\n");
        if (!driver.empty()) link(device + "/driver", "../../drivers/" + driver);
        if (group.empty()) return;
        link(device + "/iommu_group", "../../../kernel/iommu_groups/" + group);
        make("sys/kernel/iommu_groups/" + group + "/devices/" + address);
    }

  private:
    test::TemporaryFolder folder_;
};

} // namespace millrace::tests
