#include "control/upstream/udp_sockets.hpp"

#include <cerrno>
#include <fstream>

#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "control/limits.hpp"

namespace millrace::control {

namespace {

constexpr Socket idle_owner = 1; // no Network gives this out: see AsioNetwork::keep()

/// Forgets what was received, errors too. False: it does not end.
bool drain(int descriptor) {
    for (unsigned i = 0; i < limits::datagrams_forgotten; ++i) {
        if (::recv(descriptor, nullptr, 0, MSG_DONTWAIT) < 0 && errno == EAGAIN) return true;
    }
    return false;
}

int make_epoll_set() {
    int set = epoll_create1(EPOLL_CLOEXEC);
    if (set < 0) throw std::system_error(errno, std::generic_category(), "epoll_create1");
    return set;
}

} // namespace

UdpSockets::UdpSockets() : epoll_set_(make_epoll_set()) {}

UdpSockets::~UdpSockets() {
    for (const auto& descriptors : idle_) {
        for (int descriptor : descriptors) ::close(descriptor);
    }
}

std::vector<int>& UdpSockets::idle(int family) {
    return idle_[family == AF_INET6];
}

tl::expected<int, std::errc> UdpSockets::take(int family) {
    if (auto& waiting = idle(family); !waiting.empty()) {
        int descriptor = waiting.back();
        waiting.pop_back();
        drain(descriptor); // what was on its way through the kernel when it was given back
        return descriptor;
    }
    int descriptor = ::socket(family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (descriptor < 0 && errno == EMFILE) {
        keep_idle(0); // of the other family
        descriptor = ::socket(family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    }
    if (descriptor < 0) return tl::make_unexpected(std::errc(errno));
    epoll_event wanted{};
    wanted.events = EPOLLIN;
    wanted.data.fd = descriptor;
    if (epoll_ctl(epoll_set_, EPOLL_CTL_ADD, descriptor, &wanted) != 0) {
        auto error = std::errc(errno);
        ::close(descriptor);
        return tl::make_unexpected(error);
    }
    if (owners_.size() <= std::size_t(descriptor)) owners_.resize(std::size_t(descriptor) + 1);
    set_owner(descriptor, idle_owner);
    return descriptor;
}

void UdpSockets::give_back(int descriptor, int family) {
    sockaddr nobody{};
    nobody.sa_family = AF_UNSPEC;
    auto& waiting = idle(family);
    bool may_stay = waiting.size() < limits::idle_udp_sockets &&
                    ::connect(descriptor, &nobody, sizeof nobody) == 0 && drain(descriptor);
    if (!may_stay) return close(descriptor);
    set_owner(descriptor, idle_owner);
    waiting.push_back(descriptor);
}

void UdpSockets::keep_idle(std::size_t most) {
    auto& [v4, v6] = idle_;
    while (v4.size() + v6.size() > most) {
        auto& waiting = v4.size() > v6.size() ? v4 : v6;
        close(waiting.back());
        waiting.pop_back();
    }
}

Socket UdpSockets::owner_of_readable(int descriptor) {
    Socket owner = owners_[std::size_t(descriptor)];
    if (owner != idle_owner) return owner;
    drain(descriptor);
    return 0;
}

void UdpSockets::close(int descriptor) {
    set_owner(descriptor, 0);
    ::close(descriptor);
}

unsigned UdpSockets::source_ports() {
    unsigned low = 0, high = 0;
    std::ifstream("/proc/sys/net/ipv4/ip_local_port_range") >> low >> high;
    return high < low ? 0 : high - low + 1;
}

} // namespace millrace::control
