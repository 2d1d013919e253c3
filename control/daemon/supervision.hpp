// What the service manager is told of the parts, a few
// times a second: that all workers turn, and how it goes.
//
// Part of the tick: when that stops, so do the signs of life. Control thread only.
#pragma once

#include <utility> // asio 1.22 with GCC 12 needs it first

#include <string>
#include <string_view>

#include <asio/steady_timer.hpp>

#include "control/daemon/figures.hpp"
#include "control/daemon/loop.hpp"
#include "control/daemon/parts.hpp"
#include "control/daemon/reload.hpp"
#include "control/daemon/service_manager.hpp"

namespace millrace::control {

/// "1234 queries/s, 98.7 % hits": of what came within `length`. `trouble` goes before it.
std::string status_line(const Traffic& before, const Traffic& now, Time length, std::string_view trouble);

class Supervision {
  public:
    /// Everything outlives it, and it the loop's turning.
    Supervision(const Parts& parts, Loop& loop, Reload& reload, ServiceManager& manager);

  private:
    void wait();
    void look(Time now);

    Parts p_;
    Loop& loop_;
    ServiceManager& manager_;
    asio::steady_timer timer_;
    std::string status_ = "starting";
    Traffic counted_{};
    Time counted_at_{};
};

} // namespace millrace::control
