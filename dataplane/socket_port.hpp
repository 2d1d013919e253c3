// A kernel UDP socket as a worker's front end: recvmmsg and sendmmsg, a burst at a time.
#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include <tl/expected.hpp>

#include "dataplane/descriptor.hpp"
#include "dataplane/port.hpp"

namespace millrace::dataplane {

/// Made and destroyed by control; used in between by its worker alone.
class SocketPort final : public Port {
  public:
    /// Binds. `own`: every endpoint that we serve; a query that claims to come from one is dropped. A
    /// wildcard address works: each reply leaves from the address that its query was sent to (IP_PKTINFO).
    /// `handed`: a socket that a predecessor has bound there, or none. `held`: by the kernel, which else may
    /// get the address later.
    static tl::expected<std::unique_ptr<SocketPort>, std::string>
    open(const Endpoint& local, std::vector<Endpoint> own, Descriptor handed = {}, bool held = true);
    ~SocketPort() override;

    void receive(Burst& burst, Counters& counters) override;
    void save(const Packet& packet, ReturnPath& path) override;
    bool compose(Burst& burst, const ReturnPath& path) override;
    void send(Burst& burst, Counters& counters) override;
    int wait_descriptor() const override { return is_retired() ? away : socket_.get(); }

    /// Receives nothing more: that is for whoever else has the socket. Replies still go out. Any thread.
    void retire() { is_retired_.store(true, std::memory_order_relaxed); }
    int descriptor() const { return socket_.get(); } ///< for a successor

  private:
    struct Buffers; // one message's octets, addresses and control data per place of a burst
    SocketPort(Descriptor socket, std::vector<Endpoint> own);
    bool is_acceptable(const Endpoint& source) const;
    bool is_retired() const { return is_retired_.load(std::memory_order_relaxed); }

    Descriptor socket_;
    std::atomic<bool> is_retired_{false};
    std::vector<Endpoint> own_;
    std::unique_ptr<Buffers> buffers_;
};

} // namespace millrace::dataplane
