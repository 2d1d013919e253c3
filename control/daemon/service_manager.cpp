#include "control/daemon/service_manager.hpp"

#include <charconv>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <string_view>
#include <utility>

#include <fmt/format.h>
#include <sys/socket.h>
#include <unistd.h>

#include "control/limits.hpp"

namespace millrace::control {

namespace {

std::optional<std::uint64_t> number(const char* text) {
    std::string_view all = text ? text : "";
    std::uint64_t value = 0;
    auto [end, error] = std::from_chars(all.data(), all.data() + all.size(), value);
    bool fits = !all.empty() && error == std::errc{} && end == all.data() + all.size();
    return fits ? std::optional(value) : std::nullopt;
}

/// None: the name is none.
std::optional<dataplane::UnixAddress> address_of(const char* name) {
    bool fits = name && (name[0] == '/' || name[0] == '@');
    return fits ? dataplane::unix_or_abstract_address(name) : std::nullopt;
}

/// CLOCK_MONOTONIC, by which the manager tells a reload's end from one before.
std::uint64_t monotonic_us() {
    timespec now{};
    clock_gettime(CLOCK_MONOTONIC, &now);
    return std::uint64_t(now.tv_sec) * 1'000'000 + std::uint64_t(now.tv_nsec) / 1000;
}

} // namespace

ServiceManager::ServiceManager(const char* socket, const char* watchdog, const char* watchdog_pid)
    : address_(address_of(socket)) {
    if (!address_) return;
    socket_ = dataplane::Descriptor(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    auto patience = number(watchdog);
    bool is_for_us = !watchdog_pid || number(watchdog_pid) == std::uint64_t(getpid());
    // sd_watchdog_enabled(3): at half of the time. A quarter leaves room for a tick that comes late.
    if (patience && *patience > 0 && *patience < std::uint64_t(INT64_MAX) && is_for_us)
        pulse_ = Time(std::int64_t(*patience) / 4);
}

ServiceManager ServiceManager::of_environment() {
    ServiceManager manager(std::getenv("NOTIFY_SOCKET"), std::getenv("WATCHDOG_USEC"),
                           std::getenv("WATCHDOG_PID"));
    for (const char* name : {"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"}) unsetenv(name);
    return manager;
}

void ServiceManager::ready() {
    if (!std::exchange(is_ready_, true)) say("READY=1");
}

void ServiceManager::reloading(bool is_under_way) {
    say(is_under_way ? fmt::format("RELOADING=1\nMONOTONIC_USEC={}", monotonic_us()) : "READY=1");
}

void ServiceManager::stopping() {
    say("STOPPING=1");
}

void ServiceManager::tick(bool is_alive, const std::string& status, Time now) {
    if (!is_there()) return;
    while (!unsent_.empty() && send(unsent_.front())) unsent_.pop_front();
    if (!unsent_.empty() || !is_ready_) return;
    if (pulse_ && is_alive && now >= pulse_due_ && send("WATCHDOG=1")) pulse_due_ = now + *pulse_;
    if (status != status_ && send("STATUS=" + status)) status_ = status;
}

/// In order; whatever is said while many wait is one more reload, of which the last word counts.
void ServiceManager::say(std::string words) {
    if (!is_there()) return;
    while (!unsent_.empty() && send(unsent_.front())) unsent_.pop_front();
    if (unsent_.empty() && send(words)) return;
    if (unsent_.size() == limits::unsent_notifications) unsent_.pop_front();
    unsent_.push_back(std::move(words));
}

bool ServiceManager::send(const std::string& words) const {
    return ::sendto(socket_.get(), words.data(), words.size(), MSG_DONTWAIT | MSG_NOSIGNAL, address_->get(),
                    address_->size) >= 0;
}

} // namespace millrace::control
