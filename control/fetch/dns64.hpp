// Answers for hosts that have IPv6 alone (DNS64, RFC 6147): what is made of the AAAA and of the A answer to a
// question that a rule concerns. Threads: pure.
#pragma once

#include <optional>

#include "cache/key.hpp"
#include "control/local/alias.hpp"
#include "control/message/answer.hpp"
#include "dataplane/dns64.hpp"

namespace millrace::control {

/// That the key's answer is the one of the same key without the rule, unless that has no AAAA records.
Alias native_alias(const cache::Key& key);
/// That the key's answer is made of A records. What comes of it lives as long as what comes of a Fetch at
/// work at most, until a caller who knows better says so.
Alias mapped_alias(const cache::Key& key, Time now);
/// PTR: a CNAME to the name of the IPv4 address that the question's name holds (RFC 6147 5.3.1.2).
Alias reverse_alias(const dataplane::Dns64& rule, const cache::Key& key);

/// The answer to A and AAAA of ipv4only.arpa, which nobody is asked for (RFC 7050 2.2, RFC 8880 7.1). None:
/// there is no memory for it.
std::optional<Answer> ipv4only_answer(const dataplane::Dns64& rule, const cache::Key& key, Time now);

/// Whether the AAAA answer is the answer; AAAA records that are excluded are taken out of it then. Else it is
/// left as one without records.
bool stands(const dataplane::Dns64& rule, const cache::Key& key, Answer& native);
/// How long what is made of A records lives at most, as there are no AAAA records (RFC 6147 5.1.7).
/// `expiry`: of the Entry that says so.
Time latest_expiry(const Answer& native, Time expiry);

/// Makes the A answer an AAAA answer, behind the same chain. False: it is left as it was, since it has no
/// records that can be, or is signed and the client validates.
bool synthesise(const dataplane::Dns64& rule, const cache::Key& key, Answer& answer);

} // namespace millrace::control
