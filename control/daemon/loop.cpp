#include "control/daemon/loop.hpp"

#include <algorithm>
#include <thread>

#include <sys/prctl.h>
#include <unistd.h>

#include "control/limits.hpp"

namespace millrace::control {

namespace {

constexpr Time clock_interval = 10ms; // how often the workers' clock is set to the kernel's
constexpr Time health_interval = 100ms;
constexpr Time longest_nap = 1ms;
constexpr unsigned nap_share = 128;                  // of the time that nothing happened in
constexpr Time short_sleep = 1ms, long_sleep = 20ms; // asio's epoll counts in milliseconds
constexpr Time drain_limit = 1s;
constexpr unsigned handlers_per_tick = 256;
constexpr Time handler_time = 3ms; // since the tick began, like the next
constexpr Time miss_time = 2ms;    // the last of them may cost much more than others

} // namespace

Loop::Loop(const Parts& parts, dataplane::TscClock* clock)
    : p_(parts), clock_(clock), wanted_(parts.io, dup(parts.workers.sleeper().descriptor())) {}

void Loop::run() {
    prctl(PR_SET_TIMERSLACK, 1000); // ns: naps of microseconds, not of the default's 50 on top
    last_busy_ = boot_time();
    wait_for_workers();
    bool polls = !p_.workers.end_its_sleep();
    while (!stopping_) {
        bool busy = tick();
        if (polls) {
            nap(busy);
        } else if (!flushing_ && !tending_ && !freeing_ && !filling_) {
            sleep();
        }
    }
    drain();
}

void Loop::wait_for_workers() {
    wanted_.async_wait(asio::posix::descriptor_base::wait_read, [this](asio::error_code error) {
        if (error) return;
        p_.workers.sleeper().drain();
        wait_for_workers();
    });
}

bool Loop::tick() {
    Time now = boot_time();
    if (clock_ && now >= clock_due_) {
        clock_->refresh();
        clock_due_ = now + clock_interval;
    }
    unsigned misses = take_misses(now);
    bool has_replies = p_.ways.tick(p_.ports);
    // Bounded: clients that pipeline over TCP always make more handlers ready, and the rings wait meanwhile.
    unsigned handlers = 0;
    while (handlers < handlers_per_tick && boot_time() - now < handler_time && p_.io.poll_one()) ++handlers;
    p_.fetches.tick(boot_time());
    p_.warm.tick(boot_time());
    p_.names.tick(boot_time());
    rank();
    p_.tcp.tick(now);
    p_.workers.end_sleeps(); // before what takes longer
    flushing_ = p_.flushes.tick();
    tending_ = p_.table.upkeep(now);
    freeing_ = p_.grace.reclaim();
    filling_ = p_.store.tick(boot_time());
    p_.workers.end_sleeps();
    p_.workers.watch(now);
    if (p_.eal) p_.eal->update_next_hops(p_.grace);
    p_.ports.tick(now);
    p_.top.tick(now);
    if (now >= health_due_) {
        health_.look(fault(), now);
        health_due_ = now + health_interval;
    }
    Time took = boot_time() - now;
    longest_ = std::max(longest_, took);
    ticks_.add(took);
    return misses || has_replies || handlers || flushing_ || tending_ || freeing_ || filling_;
}

unsigned Loop::take_misses(Time now) {
    auto take = [&](const dataplane::Miss& miss, const Waiter& waiter) {
        if (miss.is_refresh()) return p_.fetches.refresh(miss.key, miss.hash, miss.refresh, now);
        p_.fetches.resolve(miss.key, miss.hash, waiter, now);
    };
    return p_.workers.drain(take, now + miss_time);
}

/// Begins the rankings that were asked for, and publishes the orders that are there.
void Loop::rank() {
    p_.prober.tick(boot_time());
    for (unsigned i = 0; i < limits::rankings_per_tick; ++i) {
        auto order = p_.prober.take();
        if (!order) return;
        p_.fetches.on_ranked(order->fetch, order->addresses);
    }
}

/// Why clients would be served better elsewhere.
std::string_view Loop::fault() const {
    if (p_.workers.is_any_stalled()) return "a worker is stalled";
    if (p_.ports.are_lost())
        return "its ports were given to another millraced, which has ended; restart millraced";
    if (p_.eal &&
        std::ranges::any_of(p_.eal->kernels(), [](auto& kernel) { return kernel.counts->is_gone(); }))
        return "a port's kernel interface has been removed; restart millraced to have it again";
    const Upstreams& first = p_.groups[0];
    bool is_alone = first.size() > 0 && !first.is_any_closed();
    return is_alone ? "no upstream of the first group is up" : "";
}

/// Sleeps the longer the longer nothing happened: polling workers cannot wake us, so what comes next waits
/// for the nap's end, by less than a hundredth of the silence before it.
void Loop::nap(bool busy) {
    Time now = boot_time();
    if (busy) last_busy_ = now;
    Time length = std::min<Time>((now - last_busy_) / nap_share, longest_nap);
    if (length >= 1us) std::this_thread::sleep_for(length);
}

/// Until a socket is ready, a worker has Misses, or what has no descriptor (timers, grace periods)
/// may be due.
void Loop::sleep() {
    dataplane::Sleeper& sleeper = p_.workers.sleeper();
    sleeper.announce();
    bool expecting = p_.fetches.live() > 0 || p_.grace.limbo_bytes() > 0 || p_.flushes.is_waiting();
    Time due = std::min(p_.fetches.next_timer(), p_.warm.next_timer()) - boot_time();
    Time length = std::clamp<Time>(due, 0us, expecting ? short_sleep : long_sleep);
    if (!p_.workers.have_misses()) p_.io.run_one_for(length);
    sleeper.awake();
}

/// Closes the fetches, then goes on until the workers have finished every Wake. New Misses get SERVFAIL.
void Loop::drain() {
    p_.fetches.close();
    Time end = boot_time() + drain_limit;
    while (tick() || p_.workers.outstanding() > 0 || p_.flushes.is_waiting()) {
        if (boot_time() >= end) break;
    }
}

} // namespace millrace::control
