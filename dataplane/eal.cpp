#include "dataplane/eal.hpp"

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <optional>

#include <rte_bus.h>
#include <rte_dev.h>
#include <rte_devargs.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_ethdev.h>
#include <rte_lcore.h>
#include <rte_mempool.h>
#include <sys/resource.h>

#include "dataplane/eal_log.hpp"
#include "dataplane/ethdev.hpp"
#include "dataplane/tap.hpp"
#include "dataplane/vdev.hpp"

namespace millrace::dataplane {

namespace {

constexpr const char* lock_folder = "/run/millrace";

/// As much memory may be locked as this process may ask for.
void raise_lock_limit() {
    rlimit limit{};
    if (getrlimit(RLIMIT_MEMLOCK, &limit) != 0) return;
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_MEMLOCK, &limit);
}

/// Whether a driver of DPDK takes devices of the name; EAL has to have loaded its plugins.
bool has_driver(const std::string& device) {
    rte_devargs found{};
    bool known = rte_devargs_parse(&found, device.c_str()) == 0;
    if (known) std::free(found.data);
    return known;
}

/// The part of DPDK that a port needs and that is not installed, as half a sentence; empty when all are.
std::string missing_part(const PortPlan& port) {
    bool pci = is_pci_device(port.device);
    const char* bus = pci ? "pci" : "vdev";
    if (rte_bus_find_by_name(bus) == nullptr)
        return "its plugin for " + std::string(bus) +
               " devices is missing; install Debian's package librte-bus-" + bus + "23";
    if (pci || has_driver(port.device)) return "";
    return "it has no driver for port " + ethdev_name(port.device) +
           "; is the name right, and is Debian's package " + driver_package(port.device) + " installed?";
}

/// Why DPDK does not take the device, whose files gave no reason before.
std::string why_missing(const std::string& device) {
    std::string name = ethdev_name(device);
    if (!is_pci_device(device))
        return "there is no device " + name + " by \"" + device + "\"; its driver's own words are above";
    return "DPDK did not take port " + name + " (" + Nic::inspect(name).id +
           "): either no driver that is installed knows it (Debian's package librte-meta-net has them all), "
           "or "
           "its driver's own words are above";
}

/// Its ethdev; none: DPDK does not take the device.
std::optional<std::uint16_t> probe(const std::string& device) {
    std::string name = ethdev_name(device);
    // Under the name that DPDK lists it by, whatever the operator wrote.
    std::string arguments = device.substr(std::min(device.find(','), device.size()));
    std::uint16_t id = 0;
    auto find = [&] { return rte_eth_dev_get_port_by_name(name.c_str(), &id) == 0; };
    bool is_there = find() || (rte_dev_probe((name + arguments).c_str()) == 0 && find());
    return is_there ? std::optional(id) : std::nullopt;
}

/// The NUMA nodes of a port's NIC and its lcores. Virtual devices are on none that means anything.
std::string warning_of_nodes(const PortPlan& port, std::uint16_t id) {
    std::vector<LcoreNode> lcores;
    for (unsigned lcore : port.lcores) lcores.push_back({lcore, rte_lcore_to_socket_id(lcore)});
    int node = is_pci_device(port.device) ? rte_eth_dev_socket_id(id) : -1;
    return warning_of_nodes(ethdev_name(port.device), node, lcores);
}

} // namespace

/// What belongs to one port. Destroyed from the bottom up: the driver lets go before its surroundings do.
struct Eal::OpenPort final : Device {
    OpenPort(std::string device, Service service, Vdev vdev)
        : device(std::move(device)), service(std::move(service)), vdev(std::move(vdev)) {}

    Wish wish() override;
    void suspend() override {
        for (EthdevPort* front : fronts) front->suspend();
    }
    void resume() override;
    Result reset() override;
    Result remove() override;
    bool may_return() const override { return is_pci_device(device); }
    tl::expected<bool, std::string> bring_back() override;

