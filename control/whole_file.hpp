// A file that is written beside its name, and takes it when it is whole and on the disk: whoever reads it has
// the old content or the new one, and whatever ends the writer loses the new one alone.
//
// Threads: one at a time. Errors are sentences without the path.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include <sys/types.h>
#include <tl/expected.hpp>

#include "dataplane/descriptor.hpp"

namespace millrace::control {

class WholeFile {
  public:
    using Result = tl::expected<void, std::string>;

    /// A file of our own beside it, anew, for its owner alone; never through a link.
    static tl::expected<WholeFile, std::string> create(const std::string& path);
    WholeFile(WholeFile&&) = default;
    ~WholeFile(); ///< removes what is not finished

    Result write(std::span<const std::uint8_t> octets) const;
    Result belong_to(uid_t owner, gid_t group, mode_t mode) const;
    Result finish();

    static std::string beside(const std::string& path) { return path + ".millrace-new"; }

  private:
    WholeFile(const std::string& path, dataplane::Descriptor file) : path_(path), file_(std::move(file)) {}

    std::string path_;
    dataplane::Descriptor file_; ///< none: finished, or moved from
};

} // namespace millrace::control
