// The Network that asks groups of upstreams by way of a port (`upstreams: via`, dataplane/upstream_path.hpp):
// queries leave as frames, replies come as messages, without a system call. Everything else goes through the
// kernel's: TCP, groups without a port, and a query whose way by the port fails: no source of its family, no
// route by the port, no neighbour, no link, no room in a packet. A socket that is open when its way fails
// goes on through the kernel with what is sent next, and hears both.
//
// A source port is drawn anew for each socket, from all that are not privileged, and an address from the
// group's; none is open twice towards the same remote. ICMP errors are the kernel's, and not heard here.
//
// Threads and ownership: see Network; the kernel's Network and the paths outlive this. Callbacks come from
// poll(), or from the kernel's.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "control/upstream/network.hpp"
#include "control/upstream/random.hpp"
#include "dataplane/upstream_path.hpp"

namespace millrace::control {

struct PortNetworkCounters {
    std::uint64_t sent = 0;      ///< queries that went by a port
    std::uint64_t received = 0;  ///< replies that came by it, delivered
    std::uint64_t fallbacks = 0; ///< sockets that went through the kernel instead
    std::uint64_t full = 0;      ///< queries dropped, as the ring to the lcore was full
    std::uint64_t unasked = 0;   ///< replies to a source address and port that were not open to their sender
    std::uint64_t oversized = 0; ///< of received, longer than was asked for, delivered as truncated
    std::uint64_t refused = 0;   ///< sockets not opened because of the bound
};

class PortNetwork final : public Network, private NetworkHandler {
  public:
    /// A port, and whom to tell who is asked by it: endpoints, ascending.
    struct Port {
        dataplane::UpstreamPath* path;
        std::function<bool(std::vector<dataplane::Endpoint>)> take_from; ///< false: that failed
    };
    /// A group's: the place of its port, and the addresses that it asks from.
    struct Way {
        std::size_t port;
        std::vector<dataplane::Address> sources;
    };

    /// `sockets`: bound on those that are open by ports.
    PortNetwork(Network& kernel, Random& random, std::uint32_t sockets);
    PortNetwork(const PortNetwork&) = delete;
    PortNetwork& operator=(const PortNetwork&) = delete;

    /// Before the first socket.
    void set_ports(std::vector<Port> ports);
    /// By group; null for those that ask through the kernel. Sockets stay as they are; who is no longer asked
    /// by them is forgotten.
    void set_ways(const std::vector<const Way*>& ways);

    tl::expected<Bound, std::errc> open_udp(const dataplane::Endpoint& remote, NetworkHandler& handler,
                                            std::uint64_t token, unsigned group) override;
    tl::expected<Socket, std::errc> open_tcp(const dataplane::Endpoint& remote, NetworkHandler& handler,
                                             std::uint64_t token) override;
    std::errc send(Socket socket, std::span<const std::uint8_t> message) override;
    void close(Socket socket) override;

    /// Delivers what has come, limits::replies_per_tick at most from each lcore. Whether there was any.
    bool poll();

    std::uint32_t open_count() const { return std::uint32_t(seats_.size() - free_.size()); }
    const PortNetworkCounters& counters() const { return counters_; }

  private:
    static constexpr Socket by_port = Socket(1) << 31; ///< set in handles of ours, in none of the kernel's
    static constexpr std::uint32_t none = 0xffffffff;

    /// Room for a socket; with the index, its serial number makes the handle.
    struct Seat {
        std::uint32_t serial = 0;  ///< counts its sockets
        std::uint32_t next = none; ///< in its bucket
        bool is_open = false;
        std::uint8_t port = 0; ///< the place of its port
        NetworkHandler* handler = nullptr;
        std::uint64_t token = 0;
        dataplane::Endpoint local, remote;
        Socket kernel = 0; ///< once its way has failed; 0: it has not
    };

    void on_message(Socket socket, std::uint64_t token, std::span<const std::uint8_t> message,
                    Time received) override;
    void on_network_error(Socket socket, std::uint64_t token, std::errc error, Time when) override;

    bool draw(const Way& way, Seat& seat);
    const dataplane::NextHop* next_hop(std::size_t port, const dataplane::Endpoint& remote) const;
    bool learn(std::size_t port, const dataplane::Endpoint& remote);
    void relearn(std::size_t port);
    void count_use(const Seat& seat, int by);
    std::errc send_through_kernel(Seat& seat, std::uint32_t index, std::span<const std::uint8_t> message);
    void deliver(const dataplane::UpstreamReply& reply, std::span<std::uint8_t> message, Time now);
    std::uint32_t& bucket_of(const dataplane::Endpoint& local, const dataplane::Endpoint& remote);
    std::uint32_t find(const dataplane::Endpoint& local, const dataplane::Endpoint& remote);
    Seat* find(Socket socket);
    Socket handle_of(std::uint32_t index) const {
        return Socket(seats_[index].serial) << 32 | by_port | index;
    }

    Network& kernel_;
    Random& random_;
    std::uint32_t sockets_;
    PortNetworkCounters counters_;
    std::vector<Port> ports_;
    std::vector<std::vector<dataplane::Endpoint>> remotes_; ///< of each port, ascending
    std::vector<const Way*> ways_;
    std::vector<Seat> seats_;
    std::vector<std::uint32_t> free_;
    std::vector<std::vector<std::uint16_t>> uses_; ///< of each port's local ports: sockets
    std::vector<std::uint32_t> buckets_;           ///< first seats, by a keyed hash of both endpoints
};

} // namespace millrace::control