    /// The lcore's own, or that of all.
    Ethdev& ethdev_of(std::size_t lcore) { return ethdevs.size() > 1 ? ethdevs[lcore] : ethdevs.front(); }

    std::string device; ///< as DPDK was told of it
    Service service;
    Vdev vdev;
    std::mutex filter; ///< the XDP program's maps: the device helper lets go of them while control goes on
    std::unique_ptr<KernelPort> kernel;      ///< null: none
    std::vector<Ethdev> ethdevs;             ///< of PortPlan::devices(); may hold buffers of the one above
    std::unique_ptr<UpstreamPath> upstreams; ///< null: none is asked by it
    std::vector<Address> asked;              ///< by that
    std::vector<EthdevPort*> fronts;         ///< Queue::front of the lcores
    std::optional<std::size_t> routed;       ///< its interface's place in NextHops; none: it is not routed
};

Device::Wish Eal::OpenPort::wish() {
    Wish weightiest = Wish::none;
    for (Ethdev& ethdev : ethdevs) {
        if (ethdev.events()) weightiest = std::max(weightiest, ethdev.events()->take());
    }
    return weightiest;
}

void Eal::OpenPort::resume() {
    for (std::size_t i = 0; i < fronts.size(); ++i)
        fronts[i]->resume(ethdev_of(i).port(), ethdev_of(i).offload());
}

Device::Result Eal::OpenPort::reset() {
    Result done;
    for (auto ethdev = ethdevs.begin(); done && ethdev != ethdevs.end(); ++ethdev) done = ethdev->reset();
    return done;
}

Device::Result Eal::OpenPort::remove() {
    Result done;
    for (Ethdev& ethdev : ethdevs) {
        Result one = ethdev.remove();
        if (done) done = one;
    }
    std::lock_guard lock(filter);
    vdev.let_go();
    return done;
}

/// Of a PCI device, which has one ethdev.
tl::expected<bool, std::string> Eal::OpenPort::bring_back() {
    std::string name = ethdev_name(device);
    if (!fault_of(Nic::inspect(name)).empty()) return false;
    auto id = probe(device);
    if (!id) return tl::unexpected(std::string("DPDK does not take it; its driver's own words are above"));
    return ethdevs.front().attach(*id).map([] { return true; });
}

Eal::Eal(const EalPlan& plan) : plan_(plan) {}

Eal::~Eal() {
    close();
}

tl::expected<std::unique_ptr<Eal>, std::string> Eal::start(const EalPlan& wanted) {
    static std::atomic_flag started;
    if (started.test_and_set())
        return tl::unexpected(std::string("DPDK can be started only once in a process"));
    std::unique_ptr<Eal> eal(new Eal(wanted));
    eal->warnings_ = warnings_of(wanted);
    for (const PortPlan& port : wanted.ports) {
        if (Result possible = Vdev::check(port); !possible) return tl::unexpected(possible.error());
    }
    Result done;
    if (wanted.iova_mode.empty()) done = eal->claim();
    if (done) done = eal->initialise();
    if (!done) return tl::unexpected(done.error());
    return eal;
}

Eal::Result Eal::open(Taps taps) {
    Result done;
    if (ports_.empty()) done = claim();
    if (done) done = watch_routes();
    for (std::size_t i = 0; done && i < plan_.ports.size(); ++i) done = open(plan_.ports[i], i, taps);
    if (done && watch_) done = watch_->start(); // all interfaces are there
    if (!done) return done;
    std::vector<KernelPort*> kernels;
    for (auto& port : ports_) {
        if (port->kernel) kernels.push_back(port->kernel.get());
    }
    exceptions_.start(std::move(kernels));
    return {};
}

Eal::Result Eal::serve() {
    Result done;
    for (auto& port : ports_) {
        if (done) done = port->vdev.serve(port->service.addresses);
    }
    return done;
}

