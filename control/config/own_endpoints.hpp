// Where this program answers, which nobody else may make it ask: a forward loop.
//
// Threads: any; both read the kernel's list of addresses, which lcores never do.
#pragma once

#include <span>

#include "dataplane/address.hpp"

namespace millrace::control {

/// Whether some interface of the kernel has the address.
bool kernel_holds(const dataplane::Address& address);

/// Whether one of `own` is the endpoint, or is on all addresses of this machine (0.0.0.0, ::), of which
/// it has, or had a second ago, the endpoint's. A link-local address with a zone may be a neighbour's, too.
bool answers_at(std::span<const dataplane::Endpoint> own, const dataplane::Endpoint& endpoint);

/// 127.0.0.0/8 and ::1, which are this machine's, whatever its interfaces have.
bool is_loopback(const dataplane::Address& address);

} // namespace millrace::control
