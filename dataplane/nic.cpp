#include "dataplane/nic.hpp"

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <span>
#include <string_view>

#include <fcntl.h>
#include <unistd.h>

#include "dataplane/descriptor.hpp"

namespace millrace::dataplane {

namespace {

namespace fs = std::filesystem;

constexpr unsigned network_class = 0x02;
// DPDK works beside these, which stay bound.
constexpr std::string_view shared_drivers[] = {"mlx4_core", "mlx5_core", "mana"};
// What a group may hold beside the NIC (the kernel's vfio_dev_viable).
constexpr std::string_view viable_drivers[] = {"", "vfio-pci", "pci-stub", "pcieport"};
constexpr const char* legacy_virtio = "1af4:1000"; // DPDK drives it without any driver of the kernel

bool is_one_of(std::span<const std::string_view> all, std::string_view one) {
    return std::ranges::find(all, one) != all.end();
}

std::string word_of(const fs::path& file) {
    std::string word;
    std::ifstream(file) >> word;
    return word;
}

/// What a link leads to, by its last name; empty when there is no link.
std::string target_of(const fs::path& link) {
    std::error_code none;
    return fs::read_symlink(link, none).filename().string();
}

std::vector<std::string> names_in(const fs::path& folder) {
    std::error_code none;
    std::vector<std::string> names;
    for (auto& entry : fs::directory_iterator(folder, none))
        names.push_back(entry.path().filename().string());
    std::ranges::sort(names);
    return names;
}

/// A virtio function's interface belongs to the virtio device below it.
std::vector<std::string> interfaces_of(const fs::path& device) {
    std::vector<std::string> out = names_in(device / "net");
    for (const std::string& name : names_in(device)) {
        if (!name.starts_with("virtio")) continue;
        for (std::string& interface : names_in(device / name / "net")) out.push_back(std::move(interface));
    }
    return out;
}

unsigned long number_of(const std::string& text) {
    return text.empty() ? 0 : std::strtoul(text.c_str(), nullptr, 0);
}

void inspect_group(Nic& nic, const fs::path& root) {
    fs::path folder = root / "sys/kernel/iommu_groups" / nic.group;
    nic.isolated = word_of(folder / "name") != "vfio-noiommu";
    for (const std::string& other : names_in(folder / "devices")) {
        std::string driver = target_of(root / "sys/bus/pci/devices" / other / "driver");
        bool is_other = other != nic.address && !is_one_of(viable_drivers, driver);
        if (is_other)
            nic.group_of_kernel.push_back(std::string(other).append(" (").append(driver).append(")"));
    }
}

/// VFIO's group file can be open once at a time, in this machine; a UIO device's is only looked at.
void try_to_open(Nic& nic, const fs::path& root) {
    if (nic.is_vfio() && !nic.group.empty()) {
        nic.file = "/dev/vfio/" + (nic.isolated ? "" : std::string("noiommu-")) + nic.group;
        Descriptor file(open((root.string() + nic.file).c_str(), O_RDWR | O_CLOEXEC));
        nic.open_error = file ? 0 : errno;
    } else if (nic.is_uio()) {
        auto names = names_in(root / "sys/bus/pci/devices" / nic.address / "uio");
        if (names.empty()) return;
        nic.file = "/dev/" + names.front();
        nic.open_error = access((root.string() + nic.file).c_str(), R_OK | W_OK) == 0 ? 0 : errno;
    }
}

std::string bind_command(const Nic& nic) {
    return "`deploy/nic bind " + nic.address + "`";
}

std::string without_iommu(const Nic& nic) {
    if (!nic.group.empty()) return "";
    return "; there is no IOMMU group for it either: switch the IOMMU on in the firmware and boot with "
           "intel_iommu=on or amd_iommu=on, or let `deploy/nic bind` take a driver without IOMMU";
}

std::string fault_of_binding(const Nic& nic) {
    if (nic.driver.empty()) {
        if (nic.id == legacy_virtio) return "";
        return (nic.vfio_loaded ? "is bound to no driver; "
                                : "is bound to no driver, and vfio-pci is not loaded; ") +
               bind_command(nic) + " gives it to vfio-pci" + without_iommu(nic);
    }
    std::string interfaces;
    for (const std::string& name : nic.interfaces) interfaces += (interfaces.empty() ? "" : ", ") + name;
    return "is bound to the kernel's driver " + nic.driver +
           (interfaces.empty() ? "" : " (interface " + interfaces + ")") + "; " + bind_command(nic) +
           " gives it to vfio-pci" + without_iommu(nic);
}

std::string fault_of_group(const Nic& nic) {
    if (nic.group.empty()) {
        return "is bound to vfio-pci but belongs to no IOMMU group; `deploy/nic check " + nic.address +
               "` says what is missing";
    }
    if (nic.group_of_kernel.empty()) return "";
    std::string others;
    for (const std::string& other : nic.group_of_kernel) others += (others.empty() ? "" : ", ") + other;
    return "shares IOMMU group " + nic.group + " with " + others +
           ", which the kernel still has; unbind that too (`deploy/nic check " + nic.address +
           "` shows the group), or move the NIC to another slot";
}

std::string fault_of_file(const Nic& nic) {
    switch (nic.open_error) {
    case 0: return "";
    case EBUSY:
        return "is held by another process, perhaps a second millraced; `deploy/nic check " + nic.address +
               "` names it: end that one, or give this one another NIC";
    case EACCES:
    case EPERM:
        return "may not be opened by this user; run millraced as root, or let its user read and write " +
               nic.file + " (a udev rule keeps that over a boot)";
    case ENOENT:
        return "is bound to " + nic.driver + ", but there is no " + nic.file +
               "; in a container pass it in, else load the driver anew: " + bind_command(nic);
    default: return "cannot be opened by way of " + nic.file + ": " + std::strerror(nic.open_error);
    }
}

std::string what_is_wrong(const Nic& nic) {
    if (!nic.present) return "is no PCI device of this machine; `deploy/nic list` shows those that are";
    if (nic.pci_class >> 16 != network_class)
        return "is no network device; `deploy/nic list` shows those that are";
    if (nic.is_shared()) return "";
    bool bound = nic.is_vfio() || nic.is_uio();
    if (!bound) return fault_of_binding(nic);
    std::string fault = nic.is_vfio() ? fault_of_group(nic) : "";
    return fault.empty() ? fault_of_file(nic) : fault;
}

} // namespace

Nic Nic::inspect(const std::string& address, const fs::path& root) {
    Nic nic;
    nic.address = address;
    std::error_code none;
    fs::path device = root / "sys/bus/pci/devices" / address;
    nic.present = fs::exists(device, none);
    if (!nic.present) return nic;
    auto digits = [&](const char* file) {
        std::string text = word_of(device / file);
        return text.starts_with("0x") ? text.substr(2) : text;
    };
    nic.pci_class = unsigned(number_of(word_of(device / "class")));
    nic.id = digits("vendor") + ":" + digits("device");
    nic.driver = target_of(device / "driver");
    nic.interfaces = interfaces_of(device);
    nic.vfio_loaded = fs::exists(root / "sys/bus/pci/drivers/vfio-pci", none);
    nic.group = target_of(device / "iommu_group");
    if (std::string node = word_of(device / "numa_node"); !node.empty()) nic.node = std::atoi(node.c_str());
    if (!nic.group.empty()) inspect_group(nic, root);
    try_to_open(nic, root);
    return nic;
}

bool Nic::is_shared() const {
    return is_one_of(shared_drivers, driver);
}

std::string fault_of(const Nic& nic) {
    std::string wrong = what_is_wrong(nic);
    return wrong.empty() ? "" : "port " + nic.address + " " + wrong;
}

} // namespace millrace::dataplane
