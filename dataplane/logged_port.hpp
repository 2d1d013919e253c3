// A port whose queries and replies are looked at on their way: logged where a log is wanted, and sampled. It
// stands in front of a worker's own port, so that neither the worker nor the port knows of it.
#pragma once

#include <array>

#include "dataplane/clock.hpp"
#include "dataplane/port.hpp"
#include "dataplane/query_log.hpp"

namespace millrace::dataplane {

class LoggedPort final : public Port {
  public:
    /// All of them outlive it. `log` may be null. `clock` as the worker's: null is CLOCK_BOOTTIME.
    LoggedPort(Port& port, QuerySample& sample, QueryLog* log, const TscClock* clock)
        : port_(port), sample_(sample), log_(log), clock_(clock) {}

    void receive(Burst& burst, Counters& counters) override;
    void save(const Packet& packet, ReturnPath& path) override;
    bool compose(Burst& burst, const ReturnPath& path) override;
    void send(Burst& burst, Counters& counters) override;
    int wait_descriptor() const override { return port_.wait_descriptor(); }

  private:
    Port& port_;
    QuerySample& sample_;
    QueryLog* log_;
    const TscClock* clock_;
    Time received_{};                         ///< the latest burst's
    std::array<Time, limits::burst> asked_{}; ///< by place in the burst
    std::uint32_t chosen_ = 0;                ///< bits likewise, for the log
    bool is_composed_ = false;                ///< the burst, of replies to earlier queries
};

} // namespace millrace::dataplane
