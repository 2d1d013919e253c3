#include "control/whole_file.hpp"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace millrace::control {

using dataplane::Descriptor;

namespace {

tl::unexpected<std::string> failure(const char* what) {
    return tl::unexpected(std::string(what) + ": " + std::strerror(errno));
}

} // namespace

tl::expected<WholeFile, std::string> WholeFile::create(const std::string& path) {
    constexpr mode_t owners_alone = 0600;
    std::string name = beside(path);
    ::unlink(name.c_str()); // of a writer that was ended
    Descriptor file(::open(name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, owners_alone));
    if (!file) return failure("cannot be created");
    return WholeFile(path, std::move(file));
}

WholeFile::~WholeFile() {
    if (file_) ::unlink(beside(path_).c_str());
}

WholeFile::Result WholeFile::write(std::span<const std::uint8_t> octets) const {
    while (!octets.empty()) {
        ssize_t written = ::write(file_.get(), octets.data(), octets.size());
        if (written < 0 && errno == EINTR) continue;
        if (written < 0) return failure("cannot be written");
        octets = octets.subspan(std::size_t(written));
    }
    return {};
}

WholeFile::Result WholeFile::belong_to(uid_t owner, gid_t group, mode_t mode) const {
    bool is_done = ::fchown(file_.get(), owner, group) == 0 && ::fchmod(file_.get(), mode) == 0;
    return is_done ? Result() : failure("cannot be given to its owner");
}

WholeFile::Result WholeFile::finish() {
    if (::fsync(file_.get()) != 0) return failure("cannot be brought to the disk");
    if (::rename(beside(path_).c_str(), path_.c_str()) != 0) return failure("cannot be put in its place");
    file_ = Descriptor();
    Descriptor folder(::open(std::filesystem::path(path_).parent_path().c_str(), O_RDONLY | O_CLOEXEC));
    if (folder) ::fsync(folder.get()); // the name, too
    return {};
}

} // namespace millrace::control
