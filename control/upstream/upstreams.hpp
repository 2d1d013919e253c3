// What is known about the servers of one upstream group: where they are, how fast, how healthy.
//
// Each has a breaker, and a question of our own, the probe, is the only thing that opens it. Any accepted
// reply, whatever its rcode, shows that the server is alive: SERVFAIL and REFUSED are answers about a name.
// Questions that hear nothing from it, several in a row without one reply between them, or an ICMP error,
// which anybody can send, have it probed; only when the probe hears nothing either, the breaker opens. Silent
// names and forgers thus cost a probe a second. While it is open the server is asked by probes alone, at
// back-offs; half-open means that one is under way. Any reply closes it.
//
// While no breaker of the group is closed, all servers are asked as if all were.
//
// Control thread only.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "cache/key.hpp"
#include "cache/time.hpp"
#include "control/config/config.hpp"
#include "control/limits.hpp"
#include "control/upstream/habits.hpp"
#include "dataplane/address.hpp"

namespace millrace::control {

struct UpstreamCounters {
    std::uint64_t sent = 0;     ///< questions asked: first datagrams
    std::uint64_t replies = 0;  ///< answers; SERVFAIL and REFUSED are failures
    std::uint64_t timeouts = 0; ///< questions whose deadline passed without an accepted reply
    std::uint64_t failures = 0; ///< replies that say SERVFAIL or REFUSED
    std::uint64_t probes = 0;   ///< questions of our own, in `sent` too
    std::uint64_t opened = 0;   ///< times that the breaker opened
};

enum class Breaker : std::uint8_t { closed, open, half_open };
std::string_view to_string(Breaker state); ///< "closed", "open", "half-open"

/// How the group is kept. Defaults are for ordinary use; tests lower them.
struct UpstreamPolicy {
    unsigned outstanding = 4096;  ///< questions in flight to one upstream
    unsigned rate = 100'000;      ///< questions per second to one upstream, a tenth of a second's at once
    unsigned silences = 4;          ///< questions in a row without a reply that have the server probed
    Time probe_interval = 1s;       ///< between two probes of a server whose breaker is closed
    Time probe_deadline = 1500ms;   ///< a probe that hears nothing until then opens the breaker
    Time back_off = 500ms;          ///< from there to the next probe; doubles with each that hears nothing,
    Time longest_back_off = 2s;     ///< up to this: a name is to be had within 5 s of an outage's end
    cache::Key probe = root_servers(); ///< what it asks: name and type
    unsigned max_rrset = limits::rrset_records; ///< records of one RRset in a reply that is of use

    static cache::Key root_servers(); ///< ". NS"
};

class Upstreams {
  public:
    explicit Upstreams(const std::vector<Config::Server>& servers, UpstreamPolicy policy = {});

    unsigned size() const { return unsigned(servers_.size()); }
    const dataplane::Endpoint& endpoint(unsigned upstream) const {
        return servers_[upstream].config.endpoint;
    }
    bool is_trusted(unsigned upstream) const { return servers_[upstream].config.trusted; }
    /// Whether its word that a name fails DNSSEC validation is final: trusted, or in a group without marks.
    bool is_validator(unsigned upstream) const;
    bool randomises_case(unsigned upstream) const { return servers_[upstream].config.randomise_case; }
    Habits& habits(unsigned upstream) { return servers_[upstream].habits; }
    const Habits& habits(unsigned upstream) const { return servers_[upstream].habits; }
    const UpstreamCounters& counters(unsigned upstream) const { return servers_[upstream].counters; }
    unsigned outstanding(unsigned upstream) const { return servers_[upstream].outstanding; }

