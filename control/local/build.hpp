// From the configuration, and the files that it names, to what is answered here.
//
// Sources, the earlier of which counts: `local.forward`, `local.records`, the special-use zones, the block
// lists in their order. Threads: pure; at start and on the helper thread of a reload.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <tl/expected.hpp>

#include "control/config/config.hpp"
#include "control/local/warm_list.hpp"
#include "dataplane/local_names.hpp"
#include "dataplane/routes.hpp"

namespace millrace::control {

using LocalNamesPtr = std::unique_ptr<const dataplane::LocalNames>;

/// A list as it was read.
struct ReadList {
    std::string file;
    std::size_t names;    ///< of a block list, those that no list before it has
    std::size_t skipped;  ///< lines or records
    std::string first;    ///< of these: its place, and why; empty when there is none
    std::uint64_t digest; ///< of what it says
};

struct LocalRules {
    LocalNamesPtr names;
    std::vector<ReadList> lists;          ///< the one of `cache: keep-warm`, too
    std::unique_ptr<const WarmList> warm; ///< null: there is none
};

/// An error names the file and line. Of what lists are skipped, the log has the number and the first lines.
tl::expected<LocalRules, ConfigError> build_local_names(const Config::Live& live);

/// What a rule's LocalNames::source is: a key of the configuration, or a list's file.
std::string source_text(const Config::Live& live, unsigned source);

/// Which of the configured groups each name is asked of.
std::unique_ptr<const dataplane::Routes> build_routes(const Config::Live& live);

} // namespace millrace::control
