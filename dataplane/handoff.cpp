#include "dataplane/handoff.hpp"

#include <cassert>
#include <cstdlib>
#include <new>
#include <system_error>

#include <poll.h>
#include <rte_ring_elem.h>
#include <sys/eventfd.h>
#include <unistd.h>

namespace millrace::dataplane {

void Handoff::FreeRing::operator()(rte_ring* ring) const {
    std::free(ring);
}

Handoff::Ring Handoff::make_ring(const char* name, unsigned element_octets) {
    ssize_t octets = rte_ring_get_memsize_elem(element_octets, limits::ring_places);
    auto rounded =
        (std::size_t(octets) + RTE_CACHE_LINE_SIZE - 1) / RTE_CACHE_LINE_SIZE * RTE_CACHE_LINE_SIZE;
    Ring ring(static_cast<rte_ring*>(std::aligned_alloc(RTE_CACHE_LINE_SIZE, rounded)));
    if (!ring || rte_ring_init(ring.get(), name, limits::ring_places, RING_F_SP_ENQ | RING_F_SC_DEQ) != 0) {
        throw std::bad_alloc();
    }
    assert(rte_ring_get_capacity(ring.get()) == limits::waiters);
    return ring;
}

Handoff::Handoff()
    : misses_(make_ring("misses", sizeof(Miss))), wakes_(make_ring("wakes", sizeof(Wake))),
      eventfd_(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) {
    if (eventfd_ < 0) throw std::system_error(errno, std::generic_category(), "eventfd");
}

Handoff::~Handoff() {
    close(eventfd_);
}

namespace {

/// For the consumer. rte_ring_empty() reads the producer's tail as a plain volatile, which is a data race in
/// C++.
bool is_empty(const rte_ring* ring) {
    return __atomic_load_n(&ring->prod.tail, __ATOMIC_RELAXED) == ring->cons.tail;
}

} // namespace

bool Handoff::ask(const Miss& miss) {
    return rte_ring_enqueue_elem(misses_.get(), const_cast<Miss*>(&miss), sizeof miss) == 0;
}

unsigned Handoff::take(std::span<Wake> wakes) {
    return rte_ring_dequeue_burst_elem(wakes_.get(), wakes.data(), sizeof(Wake), unsigned(wakes.size()),
                                       nullptr);
}

unsigned Handoff::take(std::span<Miss> misses) {
    return rte_ring_dequeue_burst_elem(misses_.get(), misses.data(), sizeof(Miss), unsigned(misses.size()),
                                       nullptr);
}

void Handoff::wake(const Wake& wake) {
    [[maybe_unused]] int full = rte_ring_enqueue_elem(wakes_.get(), const_cast<Wake*>(&wake), sizeof wake);
    assert(full == 0 && "each Wake has a waiter, and the ring has a place for each waiter");
    // Without this fence the load of `asleep` could be done before the enqueue is visible: the worker, about
    // to sleep, would miss the Wake, and we would miss that it sleeps.
    std::atomic_thread_fence(std::memory_order_seq_cst);
    if (asleep_.load(std::memory_order_relaxed)) nudge();
}

void Handoff::nudge() {
    std::uint64_t one = 1;
    [[maybe_unused]] ssize_t written = write(eventfd_, &one, sizeof one); // EAGAIN: it is readable already
}

void Handoff::sleep(int descriptor, int timeout_ms) {
    asleep_.store(true, std::memory_order_relaxed);
    std::atomic_thread_fence(std::memory_order_seq_cst); // pairs with wake()
    if (is_empty(wakes_.get())) {
        pollfd waits[] = {{descriptor, POLLIN, 0}, {eventfd_, POLLIN, 0}};
        poll(waits, 2, timeout_ms);
    }
    asleep_.store(false, std::memory_order_relaxed);
    std::uint64_t count;
    [[maybe_unused]] ssize_t drained = read(eventfd_, &count, sizeof count);
}

} // namespace millrace::dataplane
