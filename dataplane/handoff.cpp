#include "dataplane/handoff.hpp"

#include <cassert>
#include <utility>

#include <poll.h>
#include <rte_ring_elem.h>

namespace millrace::dataplane {

Handoff::Handoff()
    : misses_(make_ring("misses", sizeof(Miss), limits::ring_places)),
      wakes_(make_ring("wakes", sizeof(Wake), limits::ring_places)) {
    assert(rte_ring_get_capacity(wakes_.get()) == limits::waiters);
}

bool Handoff::send(const Miss& miss) {
    bool is_asked = rte_ring_enqueue_elem(misses_.get(), const_cast<Miss*>(&miss), sizeof miss) == 0;
    has_asked_ |= is_asked;
    return is_asked;
}

unsigned Handoff::take(std::span<Wake> wakes) {
    return rte_ring_dequeue_burst_elem(wakes_.get(), wakes.data(), sizeof(Wake), unsigned(wakes.size()),
                                       nullptr);
}

unsigned Handoff::take(std::span<Miss> misses) {
    return rte_ring_dequeue_burst_elem(misses_.get(), misses.data(), sizeof(Miss), unsigned(misses.size()),
                                       nullptr);
}

bool Handoff::has_misses() const {
    return !is_empty(misses_.get());
}

void Handoff::send(const Wake& wake) {
    [[maybe_unused]] int full = rte_ring_enqueue_elem(wakes_.get(), const_cast<Wake*>(&wake), sizeof wake);
    assert(full == 0 && "each Wake has a waiter, and the ring has a place for each waiter");
}

void Handoff::sleep(int descriptor, int timeout_ms) {
    sleeper_.announce();
    if (is_empty(wakes_.get())) {
        pollfd waits[] = {{descriptor, POLLIN, 0}, {sleeper_.descriptor(), POLLIN, 0}};
        poll(waits, 2, timeout_ms);
        if (waits[1].revents) sleeper_.drain();
    }
    sleeper_.awake();
}

void Handoff::end_sleep_of(Sleeper& control) {
    if (std::exchange(has_asked_, false)) control.end_sleep();
}

} // namespace millrace::dataplane
