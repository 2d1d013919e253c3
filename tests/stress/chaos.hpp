// Disturbing threads from outside, at any point: a signal whose handler sleeps stops one wherever it is
// (SIGSTOP would stop all of them); they are moved between cores, made to share one, and starved of time.
#pragma once

#include <atomic>
#include <random>
#include <thread>
#include <vector>

#include <sched.h>
#include <sys/types.h>

#include "tests/stress/checks.hpp"

namespace millrace::stress {

/// A thread that may be disturbed. Made by the thread itself, which it then belongs to.
class Victim {
  public:
    explicit Victim(bool is_owner);
    Victim(const Victim&) = delete;
    Victim& operator=(const Victim&) = delete;

    pid_t thread() const { return thread_; }
    bool is_owner() const { return is_owner_; }

    /// Any thread: has it stand still as soon as the signal arrives.
    void stop(Time length);
    /// Any thread: since when it stands still; 0 when it runs, or has not begun to stand still.
    Time stopped_since() const { return Time(stopped_since_.load(std::memory_order_relaxed)); }

  private:
    static void on_signal(int);

    pid_t thread_;
    bool is_owner_;
    std::atomic<std::int64_t> length_{0}, stopped_since_{0};
};

class Chaos {
  public:
    /// The first victim stands still for two seconds every now and then (S21). With `perturb` all of them are
    /// disturbed, all the time.
    Chaos(const Options& options, std::vector<Victim*> victims, Checks& checks);
    ~Chaos(); ///< undoes what it did to the threads

  private:
    void run();
    void stall();
    void disturb(Victim& victim);
    void move(Victim& victim);
    void starve(Victim& victim);

    const Options& options_;
    std::vector<Victim*> victims_; ///< the first one polls: it is the one that stalls
    Checks& checks_;
    std::mt19937_64 chance_;
    cpu_set_t cores_;
    std::atomic<bool> stop_{false};
    std::thread thread_;
};

} // namespace millrace::stress
