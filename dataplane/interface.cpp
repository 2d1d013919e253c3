#include "dataplane/interface.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>

#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "dataplane/descriptor.hpp"
#include "dataplane/kernel_interface.hpp"

namespace millrace::dataplane {

namespace {

/// A device without such a notion is left with one queue, and with what sysfs shows of receive queues.
void read_channels(int socket, ifreq request, Interface& interface) {
    ethtool_channels channels{};
    channels.cmd = ETHTOOL_GCHANNELS;
    request.ifr_data = reinterpret_cast<char*>(&channels);
    if (ioctl(socket, SIOCETHTOOL, &request) != 0) return;
    interface.combines = channels.max_combined > 0;
    unsigned both = std::min(channels.rx_count, channels.tx_count),
             most = std::min(channels.max_rx, channels.max_tx);
    interface.queues = std::max(1U, interface.combines ? channels.combined_count : both);
    interface.most_queues = std::max(1U, interface.combines ? channels.max_combined : most);
    interface.receive_queues = std::max(1U, channels.combined_count + channels.rx_count);
}

std::string read_driver(int socket, ifreq request) {
    ethtool_drvinfo info{};
    info.cmd = ETHTOOL_GDRVINFO;
    request.ifr_data = reinterpret_cast<char*>(&info);
    return ioctl(socket, SIOCETHTOOL, &request) == 0 ? info.driver : "";
}

/// From sysfs; 1 when it shows another network namespace's interfaces, or none.
unsigned read_receive_queues(const std::string& name) {
    std::error_code error;
    unsigned queues = 0;
    for (auto& entry : std::filesystem::directory_iterator("/sys/class/net/" + name + "/queues", error)) {
        if (entry.path().filename().string().starts_with("rx-")) ++queues;
    }
    return queues == 0 ? 1 : queues;
}

} // namespace

tl::expected<Interface, std::string> Interface::find(const std::string& name) {
    ifreq request{};
    if (name.empty() || name.size() >= sizeof request.ifr_name) {
        return tl::unexpected("\"" + name + "\" is not the name of a network interface");
    }
    name.copy(request.ifr_name, name.size());
    Interface interface;
    interface.name = name;
    interface.index = if_nametoindex(name.c_str());
    if (interface.index == 0) {
        return tl::unexpected("there is no interface " + name +
                              " in this network namespace; `ip link` lists those that are");
    }
    Descriptor socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    if (!socket) return tl::unexpected("cannot open a socket: " + std::string(std::strerror(errno)));
    if (ioctl(socket.get(), SIOCGIFFLAGS, &request) == 0) interface.up = request.ifr_flags & IFF_UP;
    if (ioctl(socket.get(), SIOCGIFMTU, &request) == 0) interface.mtu = unsigned(request.ifr_mtu);
    interface.driver = read_driver(socket.get(), request);
    interface.receive_queues = read_receive_queues(name);
    read_channels(socket.get(), request, interface);
    return interface;
}

bool is_interface_name(std::string_view name) {
    // A percent sign would be replaced by a number, a colon
    // stands for an alias; the kernel refuses the others.
    return !name.empty() && name.size() < IFNAMSIZ && name != "." && name != ".." &&
           name.find_first_of("%:/ \t\n\v\f\r") == name.npos;
}

} // namespace millrace::dataplane
