// A ranker whose probes are simulated: after a while it answers with the addresses in another order, not
// always in time, and now and then for a Fetch that has cancelled it.
#pragma once

#include <map>
#include <vector>

#include "control/rank/ranker.hpp"
#include "tests/simulation/scene.hpp"

namespace millrace::simulation {

class SimulatedRanker final : public control::Ranker {
  public:
    explicit SimulatedRanker(Scene& scene) : scene_(scene) {}

    bool rank(control::FetchId fetch, std::span<const dataplane::Address> addresses) override;
    void cancel(control::FetchId fetch) override;

    struct Order {
        control::FetchId fetch;
        std::vector<dataplane::Address> addresses;
    };
    /// Takes the next order that is found by now. False: none is.
    bool take(Order& order);
    Time next() const { return orders_.empty() ? Time::max() : orders_.begin()->first; }

  private:
    Scene& scene_;
    std::multimap<Time, Order> orders_;
};

} // namespace millrace::simulation
