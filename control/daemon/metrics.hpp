// What Prometheus, load balancers and anycast tools see of the daemon over HTTP: /metrics and /health.
//
// The figures are copied on the control thread, piece by piece: none is proportional to clients, names or the
// table, and a port's driver is asked for its own as `millracectl ports` asks it. The text is made of them on
// the server's thread. /health asks nobody: it answers, and says so, when control is stuck, too.
//
// Control thread.
#pragma once

#include <memory>

#include "control/daemon/figures.hpp"
#include "control/daemon/snapshot.hpp"
#include "control/metrics/http_server.hpp"

namespace millrace::control {

class Metrics {
  public:
    /// Everything outlives it; the server is stopped before it goes. `tsc_hz`: 0 without lcores.
    Metrics(HttpServer& server, const Context& context, std::uint64_t tsc_hz);

  private:
    void take_step(const std::shared_ptr<Snapshot>& out, std::size_t step);
    std::size_t steps() const;
    void take_piece(Snapshot& out, std::size_t step) const;
    void take_workers(Snapshot& out) const;
    void take_counters(Snapshot& out) const;
    void take_gauges(Snapshot::Gauges& out) const;
    void take_port(Snapshot& out, std::size_t index) const;
    void take_group(Snapshot& out, unsigned group) const;

    HttpServer& server_;
    Context c_;
    std::uint64_t tsc_hz_;
    double started_;
};

} // namespace millrace::control
