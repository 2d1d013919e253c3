#include "control/daemon/signal_patience.hpp"

#include <string_view>

#include <unistd.h>

#include "dataplane/ethdev.hpp"

namespace millrace::control {

namespace {

volatile std::sig_atomic_t pending = 0;
unsigned seconds = 0; // written before the handlers are in place

/// Async-signal-safe, as all of this.
[[noreturn]] void give_up() {
    constexpr std::string_view words =
        "millraced: ended while DPDK was starting a device; its own words, if any, are above\n";
    if (write(STDERR_FILENO, words.data(), words.size()) < 0) _exit(1);
    _exit(1);
}

void on_signal(int signal) {
    if (pending != 0) give_up();
    pending = signal;
    alarm(seconds);
}

void on_alarm(int) {
    give_up();
}

} // namespace

Time start_patience(std::size_t ports) {
    return dataplane::Ethdev::link_patience * std::int64_t(ports + 1);
}

SignalPatience::SignalPatience(Time patience) {
    pending = 0;
    seconds = unsigned(patience / 1s);
    struct sigaction action {};
    action.sa_flags = SA_RESTART;
    sigfillset(&action.sa_mask);
    action.sa_handler = on_alarm;
    sigaction(SIGALRM, &action, &alarm_);
    action.sa_handler = on_signal;
    sigaction(SIGINT, &action, &interrupt_);
    sigaction(SIGTERM, &action, &terminate_);
}

SignalPatience::~SignalPatience() {
    sigaction(SIGINT, &interrupt_, nullptr);
    sigaction(SIGTERM, &terminate_, nullptr);
    alarm(0);
    sigaction(SIGALRM, &alarm_, nullptr);
    if (pending != 0) std::raise(pending);
}

} // namespace millrace::control
