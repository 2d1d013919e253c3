#include "dataplane/eal.hpp"

#include <atomic>
#include <cstring>
#include <optional>

#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_ethdev.h>

#include "dataplane/ethdev.hpp"
#include "dataplane/interface.hpp"
#include "dataplane/xdp.hpp"

namespace millrace::dataplane {

/// What belongs to one port. Destroyed from the bottom up: the driver lets go before the filter looks what is
/// left.
struct Eal::OpenPort {
    Service service;
    std::optional<XdpFilter> filter;
    std::optional<Ethdev> ethdev;
};

namespace {

bool is_driver(const PortPlan& port, std::string_view driver) {
    return port.device.starts_with(driver);
}

/// Whether a kernel next door sends its packets with unfinished checksums (platform.md, pitfall 1).
bool peer_is_kernel(const PortPlan& port) {
    if (is_driver(port, "net_af_packet") || is_driver(port, "eth_af_packet")) return true;
    if (!is_driver(port, "net_af_xdp")) return false;
    auto interface = Interface::find(device_option(port.device, "iface"));
    return interface && interface->driver == "veth";
}

tl::expected<void, std::string> check_interface(const Interface& interface, std::size_t lcores) {
    const std::string& name = interface.name;
    if (!interface.up) {
        return tl::unexpected("interface " + name + " is down; `ip link set " + name + " up` brings it up");
    }
    if (lcores > interface.channels) {
        return tl::unexpected(
            "interface " + name + " has " + std::to_string(interface.channels) +
            " combined channel(s), so AF_XDP cannot give it " + std::to_string(lcores) +
            " lcores; give it fewer (a NIC can get more channels with `ethtool -L`, a veth cannot)");
    }
    if (interface.mtu < 1280) {
        return tl::unexpected("interface " + name + " has an MTU of " + std::to_string(interface.mtu) +
                              "; replies need at least 1280");
    }
    return {};
}

} // namespace

Eal::Eal() = default;

Eal::~Eal() {
    close();
}

tl::expected<std::unique_ptr<Eal>, std::string> Eal::start(const EalPlan& wanted) {
    static std::atomic_flag started;
    if (started.test_and_set())
        return tl::unexpected(std::string("DPDK can be started only once in a process"));
    EalPlan plan = wanted;
    std::unique_ptr<Eal> eal(new Eal);
    Result done = eal->prepare(plan);
    if (done) done = eal->initialise(plan);
    for (std::size_t i = 0; done && i < plan.ports.size(); ++i) done = eal->open(plan.ports[i], i);
    if (!done) return tl::unexpected(done.error());
    return eal;
}

/// What has to be in place before EAL probes the devices; completes their device strings.
Eal::Result Eal::prepare(EalPlan& plan) {
    for (PortPlan& port : plan.ports) {
        auto& open = ports_.emplace_back(std::make_unique<OpenPort>());
        open->service = {port.addresses, plan.own, peer_is_kernel(port), port.next_hop};
        if (!is_driver(port, "net_af_xdp")) continue;
        if (Result done = prepare_af_xdp(port, *open); !done) return done;
    }
    return {};
}

Eal::Result Eal::prepare_af_xdp(PortPlan& port, OpenPort& open) {
    auto interface = Interface::find(device_option(port.device, "iface"));
    if (!interface) return tl::unexpected("port " + ethdev_name(port.device) + ": " + interface.error());
    if (Result fits = check_interface(*interface, port.lcores.size()); !fits) return fits;
    if (device_option(port.device, "queue_count").empty() && port.lcores.size() > 1) {
        port.device += ",queue_count=" + std::to_string(port.lcores.size());
    }
    if (interface->receive_queues > port.lcores.size()) {
        warnings_.push_back("interface " + interface->name + " has " +
                            std::to_string(interface->receive_queues) + " receive queues but " +
                            std::to_string(port.lcores.size()) +
                            " lcore(s): DNS queries on the other queues stay with the kernel");
    }
    if (!device_option(port.device, "xdp_prog").empty()) return {}; // the operator's own program decides
    auto filter = XdpFilter::prepare(interface->name);
    if (!filter) return tl::unexpected(filter.error());
    port.device += ",xdp_prog=" + filter->program_path();
    open.filter.emplace(std::move(*filter));
    return {};
}

Eal::Result Eal::initialise(const EalPlan& plan) {
    auto arguments = eal_arguments(plan, Machine::inspect());
    if (!arguments) return tl::unexpected(arguments.error());
    words_ = std::move(*arguments);
    words_.insert(words_.begin(), "millraced");
    for (std::string& word : words_) argv_.push_back(word.data());
    if (rte_eal_init(int(argv_.size()), argv_.data()) < 0) {
        std::string hint = rte_errno == EACCES || rte_errno == EPERM ? " (root is needed)" : "";
        return tl::unexpected("DPDK does not start: " + std::string(std::strerror(rte_errno)) + hint +
                              "; its own words are above");
    }
    initialised_ = true;
    return {};
}

Eal::Result Eal::open(const PortPlan& port, std::size_t index) {
    OpenPort& open = *ports_[index];
    std::string name = ethdev_name(port.device);
    std::uint16_t id = 0;
    if (rte_eth_dev_get_port_by_name(name.c_str(), &id) != 0) {
        return tl::unexpected("DPDK found no device " + name + "; check the device string \"" + port.device +
                              "\", and for a PCI address that the NIC is bound to vfio-pci");
    }
    auto ethdev = Ethdev::start(id, name, port.lcores);
    if (!ethdev) {
        std::string hint = open.filter
                               ? "; AF_XDP needs root, MTUs of at most 3498 at both ends of a veth, and a "
                                 "queue that nobody else has"
                               : "";
        return tl::unexpected(ethdev.error() + hint);
    }
    open.ethdev.emplace(std::move(*ethdev));
    if (!open.ethdev->wait_for_link()) {
        warnings_.push_back("port " + name + " has no link; it will answer when it comes");
    }
    if (open.filter) {
        if (Result serving = open.filter->serve(port.addresses); !serving) return serving;
    }
    for (std::uint16_t queue = 0; queue < port.lcores.size(); ++queue) {
        EthdevPort::Setup setup{id, queue, open.ethdev->pool(queue), &open.service, open.ethdev->offload()};
        queues_.push_back({port.lcores[queue], index, std::make_unique<EthdevPort>(setup)});
    }
    return {};
}

void Eal::close() {
    queues_.clear();
    for (auto& port : ports_) port->ethdev.reset();
    if (initialised_) rte_eal_cleanup();
    initialised_ = false;
    ports_.clear(); // last: what a driver leaves on an interface goes with its filter
}

} // namespace millrace::dataplane
