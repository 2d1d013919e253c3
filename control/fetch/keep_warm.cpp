#include "control/fetch/keep_warm.hpp"

#include <algorithm>
#include <functional>
#include <utility>

#include "control/limits.hpp"

namespace millrace::control {

namespace {

constexpr int refresh_part = 10;    // of a life: its last so-manieth
constexpr Time look_interval = 30s; // however long the Entry lives
constexpr Time first_retry = 5s;    // longer than a Fetch takes; then twice as long each time
constexpr Time longest_retry = 300s;
constexpr Time crowded_pause = 100ms;
constexpr Time catch_up = 20ms; // of turns that a sleeping loop has missed

} // namespace

void KeepWarm::set(std::unique_ptr<const WarmList> list, unsigned rate) {
    list_ = std::move(list);
    interval_ = Time(1s) / rate;
    states_.assign(questions(), {});
    due_.clear();
    due_.reserve(questions());
    next_ = 0;
    fresh_ = 0;
}

void KeepWarm::tick(Time now) {
    if (next_ == 0) began_ = now;
    for (unsigned i = 0; i < limits::warm_looks_per_tick; ++i) {
        bool is_due = !due_.empty() && due_.front().at <= now;
        // What has been due for longer goes first, so that neither keeps the other from its turn.
        bool is_new = next_ < questions() && !(is_due && due_.front().at < began_ + interval_ * next_);
        if (!is_new && !is_due) return;
        std::uint32_t question = is_new ? next_ : due_.front().question;
        Time again = look_at(question, now);
        if (again <= now) return; // it stays the first
        if (is_new) {
            ++next_;
        } else {
            std::ranges::pop_heap(due_, std::greater());
            due_.pop_back();
        }
        due_.push_back({again, question});
        std::ranges::push_heap(due_, std::greater());
    }
}

Time KeepWarm::next_timer() const {
    if (next_ < questions()) return turn_;
    return due_.empty() ? Time::max() : std::max(due_.front().at, turn_);
}

/// When it is to be looked at again. Not later than now: it has to be asked, and must wait for its turn.
Time KeepWarm::look_at(std::uint32_t question, Time now) {
    cache::Key key = list_->key(question);
    key.group = fetches_.group_of(key);
    cache::Hash hash = table_.hasher()(key);
    const cache::Entry* entry = table_.find_usable(key, hash, now);
    bool is_asked = !fetches_.is_answered_here(key);
    bool is_fresh = is_asked && entry && !entry->failure && now < entry->expiry;
    State& state = states_[question];
    fresh_ += is_fresh;
    fresh_ -= std::exchange(state.is_fresh, is_fresh);
    if (!is_asked) return now + look_interval;
    if (!entry) return ask(key, hash, state, now);
    entry->visited.store(1, std::memory_order_relaxed); // as if asked for: eviction takes others first
    Time life = entry->expiry - entry->born, back_off(entry->refresh_after.load(std::memory_order_relaxed));
    Time due = is_fresh ? entry->expiry - life / refresh_part : back_off;
    if (now >= due) return ask(key, hash, state, now);
    if (is_fresh) state.tries = 0;
    return std::min(due, now + look_interval);
}

Time KeepWarm::ask(const cache::Key& key, cache::Hash hash, State& state, Time now) {
    if (now < state.ask_after) return std::min(state.ask_after, now + look_interval);
    if (now < turn_) return now;
    if (!fetches_.may_start_unasked()) {
        turn_ = now + crowded_pause;
        return now;
    }
    if (!fetches_.warm(key, hash, now)) return now + first_retry; // others' groups may reply
    ++asked_;
    turn_ = std::max(turn_, now - catch_up) + interval_;
    Time retry = std::min<Time>(first_retry * (1 << state.tries), longest_retry);
    state.tries += retry < longest_retry;
    state.ask_after = now + retry;
    return now + first_retry; // it is over, and what has become of it is to be seen
}

} // namespace millrace::control
