// A tree of files as the kernel would show them, in a temporary folder.
#pragma once

#include <filesystem>
#include <fstream>
#include <string>

#include <stdlib.h>

namespace millrace::tests {

class Sysfs {
  public:
    Sysfs() { root_ = mkdtemp(name_.data()); }
    Sysfs(const Sysfs&) = delete;
    Sysfs& operator=(const Sysfs&) = delete;
    ~Sysfs() { std::filesystem::remove_all(root_); }

    const std::filesystem::path& root() const { return root_; }

    void make(const std::string& folder) const { std::filesystem::create_directories(root_ / folder); }
    void write(const std::string& file, const std::string& text) const {
        make(std::filesystem::path(file).parent_path());
        std::ofstream(root_ / file) << text;
    }
    void link(const std::string& file, const std::string& target) const {
        std::filesystem::create_symlink(target, root_ / file);
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
    std::string name_ = "/tmp/millrace-sysfs.XXXXXX";
    std::filesystem::path root_;
};

} // namespace millrace::tests