tl::expected<std::string, std::string> Eal::handed_iova_mode() const {
    for (const auto& port : ports_) {
        if (!port->vdev.may_be_handed())
            return tl::unexpected(
                "port " + ethdev_name(port->device) +
                " has an XDP program of the operator's own, whose sockets DPDK's driver keeps; "
                "restart instead");
    }
    return std::string(rte_eal_iova_mode() == RTE_IOVA_VA ? "va" : "pa");
}

Eal::Result Eal::leave() {
    Result done;
    for (auto& port : ports_) {
        if (done) done = port->vdev.leave(port->service.addresses);
    }
    return done;
}

void Eal::let_go() {
    exceptions_.stop();
    locks_.clear();
}

Time Eal::settling() const {
    bool is_any =
        std::ranges::any_of(ports_, [](auto& port) { return is_driver(port->device, "net_af_xdp"); });
    return is_any ? limits::xdp_settling : Time{};
}

/// Nobody else gets the devices from here on.
Eal::Result Eal::claim() {
    Result done;
    for (const Nic& nic : Machine::inspect(pci_addresses(plan_)).nics) {
        if (done) done = lock(nic);
    }
    return done.and_then([this] { return prepare(); });
}

/// What has to be in place before EAL probes the devices; completes their device strings.
Eal::Result Eal::prepare() {
    for (PortPlan& port : plan_.ports) {
        auto vdev = Vdev::prepare(port);
        if (!vdev) return tl::unexpected(vdev.error());
        warnings_.insert(warnings_.end(), vdev->warnings().begin(), vdev->warnings().end());
        Service service{port.addresses, plan_.own, vdev->partial_checksums(), port.next_hop};
        ports_.push_back(std::make_unique<OpenPort>(port.device, std::move(service), std::move(*vdev)));
    }
    return {};
}

Eal::Result Eal::initialise() {
    raise_lock_limit();
    Machine machine = Machine::inspect(pci_addresses(plan_));
    auto arguments = eal_arguments(plan_, machine);
    if (!arguments) return tl::unexpected(arguments.error());
    words_ = std::move(*arguments);
    words_.insert(words_.begin(), "millraced");
    for (std::string& word : words_) argv_.push_back(word.data());
    take_eal_log();
    int started = rte_eal_init(int(argv_.size()), argv_.data()), error = rte_errno;
    for (const PortPlan& port : plan_.ports) {
        std::string missing = missing_part(port);
        if (!missing.empty()) return tl::unexpected("DPDK does not start: " + missing);
    }
    if (started < 0) {
        std::string hint = error == EACCES || error == EPERM ? " (root is needed)" : "";
        return tl::unexpected("DPDK does not start: " + std::string(std::strerror(error)) + hint +
                              "; its own words are above");
    }
    initialised_ = true;
    return {};
}

/// VFIO gives a NIC to one process; UIO to any, which would take each other's packets.
Eal::Result Eal::lock(const Nic& nic) {
    if (!nic.is_uio()) return {};
    auto taken = LockFile::take(lock_folder, "nic-" + nic.address + ".lock",
                                "port " + nic.address + " is served by another millraced; stop that first");
    if (!taken) return tl::unexpected(taken.error());
    locks_.push_back(std::move(*taken));
    return {};
}

