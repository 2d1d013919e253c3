// Where a worker's packets come from and go to: an interface.
#pragma once

#include "dataplane/burst.hpp"
#include "dataplane/counters.hpp"

namespace millrace::dataplane {

/// The front end of one worker: one ethdev queue, or one kernel UDP socket. Used by its
/// worker's thread alone.
class Port {
  public:
    virtual ~Port() = default;

    /// Fills `burst` with the DNS messages that arrived, `reply` = 0. A packet that is not a DNS message for
    /// us gets its verdict here, counted, and is freed. Never blocks.
    virtual void receive(Burst& burst, Counters& counters) = 0;

    /// Writes down how to reply to `packet` once its buffer is gone.
    virtual void save(const Packet& packet, ReturnPath& path) = 0;

    /// Appends to `burst` an empty packet addressed by `path`; false when there is no buffer.
    /// `burst` has room.
    virtual bool compose(Burst& burst, const ReturnPath& path) = 0;

    /// Sends every packet with `reply` > 0, frees all buffers and empties the burst. What the port takes is
    /// counted as sent, the rest is freed and counted as send_failed, never retried.
    virtual void send(Burst& burst, Counters& counters) = 0;

    static constexpr int polled = -1, away = -2;
    /// A descriptor that becomes readable when packets arrive; or `polled`, of a port that must be;
    /// or `away`: nothing comes for now.
    virtual int wait_descriptor() const { return polled; }
};

} // namespace millrace::dataplane
