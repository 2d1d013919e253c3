#include "dataplane/machine.hpp"

#include <algorithm>
#include <charconv>
#include <fstream>
#include <sstream>

#include <linux/capability.h>
#include <sched.h>
#include <sys/resource.h>

namespace millrace::dataplane {

namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t kibibyte = 1024, usual_page = 2048 * kibibyte;

std::string text_of(const fs::path& file) {
    std::ifstream in(file);
    return {std::istreambuf_iterator<char>(in), {}};
}

std::uint64_t number_in(const fs::path& file) {
    std::uint64_t number = 0;
    std::ifstream(file) >> number;
    return number;
}

/// `folder` holds a folder for each size of page: hugepages-2048kB.
void add_hugepages(Node& node, const fs::path& folder) {
    std::error_code none;
    for (auto& size : fs::directory_iterator(folder, none)) {
        std::uint64_t kibibytes = 0;
        std::istringstream(size.path().filename().string().substr(10)) >> kibibytes;
        std::uint64_t octets = kibibytes * kibibyte, free = number_in(size.path() / "free_hugepages");
        node.free_octets += free * octets;
        if (free > 0 && (node.page_octets == 0 || octets < node.page_octets)) node.page_octets = octets;
        if (octets == usual_page) node.used_pages = number_in(size.path() / "nr_hugepages") - free;
    }
}

std::vector<Node> inspect_nodes(const fs::path& root, const std::vector<unsigned>& cpus) {
    std::error_code none;
    std::vector<Node> nodes;
    for (auto& entry : fs::directory_iterator(root / "sys/devices/system/node", none)) {
        std::string name = entry.path().filename().string();
        bool is_node = name.size() > 4 && name.starts_with("node") &&
                       name.find_first_not_of("0123456789", 4) == name.npos;
        if (!is_node) continue;
        Node node;
        node.number = unsigned(std::stoul(name.substr(4)));
        node.cpus = parse_cpus(text_of(entry.path() / "cpulist"));
        add_hugepages(node, entry.path() / "hugepages");
        nodes.push_back(std::move(node));
    }
    std::ranges::sort(nodes, {}, &Node::number);
    if (nodes.empty()) {
        nodes.push_back({0, cpus});
        add_hugepages(nodes.front(), root / "sys/kernel/mm/hugepages");
    }
    return nodes;
}

} // namespace

std::vector<unsigned> parse_cpus(std::string_view list) {
    std::vector<unsigned> cpus;
    const char *at = list.data(), *end = at + list.size();
    while (at < end) {
        unsigned first = 0, last = 0;
        auto read = std::from_chars(at, end, first);
        if (read.ec != std::errc()) break;
        last = first;
        if (read.ptr < end && *read.ptr == '-') read = std::from_chars(read.ptr + 1, end, last);
        for (; first <= last && first < CPU_SETSIZE; ++first) cpus.push_back(first);
        at = read.ptr < end ? read.ptr + 1 : end;
    }
    return cpus;
}

std::optional<std::uint64_t> lockable_octets(std::string_view status, std::uint64_t limit) {
    constexpr std::string_view key = "\nCapEff:\t";
    std::size_t at = status.find(key);
    std::uint64_t capabilities = 0;
    if (at != status.npos)
        std::from_chars(status.data() + at + key.size(), status.data() + status.size(), capabilities, 16);
    bool is_exempt = (capabilities >> CAP_IPC_LOCK & 1) != 0;
    return is_exempt || limit == RLIM_INFINITY ? std::nullopt : std::optional(limit);
}

Machine Machine::inspect(const std::vector<std::string>& nics, const fs::path& root) {
    Machine machine;
    cpu_set_t allowed;
    CPU_ZERO(&allowed);
    sched_getaffinity(0, sizeof allowed, &allowed);
    for (unsigned cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
        if (CPU_ISSET(cpu, &allowed)) machine.cpus.push_back(cpu);
    }
    machine.nodes = inspect_nodes(root, machine.cpus);
    rlimit limit{};
    if (getrlimit(RLIMIT_MEMLOCK, &limit) == 0)
        machine.lockable_octets =
            dataplane::lockable_octets(text_of(root / "proc/self/status"), limit.rlim_cur);
    for (const std::string& nic : nics) machine.nics.push_back(Nic::inspect(nic, root));
    return machine;
}

std::size_t Machine::node_of(unsigned cpu) const {
    for (std::size_t i = 0; i < nodes.size(); ++i) {
        if (std::ranges::find(nodes[i].cpus, cpu) != nodes[i].cpus.end()) return i;
    }
    return 0;
}

} // namespace millrace::dataplane
