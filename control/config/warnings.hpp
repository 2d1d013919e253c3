// What is right in a configuration, but hardly what was meant: said at start, after a reload and by --check.
//
// Pure. Threads: any.
#pragma once

#include <string>
#include <vector>

#include "control/config/config.hpp"

namespace millrace::control {

/// A sentence each, which begins with the key that it is about.
std::vector<std::string> warnings_of(const Config::Live& live);

} // namespace millrace::control
