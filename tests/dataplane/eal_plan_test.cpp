// EAL's arguments from configured ports, without EAL.
#include "dataplane/eal_plan.hpp"

#include <cerrno>

#include <gtest/gtest.h>

#include "dataplane/eal_arguments.hpp"
#include "dataplane/eal_log.hpp"
#include "dataplane/ethdev.hpp"
#include "dataplane/limits.hpp"

namespace millrace::tests {

using namespace dataplane;

namespace {

constexpr std::uint64_t plenty = std::uint64_t(4) << 30, page = std::uint64_t(2) << 20;

std::string joined(const EalPlan& plan, const Machine& machine) {
    auto arguments = eal_arguments(plan, machine);
    if (!arguments) return "error: " + arguments.error();
    std::string text;
    for (const std::string& argument : *arguments) text += argument + " ";
    return text;
}

EalPlan one(std::string device, std::vector<unsigned> lcores, std::vector<std::string> arguments = {}) {
    EalPlan plan;
    plan.ports = {{std::move(device), std::move(lcores), {}}};
    plan.arguments = std::move(arguments);
    return plan;
}

struct Row {
    const char* name;
    EalPlan plan;
    Machine machine;
    std::vector<const char*> has; ///< in the arguments, or in the error
    std::vector<const char*> lacks = {"error: "};
};

/// One node, with so much free in pages of 2 MiB.
Machine machine(std::vector<unsigned> cpus, std::uint64_t free_octets) {
    return {cpus, {{0, cpus, free_octets, free_octets == 0 ? 0 : page, 0}}};
}

EalPlan later(const char* device) {
    EalPlan plan = one(device, {1});
    plan.iova_mode = "pa";
    return plan;
}

const Machine two = machine({0, 1}, 0), two_huge = machine({0, 1}, plenty);

const Row rows[] = {
    {"vdev",
     one("net_af_xdp0,iface=edge0", {1}),
     two_huge,
     {"--lcores=0@0,1@1 ", "--main-lcore=0 ", "--vdev=net_af_xdp0,iface=edge0 ", "--no-pci ", "--in-memory "},
     {"error: ", "--no-huge", "--no-shconf", "-m "}},
    {"without_hugepages",
     one("net_ring0", {1}),
     two,
     {"--no-huge ", "--no-shconf ", "-m "},
     {"error: ", "--in-memory"}},
    {"zero_copy",
     one("net_memif0,role=client,zero-copy=yes", {1}),
     two,
     {"--single-file-segments ", "--no-huge "}},
    {"zero_copy_in_hugepages",
     one("net_memif0,role=client,zero-copy=yes", {1}),
     two_huge,
     {"--single-file-segments ", "--in-memory "}},
    {"copying", one("net_memif0,role=client", {1}), two_huge, {"--in-memory "}, {"--single-file-segments"}},
    {"virtio_user", one("net_virtio_user0,path=/a", {1}), two_huge, {"--single-file-segments "}},
    {"own_single_file",
     one("net_virtio_user0,path=/a", {1}, {"--single-file-segments"}),
     two_huge,
     {"--single-file-segments "},
     {"error: ", "--single-file-segments --single-file-segments"}},
    {"pci",
     one("03:00.0", {1}),
     two_huge,
     {"--allow=03:00.0 ", "--in-memory "},
     {"error: ", "--no-pci", "--vdev"}},
    {"pci_with_arguments",
     one("0000:03:0A.0,mprq_en=1", {1}),
     two_huge,
     {"--allow=0000:03:0A.0,mprq_en=1 "},
     {"error: ", "--no-pci", "--vdev"}},
    {"later",
     later("net_af_xdp0,iface=edge0"),
     two_huge,
     {"--no-pci ", "--iova-mode=pa "},
     {"--vdev", "--allow"}},
    {"pci_later",
     later("03:00.0"),
     two_huge,
     {"--allow=ffff:ff:1f.7 ", "--iova-mode=pa "},
     {"error: ", "03:00.0", "--no-pci"}},
    {"pci_no_huge",
     one("0000:03:00.0", {1}, {"--no-huge"}),
     two_huge,
     {"error: ", "--no-huge does not go"},
     {}},
    {"pci_without_hugepages", one("0000:03:00.0", {1}), two, {"error: ", "nr_hugepages"}, {}},
    {"control_beside", one("net_ring0", {0}), two, {"--lcores=1@1,0@0 ", "--main-lcore=1 "}},
    {"control_shares", one("net_ring0", {0, 1}), two, {"--lcores=2@0,0@0,1@1 ", "--main-lcore=2 "}},
    {"one_cpu", one("net_ring0", {3}), machine({3}, 0), {"--lcores=0@3,3@3 ", "--main-lcore=0 "}},
    {"far_cpu", one("net_ring0", {3}), machine({3, 200}, 0), {"--lcores=0@200,3@3 "}},
    {"own_words",
     one("net_ring0", {1}, {"--log-level=debug", "--file-prefix=x -m 900"}),
     two,
     {"--log-level=debug ", "--file-prefix=x ", "-m 900 "},
     {"error: ", "warning", "millrace"}},
    {"own_no_huge",
     one("net_ring0", {1}, {"--no-huge"}),
     two_huge,
     {"--no-huge ", "-m "},
     {"error: ", "--in-memory"}},
    {"in_memory_without_hugepages",
     one("net_ring0", {1}, {"--in-memory"}),
     two,
     {"error: ", "hugepages"},
     {}},
    {"own_in_memory",
     one("net_ring0", {1}, {"--in-memory"}),
     two_huge,
     {"--in-memory "},
     {"error: ", "--no-huge", "--in-memory --in-memory"}},
    {"own_socket_mem",
     one("net_ring0", {1}, {"--socket-mem=900"}),
     two_huge,
     {"--in-memory ", "--socket-mem=900 "},
     {"error: ", "-m "}},
    {"socket_mem_without_hugepages",
     one("net_ring0", {1}, {"--socket-mem=900"}),
     two,
     {"error: ", "--socket-mem needs", "hugepages"},
     {}},
    {"bundled", one("net_ring0", {1}, {"-vm512"}), two, {"-vm512 "}, {"error: ", "-m "}},
    {"contradiction_lcores", one("net_ring0", {1}, {"-l 0-1"}), two, {"error: EAL argument -l may not"}, {}},
    {"contradiction_glued", one("net_ring0", {1}, {"-l0-1"}), two, {"error: ", "lcores of ports"}, {}},
    {"contradiction_vdev",
     one("net_ring0", {1}, {"--vdev=net_null0"}),
     two,
     {"error: ", "device of ports"},
     {}},
    {"contradiction_no_pci", one("03:00.0", {1}, {"--no-pci"}), two_huge, {"error: ", "--no-pci"}, {}},
    {"help", one("net_ring0", {1}, {"-h"}), two, {"error: "}, {}},
    {"absent_cpu", one("net_ring0", {2}), two, {"error: ", "lcore 2", "0,1"}, {}},
    {"huge_cpu", one("net_ring0", {128}), machine({0, 128}, 0), {"error: ", "lcore 128"}, {}},
    {"lcore_twice", one("net_ring0", {1, 1}), two, {"error: ", "lcore 1 is given twice"}, {}},
    {"no_lcore", one("net_ring0", {}), two, {"error: ", "at least one lcore"}, {}},
    {"no_device", one("", {1}), two, {"error: ", "device"}, {}},
};

TEST(EalPlan, Arguments) {
    for (const Row& row : rows) {
        SCOPED_TRACE(row.name);
        std::string text = joined(row.plan, row.machine);
        for (const char* wanted : row.has)
            EXPECT_NE(text.find(wanted), std::string::npos) << wanted << " in " << text;
        for (const char* other : row.lacks)
            EXPECT_EQ(text.find(other), std::string::npos) << other << " in " << text;
    }
}

TEST(EalPlan, PortsDoNotShareNamesInterfacesOrLcores) {
    EalPlan plan = one("net_af_xdp0,iface=a", {0});
    plan.ports.push_back({"net_af_xdp1,iface=b", {1}, {}});
    EXPECT_TRUE(eal_arguments(plan, two));
    for (PortPlan other : {PortPlan{"net_af_xdp0,iface=b", {1}, {}}, PortPlan{"net_af_xdp1,iface=a", {1}, {}},
                           PortPlan{"net_af_xdp1,iface=b", {0}, {}}}) {
        plan.ports[1] = other;
        EXPECT_FALSE(eal_arguments(plan, two));
    }
}

TEST(EalPlan, AKernelInterfaceNeedsMemory) {
    EalPlan plan = one("net_ring0", {1});
    auto mebibytes = [&] {
        std::string text = joined(plan, two);
        return std::stoul(text.substr(text.find("-m ") + 3));
    };
    auto without = mebibytes();
    plan.ports[0].kernel.name = "dns0";
    EXPECT_GE(mebibytes(), without + (limits::kernel_octets >> 20));
}

TEST(EalPlan, DeviceStrings) {
    for (const char* pci : {"0000:03:00.0", "03:00.1", "ABCD:ef:1f.7", "0000:03:00.0,x=1"})
        EXPECT_TRUE(is_pci_device(pci)) << pci;
    for (const char* other : {"", "net_ring0", "03:00", "03-00.0", "g3:00.0", "000:03:00.0"}) {
        EXPECT_FALSE(is_pci_device(other)) << other;
    }
    EXPECT_EQ(ethdev_name("03:0A.0"), "0000:03:0a.0");
    EXPECT_EQ(ethdev_name("ABCD:03:0a.0,mprq_en=1"), "abcd:03:0a.0");
    EXPECT_EQ(ethdev_name("net_af_xdp0,iface=edge0,queue_count=2"), "net_af_xdp0");
    EXPECT_EQ(ethdev_name("net_" + std::string(59, 'a')), "net_" + std::string(59, 'a'));
    for (const std::string& neither :
         {"net_" + std::string(60, 'a'), std::string("eth0"), std::string("enp3s0"), std::string("eth0 up"),
          std::string("Net_tap0"), std::string(",iface=a"), std::string("0net"), std::string("03:00")}) {
        EXPECT_EQ(ethdev_name(neither), "") << neither;
    }
    EXPECT_EQ(device_option("net_af_xdp0,iface=edge0,queue_count=2", "iface"), "edge0");
    EXPECT_EQ(device_option("net_af_xdp0,iface=edge0,queue_count=2", "queue_count"), "2");
    EXPECT_EQ(device_option("net_af_xdp0,myiface=edge0", "iface"), "");
    EXPECT_TRUE(is_driver("net_tap0", "net_tap") && is_driver("eth_af_packet0,iface=a", "net_af_packet"));
    EXPECT_FALSE(is_driver("net_ring0", "net_tap") || is_driver("0000:03:00.0", "net_tap"));
}

TEST(EalPlan, ANicThatCannotBeHadIsToldBeforeItsMemory) {
    Machine machine = two;
    machine.nics = {Nic{"0000:03:00.0"}};
    std::string text = joined(one("03:00.0", {1}), machine);
    EXPECT_NE(text.find("error: port 0000:03:00.0 is no PCI device"), text.npos) << text;
    EXPECT_EQ(pci_addresses(one("03:0A.0,x=1", {1})), std::vector<std::string>{"0000:03:0a.0"});
    EXPECT_TRUE(pci_addresses(one("net_ring0", {1})).empty());
}

TEST(EalPlan, OneAddressOnTwoPortsIsWarnedOf) {
    EalPlan plan = one("net_ring0", {0});
    plan.ports[0].addresses = {*parse_address("192.0.2.1"), *parse_address("192.0.2.2")};
    plan.ports.push_back({"net_ring1", {1}, {*parse_address("192.0.2.3")}});
    EXPECT_TRUE(warnings_of(plan).empty());
    plan.ports[1].addresses.push_back(*parse_address("192.0.2.2"));
    ASSERT_EQ(warnings_of(plan).size(), 1U);
    EXPECT_TRUE(warnings_of(plan)[0].starts_with("ports net_ring0 and net_ring1 both serve 192.0.2.2:"));
}

TEST(EalPlan, DriversArePackages) {
    EXPECT_EQ(driver_package("net_af_xdp0,iface=a"), "librte-net-af-xdp23");
    EXPECT_EQ(driver_package("eth_af_packet12"), "librte-net-af-packet23");
    EXPECT_EQ(driver_package("virtio_user0,path=/a"), "librte-net-virtio23");
}

TEST(EalLog, OnlyWhatMeansNothingIsHidden) {
    EXPECT_TRUE(is_eal_noise("EAL: No available 1048576 kB hugepages reported\n"));
    EXPECT_TRUE(is_eal_noise("EAL: No free 2048 kB hugepages reported on node 1\n"));
    EXPECT_FALSE(is_eal_noise("EAL: Cannot set up DMA remapping, error 12 (Cannot allocate memory)\n"));
}

TEST(Ethdev, LcoresThatWouldGetNothingAreRefused) {
    QueueOffer nic{4, true, false}, without_rss{4, false, false}, virtio{4, false, true};
    EXPECT_EQ(fault_of_queues("p", nic, 4), "");
    EXPECT_EQ(fault_of_queues("p", nic, 5),
              "port p has 4 queue(s) but 5 lcores; give it one lcore per queue");
    EXPECT_EQ(fault_of_queues("p", without_rss, 1), "");
    EXPECT_NE(fault_of_queues("p", without_rss, 2).find("(RSS), so that all but the first would get nothing"),
              std::string::npos);
    EXPECT_EQ(fault_of_queues("p", virtio, 4), "") << "its peer spreads";
}

TEST(EalArguments, RefusesWhatIsDerived) {
    for (const char* argument : {"-l",
                                 "-l1",
                                 "-l=1",
                                 "--lcores",
                                 "--lcores=1",
                                 "--lc",
                                 "-c3",
                                 "-vl1",
                                 "--vdev",
                                 "--vd=x",
                                 "-a",
                                 "-b0000:01:00.0",
                                 "--allow",
                                 "--block=x",
                                 "--no-pci",
                                 "--no-shconf",
                                 "--huge-dir=/x",
                                 "--proc-type=secondary",
                                 "--main-lcore",
                                 "-s1",
                                 "-h",
                                 "--",
                                 "--no-hu",
                                 "--file-p=x"}) {
        EXPECT_NE(refusal_of(argument), nullptr) << argument;
    }
    for (const char* argument :
         {"--no-huge", "-m", "512", "-m512", "--socket-mem=1024", "--log-level=8", "-v", "-n4", "-", "",
          "--iova-mode=va", "--no-telemetry", "--single-file-segments", "--in-memory", "--file-prefix=x"}) {
        EXPECT_EQ(refusal_of(argument), nullptr) << argument;
    }
}

/// It is the predecessor's then.
TEST(EalPlan, ANicThatAnotherProcessHasIsAFaultUnlessItIsOpenedLater) {
    Machine one_nic = two_huge;
    Nic nic;
    nic.address = "0000:03:00.0";
    nic.present = nic.vfio_loaded = true;
    nic.pci_class = 0x020000;
    nic.driver = "vfio-pci";
    nic.group = "7";
    nic.open_error = EBUSY;
    one_nic.nics = {nic};
    EXPECT_FALSE(eal_arguments(one("0000:03:00.0", {1}), one_nic));
    EXPECT_TRUE(eal_arguments(later("0000:03:00.0"), one_nic));
    one_nic.nics[0].open_error = EACCES;
    EXPECT_FALSE(eal_arguments(later("0000:03:00.0"), one_nic));
}

} // namespace

} // namespace millrace::tests
