// A Network without a kernel: scripted upstreams, a clock that the test moves, deliveries in order
// of their time.
//
// Datagrams find their socket as in the kernel: by local port and remote endpoint at the moment of arrival,
// so a late reply reaches whoever has the port by then, or nobody. Single thread.
#pragma once

#include <algorithm>
#include <deque>
#include <functional>
#include <map>
#include <span>
#include <vector>

#include "control/upstream/network.hpp"
#include "control/upstream/random.hpp"
#include "tests/support/clock.hpp"

namespace millrace::support {

/// Draws what was put in, then counts up: every value is different from the one before, and known.
class FakeRandom final : public control::Random {
  public:
    std::deque<std::uint16_t> ids;

    std::uint16_t id() override { return take(ids, ++next_id_); }
    std::uint64_t bits() override { return bits_ = bits_ * 6364136223846793005u + 1442695040888963407u; }

    static std::uint16_t take(std::deque<std::uint16_t>& forced, std::uint16_t otherwise) {
        if (forced.empty()) return otherwise;
        std::uint16_t value = forced.front();
        forced.pop_front();
        return value;
    }

  private:
    std::uint16_t next_id_ = 100;
    std::uint64_t bits_ = 1;
};

/// A message on its way to an upstream.
struct Sent {
    control::Socket socket = 0;
    dataplane::Endpoint to;
    std::uint16_t source_port = 0; ///< 0 over TCP
    bool tcp = false;
    std::vector<std::uint8_t> message;
    Time at{};
};

class FakeNetwork final : public control::Network {
  public:
    /// What an upstream does with a message: reply, reply_error, both, later, or nothing.
    using Script = std::function<void(FakeNetwork&, const Sent&)>;

    explicit FakeNetwork(ManualClock& clock) : clock_(clock) {}

    // Scripting.

    /// From here on `upstream` behaves like this, over UDP and TCP. Without a script it is silent.
    void serve(const dataplane::Endpoint& upstream, Script script) { scripts_[upstream] = std::move(script); }

    /// A reply to `sent`, `delay` from now.
    void reply(const Sent& sent, std::vector<std::uint8_t> message, Time delay = {}) {
        if (!sent.tcp) return datagram(sent.to, sent.source_port, std::move(message), delay);
        at(delay, [this, socket = sent.socket, message = std::move(message)] { deliver(socket, message); });
    }

    /// A datagram from `from` (forged or not) to one of our ports.
    void datagram(const dataplane::Endpoint& from, std::uint16_t port, std::vector<std::uint8_t> message,
                  Time delay = {}) {
        at(delay, [=, this, message = std::move(message)] { deliver(udp_socket(from, port), message); });
    }

    /// An ICMP error, or the end of a TCP connection.
    void reply_error(const Sent& sent, std::errc error, Time delay = {}) {
        at(delay, [=, this, socket = sent.socket] {
            auto found = sockets_.find(socket);
            if (found == sockets_.end()) return;
            auto [handler, token] = std::pair(found->second.handler, found->second.token);
            handler->on_network_error(socket, token, error, clock_.now);
        });
    }

    std::deque<std::uint16_t> ports;  ///< of the next sockets; then it counts up
    std::size_t socket_limit = 65536; ///< open_udp and open_tcp say too_many_files_open
    std::size_t tcp_limit = 65536;    ///< open_tcp does
    std::errc open_error{};           ///< what open_udp and open_tcp say otherwise
    std::errc send_error{};           ///< what send says

    // Driving.

    Time next_event() const { return events_.empty() ? Time::max() : events_.begin()->first; }

    /// Delivers the earliest event if its time has come.
    bool step() {
        if (next_event() > clock_.now) return false;
        auto event = std::move(events_.begin()->second);
        events_.erase(events_.begin());
        event();
        return true;
    }

