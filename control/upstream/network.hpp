// Sockets towards upstreams, abstract so that a test or a simulation can stand in for the kernel.
//
// Threads: the control thread alone, callbacks included; they come from the network's own poll, never from
// inside open_udp, open_tcp, send or close. A handler may open, send and close from within a callback, its
// own socket included. Ownership: the network owns every socket; the handler outlives those it opened. A
// closed socket never calls back, and its handle is never given out again.
#pragma once

#include <cstdint>
#include <span>
#include <system_error>

#include <tl/expected.hpp>

#include "cache/time.hpp"
#include "dataplane/address.hpp"

namespace millrace::control {

/// Names a socket of a Network. 0 is nobody's.
using Socket = std::uint64_t;

class NetworkHandler {
  public:
    virtual ~NetworkHandler() = default;

    /// A whole datagram from the very endpoint the socket is connected to, or a whole message of a TCP
    /// connection without its length (RFC 1035 4.2.2). `message` is valid during the call. Of a datagram that
    /// is longer than was asked for (limits::upstream_edns_octets), that many octets, with TC=1: the rest is
    /// to be had over TCP.
    virtual void on_message(Socket socket, std::uint64_t token, std::span<const std::uint8_t> message,
                            Time received) = 0;

    /// An ICMP error for a UDP socket (connection_refused), which goes on. Or a TCP connection that failed or
    /// ended: the socket is of no use any more, but stays the handler's to close.
    virtual void on_network_error(Socket socket, std::uint64_t token, std::errc error, Time when) = 0;
};

class Network {
  public:
    virtual ~Network() = default;

    /// A UDP socket and where it is bound.
    struct Bound {
        Socket socket;
        std::uint16_t source_port;
    };

    /// A UDP socket on a port of any local address that nobody can foresee, connected to `remote`;
    /// `token` comes back with every callback. `group`: of upstreams (Key::group), which may have a way of
    /// its own. address_in_use: no port is free. too_many_files_open: the bound on sockets.
    virtual tl::expected<Bound, std::errc> open_udp(const dataplane::Endpoint& remote,
                                                    NetworkHandler& handler, std::uint64_t token,
                                                    unsigned group) = 0;

    /// A TCP connection, being made: what is sent meanwhile leaves when it stands.
    /// too_many_files_open as above.
    virtual tl::expected<Socket, std::errc> open_tcp(const dataplane::Endpoint& remote,
                                                     NetworkHandler& handler, std::uint64_t token) = 0;

    /// Sends one message (over TCP with its length in front). errc{} when the kernel took it or dropped it
    /// for want of room; a TCP connection reports its failures by on_network_error. A UDP socket may report
    /// an earlier datagram's ICMP error here instead: then this one has left all the same, if it could.
    virtual std::errc send(Socket socket, std::span<const std::uint8_t> message) = 0;

    /// Closes at once. Unknown and already closed handles are ignored.
    virtual void close(Socket socket) = 0;
};

} // namespace millrace::control
