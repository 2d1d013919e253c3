// A burst of DNS packets between a port and its worker, whatever carried them.
#pragma once

#include <array>
#include <cstdint>

#include "dataplane/address.hpp"
#include "dataplane/counters.hpp"
#include "dataplane/limits.hpp"

namespace millrace::dataplane {

/// What a port needs to reply to a client later: reply headers (ethdev) or a socket address. Opaque
/// to the worker.
struct ReturnPath {
    std::array<std::uint8_t, limits::return_octets> octets;
};

/// One DNS message in a buffer of its port's. A reply is written over the query, from `data` on.
struct Packet {
    std::uint8_t* data;  ///< first octet of the DNS message
    std::uint16_t size;  ///< octets received
    std::uint16_t room;  ///< octets that may be written at `data`
    std::uint16_t reply; ///< octets of the reply to send; 0: nothing is sent, the buffer is freed
    Endpoint client;     ///< source of the query
    void* handle;        ///< the port's: an mbuf, or its own index
};

/// Fixed room for the packets of one receive or one round of wakes. Owned and used by one worker thread.
struct Burst {
    std::array<Packet, limits::burst> packets;
    unsigned count = 0;
};

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

    /// Sends every packet with `reply` > 0, frees all buffers and empties the burst. What the port does not
    /// take is freed and counted as send_failed, never retried.
    virtual void send(Burst& burst, Counters& counters) = 0;

    /// A descriptor that becomes readable when packets arrive, or -1 for a port that must be polled.
    virtual int wait_descriptor() const { return -1; }
};

} // namespace millrace::dataplane
