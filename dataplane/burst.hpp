// A burst of DNS packets between a port and its worker, whatever carried them.
#pragma once

#include <array>
#include <cstdint>

#include "cache/time.hpp"
#include "dataplane/address.hpp"
#include "dataplane/limits.hpp"

namespace millrace::dataplane {

/// What a port needs to reply to a client later: reply headers (ethdev) or a socket address. Opaque
/// to the worker.
struct ReturnPath {
    std::array<std::uint8_t, limits::return_octets> octets;
    Time asked; ///< when the query came; LoggedPort's
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
    Time now{}; ///< when the turn began
};

} // namespace millrace::dataplane
