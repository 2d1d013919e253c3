#include "dataplane/eal.hpp"

#include <atomic>
#include <cstring>
#include <optional>

#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_ethdev.h>

#include "dataplane/ethdev.hpp"
#include "dataplane/tap.hpp"
#include "dataplane/vdev.hpp"

namespace millrace::dataplane {

/// What belongs to one port. Destroyed from the bottom up: the driver lets go before its surroundings do.
struct Eal::OpenPort {
    Service service;
    Vdev vdev;
    std::unique_ptr<KernelPort> kernel; ///< null: none
    std::optional<Ethdev> ethdev;       ///< may hold buffers of the one above
};

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
    std::vector<KernelPort*> kernels;
    for (auto& port : eal->ports_) {
        if (port->kernel) kernels.push_back(port->kernel.get());
    }
    eal->exceptions_.start(std::move(kernels));
    return eal;
}

/// What has to be in place before EAL probes the devices; completes their device strings.
Eal::Result Eal::prepare(EalPlan& plan) {
    for (PortPlan& port : plan.ports) {
        auto vdev = Vdev::prepare(port);
        if (!vdev) return tl::unexpected(vdev.error());
        warnings_.insert(warnings_.end(), vdev->warnings().begin(), vdev->warnings().end());
        Service service{port.addresses, plan.own, vdev->partial_checksums(), port.next_hop};
        OpenPort open{std::move(service), std::move(*vdev), nullptr, std::nullopt};
        ports_.push_back(std::make_unique<OpenPort>(std::move(open)));
    }
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
        std::string why =
            is_pci_device(port.device) ? "is the NIC bound to vfio-pci?" : "its driver's own words are above";
        return tl::unexpected("there is no device " + name + " by \"" + port.device + "\"; " + why);
    }
    auto ethdev = Ethdev::start(id, name, port.lcores, port.kernel.is_wanted());
    if (!ethdev) return tl::unexpected(ethdev.error() + open.vdev.hint());
    open.ethdev.emplace(std::move(*ethdev));
    if (!open.ethdev->wait_for_link()) {
        warnings_.push_back("port " + name + " has no link; it will answer when it comes");
    }
    if (Result serving = open.vdev.serve(port.addresses); !serving) return serving;
    if (Result kernel = open_kernel(port, open); !kernel) return kernel;
    for (std::uint16_t queue = 0; queue < port.lcores.size(); ++queue) {
        EthdevPort::Setup setup{id,
                                queue,
                                open.ethdev->pool(queue),
                                &open.service,
                                open.ethdev->offload(),
                                open.kernel ? &open.kernel->queue(queue) : nullptr};
        queues_.push_back({port.lcores[queue], index, std::make_unique<EthdevPort>(setup)});
    }
    return {};
}

Eal::Result Eal::open_kernel(const PortPlan& port, OpenPort& open) {
    if (!port.kernel.is_wanted()) return {};
    std::string name = ethdev_name(port.device);
    if (unsigned mtu = open.ethdev->mtu(); mtu > 0 && mtu < port.kernel.mtu) {
        return tl::unexpected("port " + name + " has an MTU of " + std::to_string(mtu) +
                              "; its kernel interface " + port.kernel.name + " must not have more (`mtu`)");
    }
    auto tap = open_tap(port.kernel, open.ethdev->mac());
    if (!tap) return tl::unexpected(tap.error());
    KernelPort::Setup setup{"port" + std::to_string(open.ethdev->port()), port.lcores.size(),
                            port.kernel.rate, rte_eth_dev_socket_id(open.ethdev->port())};
    auto kernel = KernelPort::make(std::move(*tap), setup);
    if (!kernel) return tl::unexpected(kernel.error());
    open.kernel = std::move(*kernel);
    kernels_.push_back({port.kernel.name, name, open.kernel.get()});
    return {};
}

void Eal::close() {
    exceptions_.stop();
    queues_.clear();
    kernels_.clear();
    for (auto& port : ports_) {
        if (port->kernel) port->kernel->empty(); // before the ethdev's pools go
        port->ethdev.reset();
        port->kernel.reset();
    }
    if (initialised_) rte_eal_cleanup();
    initialised_ = false;
    ports_.clear(); // last: what a driver leaves on an interface goes with its filter
}

} // namespace millrace::dataplane
