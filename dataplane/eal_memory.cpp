#include "dataplane/eal_memory.hpp"

#include <algorithm>
#include <numeric>
#include <regex>
#include <utility>

#include "dataplane/eal_arguments.hpp"

namespace millrace::dataplane {

namespace {

using Arguments = std::vector<std::string>;
using Check = tl::expected<void, std::string>;

constexpr std::uint64_t usual_page = std::uint64_t(2) << 20;

std::string mebibytes(std::uint64_t octets) {
    return std::to_string(octets >> 20);
}

std::uint64_t sum(const std::vector<std::uint64_t>& all) {
    return std::accumulate(all.begin(), all.end(), std::uint64_t(0));
}

bool any_pci(const EalPlan& plan) {
    return std::ranges::any_of(plan.ports, [](const PortPlan& port) { return is_pci_device(port.device); });
}

/// Whether the port's driver shows its memory to a peer, and so wants it in one file.
bool shares_memory(const PortPlan& port) {
    bool memif = is_driver(port.device, "net_memif") && device_option(port.device, "zero-copy") == "yes";
    return memif || is_driver(port.device, "net_virtio_user") || is_driver(port.device, "virtio_user");
}

/// What -m or --socket-mem reserve at start; 0 when neither is given.
std::uint64_t reserved_octets(const Arguments& given) {
    static const std::regex form("(?:^| )(?:-v*m|--socket-mem)[ =]?([0-9,]+)");
    std::string line;
    for (const std::string& word : given) line += (line.empty() ? "" : " ") + word;
    std::smatch found;
    if (!std::regex_search(line, found, form)) return 0;
    std::uint64_t total = 0, number = 0;
    for (char c : found[1].str() + ",") {
        if (c != ',') number = number * 10 + std::uint64_t(c - '0');
        if (c == ',') total += std::exchange(number, 0);
    }
    return total << 20;
}

std::uint64_t kernel_octets(const PortPlan& port) {
    return port.kernel.is_wanted() ? limits::kernel_octets : 0;
}

/// Without hugepages: more than is needed, as what is not used costs nothing.
std::uint64_t ordinary_octets(const EalPlan& plan) {
    std::uint64_t octets = limits::eal_octets;
    for (const PortPlan& port : plan.ports)
        octets += port.lcores.size() * limits::queue_octets + kernel_octets(port);
    return octets;
}

std::string lacks_hugepages(const std::string& who, const Machine& machine, std::size_t index,
                            std::uint64_t needed) {
    const Node& node = machine.nodes[index];
    bool several = machine.nodes.size() > 1;
    std::string number = std::to_string(node.number);
    std::string file =
        several ? "/sys/devices/system/node/node" + number + "/hugepages/hugepages-2048kB/nr_hugepages"
                : "/proc/sys/vm/nr_hugepages";
    return who + " needs " + mebibytes(needed) + " MiB of free hugepages" +
           (several ? " on NUMA node " + number + ", where its NIC, lcores or control's CPU are" : "") +
           ", and there are " + mebibytes(node.free_octets) + "; reserve them with `deploy/nic hugepages " +
           mebibytes(needed) + (several ? " --node " + number : "") + "` or `echo " +
           std::to_string(node.used_pages + needed / usual_page) + " > " + file + "` (pages of 2 MiB)";
}

/// The node that has less than is needed of it; none: the number of nodes.
std::size_t find_lacking(const std::vector<std::uint64_t>& demand, const Machine& machine) {
    std::size_t i = 0;
    while (i < demand.size() && demand[i] <= machine.nodes[i].free_octets) ++i;
    return i;
}

/// VFIO pins whatever a NIC may reach, and counts it for the process. EAL only logs what was refused, and the
/// NIC would then lose the packets whose buffers it cannot reach.
Check check_lock(const EalPlan& plan, const Machine& machine, std::uint64_t needed) {
    bool pins = std::ranges::any_of(machine.nics, &Nic::pins_memory) && any_pci(plan);
    if (!pins || !machine.lockable_octets || *machine.lockable_octets >= needed) return {};
    return tl::unexpected("the NIC needs " + mebibytes(needed) +
                          " MiB of packet memory locked, but this process may lock " +
                          mebibytes(*machine.lockable_octets) +
                          " MiB (RLIMIT_MEMLOCK); set LimitMEMLOCK=infinity in its systemd unit, or start it "
                          "after `ulimit -l unlimited`");
}

} // namespace

std::vector<std::uint64_t> hugepage_demand(const EalPlan& plan, unsigned control_cpu,
                                           const Machine& machine) {
    std::vector<std::uint64_t> demand(machine.nodes.size());
    demand[machine.node_of(control_cpu)] += eal_hugepage_octets;
    for (const PortPlan& port : plan.ports) {
        for (unsigned lcore : port.lcores) demand[machine.node_of(lcore)] += queue_hugepage_octets;
        auto nic = std::ranges::find(machine.nics, ethdev_name(port.device), &Nic::address);
        auto home = machine.nodes.end();
        if (nic != machine.nics.end() && nic->node >= 0)
            home = std::ranges::find(machine.nodes, unsigned(nic->node), &Node::number);
        if (home == machine.nodes.end()) {
            demand[machine.node_of(port.lcores.front())] += kernel_octets(port);
        } else {
            demand[std::size_t(home - machine.nodes.begin())] += usual_page + kernel_octets(port);
        }
    }
    for (std::size_t i = 0; i < demand.size(); ++i) {
        std::uint64_t page = std::max(usual_page, machine.nodes[i].page_octets);
        demand[i] = (demand[i] + page - 1) / page * page;
    }
    return demand;
}

tl::expected<Arguments, std::string> memory_arguments(const EalPlan& plan, unsigned control_cpu,
                                                      const Machine& machine, const Arguments& given) {
    bool no_huge = gives(given, {"--no-huge"}), sized = gives(given, {"-m", "--socket-mem"});
    std::vector<std::uint64_t> demand = hugepage_demand(plan, control_cpu, machine);
    std::size_t lacking = find_lacking(demand, machine);
    bool any_free = std::ranges::any_of(machine.nodes, [](const Node& node) { return node.free_octets > 0; });
    bool hugepages = !no_huge && (sized ? any_free : lacking == demand.size());
    if (any_pci(plan) && no_huge)
        return tl::unexpected(std::string("EAL argument --no-huge does not go with a PCI port, which needs "
                                          "hugepages; take one of them away"));
    std::string who = any_pci(plan) ? "a PCI port" : "";
    for (const char* argument : {"--in-memory", "--socket-mem"}) {
        if (gives(given, {argument}) && who.empty()) who = "EAL argument " + std::string(argument);
    }
    if (!hugepages && !who.empty()) {
        std::size_t at = lacking < demand.size() ? lacking : 0;
        return tl::unexpected(lacks_hugepages(who, machine, at, demand[at]));
    }
    if (Check fits = check_lock(plan, machine, std::max(sum(demand), reserved_octets(given))); !fits)
        return tl::unexpected(fits.error());
    // No shared files, so nothing to clean up after a crash; EAL has one word for it with hugepages and
    // another one without. Telemetry stays.
    Arguments out;
    if (!hugepages) out.push_back("--no-shconf");
    if (hugepages && !gives(given, {"--in-memory"})) out.push_back("--in-memory");
    if (std::ranges::any_of(plan.ports, shares_memory) && !gives(given, {"--single-file-segments"})) {
        out.push_back("--single-file-segments");
    }
    if (hugepages) return out;
    if (!no_huge) out.push_back("--no-huge");
    if (!sized) out.insert(out.end(), {"-m", mebibytes(ordinary_octets(plan))});
    return out;
}

} // namespace millrace::dataplane
