// Basic algorithm: a thread counts the points that it passes, and is held up after a random number of them;
// mostly it spins for a moment. How many, and how long, changes with its mood: often and briefly finds other
// things than seldom and longer. Besides, for a tenth of a second at a time it has its eye on a sixty-fourth
// of all places and is held up at each of them once, for long: so a place that is passed now and then gets as
// much attention as one that is passed all the time.
#include "tests/stress/points.hpp"

#include <array>
#include <atomic>
#include <cerrno>
#include <climits>
#include <ctime>
#include <iterator>

#include <rte_cycles.h>
#include <rte_pause.h>
#include <sched.h>

namespace millrace::stress {

namespace {

struct Mood {
    long points;            ///< between two hold-ups, on average
    std::uint64_t pauses;   ///< at most, of a spin
    std::uint64_t sleep_us; ///< at most; 0: it only spins
};
constexpr Mood moods[] = {{100, 40, 0}, {2'000, 500, 50}, {20'000, 2'000, 1'000}};
constexpr long points_of_mood = 50'000;
constexpr unsigned spins_of_16 = 14, yields_of_16 = 1; // the rest are sleeps
constexpr std::uint64_t longest_focused_us = 2'000, cycles_of_focus = 300'000'000;

struct State {
    bool is_perturbed = false;
    long left = 0, left_of_mood = 0; ///< points
    const Mood* mood = moods;
    std::uintptr_t focus = 0;
    std::uint64_t focus_end = 0;                ///< TSC
    std::array<std::uint64_t, 256> focus_due{}; ///< TSC, of each place that the present focus may be on
    std::uint64_t chance = 0;
};
thread_local constinit State state;
std::atomic<bool> is_on{false};
std::atomic<std::uint64_t> next_seed{1};

std::uint64_t draw() { // xorshift64
    state.chance ^= state.chance << 13;
    state.chance ^= state.chance >> 7;
    state.chance ^= state.chance << 17;
    return state.chance;
}

void hold_up() {
    if (!is_on.load(std::memory_order_relaxed) || !state.is_perturbed) {
        state.left = LONG_MAX;
        return;
    }
    std::uint64_t drawn = draw();
    if (state.left_of_mood <= 0) {
        state.mood = &moods[(drawn >> 50) % std::size(moods)];
        state.left_of_mood = points_of_mood;
    }
    if (rte_rdtsc() > state.focus_end) {
        state.focus = drawn >> 58;
        state.focus_end = rte_rdtsc() + cycles_of_focus;
    }
    const Mood& mood = *state.mood;
    state.left = long(draw() % std::uint64_t(2 * mood.points));
    state.left_of_mood -= state.left;
    unsigned kind = drawn % 16;
    if (kind < spins_of_16 || mood.sleep_us == 0) {
        for (std::uint64_t i = (drawn >> 8) % mood.pauses; i > 0; --i) rte_pause();
    } else if (kind < spins_of_16 + yields_of_16) {
        sched_yield();
    } else {
        stand_still(std::int64_t((drawn >> 8) % mood.sleep_us));
    }
}

/// Each place at most so often, so that the frequent ones leave time for the others.
void hold_up_in_focus(std::uint64_t mixed) {
    if (!is_on.load(std::memory_order_relaxed) || !state.is_perturbed) return;
    std::uint64_t& due = state.focus_due[mixed >> 50 & 255];
    if (rte_rdtsc() < due) return;
    stand_still(std::int64_t(draw() % longest_focused_us));
    due = rte_rdtsc() + cycles_of_focus;
}

/// Passed by the calling thread. `place` tells points apart.
void point(std::uintptr_t place) {
    if (--state.left < 0) hold_up();
    std::uint64_t mixed = place * 0x9e3779b97f4a7c15u;
    if (mixed >> 58 == state.focus) hold_up_in_focus(mixed);
}

} // namespace

void set_perturbation(bool on, std::uint64_t seed) {
    next_seed = seed * 0x9e3779b97f4a7c15u | 1;
    is_on = on;
}

void perturb_this_thread() {
    state.chance = next_seed.fetch_add(0x6a09e667f3bcc908u, std::memory_order_relaxed);
    state.is_perturbed = true;
    state.left = 0;
}

void stand_still(std::int64_t microseconds) {
    timespec left{microseconds / 1'000'000, microseconds % 1'000'000 * 1000};
    while (nanosleep(&left, &left) != 0 && errno == EINTR) {
    }
}

} // namespace millrace::stress

extern "C" {

[[gnu::no_instrument_function]] void __cyg_profile_func_enter(void*, void*) {
    millrace::stress::point(reinterpret_cast<std::uintptr_t>(__builtin_return_address(0)));
}
[[gnu::no_instrument_function]] void __cyg_profile_func_exit(void*, void*) {
    millrace::stress::point(reinterpret_cast<std::uintptr_t>(__builtin_return_address(0)));
}

} // extern "C"
