// The control thread's loop: drain the rings, poll the sockets, advance the fetches, flush, make
// room, reclaim, sleep.
#pragma once

#include <utility> // asio 1.22 with GCC 12 needs it first

#include <cstdint>

#include <asio/io_context.hpp>
#include <asio/posix/stream_descriptor.hpp>

#include "control/daemon/health.hpp"
#include "control/daemon/parts.hpp"
#include "control/fetch/flush.hpp"

namespace millrace::control {

class Loop {
  public:
    /// `clock` is kept in step with CLOCK_BOOTTIME; null: no worker polls.
    Loop(const Parts& parts, dataplane::TscClock* clock);

    /// Until stop(), then drains: every waiter is answered or abandoned before it returns.
    void run();
    /// After the workers have stopped: what is still in their rings is refused, and counted.
    void refuse_the_rest() {
        while (take_misses(boot_time()) > 0) {
        }
    }
    /// One round. Returns whether there was anything to do.
    bool tick();
    /// From a handler on the control thread (a signal's, a command's).
    void stop() { stopping_ = true; }
    /// Stops because it is of no use any more.
    void fail(std::string why) {
        failure_ = std::move(why);
        stop();
    }
    const std::string& failure() const { return failure_; } ///< empty: none

    /// The longest tick so far, without the handler that ended a sleep before it. Nothing that a tick does
    /// may take more than 5 ms.
    Time longest_tick() const { return longest_; }
    const dataplane::Histogram& ticks() const { return ticks_; } ///< all of them
    Health& health() { return health_; }

  private:
    unsigned take_misses(Time now);
    void rank();
    std::string_view fault() const;
    void drain();
    void nap(bool busy);
    void sleep();
    void wait_for_workers();

    Parts p_;
    dataplane::TscClock* clock_;
    asio::posix::stream_descriptor wanted_; ///< readable when a worker has ended our sleep
    bool stopping_ = false;
    std::string failure_;
    /// More of it can be done at once.
    bool flushing_ = false, tending_ = false, freeing_ = false, filling_ = false;
    Time longest_{};
    dataplane::Histogram ticks_;
    Time clock_due_{}, health_due_{};
    Health health_;
    Time last_busy_{};
};

/// Sends each Wake to whoever can deliver it.
class WakeRouter final : public Waker {
  public:
    void wake(const Waiter& waiter, const cache::Entry* entry, dataplane::Wake::Kind kind) override {
        waiter.is_tcp() ? tcp_->wake(waiter, entry, kind) : workers_->wake(waiter, entry, kind);
    }
    void connect(Workers& workers, TcpServer& tcp) {
        workers_ = &workers;
        tcp_ = &tcp;
    }

  private:
    Workers* workers_ = nullptr;
    TcpServer* tcp_ = nullptr;
};

} // namespace millrace::control
