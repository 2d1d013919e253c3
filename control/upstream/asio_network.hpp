// The real Network: kernel sockets, non-blocking, in the caller's asio loop.
//
// TCP is asio's. UDP sockets, each question's on a fresh port, lie in an epoll set of their own (UdpSockets),
// which asio waits for as a whole.
//
// Callbacks come from context.poll() or run(), on the thread that calls it, which is also the one that opens,
// sends and closes. The network is destroyed before the context; that closes every socket.
#pragma once

#include <utility> // asio 1.22 with GCC 12 needs it first

#include <array>
#include <cstdint>
#include <deque>
#include <memory>
#include <span>
#include <vector>

#include <asio/io_context.hpp>
#include <asio/posix/stream_descriptor.hpp>

#include "control/limits.hpp"
#include "control/upstream/network.hpp"
#include "control/upstream/udp_sockets.hpp"

namespace millrace::control {

struct AsioNetworkLimits {
    std::uint32_t sockets = 4096;        ///< UDP and TCP together
    std::uint32_t tcp_connections = 512; ///< of which TCP: each may hold a message of 64 KiB
};

struct AsioNetworkCounters {
    std::uint64_t oversized = 0; ///< datagrams longer than was asked for, delivered as truncated
    std::uint64_t foreign = 0;   ///< that came from somebody else while a socket was connected, dropped
    std::uint64_t refused = 0;   ///< sockets not opened because of a bound, ours or the kernel's
};

class AsioNetwork final : public Network {
  public:
    explicit AsioNetwork(asio::io_context& context, AsioNetworkLimits limits = {});
    ~AsioNetwork() override;

    AsioNetwork(const AsioNetwork&) = delete;
    AsioNetwork& operator=(const AsioNetwork&) = delete;

    tl::expected<Bound, std::errc> open_udp(const dataplane::Endpoint& remote, NetworkHandler& handler,
                                            std::uint64_t token, unsigned group = 0) override;
    tl::expected<Socket, std::errc> open_tcp(const dataplane::Endpoint& remote, NetworkHandler& handler,
                                             std::uint64_t token) override;
    std::errc send(Socket socket, std::span<const std::uint8_t> message) override;
    void close(Socket socket) override;

    std::uint32_t open_count() const { return limits_.sockets - std::uint32_t(free_.size()); }
    const AsioNetworkCounters& counters() const { return counters_; }

  private:
    class Link;
    class UdpLink;
    class TcpLink;
    /// Room for a socket; with the index, its serial number makes the handle.
    struct Seat {
        std::uint32_t serial = 0;   ///< counts its sockets
        std::shared_ptr<Link> link; ///< null: free
    };

    Seat* find(Socket socket);
    Socket keep(std::shared_ptr<Link> link);
    void go_on_closing();
    void wait();
    void receive();
    tl::unexpected<std::errc> refused(std::errc error);

    asio::io_context& context_;
    AsioNetworkLimits limits_;
    AsioNetworkCounters counters_;
    UdpSockets udp_; ///< outlives every Link
    std::vector<Seat> seats_;
    std::vector<std::uint32_t> free_;
    std::uint32_t tcp_open_ = 0;
    std::deque<std::shared_ptr<Link>> closing_;      ///< forgotten; so many descriptors go at a time
    unsigned closes_left_ = limits::closes_per_turn; ///< until the loop's next turn
    asio::posix::stream_descriptor readable_;        ///< the epoll set
    std::shared_ptr<AsioNetwork*> self_ = std::make_shared<AsioNetwork*>(this); ///< what the loop holds of us
    std::array<std::uint8_t, limits::upstream_edns_octets> datagram_;           ///< the one being delivered
};

} // namespace millrace::control
