// The lines of a list, whoever wrote it: bounded, numbered, without a byte order mark.
//
// Work is linear in octets, memory bounded. Threads: one.
#pragma once

#include <array>
#include <cstdio>
#include <memory>
#include <string>
#include <string_view>

#include <tl/expected.hpp>

#include "control/config/config.hpp"

namespace millrace::control {

using ListFile = std::unique_ptr<std::FILE, int (*)(std::FILE*)>;

/// A regular file; anything else is an error that names it.
tl::expected<ListFile, ConfigError> open_list(const std::string& path);

class Lines {
  public:
    explicit Lines(std::FILE* file) : file_(file) {} ///< which outlives it

    bool next(); ///< false: there is none left

    /// Without its end, LF or CRLF; of a line that is cut, the beginning.
    std::string_view text() const { return text_; }
    bool is_cut() const { return is_cut_; } ///< it is longer than limits::list_line
    int number() const { return number_; }  ///< from 1 on

  private:
    bool fill();

    std::FILE* file_;
    std::array<char, 65536> buffer_;
    std::string_view rest_; ///< of the buffer
    std::string text_;
    bool is_cut_ = false;
    int number_ = 0;
};

} // namespace millrace::control
