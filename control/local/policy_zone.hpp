// A response policy zone (draft-vixie-dnsop-dns-rpz): its query names and what is done with them.
//
// Records are parsed by ldns, an entry at a time, so that an error names the line of its own entry.
//
// Threads: pure.
#pragma once

#include "control/local/block_list.hpp"

namespace millrace::control {

tl::expected<BlockListResult, ConfigError> read_policy_zone(const Config::BlockList& list, std::FILE* file,
                                                            unsigned source,
                                                            dataplane::LocalNames::Builder& names,
                                                            std::size_t most);

} // namespace millrace::control
