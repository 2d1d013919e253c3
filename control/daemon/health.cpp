#include "control/daemon/health.hpp"

#include <spdlog/spdlog.h>

#include "control/limits.hpp"

namespace millrace::control {

void Health::go_on_from(std::string_view reason) {
    is_drained_ = reason == "drained";
    if (reason.empty()) fault_ = "";
    show();
}

void Health::drain() {
    is_drained_ = true;
    show();
}

void Health::resume() {
    is_drained_ = false;
    show();
}

void Health::show() {
    shown_.store(reason().data(), std::memory_order_relaxed); // literals end with a zero
}

std::string_view Health::seen_from_outside(Time now) const {
    auto looked = Time(looked_.load(std::memory_order_relaxed));
    if (looked > Time{} && now - looked > limits::stall) return "the control thread is stalled";
    return shown_.load(std::memory_order_relaxed);
}

void Health::look(std::string_view fault, Time now) {
    weigh(fault, now);
    looked_.store(now.count(), std::memory_order_relaxed);
    show();
}

void Health::weigh(std::string_view fault, Time now) {
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
