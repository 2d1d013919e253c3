#include "control/upstream/state_log.hpp"

#include <spdlog/spdlog.h>

#include "control/limits.hpp"

namespace millrace::control {

void StateLog::note(const Line& line, Time now) {
    tick(now);
    if (!began_ || now >= *began_ + limits::log_interval) {
        began_ = now;
        written_ = 0;
    }
    if (written_ == limits::state_lines) {
        ++held_back_;
        last_ = line;
        return;
    }
    ++written_;
    spdlog::warn("{}: breaker {}: {}", line.server, line.breaker, line.reason);
}

void StateLog::tick(Time now) {
    if (held_back_ == 0 || now < *began_ + limits::log_interval) return;
    write_held_back();
    began_ = now;
    written_ = 1;
}

void StateLog::write_held_back() {
    if (held_back_ == 0) return;
    spdlog::warn("{}: breaker {}, after {} more changes: {}", last_.server, last_.breaker, held_back_,
                 last_.reason);
    held_back_ = 0;
}

} // namespace millrace::control
