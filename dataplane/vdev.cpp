#include "dataplane/vdev.hpp"

#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <filesystem>

#include <linux/filter.h>
#include <linux/in6.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "dataplane/frame.hpp"
#include "dataplane/unix_address.hpp"
#include "dataplane/xdp_plan.hpp"

namespace millrace::dataplane {

namespace {

using Result = tl::expected<void, std::string>;

constexpr const char* default_memif_socket = "/run/memif.sock"; // the driver's
constexpr unsigned af_packet_frames = 512;                      // of a ring, unless framecnt= says other

Result check_interface(const Interface& interface) {
    const std::string& name = interface.name;
    if (!interface.up) {
        return tl::unexpected("interface " + name + " is down; `ip link set " + name + " up` brings it up");
    }
    if (interface.mtu < 1280) {
        return tl::unexpected("interface " + name + " has an MTU of " + std::to_string(interface.mtu) +
                              "; replies need at least 1280");
    }
    return {};
}

template <class Option>
bool set(int socket, int level, int name, const Option& option) {
    return setsockopt(socket, level, name, &option, sizeof option) == 0;
}

/// A UDP socket that takes what arrives on the interface for the address and port 53, and drops it unread.
/// The kernel need not hold the address (yet). None: errno says why.
Descriptor open_swallowing(const Address& address, const std::string& interface) {
    sockaddr_storage local;
    socklen_t size = to_sockaddr({address, Service::port}, local);
    Descriptor socket(::socket(local.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    if (!socket) return {};
    sock_filter nothing[] = {BPF_STMT(BPF_RET | BPF_K, 0)};
    bool free = address.is_v4() ? set(socket.get(), IPPROTO_IP, IP_FREEBIND, 1)
                                : set(socket.get(), IPPROTO_IPV6, IPV6_FREEBIND, 1);
    if (free && set(socket.get(), SOL_SOCKET, SO_ATTACH_FILTER, sock_fprog{1, nothing}) &&
        setsockopt(socket.get(), SOL_SOCKET, SO_BINDTODEVICE, interface.c_str(),
                   socklen_t(interface.size())) == 0 &&
        bind(socket.get(), reinterpret_cast<const sockaddr*>(&local), size) == 0) {
        return socket;
    }
    return {};
}

bool serves_memif(const PortPlan& port) {
    std::string role = device_option(port.device, "role");
    return role == "server" || role == "master";
}

/// Its socket's; empty: it has none.
std::string memif_file(const PortPlan& port) {
    if (device_option(port.device, "socket-abstract") != "no") return {};
    std::string path = device_option(port.device, "socket");
    return path.empty() ? default_memif_socket : path;
}

/// Of a server's queues, the driver takes those that the peer does not set up for its first one, and two
/// lcores would share a ring.
Result check_memif(const PortPlan& port) {
    if (port.lcores.size() > 1) {
        return tl::unexpected("port " + ethdev_name(port.device) + " is a memif, which has one queue, but " +
                              std::to_string(port.lcores.size()) +
                              " lcores; give each lcore a port of its own, with an id of its own");
    }
    std::string path = memif_file(port);
    auto folder = std::filesystem::path(path).parent_path();
    std::error_code none;
    if (path.empty() || std::filesystem::is_directory(folder, none)) return {};
    return tl::unexpected("port " + ethdev_name(port.device) + ": there is no directory " + folder.string() +
                          " to make the memif socket in");
}

} // namespace

Result Vdev::check(PortPlan port) {
    if (is_driver(port.device, "net_memif")) return check_memif(port);
    bool is_xdp = is_driver(port.device, "net_af_xdp");
    if (!is_xdp && !is_driver(port.device, "net_af_packet")) return {};
    auto interface = Vdev().find_interface(port);
    if (!interface) return tl::unexpected(interface.error());
    return is_xdp ? plan_xdp(port, *interface).map([](auto&&) {}) : Result();
}

tl::expected<Vdev, std::string> Vdev::prepare(PortPlan& port) {
    Vdev vdev;
    Result done;
    if (is_driver(port.device, "net_af_xdp")) done = vdev.prepare_af_xdp(port);
    if (is_driver(port.device, "net_af_packet")) done = vdev.prepare_af_packet(port);
    if (is_driver(port.device, "net_memif")) done = vdev.prepare_memif(port);
    if (!done) return tl::unexpected(done.error());
    return vdev;
}

tl::expected<Interface, std::string> Vdev::find_interface(const PortPlan& port) {
    auto interface = Interface::find(device_option(port.device, "iface"));
    if (!interface) return tl::unexpected("port " + ethdev_name(port.device) + ": " + interface.error());
    if (Result fits = check_interface(*interface); !fits) return tl::unexpected(fits.error());
    index_ = interface->index;
    return interface;
}

bool Vdev::is_gone() const {
    std::array<char, IF_NAMESIZE> name{};
    return index_ != 0 && if_indextoname(index_, name.data()) == nullptr;
}

Result Vdev::prepare_af_xdp(PortPlan& port) {
    auto interface = find_interface(port);
    if (!interface) return tl::unexpected(interface.error());
    auto plan = plan_xdp(port, *interface);
    if (!plan) return tl::unexpected(plan.error());
    warnings_ = std::move(plan->warnings);
    partial_checksums_ = interface->driver == "veth";
    port.device = plan->devices.front();
    port.siblings.assign(plan->devices.begin() + 1, plan->devices.end());
    has_own_program_ = !device_option(port.device, "xdp_prog").empty();
    if (has_own_program_) return {}; // it decides
    auto filter = XdpFilter::prepare(interface->name);
    if (!filter) return tl::unexpected(filter.error());
    port.device += ",xdp_prog=" + filter->program_path();
    for (std::string& device : port.siblings) device += ",xdp_prog=" + filter->program_path();
    filter_.emplace(std::move(*filter));
    hint_ = "; AF_XDP needs root, MTUs of at most 3498 at both ends of a veth, at its peer no more send "
            "queues than "
            "here receive queues, and a queue that nobody else has";
    return {};
}

/// The driver spreads packets over `qpairs` sockets, whether or not somebody polls them.
Result Vdev::prepare_af_packet(PortPlan& port) {
    auto interface = find_interface(port);
    if (!interface) return tl::unexpected(interface.error());
    std::string lcores = std::to_string(port.lcores.size()), pairs = device_option(port.device, "qpairs");
    if (pairs.empty()) {
        port.device += ",qpairs=" + lcores;
    } else if (pairs != lcores) {
        return tl::unexpected("port " + ethdev_name(port.device) + " has qpairs=" + pairs + " but " + lcores +
                              " lcore(s); leave qpairs out, and there is one for each lcore");
    }
    partial_checksums_ = true;
    std::string frames = device_option(port.device, "framecnt");
    std::from_chars(frames.data(), frames.data() + frames.size(), receive_ring_ = af_packet_frames);
    for (const Address& address : port.addresses) {
        Descriptor socket = open_swallowing(address, interface->name);
        if (!socket) {
            std::string why = errno == EADDRINUSE ? "another program serves it"
                                                  : std::string(std::strerror(errno)) + " (root is needed)";
            return tl::unexpected("cannot keep the kernel from answering on " + to_string(address) +
                                  " UDP port 53: " + why);
        }
        swallowing_.push_back(std::move(socket));
    }
    return {};
}

Result Vdev::prepare_memif(const PortPlan& port) {
    if (Result possible = check_memif(port); !possible) return possible;
    if (!serves_memif(port)) {
        hint_ = "; as a memif client millraced cannot wait for its peer: start that one first, or give this "
                "port role=server";
    }
    std::string path = memif_file(port);
    std::error_code none;
    if (!serves_memif(port) || path.empty() || !std::filesystem::exists(path, none)) return {};
    // As the driver cuts it.
    int error =
        try_to_connect(unix_address(path.substr(0, sizeof(sockaddr_un::sun_path) - 1)), SOCK_SEQPACKET);
    if (is_socket_served(error)) {
        return tl::unexpected("another program serves the memif socket " + path + "; give each its own");
    }
    if (!std::filesystem::is_socket(path, none) || error != ECONNREFUSED) {
        return tl::unexpected(path + " exists and is not a memif socket; remove it, or name another one");
    }
    std::filesystem::remove(path, none); // of a daemon that was killed
    return {};
}

Result Vdev::make_way() {
    return filter_ ? filter_->make_way() : Result();
}

void Vdev::note_started(const std::string& device) {
    unsigned queue = 0;
    std::string start = device_option(device, "start_queue");
    std::from_chars(start.data(), start.data() + start.size(), queue);
    if (filter_) filter_->note_sockets(queue);
}

std::optional<XdpMode> Vdev::xdp_mode() const {
    return filter_ ? std::optional(filter_->mode()) : std::nullopt;
}

Result Vdev::connect() {
    return filter_ ? filter_->connect() : Result();
}

Result Vdev::serve(std::span<const Address> addresses) const {
    return filter_ ? filter_->serve(addresses) : Result();
}

Result Vdev::leave(std::span<const Address> addresses) const {
    return filter_ ? filter_->leave(addresses) : Result();
}

Result Vdev::take_replies(std::span<const Address> sources, std::span<const Endpoint> remotes) {
    return filter_ ? filter_->take_replies(sources, remotes) : Result();
}

void Vdev::let_go() {
    filter_.reset();
    swallowing_.clear();
}

} // namespace millrace::dataplane
