// Chance without a sequence: what is drawn depends on the seed and on what it is drawn for, never on how much
// was drawn before. So a plan from which something was taken away leaves the rest of its run as it was, and
// shrinking a failing plan keeps failing for the same reason.
#pragma once

#include <cstdint>

#include "cache/time.hpp"
#include "control/upstream/random.hpp"

namespace millrace::simulation {

/// What a draw is for: the first of its tags.
enum class Topic : std::uint64_t {
    control_gap = 1,
    worker_gap,
    worker_nap,
    buffer,
    send,
    letter_case,
    latency,
    jitter,
    late,
    lost,
    twice,
    nature,
    dissent,
    failure,
    hosts,
    ttl,
    truncation,
    icmp,
    forgery,
    socket_error,
    zombie,
    ranking,
    priority,
    weight,
};

class Chance {
  public:
    explicit Chance(std::uint64_t seed) : seed_(seed) {}

    template <class... Tags>
    std::uint64_t bits(Topic topic, Tags... tags) const {
        std::uint64_t state = mix(seed_ ^ std::uint64_t(topic) * 0x9e3779b97f4a7c15u);
        ((state = mix(state + 0x9e3779b97f4a7c15u + std::uint64_t(tags))), ...);
        return state;
    }
    template <class... Tags>
    std::uint64_t below(std::uint64_t limit, Topic topic, Tags... tags) const {
        return bits(topic, tags...) % limit;
    }
    /// True in `per_thousand` of 1,000 cases.
    template <class... Tags>
    bool is(unsigned per_thousand, Topic topic, Tags... tags) const {
        return below(1000, topic, tags...) < per_thousand;
    }
    template <class... Tags>
    Time between(Time low, Time high, Topic topic, Tags... tags) const {
        return low + Time(std::int64_t(below(std::uint64_t((high - low).count()) + 1, topic, tags...)));
    }

    /// splitmix64's finalizer.
    static std::uint64_t mix(std::uint64_t x) {
        x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
        x = (x ^ x >> 27) * 0x94d049bb133111ebu;
        return x ^ x >> 31;
    }

  private:
    std::uint64_t seed_;
};

/// A sequence, for whoever draws everything there is to draw in one place.
class Sequence {
  public:
    explicit Sequence(std::uint64_t seed) : state_(Chance::mix(seed + 1)) {}

    std::uint64_t bits() { return Chance::mix(state_ += 0x9e3779b97f4a7c15u); }
    std::uint64_t below(std::uint64_t limit) { return bits() % limit; }
    bool is(unsigned per_thousand) { return below(1000) < per_thousand; }
    unsigned between(unsigned low, unsigned high) { return low + unsigned(below(high - low + 1)); }
    /// Small values as likely as large ones: low * 2^u.
    unsigned spread(unsigned low, unsigned high) {
        unsigned doublings = 0;
        while ((low << (doublings + 1)) <= high) ++doublings;
        unsigned top = low << below(doublings + 1);
        return between(top, top * 2 <= high ? top * 2 : high);
    }
    Time between(Time low, Time high) {
        return low + Time(std::int64_t(below(std::uint64_t((high - low).count()) + 1)));
    }

  private:
    std::uint64_t state_;
};

/// The product's source of IDs and letter cases. `few`: so few of them that they come again and again.
class SimulatedRandom final : public control::Random {
  public:
    SimulatedRandom(std::uint64_t seed, bool few) : draws_(seed), few_(few) {}

    std::uint16_t id() override { return std::uint16_t(draws_.below(few_ ? 4 : 65536)); }
    std::uint64_t bits() override {
        std::uint64_t drawn = draws_.bits();
        return !few_ ? drawn : drawn % 2 ? ~std::uint64_t(0) : 0; // all letters in one case
    }

  private:
    Sequence draws_;
    bool few_;
};

} // namespace millrace::simulation
