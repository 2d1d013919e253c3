// What a machine has, read in trees of the test's own, and the memory that a plan gets of it.
#include "dataplane/machine.hpp"

#include <gtest/gtest.h>

#include "dataplane/eal_arguments.hpp"
#include "dataplane/eal_memory.hpp"
#include "tests/dataplane/sysfs.hpp"

namespace millrace::tests {

using namespace dataplane;

namespace {

constexpr std::uint64_t mebibyte = 1 << 20, page = 2 * mebibyte, gibibyte = 1024 * mebibyte;

EalPlan plan_of(std::vector<unsigned> lcores, std::string device = "0000:03:00.0") {
    EalPlan plan;
    plan.ports = {{std::move(device), std::move(lcores), {}}};
    return plan;
}

/// CPUs 0 and 1 on node 0, 2 and 3 on node 1.
Machine two_nodes(std::uint64_t first, std::uint64_t second) {
    return {{0, 1, 2, 3}, {{0, {0, 1}, first, page, 0}, {1, {2, 3}, second, page, 5}}};
}

Nic nic_on(int node, const char* driver = "vfio-pci") {
    Nic nic;
    nic.address = "0000:03:00.0";
    nic.driver = driver;
    nic.node = node;
    return nic;
}

std::string refusal(const EalPlan& plan, const Machine& machine, std::vector<std::string> given = {}) {
    auto arguments = memory_arguments(plan, 0, machine, given);
    return arguments ? "" : arguments.error();
}

TEST(Machine, CpuLists) {
    EXPECT_EQ(parse_cpus("0-2,8\n"), (std::vector<unsigned>{0, 1, 2, 8}));
    EXPECT_EQ(parse_cpus("3"), std::vector<unsigned>{3});
    EXPECT_TRUE(parse_cpus("").empty() && parse_cpus("\n").empty());
    EXPECT_LE(parse_cpus("0-4294967295").size(), 1024U);
}

TEST(Machine, NodesAndTheirPages) {
    Sysfs tree;
    std::string nodes = "sys/devices/system/node/";
    tree.write(nodes + "possible", "0-1\n");
    tree.write(nodes + "node0/cpulist", "0-1\n");
    tree.write(nodes + "node1/cpulist", "2-3\n");
    tree.write(nodes + "node1/hugepages/hugepages-2048kB/free_hugepages", "3\n");
    tree.write(nodes + "node1/hugepages/hugepages-2048kB/nr_hugepages", "10\n");
    tree.write(nodes + "node1/hugepages/hugepages-1048576kB/free_hugepages", "1\n");
    Machine machine = Machine::inspect({"0000:03:00.0"}, tree.root());
    ASSERT_EQ(machine.nodes.size(), 2U);
    EXPECT_EQ(machine.nodes[0].free_octets, 0U);
    EXPECT_EQ(machine.nodes[1].free_octets, 3 * page + gibibyte);
    EXPECT_EQ(machine.nodes[1].page_octets, page);
    EXPECT_EQ(machine.nodes[1].used_pages, 7U);
    EXPECT_EQ(machine.node_of(3), 1U);
    EXPECT_EQ(machine.node_of(9), 0U);
    EXPECT_EQ(machine.nics.size(), 1U);
}

TEST(Machine, WithoutNodesThereIsOne) {
    Sysfs tree;
    tree.write("sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages", "4\n");
    tree.write("sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages", "4\n");
    Machine machine = Machine::inspect({}, tree.root());
    ASSERT_EQ(machine.nodes.size(), 1U);
    EXPECT_EQ(machine.nodes[0].cpus, machine.cpus);
    EXPECT_EQ(machine.nodes[0].free_octets, 4 * page);
}

TEST(Machine, WhoMayLockMemory) {
    EXPECT_EQ(lockable_octets("Name:\tx\nCapEff:\t000001ffffffffff\n", 8 << 20), std::nullopt);
    EXPECT_EQ(lockable_octets("Name:\tx\nCapEff:\t0000000000004000\n", 8 << 20), std::nullopt);
    EXPECT_EQ(lockable_octets("Name:\tx\nCapEff:\t0000000000000000\n", 8 << 20), 8U << 20);
    EXPECT_EQ(lockable_octets("", 8 << 20), 8U << 20);
    EXPECT_EQ(lockable_octets("", ~std::uint64_t(0)), std::nullopt);
}

TEST(Memory, IsAskedForWhereItIsUsed) {
    Machine machine = two_nodes(gibibyte, gibibyte);
    auto demand = hugepage_demand(plan_of({2, 3}), 0, machine);
    ASSERT_EQ(demand.size(), 2U);
    EXPECT_EQ(demand[0], (eal_hugepage_octets + page - 1) / page * page);
    EXPECT_GE(demand[1], 2 * queue_hugepage_octets);
    EXPECT_LT(demand[1], 2 * queue_hugepage_octets + page);
    machine.nics = {nic_on(0)};
    EXPECT_EQ(hugepage_demand(plan_of({2, 3}), 0, machine)[0], demand[0] + page);
    EalPlan exception = plan_of({2, 3});
    exception.ports[0].kernel.name = "dns0";
    EXPECT_GE(hugepage_demand(exception, 0, machine)[0], demand[0] + limits::kernel_octets);
    machine.nics.clear();
    EXPECT_GE(hugepage_demand(exception, 0, machine)[1], demand[1] + limits::kernel_octets - page);
    machine.nodes[1].page_octets = gibibyte; // there are no others
    EXPECT_EQ(hugepage_demand(plan_of({2, 3}), 0, machine)[1], gibibyte);
}

TEST(Memory, OneLcoreNeedsLittle) {
    EXPECT_LE(hugepage_demand(plan_of({1}), 0, two_nodes(0, 0))[0], 26 * mebibyte);
}

TEST(Memory, OfAnotherNodeIsOfNoUse) {
    EXPECT_EQ(refusal(plan_of({2}), two_nodes(gibibyte, gibibyte)), "");
    std::string said = refusal(plan_of({2}), two_nodes(gibibyte, 0));
    EXPECT_NE(said.find("22 MiB of free hugepages on NUMA node 1"), said.npos) << said;
    EXPECT_NE(said.find("`deploy/nic hugepages 22 --node 1`"), said.npos) << said;
    EXPECT_NE(said.find("echo 16 > /sys/devices/system/node/node1/hugepages/hugepages-2048kB/nr_hugepages"),
              said.npos)
        << "five that somebody has, and eleven: " << said;
    said = refusal(plan_of({2}), two_nodes(0, gibibyte));
    EXPECT_NE(said.find("on NUMA node 0"), said.npos) << said;
    // A virtual device does without.
    auto arguments = memory_arguments(plan_of({2}, "net_ring0"), 0, two_nodes(gibibyte, 0), {});
    ASSERT_TRUE(arguments);
    EXPECT_TRUE(gives(*arguments, {"--no-huge"}));
}

TEST(Memory, ThatMayNotBeLockedIsRefused) {
    Machine machine = two_nodes(gibibyte, gibibyte);
    machine.nics = {nic_on(-1)};
    machine.lockable_octets = 8 * mebibyte;
    std::string said = refusal(plan_of({1}), machine);
    EXPECT_NE(said.find("needs 26 MiB of packet memory locked, but this process may lock 8 MiB"), said.npos)
        << said;
    EXPECT_NE(said.find("LimitMEMLOCK=infinity"), said.npos);
    EXPECT_NE(said.find("`ulimit -l unlimited`"), said.npos);
    machine.lockable_octets = 26 * mebibyte;
    EXPECT_EQ(refusal(plan_of({1}), machine), "");
    for (const char* more : {"-m512", "-m 512", "--socket-mem=256,256", "--socket-mem 500"}) {
        EXPECT_NE(refusal(plan_of({1}), machine, split_eal_arguments({more})), "")
            << more << " is locked whole";
    }
    EXPECT_EQ(refusal(plan_of({1}), machine, {"-m", "20"}), "");
    machine.lockable_octets = 1;
    machine.nics = {nic_on(-1, "uio_pci_generic")}; // pins nothing
    EXPECT_EQ(refusal(plan_of({1}), machine), "");
}

} // namespace

} // namespace millrace::tests
