// Single probes, abstract so that a test can stand in for the kernel.
//
// Threads: the control thread alone, callbacks included; they come from the caller's loop, never from inside
// start or close. Ownership: whoever implements it owns the sockets; the listener outlives them.
#pragma once

#include <cstdint>
#include <system_error>

#include <tl/expected.hpp>

#include "cache/time.hpp"
#include "dataplane/address.hpp"

namespace millrace::control {

/// Names a probe; never given out again. 0 is nobody's.
using ProbeId = std::uint64_t;

class ProbeListener {
  public:
    virtual ~ProbeListener() = default;

    /// It answered after `rtt`, or said that it will not (a refused connection, an ICMP error). The probe is
    /// over. Silence is not reported.
    virtual void on_probe_ended(ProbeId probe, bool has_answered, Time rtt, Time now) = 0;
};

class Probes {
  public:
    virtual ~Probes() = default;

    virtual void set_listener(ProbeListener& listener) = 0; ///< before the first start()

    /// A TCP connection to this endpoint, given up as soon as it stands; port 0: an ICMP echo request. An
    /// error is this machine's: nothing has left.
    virtual tl::expected<ProbeId, std::errc> start(const dataplane::Endpoint& to, Time now) = 0;

    /// Nobody waits for it any more. Unknown and ended ones are ignored.
    virtual void close(ProbeId probe) = 0;

    /// None is open, nor will be soon: gives up what is kept for the next ones.
    virtual void rest() = 0;
};

} // namespace millrace::control
