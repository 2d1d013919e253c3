// How the daemon logs: spdlog's default logger, whichever sink and form the configuration asks for.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>

#include <spdlog/formatter.h>
#include <tl/expected.hpp>

#include "control/config/config.hpp"

namespace millrace::control {

/// From here on; or a sentence. At start, once or twice, before there are threads.
tl::expected<void, std::string> start_log(Config::LogFormat format);

/// What is less grave is not logged; what ends the daemon always is. Control thread.
void set_log_level(Config::LogLevel level);

/// So many lines in so long: limits::eal_log_lines, limits::eal_log_interval. Any thread.
class LineRate {
  public:
    /// Whether there is room for one more. If so, `missing` is how many since the last had none.
    bool take(Time now, std::uint64_t& missing);

  private:
    std::mutex mutex_;
    Time since_{};
    unsigned lines_ = 0;
    std::uint64_t missing_ = 0;
};

/// What DPDK logs, at a LineRate, as a driver may have something to say of each packet. Any thread.
void log_of_eal(unsigned level, std::string_view message);

/// An object a line: time (RFC 3339, UTC), level, message. Whole within what a pipe takes at once, if need be
/// with a shorter message.
std::unique_ptr<spdlog::formatter> json_formatter();

} // namespace millrace::control
