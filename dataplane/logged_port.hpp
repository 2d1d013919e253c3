// A port whose queries and replies are logged. In front of a worker's own port where a log is wanted, so that
// the packet path pays nothing where none is.
#pragma once

#include <array>

#include "dataplane/clock.hpp"
#include "dataplane/port.hpp"
#include "dataplane/query_log.hpp"

namespace millrace::dataplane {

class LoggedPort final : public Port {
  public:
    /// All of them outlive it. `clock` as the worker's: null is CLOCK_BOOTTIME.
    LoggedPort(Port& port, QueryLog& log, const TscClock* clock) : port_(port), log_(log), clock_(clock) {}

    void receive(Burst& burst, Counters& counters) override;
    void save(const Packet& packet, ReturnPath& path) override;
    bool compose(Burst& burst, const ReturnPath& path) override;
    void send(Burst& burst, Counters& counters) override;
    int wait_descriptor() const override { return port_.wait_descriptor(); }

  private:
    Port& port_;
    QueryLog& log_;
    const TscClock* clock_;
    Time received_{};                         ///< the latest burst's
    std::array<Time, limits::burst> asked_{}; ///< by place in the burst
};

} // namespace millrace::dataplane
