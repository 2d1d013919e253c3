// From the configuration, and the files that it names, to what is answered here.
//
// Sources, the earlier of which counts: `local.forward`, `local.records`, the special-use zones, the block
// lists in their order. Threads: pure; at start and on the helper thread of a reload.
#pragma once

#include <memory>

#include <tl/expected.hpp>

#include "control/config/config.hpp"
#include "dataplane/local_names.hpp"

namespace millrace::control {

using LocalNamesPtr = std::unique_ptr<const dataplane::LocalNames>;

/// An error names the file and line.
tl::expected<LocalNamesPtr, ConfigError> build_local_names(const Config::Live& live);

} // namespace millrace::control
