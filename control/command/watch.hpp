// Looking again and again: for those who watch the daemon, on a terminal in place, else one below the other.
#pragma once

#include <chrono>
#include <functional>
#include <optional>

#include <nlohmann/json.hpp>

namespace millrace::control {

/// What became of the counters between two looks.
class Rates {
  public:
    /// Rows of counter, total and, but for the first time, per_second. Nested counters have dotted names;
    /// what is no number is left out.
    nlohmann::json of(const nlohmann::json& counters, std::chrono::steady_clock::time_point now);

  private:
    nlohmann::json before_; ///< flat
    std::chrono::steady_clock::time_point at_;
};

/// Calls `look` every `seconds` until it returns an exit code, or SIGINT or SIGTERM comes: 0.
int watch(double seconds, const std::function<std::optional<int>()>& look);

} // namespace millrace::control
