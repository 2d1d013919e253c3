#include "dataplane/sleeper.hpp"

#include <cerrno>
#include <cstdint>
#include <system_error>

#include <sys/eventfd.h>
#include <unistd.h>

namespace millrace::dataplane {

Sleeper::Sleeper() : eventfd_(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) {
    if (!eventfd_) throw std::system_error(errno, std::generic_category(), "eventfd");
}

void Sleeper::announce() {
    asleep_.store(true, std::memory_order_relaxed);
    std::atomic_thread_fence(std::memory_order_seq_cst); // pairs with end_sleep()
}

void Sleeper::awake() {
    asleep_.store(false, std::memory_order_relaxed);
}

void Sleeper::drain() {
    std::uint64_t count;
    [[maybe_unused]] ssize_t drained = read(eventfd_.get(), &count, sizeof count);
}

void Sleeper::end_sleep() {
    // Without this fence the load of `asleep_` could be done before the work is visible: the sleeper would
    // miss the work, and we would miss that it sleeps.
    std::atomic_thread_fence(std::memory_order_seq_cst);
    // Taken down by the first, so that it is nudged once for each sleep.
    if (asleep_.load(std::memory_order_relaxed) && asleep_.exchange(false, std::memory_order_relaxed))
        nudge();
}

void Sleeper::nudge() {
    std::uint64_t one = 1;
    [[maybe_unused]] ssize_t written =
        write(eventfd_.get(), &one, sizeof one); // EAGAIN: it is readable already
}

} // namespace millrace::dataplane
