// A kernel UDP socket as a worker's front end: recvmmsg and sendmmsg, a burst at a time.
#pragma once

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
    static tl::expected<std::unique_ptr<SocketPort>, std::string> open(const Endpoint& local,
                                                                       std::vector<Endpoint> own);
    ~SocketPort() override;

    void receive(Burst& burst, Counters& counters) override;
    void save(const Packet& packet, ReturnPath& path) override;
    bool compose(Burst& burst, const ReturnPath& path) override;
    void send(Burst& burst, Counters& counters) override;
    int wait_descriptor() const override { return socket_.get(); }

  private:
    struct Buffers; // one message's octets, addresses and control data per place of a burst
    SocketPort(Descriptor socket, std::vector<Endpoint> own);
    bool is_acceptable(const Endpoint& source) const;

    Descriptor socket_;
    std::vector<Endpoint> own_;
    std::unique_ptr<Buffers> buffers_;
};

} // namespace millrace::dataplane
