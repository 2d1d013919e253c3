// What an lcore does when turn after turn finds nothing: the price of polling on a port that
// is mostly silent.
//
//   poll   turns again: the whole CPU, and no packet ever waits.
//   pause  lets a microsecond of PAUSE instructions pass between turns: the sibling hyper-thread and the
//          power budget gain, the kernel still sees a busy CPU.
//   sleep  sleeps, the longer the longer nothing comes, up to what rest_of() says of the receive ring, which
//          holds what arrives meanwhile. A Wake waits for as long at most.
//
// Packets that were dropped are not nothing: a flood of them must not find the lcore asleep.
#pragma once

#include <cstdint>

#include "cache/grace.hpp"
#include "dataplane/counters.hpp"
#include "dataplane/limits.hpp"

namespace millrace::dataplane {

enum class Idle : std::uint8_t { poll, pause, sleep };

/// How an lcore sleeps whose receive ring has so many places.
struct Rest {
    Time longest_nap = limits::longest_nap;
    unsigned packets_per_ms = 0; ///< at which the ring holds what comes during such a nap and the waking
};

/// A ring of limits::rx_descriptors or more gets the longest nap; a shorter one gets a nap shorter in
/// proportion. It promises less all the same: its lcore takes no less time to wake.
Rest rest_of(unsigned ring);

/// Counts the empty turns of one lcore, and rests. Made and used by that lcore alone, online for RCU.
class Idler {
  public:
    Idler(Idle how, Time longest_nap, cache::Grace::Reader& reader, const Counters& counters);

    /// After a turn. `busy`: it had something to do.
    void after(bool busy);
    /// After a turn of a port that is away: a nap, whatever Idle says. Its CPU may be somebody else's by now.
    void rest();

  private:
    void pause() const;
    void nap();

    Idle how_;
    Time longest_nap_;
    cache::Grace::Reader& reader_;
    const Counters& counters_;
    std::uint64_t received_ = 0;      ///< packets, when last looked at
    unsigned empty_ = 0;              ///< turns in a row
    Time length_ = limits::first_nap; ///< of the next nap
};

} // namespace millrace::dataplane