    /// Smoothed round trip (RFC 6298 2, alpha 1/8); 100 ms while unmeasured.
    Time srtt(unsigned upstream) const;
    bool is_measured(unsigned upstream) const { return servers_[upstream].srtt.has_value(); }
    /// How long to wait before the first resend: clamp(4 x srtt, 100 ms, 1 s).
    Time resend_after(unsigned upstream) const;
    Breaker breaker(unsigned upstream) const { return servers_[upstream].breaker; }
    bool is_any_closed() const;
    /// How many times a breaker has closed again: what was silent answers.
    std::uint64_t recoveries() const { return recoveries_; }

    /// Those that may be asked, by srtt. Never empty.
    std::vector<unsigned> ranked() const;
    /// Whether it is among them.
    bool may_be_asked(unsigned upstream) const;

    /// How much of a cap one may use: collections leave a quarter to questions that clients wait for.
    enum class Share : std::uint8_t { most, all };
    /// Below the cap on questions in flight.
    bool has_room(unsigned upstream, Share share = Share::all) const;
    /// Below the cap on questions per second: a token bucket, which this brings up to date.
    bool is_in_rate(unsigned upstream, Time now, Share share);

    unsigned max_rrset() const { return policy_.max_rrset; }
    void set_policy(const UpstreamPolicy& policy) { policy_ = policy; }
    /// Other servers. One that stays keeps what is known of it. No question may be in flight.
    void replace(const std::vector<Config::Server>& servers);

    /// Called by Exchanges. `begin` counts a question as sent and outstanding; only while there is room.
    /// Every begun question ends with `end`.
    void begin(unsigned upstream);
    void end(unsigned upstream);

    // The verdicts: what the end of a question says about the server.

    /// An accepted reply. False: it says SERVFAIL or REFUSED.
    bool judge_reply(unsigned upstream, unsigned rcode);
    /// It is alive, if only with a truncated reply, or with one of no use.
    void heard(unsigned upstream);
    /// None came until the deadline.
    void judge_timeout(unsigned upstream, Time waited, Time now);
    /// None came for so long, then nobody waited any more (another server answered, a collection's limit). A
    /// wait shorter than resend_after() says nothing.
    void judge_silence(unsigned upstream, Time waited, Time now);
    /// An ICMP error. Anybody may have sent it: it has the server probed, nothing else.
    void suspect(unsigned upstream, Time now);

    // Probes. Each that is due is begun, and ends with judge_probe(): cancelled, too, when it was not sent.

    const cache::Key& probe() const { return policy_.probe; }
    Time probe_deadline() const { return policy_.probe_deadline; }
    std::optional<unsigned> probe_due(Time now) const;
    /// When the next is due; Time::max() when none is. Of an open breaker, when it is tried again.
    Time next_probe() const;
    Time next_probe(unsigned upstream) const { return servers_[upstream].probe_at; }
    bool is_probed(unsigned upstream) const { return servers_[upstream].is_probed; }
    void begin_probe(unsigned upstream);
    enum class ProbeEnd : std::uint8_t { heard, silent, cancelled };
    void judge_probe(unsigned upstream, ProbeEnd end, Time now);

    void measured(unsigned upstream, Time round_trip); ///< of an answer over UDP

  private:
    struct Server {
        Config::Server config;
        std::optional<Time> srtt;
        unsigned outstanding = 0;
        std::optional<double> tokens; ///< questions that the rate allows now; none: as many as at once
        Time filled{};                ///< when `tokens` was brought up to date
        unsigned silences = 0;      ///< questions without a reply since the last reply
        Breaker breaker = Breaker::closed;
        bool is_probed = false;       ///< a probe is under way
        Time probe_at = Time::max();  ///< when the next is due
        std::optional<Time> probed{}; ///< when the latest ended
        Time back_off{};              ///< while not closed: how long it is left alone
        UpstreamCounters counters;
        Habits habits;
    };
    double burst() const { return std::max(1.0, policy_.rate / 10.0); }

    UpstreamPolicy policy_;
    std::vector<Server> servers_;
    std::uint64_t recoveries_ = 0;
};

} // namespace millrace::control
