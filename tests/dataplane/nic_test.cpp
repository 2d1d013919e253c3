// What sysfs shows of a NIC, in trees of the test's own, and what is made of it.
#include "dataplane/nic.hpp"

#include <cerrno>

#include <gtest/gtest.h>

#include "tests/dataplane/sysfs.hpp"

namespace millrace::tests {

using namespace dataplane;

namespace {

constexpr const char* address = "0000:03:00.0";

/// A NIC that is bound to vfio-pci in a group of its own, which nobody has open.
Nic usable() {
    Nic nic;
    nic.address = address;
    nic.present = nic.vfio_loaded = true;
    nic.pci_class = 0x020000;
    nic.id = "8086:10d3";
    nic.driver = "vfio-pci";
    nic.group = "7";
    nic.file = "/dev/vfio/7";
    return nic;
}

Nic with(void (*change)(Nic&)) {
    Nic nic = usable();
    change(nic);
    return nic;
}

TEST(Nic, EachFaultHasASentenceOfItsOwn) {
    struct Row {
        Nic nic;
        const char* says; ///< nothing: there is no fault
    } const rows[] = {
        {usable(), nullptr},
        {with([](Nic& n) { n = Nic{address}; }), "is no PCI device of this machine; `deploy/nic list`"},
        {with([](Nic& n) { n.pci_class = 0x010601; }), "is no network device"},
        {with([](Nic& n) { n.pci_class = 0x020700; }), nullptr},
        {with([](Nic& n) { n.driver = "e1000e", n.interfaces = {"enp3s0"}; }),
         "is bound to the kernel's driver e1000e (interface enp3s0); `deploy/nic bind 0000:03:00.0` gives "
         "it"},
        {with([](Nic& n) { n.driver = "pci-stub"; }), "is bound to the kernel's driver pci-stub;"},
        {with([](Nic& n) { n.driver = "e1000e", n.group = ""; }), "no IOMMU group for it either"},
        {with([](Nic& n) { n.driver = "mlx5_core", n.interfaces = {"enp3s0np0"}; }), nullptr},
        {with([](Nic& n) { n.driver = ""; }), "is bound to no driver; `deploy/nic bind 0000:03:00.0`"},
        {with([](Nic& n) { n.driver = "", n.id = "1af4:1000"; }), nullptr},
        {with([](Nic& n) { n.driver = "", n.vfio_loaded = false; }), "vfio-pci is not loaded"},
        {with([](Nic& n) { n.driver = "", n.group = ""; }), "intel_iommu=on"},
        {with([](Nic& n) { n.group = n.file = ""; }), "belongs to no IOMMU group"},
        {with([](Nic& n) { n.group_of_kernel = {"0000:03:00.1 (igb)"}; }),
         "shares IOMMU group 7 with 0000:03:00.1 (igb), which the kernel still has"},
        {with([](Nic& n) { n.open_error = EBUSY; }),
         "is held by another process, perhaps a second millraced"},
        {with([](Nic& n) { n.open_error = EACCES; }),
         "may not be opened by this user; run millraced as root"},
        {with([](Nic& n) { n.open_error = EPERM; }), "read and write /dev/vfio/7"},
        {with([](Nic& n) { n.open_error = ENOENT; }),
         "but there is no /dev/vfio/7; in a container pass it in"},
        {with([](Nic& n) { n.open_error = EIO; }), "cannot be opened by way of /dev/vfio/7: Input/output"},
        {with([](Nic& n) { n.driver = "uio_pci_generic", n.group = "", n.file = "/dev/uio0"; }), nullptr},
    };
    for (const Row& row : rows) {
        std::string fault = fault_of(row.nic);
        if (row.says == nullptr) {
            EXPECT_EQ(fault, "");
        } else {
            EXPECT_TRUE(fault.starts_with("port 0000:03:00.0 ")) << fault;
            EXPECT_NE(fault.find(row.says), fault.npos) << fault;
        }
    }
}

TEST(Nic, OfTheKernel) {
    Sysfs tree;
    tree.add_nic(address, "e1000e");
    tree.make("sys/bus/pci/devices/0000:03:00.0/net/enp3s0");
    tree.make("sys/bus/pci/devices/0000:03:00.0/virtio2/net/eth0");
    tree.write("sys/bus/pci/devices/0000:03:00.0/numa_node", "1\n");
    Nic nic = Nic::inspect(address, tree.root());
    EXPECT_TRUE(nic.present && !nic.vfio_loaded && nic.isolated && !nic.pins_memory());
    EXPECT_EQ(nic.pci_class, 0x020000U);
    EXPECT_EQ(nic.id, "8086:10d3");
    EXPECT_EQ(nic.driver, "e1000e");
    EXPECT_EQ(nic.interfaces, (std::vector<std::string>{"enp3s0", "eth0"}));
    EXPECT_EQ(nic.group, "");
    EXPECT_EQ(nic.node, 1);
    EXPECT_FALSE(Nic::inspect("0000:04:00.0", tree.root()).present);
}

TEST(Nic, BoundToVfio) {
    Sysfs tree;
    tree.add_nic(address, "vfio-pci", "7");
    tree.make("sys/bus/pci/drivers/vfio-pci");
    EXPECT_EQ(Nic::inspect(address, tree.root()).open_error, ENOENT);
    tree.write("dev/vfio/7", "");
    Nic nic = Nic::inspect(address, tree.root());
    EXPECT_TRUE(nic.is_vfio() && nic.pins_memory() && nic.vfio_loaded);
    EXPECT_EQ(nic.file, "/dev/vfio/7");
    EXPECT_EQ(fault_of(nic), "");
    // The functions of one card often share a group; a bridge's driver does not count.
    tree.add_nic("0000:03:00.1", "e1000e", "7");
    tree.add_nic("0000:00:1c.0", "pcieport", "7");
    EXPECT_EQ(Nic::inspect(address, tree.root()).group_of_kernel,
              std::vector<std::string>{"0000:03:00.1 (e1000e)"});
}

TEST(Nic, WithoutAnIommuNothingIsPinned) {
    Sysfs tree;
    tree.add_nic(address, "vfio-pci", "0");
    tree.write("sys/kernel/iommu_groups/0/name", "vfio-noiommu\n");
    Nic nic = Nic::inspect(address, tree.root());
    EXPECT_EQ(nic.file, "/dev/vfio/noiommu-0");
    EXPECT_FALSE(nic.isolated || nic.pins_memory());
    tree.add_nic("0000:04:00.0", "uio_pci_generic");
    tree.make("sys/bus/pci/devices/0000:04:00.0/uio/uio3");
    tree.write("dev/uio3", "");
    nic = Nic::inspect("0000:04:00.0", tree.root());
    EXPECT_EQ(nic.file, "/dev/uio3");
    EXPECT_TRUE(nic.open_error == 0 && !nic.pins_memory());
}

} // namespace

} // namespace millrace::tests