Eal::Result Eal::open(const PortPlan& port, std::size_t index, Taps& taps) {
    OpenPort& open = *ports_[index];
    if (Result opened = open_ethdevs(port, open); !opened) return opened;
    std::string name = ethdev_name(port.device);
    if (!open.ethdevs.front().wait_for_link()) {
        warnings_.push_back("port " + name + " has no link; it will answer when it comes");
    }
    if (std::string far = warning_of_nodes(port, open.ethdevs.front().port()); !far.empty())
        warnings_.push_back(far);
    if (Result connected = open.vdev.connect(); !connected) return connected;
    if (Result kernel = open_kernel(port, open, taps); !kernel) return kernel;
    open_upstream_path(port, open);
    for (std::uint16_t i = 0; i < port.lcores.size(); ++i) {
        const Ethdev& ethdev = open.ethdev_of(i);
        std::uint16_t queue = open.ethdevs.size() > 1 ? 0 : i;
        EthdevPort::Setup setup{ethdev.port(),
                                queue,
                                ethdev.pool(queue),
                                &open.service,
                                ethdev.offload(),
                                open.kernel ? &open.kernel->queue(i) : nullptr,
                                open.routed ? &watch_->now() : nullptr,
                                open.routed.value_or(0),
                                open.upstreams ? &open.upstreams->queue(i) : nullptr};
        queues_.push_back(
            {port.lcores[i], index, std::make_unique<EthdevPort>(setup), ethdev.receive_ring()});
        open.fronts.push_back(queues_.back().front.get());
    }
    return {};
}

Eal::Result Eal::open_ethdevs(const PortPlan& port, OpenPort& open) {
    std::span<const unsigned> lcores = port.lcores;
    std::vector<Address> addresses = port.addresses;
    for (const auto& prefix : port.kernel.addresses) addresses.push_back(prefix.address);
    for (const std::string& device : port.devices()) {
        std::string name = ethdev_name(device);
        auto id = probe(device);
        if (!id) return tl::unexpected(why_missing(device));
        if (Result free = open.vdev.make_way(); !free) return free;
        std::size_t count = port.siblings.empty() ? lcores.size() : 1;
        auto ethdev = Ethdev::start(*id, name, lcores.first(count), port.kernel.is_wanted(), addresses);
        if (!ethdev) return tl::unexpected(ethdev.error() + open.vdev.hint());
        open.vdev.note_started(device);
        lcores = lcores.subspan(count);
        if (open.vdev.receive_ring() > 0) ethdev->set_receive_ring(open.vdev.receive_ring());
        warnings_.insert(warnings_.end(), ethdev->warnings().begin(), ethdev->warnings().end());
        open.ethdevs.push_back(std::move(*ethdev));
    }
    return {};
}

/// Ports that share an interface, a queue of it each, have one place.
Eal::Result Eal::watch_routes() {
    std::vector<std::string> interfaces;
    for (std::size_t i = 0; i < plan_.ports.size(); ++i) {
        const PortPlan& port = plan_.ports[i];
        if (!port.is_routed) continue;
        std::string name = routing_interface(port.device, port.kernel);
        auto place = std::ranges::find(interfaces, name);
        ports_[i]->routed = std::size_t(place - interfaces.begin());
        if (place == interfaces.end()) interfaces.push_back(std::move(name));
    }
    if (interfaces.empty()) return {};
    auto watch = NextHopWatch::make(std::move(interfaces));
    if (!watch) return tl::unexpected(watch.error());
    watch_ = std::move(*watch);
    return {};
}

Eal::Result Eal::open_kernel(const PortPlan& port, OpenPort& open, Taps& taps) {
    if (!port.kernel.is_wanted()) return {};
    std::string name = ethdev_name(port.device);
    if (unsigned mtu = open.ethdevs.front().mtu(); mtu > 0 && mtu < port.kernel.mtu) {
        return tl::unexpected("port " + name + " has an MTU of " + std::to_string(mtu) +
                              "; its kernel interface " + port.kernel.name + " must not have more (`mtu`)");
    }
    auto tap = open_tap(port.kernel, open.ethdevs.front().mac(), std::move(taps[port.kernel.name]));
    if (!tap) return tl::unexpected(tap.error());
    int descriptor = tap->get();
    KernelPort::Setup setup{"port" + std::to_string(open.ethdevs.front().port()), port.lcores.size(),
                            port.kernel.rate, rte_eth_dev_socket_id(open.ethdevs.front().port())};
    auto kernel = KernelPort::make(std::move(*tap), setup);
    if (!kernel) return tl::unexpected(kernel.error());
    open.kernel = std::move(*kernel);
    kernels_.push_back({port.kernel.name, name, open.kernel.get(), descriptor});
    return {};
}

