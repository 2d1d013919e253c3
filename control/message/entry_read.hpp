// An Entry back into an Answer: the reply that would be made of it, parsed like an upstream's. Threads: pure.
#pragma once

#include <cstdint>
#include <optional>

#include "cache/entry.hpp"
#include "cache/key.hpp"
#include "control/message/answer.hpp"

namespace millrace::control {

/// What the Entry, published for `key`, says at `now`, its TTLs counted down.
std::optional<Answer> read_entry(const cache::Key& key, const cache::Entry& entry, Time now);

/// The same of an Entry of LocalNames, whose TTLs stand still; `above` as in dataplane::answer::write_local.
std::optional<Answer> read_local_entry(const cache::Key& key, const cache::Entry& entry, std::uint8_t above,
                                       Time now);

} // namespace millrace::control
