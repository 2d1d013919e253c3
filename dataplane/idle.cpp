#include "dataplane/idle.hpp"

#include <algorithm>
#include <ctime>

#include <rte_cycles.h>
#include <rte_pause.h>
#include <sys/prctl.h>

namespace millrace::dataplane {

Rest rest_of(unsigned ring) {
    constexpr auto usual = unsigned(limits::rx_descriptors);
    Time nap = std::max(limits::first_nap, limits::longest_nap * std::min(ring, usual) / usual);
    return {nap, unsigned(ring * 1000 / std::uint64_t((nap + limits::waking).count()))};
}

Idler::Idler(Idle how, Time longest_nap, cache::Grace::Reader& reader, const Counters& counters)
    : how_(how), longest_nap_(longest_nap), reader_(reader), counters_(counters) {
    // ns: the kernel would add 50 us to each nap, to let timers of several threads expire together.
    if (how == Idle::sleep) prctl(PR_SET_TIMERSLACK, 1);
}

void Idler::after(bool busy) {
    if (how_ == Idle::poll) return;
    std::uint64_t received = busy ? received_ : counters_.received();
    if (busy || received != received_) {
        received_ = received;
        empty_ = 0;
        length_ = limits::first_nap;
    } else if (empty_ < limits::empty_turns) {
        ++empty_;
    } else if (how_ == Idle::pause) {
        pause();
    } else {
        nap();
    }
}

void Idler::rest() {
    length_ = longest_nap_;
    nap();
}

void Idler::pause() const {
    std::uint64_t end = rte_rdtsc() + rte_get_tsc_hz() * std::uint64_t(limits::pause.count()) / 1'000'000;
    while (rte_rdtsc() < end) rte_pause();
}

void Idler::nap() {
    timespec length{0, std::chrono::nanoseconds(length_).count()};
    length_ = std::min(2 * length_, longest_nap_);
    reader_.offline(); // holds nothing while it sleeps: control need not wait for it
    // A signal (net_tap uses one) ends it: all the better.
    clock_nanosleep(CLOCK_MONOTONIC, 0, &length, nullptr);
    reader_.online();
}

} // namespace millrace::dataplane
