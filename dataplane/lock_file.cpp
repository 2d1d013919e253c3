#include "dataplane/lock_file.hpp"

#include <cerrno>
#include <cstring>

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

namespace millrace::dataplane {

namespace {

using Result = tl::expected<Descriptor, std::string>;

bool is_trusted(const struct stat& file) {
    bool others_write = (file.st_mode & (S_IWGRP | S_IWOTH)) != 0;
    return (file.st_uid == 0 || file.st_uid == geteuid()) && !others_write;
}

Result open_folder(const std::string& path) {
    bool is_new = mkdir(path.c_str(), 0755) == 0;
    if (!is_new && errno != EEXIST) {
        return tl::unexpected("cannot make the folder " + path + ": " + std::strerror(errno));
    }
    Descriptor folder(open(path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    struct stat status {};
    if (!folder || fstat(folder.get(), &status) != 0) {
        return tl::unexpected("cannot open the folder " + path + ": " + std::strerror(errno));
    }
    if (is_new) fchmod(folder.get(), 0755); // whatever the umask: the command socket is in it, too
    if (!is_trusted(status)) return tl::unexpected("others than root can write to the folder " + path);
    return folder;
}

/// None: it went away between the open and the lock, with whoever had it.
Result lock(int folder, const std::string& path, const std::string& name, const std::string& busy) {
    Descriptor file(
        openat(folder, name.c_str(), O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0600));
    struct stat held {
    }, named{};
    if (!file || fstat(file.get(), &held) != 0) {
        return tl::unexpected("cannot open " + path + "/" + name + ": " + std::strerror(errno));
    }
    if (!S_ISREG(held.st_mode) || !is_trusted(held)) {
        return tl::unexpected(path + "/" + name + " is not a file that millrace has made; remove it");
    }
    if (flock(file.get(), LOCK_EX | LOCK_NB) != 0) {
        if (errno == EWOULDBLOCK) return tl::unexpected(busy);
        return tl::unexpected("cannot lock " + path + "/" + name + ": " + std::strerror(errno));
    }
    bool is_there = fstatat(folder, name.c_str(), &named, AT_SYMLINK_NOFOLLOW) == 0;
    if (!is_there || named.st_ino != held.st_ino || named.st_dev != held.st_dev) return Descriptor();
    return file;
}

} // namespace

tl::expected<LockFile, std::string> LockFile::take(const std::string& folder, const std::string& name,
                                                   const std::string& busy) {
    Result opened = open_folder(folder);
    if (!opened) return tl::unexpected(opened.error());
    for (;;) {
        Result file = lock(opened->get(), folder, name, busy);
        if (!file) return tl::unexpected(file.error());
        if (*file) return LockFile(std::move(*opened), name, std::move(*file));
    }
}

/// The file goes while the lock is held: nobody else's can be in its place.
LockFile::~LockFile() {
    if (file_) unlinkat(folder_.get(), name_.c_str(), 0);
}

} // namespace millrace::dataplane
