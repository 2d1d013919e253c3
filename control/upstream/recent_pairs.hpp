// The (source port, ID) pairs used a short while ago, so that a late reply to an old query cannot fit a new
// one for the same question. Two Bloom filters take turns: no pair is forgotten before its time, a rare pair
// is refused without cause (its user draws another), and memory is fixed. Control thread only.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "cache/time.hpp"
#include "dataplane/address.hpp"

namespace millrace::control {

class RecentPairs {
  public:
    /// How long at least a pair stays refused.
    static constexpr Time span = 10s;

    explicit RecentPairs(std::uint64_t seed);

    /// Notes the pair as used now. False, with nothing noted, when it was used within `span` for the same
    /// question (any bytes that identify it) and upstream.
    bool use(std::span<const std::uint8_t> question, const dataplane::Endpoint& upstream, std::uint16_t port,
             std::uint16_t id, Time now);

  private:
    /// Half a million queries within `span` keep unfounded refusals below 1 in 1,000.
    static constexpr unsigned bits_log2 = 24;
    static constexpr unsigned probes = 4;
    using Filter = std::vector<std::uint64_t>;
    using Bits = std::array<std::uint32_t, probes>;

    void turn(Time now);
    static bool holds(const Filter& filter, const Bits& bits);

    std::uint64_t seed_;
    Filter current_, previous_;
    Time turned_{}; ///< when `current_` was started
};

} // namespace millrace::control
