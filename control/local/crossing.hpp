// Where a chain of CNAMEs leaves the upstream group that was asked.
//
// What stands behind that link in a reply is not the group's to say: it is thrown away, and the link's target
// is asked of its own group, under its own key. So neither group's data gets under the other's keys but by
// way of an Entry of the other's. Threads: pure.
#pragma once

#include <cstdint>
#include <span>

#include "cache/entry.hpp"
#include "cache/slot.hpp"
#include "control/message/answer.hpp"
#include "dataplane/routes.hpp"

namespace millrace::control {

/// Ends a reply to the key at the first link to a name of another group: it is incomplete then, and cut.
void cut_at_crossing(const dataplane::Routes& routes, const cache::Key& key, Answer& answer);

/// Whether the Entry's name, or some name of its chain, is of another group than its key.
bool leaves_group(const dataplane::Routes& routes, const cache::KeyRef& key, const cache::Entry& entry);

} // namespace millrace::control
