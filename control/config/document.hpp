// The text of the running configuration: the file as it was read last, and what was changed since.
//
// Threads: a plain value, but for save_document, which reads and writes the disk and is not for control.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include <tl/expected.hpp>

#include "control/config/edit.hpp"

namespace millrace::control {

struct Document {
    std::string path;
    std::string file;                 ///< what it says, or did when it was read last
    std::string text;                 ///< what is in effect: the same, edited
    std::vector<std::string> edits{}; ///< keys that were changed since, each once
    std::vector<std::string> lost{};  ///< comments of the file that `text` has no more

    bool differs() const { return text != file; }
    /// The file says so.
    void take(const std::string& content);
    void edit(const std::string& key, Edited&& edited);
};

/// Writes the text into the file: beside it first, then in its place, with its mode and owner. An error is a
/// sentence: the file says something else than it did when it was read, comments would be lost, or the disk.
tl::expected<void, std::string> save_document(const Document& document);

} // namespace millrace::control
