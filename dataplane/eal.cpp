#include "dataplane/eal.hpp"

#include <atomic>
#include <cstring>
#include <optional>

#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_ethdev.h>

#include "dataplane/ethdev.hpp"
#include "dataplane/vdev.hpp"

namespace millrace::dataplane {

/// What belongs to one port. Destroyed from the bottom up: the driver lets go before its surroundings do.
struct Eal::OpenPort {
    Service service;
    Vdev vdev;
    std::optional<Ethdev> ethdev;
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
    return eal;
}

/// What has to be in place before EAL probes the devices; completes their device strings.
Eal::Result Eal::prepare(EalPlan& plan) {
    for (PortPlan& port : plan.ports) {
        auto vdev = Vdev::prepare(port);
        if (!vdev) return tl::unexpected(vdev.error());
        warnings_.insert(warnings_.end(), vdev->warnings().begin(), vdev->warnings().end());
        Service service{port.addresses, plan.own, vdev->partial_checksums(), port.next_hop};
        OpenPort open{std::move(service), std::move(*vdev), std::nullopt};
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
    auto ethdev = Ethdev::start(id, name, port.lcores);
    if (!ethdev) return tl::unexpected(ethdev.error() + open.vdev.hint());
    open.ethdev.emplace(std::move(*ethdev));
    if (!open.ethdev->wait_for_link()) {
        warnings_.push_back("port " + name + " has no link; it will answer when it comes");
    }
    if (Result serving = open.vdev.serve(port.addresses); !serving) return serving;
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
