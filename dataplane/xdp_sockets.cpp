#include "dataplane/xdp_sockets.hpp"

#include <algorithm>
#include <charconv>
#include <filesystem>

#include <linux/if_xdp.h>
#include <sys/socket.h>

namespace millrace::dataplane {

namespace {

/// What the kernel says of the socket, or zeros.
template <class Option>
Option option_of(int socket, int level, int name) {
    Option option{};
    socklen_t size = sizeof option;
    return getsockopt(socket, level, name, &option, &size) == 0 ? option : Option{};
}

bool copies_nothing(int socket) {
    return option_of<xdp_options>(socket, SOL_XDP, XDP_OPTIONS).flags & XDP_OPTIONS_ZEROCOPY;
}

bool busy_polls(int socket) {
    return option_of<int>(socket, SOL_SOCKET, SO_PREFER_BUSY_POLL) != 0;
}

} // namespace

std::vector<int> open_xdp_sockets() {
    std::vector<int> sockets;
    std::error_code none;
    for (auto& entry : std::filesystem::directory_iterator("/proc/self/fd", none)) {
        std::string name = entry.path().filename().string();
        int descriptor = -1;
        std::from_chars(name.data(), name.data() + name.size(), descriptor);
        if (option_of<int>(descriptor, SOL_SOCKET, SO_DOMAIN) == AF_XDP) sockets.push_back(descriptor);
    }
    std::ranges::sort(sockets);
    return sockets;
}

XdpMode mode_of(std::span<const int> sockets) {
    XdpMode mode;
    mode.zero_copy = !sockets.empty() && std::ranges::all_of(sockets, copies_nothing);
    mode.busy_polls = !sockets.empty() && std::ranges::all_of(sockets, busy_polls);
    return mode;
}

std::string to_string(const XdpMode& mode) {
    // The driver always asks for need_wakeup, and a kernel that does not know it (before 5.4) does not bind
    // the socket; there is no asking for it afterwards.
    return mode.program + " XDP, " + (mode.zero_copy ? "zero copy" : "packets copied") + ", need_wakeup, " +
           (mode.busy_polls ? "busy polling" : "no busy polling");
}

} // namespace millrace::dataplane
