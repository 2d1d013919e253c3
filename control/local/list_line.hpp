// A line of a list of names, in the forms in which such lists are published.
//
//     ads.example            *.ads.example          .ads.example           ||ads.example^
//     0.0.0.0 ads.example tracker.example           fe80::1%lo0 localhost
//
// All of them stand for the name and all below it. A comment is a line that begins with '#' or '!', or what
// follows a '#' behind white space. Names beyond ASCII are UTF-8 and become A-labels (RFC 5891, UTS 46). Of a
// hosts file the machine's own names are passed over: those without a dot, and localhost.localdomain.
//
// Work is bounded for each octet. Threads: pure.
#pragma once

#include <functional>
#include <string_view>
#include <vector>

#include "cache/name.hpp"

namespace millrace::control {

/// What a line says, word by word, without its comment, which begins with a '#' in front of a word.
std::vector<std::string_view> words_of(std::string_view line);

/// Calls `take` for each name of the line. False: it has something that is no name. `is_cut` as in Lines.
bool read_list_line(std::string_view line, bool is_cut, const std::function<void(const cache::Name&)>& take);

} // namespace millrace::control
