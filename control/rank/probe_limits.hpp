// How many probes may leave, so that no names, whoever makes them up, turn us
// into a scanner or a flood: in all and towards one network (/24, /48), at
// once and per second, with one second's worth at once. An IPv6 address that
// carries an IPv4 one is of that one's network. Control thread only.
#pragma once

#include <cstddef>
#include <map>

#include "cache/time.hpp"
#include "control/limits.hpp"
#include "dataplane/address.hpp"

namespace millrace::control {

class ProbeLimits {
  public:
    explicit ProbeLimits(std::size_t most = limits::probes) : most_(most) {}

    /// Whether one more may leave towards the address, of at most
    /// `rate` in a second. If so it counts, as open until leave().
    bool enter(const dataplane::Address& address, unsigned rate, Time now);
    void leave(const dataplane::Address& address);
    /// The same of one that could not be sent: as if it had never entered.
    void give_back(const dataplane::Address& address, unsigned rate);

    std::size_t open() const { return all_.open; }
    std::size_t networks() const {
        return networks_.size();
    } ///< that are counted: some seconds' worth at most

  private:
    /// A token bucket as the generic cell rate algorithm.
    struct Bucket {
        Time full{}; ///< when it will have all of its tokens back
        std::size_t open = 0;

        bool has_token(unsigned rate, Time now) const;
        void take(unsigned rate, Time now);
    };
    void forget(Time now);

    std::size_t most_;
    Bucket all_;
    std::map<dataplane::Address, Bucket> networks_; ///< a tree: nobody can make it slow
    Time forgotten_{};
};

} // namespace millrace::control
