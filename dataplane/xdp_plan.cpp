#include "dataplane/xdp_plan.hpp"

#include <charconv>
#include <cstdint>
#include <optional>

#include "dataplane/limits.hpp"

namespace millrace::dataplane {

namespace {

/// Of an option; `otherwise` when it is not given; none: it is no number.
std::optional<unsigned> number_of(const std::string& text, unsigned otherwise) {
    if (text.empty()) return otherwise;
    unsigned number = 0;
    auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    bool whole = error == std::errc() && end == text.data() + text.size();
    return whole ? std::optional(number) : std::nullopt;
}

/// The command that gives an interface so many queues.
std::string command(const Interface& interface, unsigned queues) {
    std::string count = std::to_string(queues);
    std::string directions = interface.combines ? " combined " + count : " rx " + count + " tx " + count;
    return "`ethtool -L " + interface.name + directions + "`";
}

std::string lacks_queues(const std::string& name, const Interface& interface, unsigned start,
                         unsigned lcores) {
    unsigned needed = start + lcores;
    std::string text = "interface " + interface.name + " has " + std::to_string(interface.queues) +
                       " queue(s), and port " + name + " needs " + std::to_string(needed) +
                       ", one for each of " + std::to_string(lcores) + " lcore(s)";
    if (start > 0) text += " from start_queue=" + std::to_string(start) + " on";
    if (needed <= interface.most_queues) return text + "; give it these with " + command(interface, needed);
    text += "; give the port fewer lcores";
    if (interface.driver != "veth") return text;
    return text + ", or make the veth with `numrxqueues " + std::to_string(needed) + " numtxqueues " +
           std::to_string(needed) + "` at both ends";
}

/// What arrives on the other queues meets no socket, and the program leaves it to the kernel.
std::string leaves_queues(const Interface& interface, unsigned start, unsigned lcores) {
    std::string text = "interface " + interface.name + " has " + std::to_string(interface.receive_queues) +
                       " receive queues but " + std::to_string(lcores) +
                       " lcore(s): DNS queries on the other queues stay with the kernel; ";
    if (start == 0) return text + command(interface, lcores) + " leaves it as many queues as lcores";
    return text + "`ethtool -X " + interface.name + " start " + std::to_string(start) + " equal " +
           std::to_string(lcores) + "` sends them nothing";
}

/// "net_af_xdp0,iface=a" becomes "net_af_xdp0_q1,iface=a,start_queue=1". The first keeps its name.
std::string device_of_queue(const std::string& device, unsigned index, unsigned queue) {
    std::string rest = without_option(without_option(device, "queue_count"), "start_queue");
    std::size_t name = std::min(rest.find(','), rest.size());
    if (index > 0) rest.insert(name, "_q" + std::to_string(index));
    return rest + ",start_queue=" + std::to_string(queue);
}

} // namespace

tl::expected<XdpPlan, std::string> plan_xdp(const PortPlan& port, const Interface& interface) {
    std::string name = ethdev_name(port.device), count = std::to_string(port.lcores.size());
    auto lcores = unsigned(port.lcores.size());
    std::string queue_count = device_option(port.device, "queue_count");
    if (!queue_count.empty() && number_of(queue_count, 0) != lcores) {
        return tl::unexpected("port " + name + " has queue_count=" + queue_count + " but " + count +
                              " lcore(s); leave queue_count out, and there is one for each lcore");
    }
    auto start = number_of(device_option(port.device, "start_queue"), 0);
    if (!start || std::uint64_t(*start) + lcores > limits::xdp_queues) {
        return tl::unexpected(
            "port " + name + " has start_queue=" + device_option(port.device, "start_queue") +
            "; of an interface's queues the first " + std::to_string(limits::xdp_queues) + " can be served");
    }
    if (*start + lcores > interface.queues)
        return tl::unexpected(lacks_queues(name, interface, *start, lcores));
    XdpPlan plan;
    if (interface.receive_queues > lcores) plan.warnings.push_back(leaves_queues(interface, *start, lcores));
    if (interface.combines || lcores == 1) {
        bool is_told = lcores == 1 || !queue_count.empty();
        plan.devices.push_back(port.device + (is_told ? "" : ",queue_count=" + count));
        return plan;
    }
    if (!device_option(port.device, "xdp_prog").empty()) {
        return tl::unexpected(
            "port " + name + " has " + count +
            " lcores and an xdp_prog of its own, which DPDK "
            "puts on an interface without combined channels for one queue only; leave one of "
            "them out");
    }
    for (unsigned i = 0; i < lcores; ++i) plan.devices.push_back(device_of_queue(port.device, i, *start + i));
    return plan;
}

} // namespace millrace::dataplane
