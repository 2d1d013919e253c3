// The real Probes: TCP connections that are reset as soon as they stand,
// and ICMP echo where this process may, in the caller's asio loop.
//
// A connection's round trip is the kernel's own measure of it (TCP_INFO), so that a late turn of the
// loop does not count. Nothing is ever written to one. Callbacks come from context.poll() or run(), on
// the thread that calls it, which is also the one that starts and closes. Destroyed before the context.
#pragma once

#include <utility> // asio 1.22 with GCC 12 needs it first

#include <array>
#include <cstdint>
#include <map>
#include <memory>

#include <asio/io_context.hpp>
#include <asio/posix/stream_descriptor.hpp>

#include "control/limits.hpp"
#include "control/rank/echo_socket.hpp"
#include "control/rank/probes.hpp"
#include "control/upstream/random.hpp"

namespace millrace::control {

/// How many probes this process can have at once, beside what exchange_capacity() takes of RLIMIT_NOFILE.
std::size_t probe_capacity();

class AsioProbes final : public Probes {
  public:
    /// `random` makes the tokens of echo requests. `most`: connections at once.
    AsioProbes(asio::io_context& context, Random& random, std::size_t most = probe_capacity());
    ~AsioProbes() override;

    AsioProbes(const AsioProbes&) = delete;
    AsioProbes& operator=(const AsioProbes&) = delete;

    void set_listener(ProbeListener& listener) override { listener_ = &listener; }
    tl::expected<ProbeId, std::errc> start(const dataplane::Endpoint& to, Time now) override;
    void close(ProbeId probe) override;
    void rest() override;

  private:
    struct Connection {
        asio::posix::stream_descriptor socket;
        Time started;
    };
    struct Echo {
        dataplane::Address to;
        EchoSocket::Token token;
        Time started;
    };
    struct EchoPort {
        EchoSocket socket;
        asio::posix::stream_descriptor readable; ///< a duplicate
    };
    /// A family's port is opened with the first request, and kept until rest().
    struct Family {
        std::shared_ptr<EchoPort> port;
        bool was_denied = false;
    };

    tl::expected<ProbeId, std::errc> connect(const dataplane::Endpoint& to, Time now);
    tl::expected<ProbeId, std::errc> send_echo(const dataplane::Address& to, Time now);
    std::errc open(Family& family, int number);
    void on_connected(ProbeId probe);
    void wait(const std::shared_ptr<EchoPort>& port);
    void receive(const std::shared_ptr<EchoPort>& port);
    void end(ProbeId probe, bool has_answered, Time rtt, Time now);

    asio::io_context& context_;
    Random& random_;
    std::size_t most_;
    ProbeListener* listener_ = nullptr;
    ProbeId last_ = 0;
    std::map<ProbeId, Connection> connections_;
    std::map<ProbeId, Echo> echoes_;
    std::array<Family, 2> families_;                                          ///< IPv4, IPv6
    std::shared_ptr<AsioProbes*> self_ = std::make_shared<AsioProbes*>(this); ///< what the loop holds of us
};

} // namespace millrace::control
