#include "control/daemon/devices.hpp"

#include <algorithm>
#include <cstdlib>
#include <system_error>
#include <utility>

#include <spdlog/spdlog.h>

namespace millrace::control {

namespace {

constexpr Time look_interval = 1s;  // for a device that has returned
constexpr Time reset_interval = 1s; // from the end of one to the beginning of the next
constexpr Time log_interval = 10s;  // of resets
constexpr Time first_pause = 1s;    // after a failure, doubled from one to the next,
constexpr Time longest_pause = 64s; // up to this
constexpr Time patience = 10s;      // at the end, with a driver at work

} // namespace

Devices::~Devices() {
    if (!helper_.valid() || helper_.wait_for(patience) == std::future_status::ready) return;
    spdlog::critical("port {}: its driver does not come back; ended without it", all_[helped_].name);
    std::_Exit(1);
}

void Devices::add(dataplane::Device& device, std::string name) {
    all_.push_back({&device, std::move(name)});
}

void Devices::tick(Time now) {
    if (helper_.valid() && helper_.wait_for(0s) == std::future_status::ready)
        on_done(all_[helped_], helper_.get(), now);
    for (One& one : all_) {
        is_given_up_ ? part_with(one, now) : hear(one, now);
        if (one.step == Step::leaving && grace_.passed(one.period)) one.step = Step::waiting;
        if (one.step == Step::waiting && now >= one.due && !helper_.valid()) start(one, now);
    }
}

Devices::View Devices::view(std::size_t index) const {
    const One& one = all_[index];
    bool is_serving = one.step == Step::serving;
    return {is_serving, !is_serving && one.job != Job::reset, one.resets, one.removals};
}

/// What is wished while the helper is at work, on what notes the wishes, too, waits there until it has done.
void Devices::hear(One& one, Time now) {
    if (one.step == Step::at_work) return;
    one.wish = std::max(one.wish, one.device->wish());
    if (one.wish == Wish::none) return;
    bool serves = one.step == Step::serving, is_reset = one.wish == Wish::reset;
    if (serves && is_reset && now < one.due) return; // a driver that asks for one after the other
    Wish wish = std::exchange(one.wish, Wish::none);
    if (!serves && (is_reset || one.job != Job::reset)) return; // is under way
    if (wish == Wish::removal) {
        spdlog::warn("port {}: the kernel asks for it back (device removal or unbind)", one.name);
    } else if (wish == Wish::loss) {
        spdlog::error("port {}: its device is gone", one.name);
    } else if ((one.is_told = now >= one.quiet_until)) {
        one.quiet_until = now + log_interval;
        spdlog::warn("port {}: its driver asks for a reset", one.name);
    }
    leave(one, is_reset ? Job::reset : Job::remove, now);
}

void Devices::part_with(One& one, Time now) {
    bool is_going = one.step != Step::serving && one.job != Job::reset;
    if (one.step != Step::at_work && !is_going) leave(one, Job::remove, now);
    if (one.job == Job::bring_back) one.due = Time::max();
}

bool Devices::is_none_left() const {
    return std::ranges::all_of(
        all_, [](const One& one) { return one.step == Step::waiting && one.job == Job::bring_back; });
}

void Devices::leave(One& one, Job job, Time now) {
    one.job = job;
    one.due = now;
    one.pause = {};
    if (one.step != Step::serving) return; // has left
    one.device->suspend();
    one.period = grace_.begin();
    one.step = Step::leaving;
}

void Devices::start(One& one, Time now) {
    try {
        helper_ = std::async(std::launch::async, work, std::ref(*one.device), one.job);
        helped_ = std::size_t(&one - all_.data());
        one.step = Step::at_work;
    } catch (const std::system_error& error) {
        on_failure(one, std::string("no thread to work on it: ") + error.what(), now);
    }
}

/// The helper.
Devices::Outcome Devices::work(dataplane::Device& device, Job job) {
    auto done = [] { return true; };
    switch (job) {
    case Job::reset: return device.reset().map(done);
    case Job::remove: return device.remove().map(done);
    default: return device.bring_back();
    }
}

void Devices::on_done(One& one, const Outcome& outcome, Time now) {
    one.step = Step::waiting;
    if (one.job == Job::remove) {
        ++one.removals;
        one.job = Job::bring_back;
        if (!outcome) spdlog::error("port {}: {}", one.name, outcome.error());
        one.due = one.device->may_return() ? now + look_interval : Time::max();
        if (is_given_up_) return;
        spdlog::warn("port {}: given back; {}", one.name,
                     one.device->may_return()
                         ? "it serves again once the device is there and bound as before (`deploy/nic bind`)"
                         : "restart millraced when the device is there again");
    } else if (!outcome) {
        on_failure(one, outcome.error(), now);
    } else if (*outcome) {
        serve_again(one, now);
    } else {
        one.due = now + look_interval;
    }
}

void Devices::on_failure(One& one, const std::string& why, Time now) {
    one.pause = std::clamp(2 * one.pause, first_pause, longest_pause);
    one.due = now + one.pause;
    one.is_told = true;
    spdlog::error("port {} {}: {}; tried again in {} s", one.name,
                  one.job == Job::reset ? "is not reset" : "does not come back", why, one.pause / 1s);
}

void Devices::serve_again(One& one, Time now) {
    one.step = Step::serving;
    one.due = now + reset_interval;
    one.device->resume();
    if (one.job == Job::bring_back) {
        spdlog::info("port {}: its device is back and serves again", one.name);
        return;
    }
    ++one.resets;
    if (one.is_told)
        spdlog::info("port {}: has been reset and serves again ({} so far)", one.name, one.resets);
}

} // namespace millrace::control
