// The Ranker of the daemon: orders addresses by what probes towards them find.
//
// Basic algorithm: an address is tried on each configured port, and by ICMP echo, one after the other: the
// next one at once when this one refuses, else after limits::probe_stagger. The first that answers counts; an
// address that has not answered on any within limits::probe has failed. Results are kept in Measurements;
// what is fresh there is not probed again, what several rankings want is probed once. When all addresses of a
// ranking are known, or cannot be, its order is ready, and the next tick takes it. What ProbeLimits keep back
// stays unknown, as do special-use addresses that the operator does not allow: nothing is sent to those.
//
// Control thread only. Nothing here waits: probes are started by tick(), and end in the loop.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <vector>

#include "control/config/config.hpp"
#include "control/rank/measurements.hpp"
#include "control/rank/probe_limits.hpp"
#include "control/rank/probes.hpp"
#include "control/rank/ranker.hpp"

namespace millrace::control {

struct RankingCounters {
    std::uint64_t rankings = 0; ///< begun
    std::uint64_t refused = 0;  ///< not begun: too many under way
    std::uint64_t ordered = 0;  ///< that came to an order
    std::uint64_t cached = 0;   ///< addresses that were known already
    std::uint64_t special = 0;  ///< addresses that nothing is sent to
    std::uint64_t probes = 0;   ///< sent
    std::uint64_t answered = 0; ///< addresses that did,
    std::uint64_t failed = 0;   ///< and did not, in time
    std::uint64_t limited = 0;  ///< probes kept back by a limit
    std::uint64_t unsent = 0; ///< probes that this machine could not send: no route, no right, no descriptor
};

class Prober final : public Ranker, private ProbeListener {
  public:
    /// `probes` outlives it. `most`: probes at once.
    Prober(Probes& probes, const Config::Ranking& policy, std::size_t most = limits::probes);
    ~Prober() override;

    bool rank(FetchId fetch, std::span<const dataplane::Address> addresses) override;
    void cancel(FetchId fetch) override;

    /// Another policy forgets what was measured under the one before, and what was kept open for it.
    void set_policy(const Config::Ranking& policy);

    /// Begins what was asked for, tries further ports, ends what has taken too long.
    void tick(Time now);

    /// An order that is ready, for FetchTable::on_ranked; `addresses` is empty when nothing is known of any.
    struct Order {
        FetchId fetch;
        std::vector<dataplane::Address> addresses;
    };
    std::optional<Order> take();

    bool may_probe(const dataplane::Address& address) const;
    const Measurement* find(const dataplane::Address& address) const { return measurements_.find(address); }
    bool is_probed_now(const dataplane::Address& address) const { return subjects_.contains(address); }
    std::size_t measured() const { return measurements_.size(); }
    std::size_t open() const { return open_.size(); }
    const RankingCounters& counters() const { return counters_; }

  private:
    /// An answer whose addresses are to be ordered.
    struct Ranking {
        std::vector<dataplane::Address> addresses;
        std::size_t awaited = 0; ///< addresses that are being probed
    };
    /// An address that is being probed.
    struct Subject {
        Time started;
        Time next_try;                ///< when it is tried in another way, if there is one
        std::size_t tried = 0;        ///< of the ways
        std::vector<ProbeId> open;    ///< at most one for each way
        std::vector<FetchId> waiting; ///< at most limits::rankings
        std::uint16_t last_port = 0;
    };
    using Subjects = std::map<dataplane::Address, Subject>;

    void on_probe_ended(ProbeId probe, bool has_answered, Time rtt, Time now) override;
    void begin(FetchId fetch, Ranking& ranking, Time now);
    bool probe(const dataplane::Address& address, FetchId fetch, Time now);
    bool try_next(const dataplane::Address& address, Subject& subject, Time now);
    void go_on(Subjects::iterator at, Time now);
    void end(Subjects::iterator at);
    void close(ProbeId probe);

    Probes& probes_;
    Config::Ranking policy_;
    std::vector<std::uint16_t> ways_; ///< ports in turn, 0 for ICMP echo
    Measurements measurements_;
    ProbeLimits limits_;
    RankingCounters counters_;
    std::map<FetchId, Ranking> rankings_;
    std::deque<FetchId> asked_, ready_; ///< some may have been cancelled since
    Subjects subjects_;
    std::map<ProbeId, dataplane::Endpoint> open_; ///< port 0: ICMP echo
};

} // namespace millrace::control
