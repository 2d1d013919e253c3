// The simulated network: delay, loss, duplication, overtaking, ICMP errors, upstreams that are gone for a
// while, and forgers. A Network for the product's Exchanges.
//
// Basic algorithm: a query sent arrives at its server after half a round trip; the server (servers.hpp)
// composes a reply at that moment; the reply is on its way for the other half. Messages to us wait, in the
// order of their arrival, until control polls. A datagram then finds its socket as in a kernel: by local port
// and sender, whoever has that port by now.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <unordered_map>
#include <utility>
#include <vector>

#include "control/upstream/network.hpp"
#include "tests/simulation/scene.hpp"
#include "tests/simulation/servers.hpp"

namespace millrace::simulation {

/// What is known about a socket that is open.
struct OpenSocket {
    unsigned server = 0;
    std::uint16_t port = 0; ///< 0 over TCP
    bool tcp = false;
    control::NetworkHandler* handler = nullptr;
    std::uint64_t token = 0;
    Moment opened = 0;
    bool has_asked = false;
    Asked asked{}; ///< by the first message sent
    Octets query;  ///< which was this
};

class SimulatedNetwork final : public control::Network {
  public:
    explicit SimulatedNetwork(Scene& scene) : scene_(scene), servers_(scene), ports_(~scene.plan.seed) {}

    /// Who is told of each question, before it is sent.
    using Spy = std::function<void(unsigned server, const Asked& asked)>;
    void set_spy(Spy spy) { spy_ = std::move(spy); }

    /// Everything that happens on the wire and at the servers until now.
    void advance();
    Time next_arrival() const; ///< at our sockets or at a server; Time::max(): nothing is under way
    /// Delivers the first message whose time has come, by a call to its socket's handler. False:
    /// there is none.
    bool deliver_one();
    void fail_server(unsigned server, Time until, bool says_so);

    const std::map<control::Socket, OpenSocket>& open() const { return open_; }
    /// While deliver_one() calls a handler: the reply's number in the ledger, and the socket it came to.
    struct Delivery {
        std::uint32_t said = 0;
        control::Socket socket = 0;
    };
    const Delivery& delivery() const { return delivery_; }
    /// What was delivered at that time, within the last two seconds: a denial may be held back for one.
    std::vector<Delivery> delivered_at(Time when) const;

    tl::expected<Bound, std::errc> open_udp(const dataplane::Endpoint& remote,
                                            control::NetworkHandler& handler, std::uint64_t token,
                                            unsigned group) override;
    tl::expected<control::Socket, std::errc> open_tcp(const dataplane::Endpoint& remote,
                                                      control::NetworkHandler& handler,
                                                      std::uint64_t token) override;
    std::errc send(control::Socket socket, std::span<const std::uint8_t> message) override;
    void close(control::Socket socket) override;

  private:
    /// A message under way, to a server or to us.
    struct Message {
        Time at{}, sent{};
        std::uint64_t order = 0; ///< equal times: first sent, first there
        control::Socket socket = 0;
        std::uint16_t port = 0;
        unsigned server = 0;
        bool tcp = false;
        std::errc error{}; ///< an ICMP error, or the end of a connection, instead of a message
        std::uint32_t said = 0;
        bool is_guess = false; ///< a forger's; not to be delivered where everything happens to be right
        std::uint64_t nth = 0; ///< of the queries with this question to this server
        Octets octets;

        bool operator>(const Message& other) const {
            return at != other.at ? at > other.at : order > other.order;
        }
    };
    using Heap = std::vector<Message>;
    static constexpr std::uint32_t garbage = ~0u; ///< instead of a number in the ledger

    control::Socket make_socket(unsigned server, std::uint16_t port, control::NetworkHandler& handler,
                                std::uint64_t token);
    void push(Heap& heap, Message&& message);
    static Message pop(Heap& heap);
    void serve(Message&& query);
    void send_back(Message&& reply, Time delay);
    void forge(const Message& query);
    Message forged(const Message& query, std::uint64_t kind);
    Message played_back(const Message& query, unsigned detail);
    const OpenSocket* receiver(const Message& message, control::Socket& socket) const;
    static bool is_lucky(const Message& message, const OpenSocket& socket);
    bool happens(Topic topic, const Message& message, unsigned weight, unsigned tag = 0) const;

    Scene& scene_;
    Servers servers_;
    Spy spy_;
    std::map<control::Socket, OpenSocket> open_;
    std::unordered_map<std::uint16_t, control::Socket> by_port_;
    Sequence ports_;
    control::Socket last_socket_ = 0;
    Heap to_servers_, to_us_;
    std::uint64_t order_ = 0;
    std::unordered_map<std::uint64_t, std::uint64_t> asked_; ///< how often, by server and question
    std::vector<Message> overheard_;                         ///< the last replies, to be played back
    std::size_t next_overheard_ = 0;
    Delivery delivery_;
    std::multimap<Time, Delivery> delivered_;
};

} // namespace millrace::simulation
