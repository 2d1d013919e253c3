#include "control/config/document.hpp"

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <span>

#include <fmt/format.h>
#include <sys/stat.h>

#include "control/config/config.hpp"
#include "control/whole_file.hpp"

namespace millrace::control {

namespace {

using Result = tl::expected<void, std::string>;

Result failed(const std::string& what, const std::string& path) {
    return tl::unexpected(fmt::format("cannot {} {}: {}", what, path, std::strerror(errno)));
}

Result replace_file(const std::string& path, const std::string& text) {
    struct stat status {};
    if (::stat(path.c_str(), &status) < 0) return failed("look at", path);
    std::span octets(reinterpret_cast<const std::uint8_t*>(text.data()), text.size());
    return WholeFile::create(path)
        .and_then([&](WholeFile file) {
            return file.belong_to(status.st_uid, status.st_gid, status.st_mode & 07777)
                .and_then([&] { return file.write(octets); })
                .and_then([&] { return file.finish(); });
        })
        .map_error([&](const std::string& why) { return path + " " + why; });
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
