#include "control/daemon/supervision.hpp"

#include <chrono>

#include <fmt/format.h>

namespace millrace::control {

namespace {

constexpr auto look_interval = std::chrono::milliseconds(100);
constexpr Time status_interval = 2s;

} // namespace

std::string status_line(const Traffic& before, const Traffic& now, Time length, std::string_view trouble) {
    std::string line = trouble.empty() ? "" : fmt::format("not healthy: {}; ", trouble);
    double s = in_seconds(length);
    fmt::format_to(std::back_inserter(line), "{:.0f} queries/s", double(now.received - before.received) / s);
    std::uint64_t hits = now.hits - before.hits, all = hits + now.misses - before.misses;
    if (all > 0)
        fmt::format_to(std::back_inserter(line), ", {:.1f} % hits", 100.0 * double(hits) / double(all));
    return line;
}

Supervision::Supervision(const Parts& parts, Loop& loop, Reload& reload, ServiceManager& manager)
    : p_(parts), loop_(loop), manager_(manager), timer_(parts.io), counted_at_(boot_time()) {
    if (!manager_.is_there()) return;
    reload.set_watcher([this](bool is_under_way) { manager_.reloading(is_under_way); });
    wait();
}

void Supervision::wait() {
    timer_.expires_after(look_interval);
    timer_.async_wait([this](asio::error_code error) {
        if (error) return;
        look(boot_time());
        wait();
    });
}

void Supervision::look(Time now) {
    if (!manager_.is_ready() && p_.workers.have_turned()) manager_.ready();
    if (Time length = now - counted_at_; length >= status_interval) {
        Traffic all = traffic_of(p_);
        status_ = status_line(counted_, all, length, loop_.health().reason());
        counted_ = all;
        counted_at_ = now;
    }
    manager_.tick(!p_.workers.is_any_stalled(), status_, now);
}

} // namespace millrace::control
