// The log's lines about the breaker of one server.
//
// Who makes a server lose packets makes it change, so in a minute (limits::log_interval) only so many lines
// are written; when more changes came, one line at the end says how it stands. What the operator does himself
// does not come this way; but his word has what was held back written first.
//
// Control thread only.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "cache/time.hpp"

namespace millrace::control {

class StateLog {
  public:
    struct Line {
        std::string server;               ///< Upstreams::title()
        std::string_view breaker, reason; ///< literals
    };
    void note(const Line& line, Time now);
    /// Writes what was held back, when it is time.
    void tick(Time now);
    /// Writes it before its time. The operator's doing: others could bring about any number of lines.
    void write_held_back();

  private:
    std::optional<Time> began_; ///< the interval that `written_` is of
    unsigned written_ = 0;
    unsigned held_back_ = 0;
    Line last_; ///< while some are held back
};

} // namespace millrace::control