    /// Moves the clock to `end`, with every delivery and every timer of `owner` (tick(now), next_timer()) at
    /// its own time; deliveries first.
    template <class Owner>
    void run_until(Time end, Owner& owner) {
        for (;;) {
            Time next = std::min(next_event(), owner.next_timer());
            if (next > end) break;
            clock_.now = std::max(clock_.now, next);
            if (!step()) owner.tick(clock_.now);
        }
        clock_.now = end;
    }

    // Looking.

    std::vector<Sent> sent;          ///< everything that ever left
    std::vector<unsigned> groups;    ///< of the UDP sockets ever opened
    std::uint64_t undeliverable = 0; ///< messages that found no socket
    std::size_t open_count() const { return sockets_.size(); }
    std::size_t tcp_count() const {
        return std::size_t(std::ranges::count_if(sockets_, [](const auto& s) { return s.second.tcp; }));
    }

    // Network.

    tl::expected<Bound, std::errc> open_udp(const dataplane::Endpoint& remote,
                                            control::NetworkHandler& handler, std::uint64_t token,
                                            unsigned group = 0) override {
        groups.push_back(group);
        std::uint16_t port = FakeRandom::take(ports, ++next_port_);
        auto socket = open({remote, port, false, &handler, token});
        if (!socket) return tl::make_unexpected(socket.error());
        return Bound{*socket, port};
    }

    tl::expected<control::Socket, std::errc> open_tcp(const dataplane::Endpoint& remote,
                                                      control::NetworkHandler& handler,
                                                      std::uint64_t token) override {
        return open({remote, 0, true, &handler, token});
    }

    std::errc send(control::Socket socket, std::span<const std::uint8_t> message) override {
        auto found = sockets_.find(socket);
        if (found == sockets_.end()) return std::errc::not_connected;
        if (send_error != std::errc{}) return send_error;
        const Open& open = found->second;
        sent.push_back(
            {socket, open.remote, open.port, open.tcp, {message.begin(), message.end()}, clock_.now});
        // The upstream sees it as an event of its own: no callback from inside send().
        at({}, [this, copy = sent.back()] {
            if (auto script = scripts_.find(copy.to); script != scripts_.end()) script->second(*this, copy);
        });
        return {};
    }

    void close(control::Socket socket) override { sockets_.erase(socket); }

  private:
    struct Open {
        dataplane::Endpoint remote;
        std::uint16_t port;
        bool tcp;
        control::NetworkHandler* handler;
        std::uint64_t token;
    };

    tl::expected<control::Socket, std::errc> open(const Open& open) {
        if (sockets_.size() >= socket_limit) return tl::make_unexpected(std::errc::too_many_files_open);
        if (open.tcp && tcp_count() >= tcp_limit) return tl::make_unexpected(std::errc::too_many_files_open);
        if (open_error != std::errc{}) return tl::make_unexpected(open_error);
        sockets_.emplace(++last_socket_, open);
        return last_socket_;
    }

    control::Socket udp_socket(const dataplane::Endpoint& from, std::uint16_t port) const {
        auto found = std::ranges::find_if(sockets_, [&](const auto& s) {
            return !s.second.tcp && s.second.remote == from && s.second.port == port;
        });
        return found == sockets_.end() ? 0 : found->first;
    }

    void deliver(control::Socket socket, const std::vector<std::uint8_t>& message) {
        auto found = sockets_.find(socket);
        if (found == sockets_.end()) {
            ++undeliverable;
            return;
        }
        auto [handler, token] = std::pair(found->second.handler, found->second.token);
        handler->on_message(socket, token, message, clock_.now);
    }

    void at(Time delay, std::function<void()> event) {
        events_.emplace(clock_.now + delay, std::move(event));
    }

    ManualClock& clock_;
    std::map<dataplane::Endpoint, Script> scripts_;
    std::multimap<Time, std::function<void()>> events_; ///< equal times in the order of their making
    std::map<control::Socket, Open> sockets_;
    control::Socket last_socket_ = 0;
    std::uint16_t next_port_ = 20000;
};

} // namespace millrace::support
