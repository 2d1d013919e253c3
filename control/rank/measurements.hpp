// What is known of addresses by probing them, and the order that follows from it.
//
// A bounded table; the longest unused is forgotten. It is a tree, so
// that no choice of addresses makes it slow. Control thread only.
#pragma once

#include <cstdint>
#include <list>
#include <map>
#include <span>
#include <vector>

#include "cache/time.hpp"
#include "control/limits.hpp"
#include "dataplane/address.hpp"

namespace millrace::control {

struct Measurement {
    Time srtt{};                 ///< smoothed round trip; 0: it has never answered
    double loss = 0;             ///< share of probes that failed, smoothed: the last one counts half
    unsigned failures = 0;       ///< since it answered last
    std::uint32_t probes = 0;    ///< how often it has been measured
    std::uint16_t last_port = 0; ///< that answered; failing, the last that was tried; 0: ICMP echo
    Time measured{};             ///< when, most lately

    bool has_answered() const { return srtt > Time{}; }
    /// One lost packet makes nobody dead who has answered before.
    bool is_dead() const { return !has_answered() || failures >= 2; }
    /// What a client that begins with this address has to expect.
    Time cost() const;
    /// Failures are measured again ten times as soon.
    bool is_fresh(Time now, Time life) const { return now - measured < (failures > 0 ? life / 10 : life); }
};

class Measurements {
  public:
    explicit Measurements(std::size_t most = limits::measured_addresses) : most_(most) {}

    void note_answer(const dataplane::Address& address, std::uint16_t port, Time rtt, Time now);
    void note_failure(const dataplane::Address& address, std::uint16_t port, Time now);
    /// Null: nothing is known. Good until the next note. `use`: it is needed, and forgotten later.
    const Measurement* find(const dataplane::Address& address) const;
    const Measurement* use(const dataplane::Address& address);
    void clear();
    std::size_t size() const { return known_.size(); }

  private:
    struct Known {
        Measurement measurement;
        std::list<dataplane::Address>::iterator place;
    };
    Measurement& note(const dataplane::Address& address, std::uint16_t port, Time now);

    std::size_t most_;
    std::map<dataplane::Address, Known> known_;
    std::list<dataplane::Address> used_; ///< latest first
};

/// The same addresses: the dead ones last, the others by cost, and those of which nothing is known in their
/// own places or, where the end is to be cut off, behind those that answer. Empty when nothing is known of
/// any, or all are dead.
std::vector<dataplane::Address> order_of(std::span<const dataplane::Address> addresses,
                                         Measurements& measurements, bool is_cut);

} // namespace millrace::control
