// What is right in a configuration, but hardly what was meant: said at start and by --check, and what is new
// of it after a change.
//
// Pure. Threads: any.
#pragma once

#include <string>
#include <vector>

#include "control/config/config.hpp"

namespace millrace::control {

/// A sentence each, which begins with the key that it is about.
std::vector<std::string> warnings_of(const Config::Live& live);
/// Those that were not true `before`.
std::vector<std::string> new_warnings(const Config::Live& before, const Config::Live& live);

} // namespace millrace::control