void Eal::open_upstream_path(const PortPlan& port, OpenPort& open) const {
    if (port.sources.empty() || !open.routed) return;
    const Ethdev& ethdev = open.ethdevs.front();
    open.upstreams = std::make_unique<UpstreamPath>(UpstreamPath::Setup{
        port.lcores.size(), port.sources, ethdev.mac(), ethdev.mtu(), &watch_->now(), *open.routed});
}

UpstreamPath* Eal::upstream_path(std::size_t port) {
    return ports_[port]->upstreams.get();
}

Eal::Result Eal::set_remotes(std::size_t port, std::vector<Endpoint> remotes, cache::Grace& grace) {
    OpenPort& open = *ports_[port];
    open.asked.clear();
    for (const Endpoint& remote : remotes) open.asked.push_back(remote.address);
    std::vector<Address> hosts;
    for (const auto& each : ports_) hosts.insert(hosts.end(), each->asked.begin(), each->asked.end());
    watch_->set_hosts(std::move(hosts));
    std::unique_lock lock(open.filter);
    Result taken = open.vdev.take_replies(open.upstreams->sources(), remotes);
    lock.unlock();
    open.upstreams->set_remotes(std::move(remotes), grace);
    return taken;
}

EthdevView Eal::view(std::size_t port) const {
    const OpenPort& open = *ports_[port];
    EthdevView view = open.ethdevs.front().view();
    for (std::size_t i = 1; i < open.ethdevs.size(); ++i) view.add(open.ethdevs[i].view());
    view.xdp = open.vdev.xdp_mode();
    return view;
}

/// The lcores' own caches are read as DPDK's telemetry reads them: a moment's guess while they work.
std::vector<Eal::Pool> Eal::pools(std::size_t port) const {
    std::vector<Pool> out;
    OpenPort& open = *ports_[port];
    for (const Queue& queue : queues_) {
        if (queue.port != port) continue;
        std::size_t place = out.size();
        const rte_mempool* pool = open.ethdev_of(place).pool(open.ethdevs.size() > 1 ? 0 : place);
        out.push_back({queue.lcore, pool->size, rte_mempool_avail_count(pool)});
    }
    return out;
}

const NextHops* Eal::next_hops(std::size_t port) const {
    return ports_[port]->routed ? &watch_->now().get() : nullptr;
}

std::size_t Eal::interface_of(std::size_t port) const {
    return ports_[port]->routed.value_or(0);
}

Device& Eal::device(std::size_t port) {
    return *ports_[port];
}

bool Eal::look_at_link(std::size_t port) {
    OpenPort& open = *ports_[port];
    if (open.vdev.is_gone()) open.ethdevs.front().events()->note(Device::Wish::loss);
    bool is_up = has_link(open.ethdevs.front().port());
    // net_tap takes the link for down once its interface is in another namespace.
    if (open.kernel && !is_driver(open.device, "net_tap")) open.kernel->set_carrier(is_up);
    return is_up;
}

void Eal::set_no_link(std::size_t port) {
    if (ports_[port]->kernel) ports_[port]->kernel->set_carrier(false);
}

void Eal::close() {
    exceptions_.stop();
    queues_.clear();
    watch_.reset();
    kernels_.clear();
    for (auto& port : ports_) {
        if (port->kernel) port->kernel->empty(); // before the ethdev's pools go
        port->ethdevs.clear();
        port->kernel.reset();
    }
    if (initialised_) rte_eal_cleanup();
    initialised_ = false;
    ports_.clear(); // last: what a driver leaves on an interface goes with its filter
}

} // namespace millrace::dataplane
