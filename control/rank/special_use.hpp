// Addresses by where they lead: into the client's own network, or to no place on the Internet at all (IANA
// IPv4 and IPv6 special-purpose address registries, RFC 6890; multicast, RFC 5771 and RFC 4291 2.7). An IPv6
// address that carries an IPv4 one leads where that does. Pure functions; any thread.
#pragma once

#include <optional>

#include "dataplane/address.hpp"

namespace millrace::control {

/// Private, loopback, link-local or unspecified: a foreign name must not point there (DNS rebinding).
bool is_internal(const dataplane::Address& address);

/// Not globally reachable unicast, all that is internal included: nobody's name makes us send anything there.
bool is_special_use(const dataplane::Address& address);

/// The IPv4 address that an IPv6 one leads to: by NAT64 (64:ff9b::/96, RFC 6052 2.1), 6to4 (RFC 3056 2),
/// Teredo (RFC 4380 4).
std::optional<dataplane::Address> carried_v4(const dataplane::Address& address);

} // namespace millrace::control
