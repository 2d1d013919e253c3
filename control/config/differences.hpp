// A configuration key by key, as `--check` prints it, and where two differ.
//
// Threads: pure. Work is linear in the configuration, which may be a mebibyte: not for the control thread.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "control/config/config.hpp"

namespace millrace::control {

/// Dotted keys and their values, in the order of the printed form; lists of plain values in one piece.
std::vector<std::pair<std::string, std::string>> values_of(const Config& config);

struct Difference {
    std::string key, running, file; ///< a value is empty where there is no such key

    bool operator==(const Difference&) const = default;
};
std::vector<Difference> differences(const Config& running, const Config& file);

} // namespace millrace::control
