// Files of names to be blocked, read into a LocalNames::Builder.
//
// Strict: a line that makes no sense refuses the whole file, as a half-read list blocks nobody knows what.
// What a response policy zone asks for that is not done here (triggers other than query names, rpz-drop,
// rpz-tcp-only, wildcard targets) is skipped and counted. Threads: pure.
#pragma once

#include <cstddef>

#include "control/config/config.hpp"
#include "dataplane/local_names.hpp"

namespace millrace::control {

struct BlockListResult {
    std::size_t names = 0;   ///< taken
    std::size_t skipped = 0; ///< records of a response policy zone that are not done here
};

tl::expected<BlockListResult, ConfigError> read_block_list(const Config::BlockList& list, unsigned source,
                                                           dataplane::LocalNames::Builder& names);

/// The same on a file that is open; `list.file` is for the errors only.
tl::expected<BlockListResult, ConfigError> read_block_list(const Config::BlockList& list, std::FILE* file,
                                                           unsigned source,
                                                           dataplane::LocalNames::Builder& names);

} // namespace millrace::control
