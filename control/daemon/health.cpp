#include "control/daemon/health.hpp"

#include <spdlog/spdlog.h>

namespace millrace::control {

void Health::look(std::string_view fault, Time now) {
    if (fault.empty() == fault_.empty()) {
        fault_ = fault;
        changed_.reset();
        return;
    }
    if (!changed_) changed_ = now;
    if (now - *changed_ < (fault.empty() ? rise : fall)) return;
    fault_ = fault;
    changed_.reset();
    fault.empty() ? spdlog::info("healthy: clients are welcome")
                  : spdlog::warn("not healthy: {}; clients should be sent elsewhere", fault);
}

} // namespace millrace::control
