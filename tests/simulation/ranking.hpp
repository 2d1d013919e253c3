// Probes whose ends are simulated, and what stands between the FetchTable and its Prober.
//
// Each address is what it is for a whole run: it answers in one and the same time on one of the ways at
// least, or on none; a way may refuse, be silent, or be one that this machine cannot send on. So the order
// that has to come of it is known here, too, and is compared with the Prober's.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <vector>

#include "control/rank/prober.hpp"
#include "tests/simulation/scene.hpp"

namespace millrace::simulation {

using Addresses = std::vector<dataplane::Address>;

class SimulatedProbes final : public control::Probes {
  public:
    explicit SimulatedProbes(Scene& scene) : scene_(scene) {}

    void set_listener(control::ProbeListener& listener) override { listener_ = &listener; }
    tl::expected<control::ProbeId, std::errc> start(const dataplane::Endpoint& to, Time now) override;
    void close(control::ProbeId probe) override;
    void rest() override {}

    /// The next probe that has an end by now is told of it. False: there is none.
    bool end_one();
    Time next_end() const { return ends_.empty() ? Time::max() : ends_.begin()->first.first; }
    std::size_t open() const { return open_.size(); }

    /// As far as the probes that have ended tell: it has answered, always in time; it has been tried in every
    /// way and has never answered. Often neither.
    bool is_known_alive(const dataplane::Address& address) const;
    bool is_known_dead(const dataplane::Address& address) const;
    Time rtt_of(const dataplane::Address& address) const;

  private:
    enum class Way : std::uint8_t { answers, refuses, silent, unsendable };
    /// What was seen of an address.
    struct Noted {
        std::set<std::uint16_t> tried; ///< since it was last tried in the first way
        unsigned open = 0, answers = 0, sent = 0;
        bool has_missed = false; ///< it may have been given up though it was yet to answer
    };
    Way way_of(const dataplane::Endpoint& to) const;

    Scene& scene_;
    control::ProbeListener* listener_ = nullptr;
    control::ProbeId last_ = 0;
    std::map<control::ProbeId, dataplane::Endpoint> open_;
    std::map<std::pair<Time, control::ProbeId>, bool> ends_; ///< whether it answers
    std::map<dataplane::Address, Noted> noted_;
};

/// Hands on what the Fetches ask for, and takes the Prober's orders. Some reach the Fetches late, now and
/// then for one that has cancelled its ranking.
class SimulatedRanker final : public control::Ranker {
  public:
    SimulatedRanker(Scene& scene, SimulatedProbes& probes)
        : scene_(scene), probes_(probes), prober_(probes, policy(scene)) {}

    bool rank(control::FetchId fetch, std::span<const dataplane::Address> addresses) override;
    void cancel(control::FetchId fetch) override;

    void tick(); ///< as Loop::rank
    /// The next order that reaches its Fetch by now. None: there is none.
    std::optional<control::Prober::Order> take();
    const control::Prober& prober() const { return prober_; }

  private:
    static control::Config::Ranking policy(const Scene& scene);
    void check(const control::Prober::Order& order);

    Scene& scene_;
    SimulatedProbes& probes_;
    control::Prober prober_;
    std::map<control::FetchId, Addresses> asked_; ///< of every Fetch that ever did
    std::multimap<Time, control::Prober::Order> orders_;
};

} // namespace millrace::simulation
