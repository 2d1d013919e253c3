#include "control/config/document.hpp"

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <memory>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include "control/config/config.hpp"
#include "dataplane/descriptor.hpp"

namespace millrace::control {

using dataplane::Descriptor;

namespace {

using Result = tl::expected<void, std::string>;

Result failed(const std::string& what, const std::string& path) {
    return tl::unexpected(fmt::format("cannot {} {}: {}", what, path, std::strerror(errno)));
}

/// On disk when it returns.
bool write_all(int fd, std::string_view text) {
    while (!text.empty()) {
        ssize_t put = ::write(fd, text.data(), text.size());
        if (put < 0 && errno != EINTR) return false;
        if (put > 0) text.remove_prefix(std::size_t(put));
    }
    return ::fsync(fd) == 0;
}

/// In one step: whoever reads the file has the old text or the new one.
Result replace_file(const std::string& path, const std::string& text) {
    struct stat status {};
    if (::stat(path.c_str(), &status) < 0) return failed("look at", path);
    std::string beside = path + ".XXXXXX";
    Descriptor file(::mkostemp(beside.data(), O_CLOEXEC));
    if (!file) return failed("make a file beside", path);
    bool is_like_it = ::fchown(file.get(), status.st_uid, status.st_gid) == 0 &&
                      ::fchmod(file.get(), status.st_mode & 07777) == 0;
    if (!is_like_it || !write_all(file.get(), text) || ::rename(beside.c_str(), path.c_str()) < 0) {
        Result error = failed("write", path);
        ::unlink(beside.c_str());
        return error;
    }
    Descriptor folder(::open(std::filesystem::path(path).parent_path().c_str(), O_RDONLY | O_CLOEXEC));
    if (folder) ::fsync(folder.get());
    return {};
}

} // namespace

void Document::take(const std::string& content) {
    file = text = content;
    edits.clear();
    lost.clear();
}

void Document::edit(const std::string& key, Edited&& edited) {
    if (edited.text == text) return;
    if (edited.text == file) return take(file);
    text = std::move(edited.text);
    if (std::ranges::find(edits, key) == edits.end()) edits.push_back(key);
    for (std::string& comment : edited.lost) lost.push_back(std::move(comment));
}

Result save_document(const Document& document) {
    auto now = read_config_file(document.path);
    if (!now) return tl::unexpected(to_string(now.error()));
    if (*now != document.file) {
        return tl::unexpected(document.path +
                              " has been changed since it was read; `config diff` shows where, "
                              "and `config reload` takes it");
    }
    if (!document.lost.empty()) {
        return tl::unexpected(fmt::format("{} would lose comments that stand within what was replaced: {}",
                                          document.path, fmt::join(document.lost, " ")));
    }
    // A link stays one, to another content.
    std::unique_ptr<char, decltype(&std::free)> real(::realpath(document.path.c_str(), nullptr), &std::free);
    if (!real) return failed("look at", document.path);
    return replace_file(real.get(), document.text);
}

} // namespace millrace::control
