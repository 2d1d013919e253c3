// A page for people, over HTTP beside the metrics: / and what it shows, /status.json.
//
// Names and clients are shown where `metrics: listen` says so, which is not at its default.
//
// The figures are those of the control socket (figures.hpp, `top`), made on the control thread piece by
// piece, and what was counted in the last minutes (History). Control thread.
#pragma once

#include <utility> // asio 1.22 with GCC 12 needs it first

#include <deque>
#include <memory>
#include <optional>

#include <asio/steady_timer.hpp>
#include <nlohmann/json_fwd.hpp>

#include "control/daemon/figures.hpp"
#include "control/metrics/http_server.hpp"
#include "dataplane/histogram.hpp"

namespace millrace::control {

/// How much was asked, and how long hits and misses took, in steps of the same length. Its own thread's.
class History {
  public:
    struct Point { ///< of one step: a second's queries and misses; seconds, none: there was no hit, or miss
        double queries = 0, misses = 0;
        std::optional<double> hit_p50, hit_p99, miss_p50, miss_p99;
    };

    /// The oldest of more than `most` points goes.
    void add(const Traffic& now, double seconds, std::size_t most);
    const std::deque<Point>& points() const { return points_; }

  private:
    std::optional<Traffic> before_;
    std::deque<Point> points_;
};

/// The length that a part of all that were counted did not exceed, in seconds; within a bucket
/// as if they were spread evenly. None: nothing was counted.
std::optional<double> quantile(const dataplane::Histogram& counts, double part);

class StatusPage {
  public:
    /// Everything outlives it; the server is stopped before it goes.
    StatusPage(HttpServer& server, const Context& context);

  private:
    void look();
    void make_step(const std::shared_ptr<nlohmann::json>& out, unsigned step);
    nlohmann::json history() const;

    HttpServer& server_;
    Context c_;
    bool shows_names_; ///< and clients: not where every user of this machine can look by default
    History history_;
    Time looked_{};
    asio::steady_timer timer_;
};

} // namespace millrace::control
