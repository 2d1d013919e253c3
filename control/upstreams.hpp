// What is known about the servers of one upstream group: where they are, how fast, how healthy. Control
// thread only.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "cache/time.hpp"
#include "control/config.hpp"
#include "dataplane/address.hpp"

namespace millrace::control {

struct UpstreamCounters {
    std::uint64_t sent = 0;     ///< questions asked: first datagrams
    std::uint64_t replies = 0;  ///< answers; SERVFAIL and REFUSED are failures
    std::uint64_t timeouts = 0; ///< questions whose deadline passed without an accepted reply
    std::uint64_t failures = 0; ///< unreachable, SERVFAIL, REFUSED; timeouts not included
};

/// How the group is kept. Defaults are for ordinary use; tests lower them.
struct UpstreamPolicy {
    unsigned outstanding = 4096; ///< questions in flight to one upstream
    unsigned rate = 100'000;     ///< questions per second to one upstream, a tenth of a second's at once
    unsigned failures = 4; ///< consecutive true failures that send an upstream to the end of the ranking
    Time retry = 5s;       ///< how often one at the end is tried in its old place
};

class Upstreams {
  public:
    explicit Upstreams(const std::vector<Config::Server>& servers, UpstreamPolicy policy = {});

    unsigned size() const { return unsigned(servers_.size()); }
    const dataplane::Endpoint& endpoint(unsigned upstream) const {
        return servers_[upstream].config.endpoint;
    }
    bool is_trusted(unsigned upstream) const { return servers_[upstream].config.trusted; }
    bool randomises_case(unsigned upstream) const { return servers_[upstream].config.randomise_case; }
    const UpstreamCounters& counters(unsigned upstream) const { return servers_[upstream].counters; }
    unsigned outstanding(unsigned upstream) const { return servers_[upstream].outstanding; }

    /// Smoothed round trip (RFC 6298 2, alpha 1/8); 100 ms while unmeasured.
    Time srtt(unsigned upstream) const;
    bool is_measured(unsigned upstream) const { return servers_[upstream].srtt.has_value(); }
    /// How long to wait before the first resend: clamp(4 x srtt, 100 ms, 1 s).
    Time resend_after(unsigned upstream) const;
    /// At the end of the ranking because of consecutive failures.
    bool is_failing(unsigned upstream) const { return servers_[upstream].streak >= policy_.failures; }

    /// All upstreams, best first: by srtt, those that fail last. One whose retry is due stands where its srtt
    /// puts it, until it is asked.
    std::vector<unsigned> ranked(Time now) const;

    /// How much of a cap one may use: collections leave a quarter to questions that clients wait for.
    enum class Share : std::uint8_t { most, all };
    /// Below the cap on questions in flight.
    bool has_room(unsigned upstream, Share share = Share::all) const;
    /// Below the cap on questions per second: a token bucket, which this brings up to date.
    bool is_in_rate(unsigned upstream, Time now, Share share);

    void set_policy(const UpstreamPolicy& policy) { policy_ = policy; }
    /// Other servers. One that stays keeps what is known of it. No question may be in flight.
    void replace(const std::vector<Config::Server>& servers);

    /// Called by Exchanges. `begin` counts a question as sent and outstanding; only while there is room.
    /// Every begun question ends with `end`, and with at most one verdict (replied, failed, timed_out) before
    /// it; a cancelled one has none.
    void begin(unsigned upstream, Time now);
    void end(unsigned upstream);
    void replied(unsigned upstream);          ///< an answer: NXDOMAIN and NODATA are answers too
    void failed(unsigned upstream, Time now); ///< SERVFAIL, REFUSED or unreachable
    void timed_out(unsigned upstream, Time now);
    void measured(unsigned upstream, Time round_trip); ///< of an answer over UDP

  private:
    struct Server {
        Config::Server config;
        std::optional<Time> srtt;
        unsigned outstanding = 0;
        double tokens = 0;   ///< questions that the rate allows now
        Time filled{};       ///< when `tokens` was brought up to date
        unsigned streak = 0; ///< true failures since the last answer
        Time retry_at{};     ///< when a failing one may be tried again
        UpstreamCounters counters;
    };
    void count_failure(Server& server, Time now);
    double burst() const { return std::max(1.0, policy_.rate / 10.0); }

    UpstreamPolicy policy_;
    std::vector<Server> servers_;
};

} // namespace millrace::control
