#include "tests/stress/chaos.hpp"

#include <cerrno>
#include <csignal>

#include <sched.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tests/stress/points.hpp"

namespace millrace::stress {

namespace {

constexpr int stop_signal = SIGUSR1;
constexpr Time longest_stop = 50ms, longest_stop_of_owner = 10ms, stall_length = 2s, between_stalls = 15s;

thread_local constinit Victim* current = nullptr;

} // namespace

Victim::Victim(bool is_owner) : thread_(pid_t(syscall(SYS_gettid))), is_owner_(is_owner) {
    struct sigaction action {};
    action.sa_handler = on_signal;
    action.sa_flags = SA_RESTART;
    sigaction(stop_signal, &action, nullptr);
    current = this;
    perturb_this_thread();
}

void Victim::stop(Time length) {
    length_.store(length.count(), std::memory_order_relaxed);
    syscall(SYS_tgkill, getpid(), thread_, stop_signal);
}

void Victim::on_signal(int) {
    int saved = errno;
    std::int64_t length = current->length_.exchange(0, std::memory_order_relaxed);
    current->stopped_since_.store(boot_time().count(), std::memory_order_relaxed);
    stand_still(length);
    current->stopped_since_.store(0, std::memory_order_relaxed);
    errno = saved;
}

Chaos::Chaos(const Options& options, std::vector<Victim*> victims, Checks& checks)
    : options_(options), victims_(std::move(victims)), checks_(checks), chance_(options.seed) {
    sched_getaffinity(0, sizeof cores_, &cores_);
    thread_ = std::thread([this] { run(); });
}

Chaos::~Chaos() {
    stop_ = true;
    thread_.join();
    for (Victim* v : victims_) {
        sched_param normal{};
        sched_setscheduler(v->thread(), SCHED_OTHER, &normal);
        setpriority(PRIO_PROCESS, id_t(v->thread()), 0);
        sched_setaffinity(v->thread(), sizeof cores_, &cores_);
    }
}

void Chaos::run() {
    Time stall_due = boot_time() + Time(std::chrono::seconds(options_.seconds)) / 4;
    while (!stop_.load(std::memory_order_relaxed)) {
        std::this_thread::sleep_for(Time(chance_() % 20'000));
        if (options_.perturb) disturb(*victims_[chance_() % victims_.size()]);
        if (boot_time() < stall_due) continue;
        stall();
        stall_due = boot_time() + between_stalls;
    }
}

/// S21. The flushes that wait meanwhile are the owner's affair; so is what a stalled reader may hold
/// them up for.
void Chaos::stall() {
    victims_[0]->stop(stall_length);
    std::this_thread::sleep_for(stall_length);
    checks_.add(Event::stalls);
}

void Chaos::disturb(Victim& victim) {
    switch (chance_() % 4) {
    case 0: return move(victim);
    case 1: return starve(victim);
    default: {
        Time longest = victim.is_owner() ? longest_stop_of_owner : longest_stop;
        if (!victim.stopped_since().count())
            victim.stop(Time(std::int64_t(chance_() % std::uint64_t(longest.count()))));
    }
    }
}

/// To one core, or to all of them.
void Chaos::move(Victim& victim) {
    unsigned place = unsigned(chance_()) % unsigned(CPU_COUNT(&cores_) + 1);
    cpu_set_t one;
    CPU_ZERO(&one);
    for (unsigned core = 0, seen = 0; core < CPU_SETSIZE; ++core) {
        if (CPU_ISSET(core, &cores_) && seen++ == place) CPU_SET(core, &one);
    }
    sched_setaffinity(victim.thread(), sizeof one, CPU_COUNT(&one) ? &one : &cores_);
}

void Chaos::starve(Victim& victim) {
    sched_param normal{};
    bool idle = !victim.is_owner() && chance_() % 6 == 0;
    sched_setscheduler(victim.thread(), idle ? SCHED_IDLE : SCHED_OTHER, &normal);
    setpriority(PRIO_PROCESS, id_t(victim.thread()), int(chance_() % 6));
}

} // namespace millrace::stress
