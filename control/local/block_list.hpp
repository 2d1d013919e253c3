// Files of names to be blocked, read into a LocalNames::Builder.
//
// What their authors write is not the operator's doing: a line that is no name, and a record that is none, is
// not of the zone or asks for what is not done here (triggers other than query names, rpz-drop,
// rpz-tcp-only, wildcard targets), is skipped, counted and named. Refused is what is no zone at all, has a
// directive that is not understood (all behind it would mean something else), or is too much. Threads: pure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "control/config/config.hpp"
#include "control/limits.hpp"
#include "dataplane/local_names.hpp"

namespace millrace::control {

/// Also of other files of names (control/local/warm_list.hpp).
struct BlockListResult {
    struct Skipped {
        int line;
        std::string why; ///< and what stands there, escaped and cut
    };
    void skip(int line, std::string_view why, std::string_view what);

    std::size_t names = 0;      ///< taken: no list before this one has them
    std::size_t skipped = 0;    ///< lines or records
    std::vector<Skipped> first; ///< of these, limits::named_lines at most
    std::uint64_t digest = 0;   ///< of what it says, whatever the order; comparable within this process
};

tl::expected<BlockListResult, ConfigError> read_block_list(const Config::BlockList& list, unsigned source,
                                                           dataplane::LocalNames::Builder& names);

/// The same on a file that is open; `list.file` is for the errors only. More than `most` names, or records of
/// a zone, are refused.
tl::expected<BlockListResult, ConfigError> read_block_list(const Config::BlockList& list, std::FILE* file,
                                                           unsigned source,
                                                           dataplane::LocalNames::Builder& names,
                                                           std::size_t most = limits::blocked_names);

/// What is expected when all lists together have more names than LocalNames has room for.
inline constexpr const char* no_room = "names of at most 4 GiB in all lists together";

/// What a list's reason is to clients.
std::uint16_t info_of(Config::BlockList::Reason reason);
/// The rule by which a list denies names: NXDOMAIN or NODATA.
dataplane::LocalNames::Builder::RuleId denial(dataplane::LocalNames::Builder& names, unsigned source,
                                              const Config::BlockList& list,
                                              dataplane::LocalNames::Action action);

} // namespace millrace::control
