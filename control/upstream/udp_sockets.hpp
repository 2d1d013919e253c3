// The descriptors of UDP sockets towards upstreams, used again and again, on another port each time.
//
// To make, bind, register and close a socket costs the kernel more than the query and its reply do
// (bench/socket_bench). So a socket stays, and its port goes: connect() to AF_UNSPEC takes the port away, the
// next connect() has the kernel draw another, at random (RFC 6056, algorithm 1; from
// net.ipv4.ip_local_port_range, for IPv6 too). Between the two it hears nothing.
//
// Control thread only. Ownership: descriptors are lent; all of them are closed at the end.
#pragma once

#include <array>
#include <system_error>
#include <vector>

#include <tl/expected.hpp>

#include "control/upstream/network.hpp"

namespace millrace::control {

class UdpSockets {
  public:
    UdpSockets();
    ~UdpSockets(); ///< every descriptor has been given back
    UdpSockets(const UdpSockets&) = delete;
    UdpSockets& operator=(const UdpSockets&) = delete;

    /// An unbound, non-blocking socket of AF_INET or AF_INET6, in the epoll set with its number as data.
    tl::expected<int, std::errc> take(int family);
    void set_owner(int descriptor, Socket owner) { owners_[std::size_t(descriptor)] = owner; }
    /// Its port is free at once. What had arrived is forgotten.
    void give_back(int descriptor, int family);

    /// Closes those that are lent to nobody until at most `most` are left: others need the descriptors.
    void keep_idle(std::size_t most);

    /// Whose a readable descriptor is. 0: nobody's, and what made it readable is forgotten.
    Socket owner_of_readable(int descriptor);

    int epoll_set() const { return epoll_set_; } ///< whoever waits for it closes it

    /// From how many the kernel draws.
    static unsigned source_ports();

  private:
    std::vector<int>& idle(int family);
    void close(int descriptor);

    int epoll_set_;
    std::vector<Socket> owners_; ///< by descriptor; 0: not one of ours; `idle_owner`: lent to nobody
    std::array<std::vector<int>, 2> idle_; ///< by family
};

} // namespace millrace::control
