// What is known about the servers of one upstream group: where they are, how fast, how healthy.
//
// Each has a breaker. Closed, it is asked. Consecutive true failures (timeout, unreachable, SERVFAIL,
// REFUSED) open it: it is not asked at all until its back-off has passed. Then the next question is its
// trial, alone; half-open, nobody else asks. An answer closes the breaker, whosever it is; the trial's
// failure opens it again for twice as long; a trial that was cancelled says nothing and is repeated after as
// long as before.
//
// While none is closed a question also goes to the one that was asked longest ago: round all of them, so
// that the first that is back is found by as many questions as there are servers, and no client depends on
// a trial alone.
//
// Control thread only.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "cache/time.hpp"
#include "control/config/config.hpp"
#include "dataplane/address.hpp"

namespace millrace::control {

struct UpstreamCounters {
    std::uint64_t sent = 0;     ///< questions asked: first datagrams
    std::uint64_t replies = 0;  ///< answers; SERVFAIL and REFUSED are failures
    std::uint64_t timeouts = 0; ///< questions whose deadline passed without an accepted reply
    std::uint64_t failures = 0; ///< unreachable, SERVFAIL, REFUSED; timeouts not included
    std::uint64_t opened = 0;   ///< times that the breaker opened, failed trials not included
};

enum class Breaker : std::uint8_t { closed, open, half_open };
std::string_view to_string(Breaker state); ///< "closed", "open", "half-open"

/// How the group is kept. Defaults are for ordinary use; tests lower them.
struct UpstreamPolicy {
    unsigned outstanding = 4096;  ///< questions in flight to one upstream
    unsigned rate = 100'000;      ///< questions per second to one upstream, a tenth of a second's at once
    unsigned failures = 4;        ///< consecutive true failures that open the breaker
    Time streak_lapse = 10s;      ///< between two failures ends a streak, as an answer does
    Time back_off = 5s;           ///< from there to the first trial; doubles with each that fails,
    Time longest_back_off = 5min; ///< up to this
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
    Breaker breaker(unsigned upstream) const { return servers_[upstream].breaker; }
    /// When the next trial may go; of a breaker that is not closed.
    Time retry_at(unsigned upstream) const { return servers_[upstream].retry_at; }

    /// Those that may be asked, by srtt, whose trial is due among them; while no breaker is closed, then the
    /// one of the others that was asked longest ago. Never empty.
    std::vector<unsigned> ranked(Time now) const;
    /// Whether it is among them.
    bool may_be_asked(unsigned upstream, Time now) const;

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
    /// True: it is the trial of a half-open breaker, which `is_trial` has to say later. Every begun question
    /// ends with `end`, and with at most one verdict before it; a cancelled one has none, nor has one whose
    /// failure anybody may have forged.
    [[nodiscard]] bool begin(unsigned upstream, Time now);
    void end(unsigned upstream, bool is_trial);

    // The verdicts: how a question ended, and what that says about the server.

    /// An accepted reply. Only SERVFAIL and REFUSED say that the server itself is in trouble: then false.
    bool judge_reply(unsigned upstream, unsigned rcode, Time now, bool is_trial);
    /// None came for so long. A short silence, as a collection's, says nothing about a server whose round
    /// trip is not known.
    void judge_silence(unsigned upstream, Time waited, Time now, bool is_trial);
    void judge_unreachable(unsigned upstream, Time now, bool is_trial);
    void measured(unsigned upstream, Time round_trip); ///< of an answer over UDP

  private:
    struct Server {
        Config::Server config;
        std::optional<Time> srtt;
        unsigned outstanding = 0;
        std::optional<double> tokens; ///< questions that the rate allows now; none: as many as at once
        Time filled{};                ///< when `tokens` was brought up to date
        unsigned streak = 0;          ///< true failures since the last answer,
        Time failed_at{};             ///< and the latest of them
        Breaker breaker = Breaker::closed;
        Time back_off{}; ///< while not closed: how long it is open,
        Time retry_at{}; ///< and when the next trial may go
        Time asked_at{}; ///< the latest question
        UpstreamCounters counters;
    };
    void count_failure(Server& server, Time now, bool is_trial);
    void open(Server& server, Time back_off, Time now);
    bool is_passable(const Server& server, Time now) const;
    std::optional<unsigned> last_resort(Time now) const;
    double burst() const { return std::max(1.0, policy_.rate / 10.0); }

    UpstreamPolicy policy_;
    std::vector<Server> servers_;
};

} // namespace millrace::control
