// A lock that one process of this machine holds at a time, and that nobody else can take beforehand: a file
// in a folder that only its owner can write to. (Any user may bind any abstract socket name.)
//
// The kernel lets go of it when the process dies, however it dies. Its file goes with an orderly end; one
// that was left behind is taken over. Errors are sentences. Any thread.
#pragma once

#include <string>
#include <utility>

#include <tl/expected.hpp>

#include "dataplane/descriptor.hpp"

namespace millrace::dataplane {

class LockFile {
  public:
    /// `folder` is made if it is missing; it has to belong to root or to us, as has the file. `busy` is the
    /// error when another process holds the lock.
    static tl::expected<LockFile, std::string> take(const std::string& folder, const std::string& name,
                                                    const std::string& busy);

    LockFile() = default; ///< none
    LockFile(LockFile&& other) noexcept = default;
    LockFile& operator=(LockFile&& other) noexcept {
        std::swap(folder_, other.folder_);
        std::swap(name_, other.name_);
        std::swap(file_, other.file_);
        return *this;
    }
    ~LockFile();

  private:
    LockFile(Descriptor folder, std::string name, Descriptor file)
        : folder_(std::move(folder)), name_(std::move(name)), file_(std::move(file)) {}

    Descriptor folder_;
    std::string name_;
    Descriptor file_;
};

} // namespace millrace::dataplane
