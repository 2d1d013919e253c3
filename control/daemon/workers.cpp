#include "control/daemon/workers.hpp"

#include <algorithm>
#include <cassert>
#include <span>
#include <utility>

#include <pthread.h>
#include <rte_launch.h>
#include <rte_lcore.h>

#include <spdlog/spdlog.h>

#include "control/limits.hpp"

namespace millrace::control {

Workers::~Workers() {
    assert(!running_ && "stop() comes first");
}

tl::expected<void, std::string> Workers::add(dataplane::Port& port, std::string name,
                                             std::optional<unsigned> lcore, const dataplane::TscClock* clock,
                                             dataplane::Idle idle, Time longest_nap) {
    cache::Grace::Reader* reader = grace_.add_reader();
    if (!reader) {
        return tl::unexpected("too many workers: at most " + std::to_string(cache::limits::workers) +
                              " lcores and listen addresses together");
    }
    auto unit = std::make_unique<Unit>();
    unit->name = std::move(name);
    unit->lcore = lcore;
    unit->reader = reader;
    unit->stop = &stop_;
    assert(grace_.reader_count() == units_.size() + 1 && "a worker's index is its reader's: see Reserve");
    unit->worker = std::make_unique<dataplane::Worker>(dataplane::WorkerContext{
        port, table_, *reader, unit->handoff, unit->counters, rules_, clock, &sleeper_, idle, longest_nap});
    units_.push_back(std::move(unit));
    return {};
}

int Workers::run_on_lcore(void* opaque) {
    auto* unit = static_cast<Unit*>(opaque);
    unit->worker->run(*unit->stop);
    return 0;
}

tl::expected<void, std::string> Workers::start() {
    running_ = true;
    for (auto& unit : units_) {
        if (!unit->lcore) {
            unit->thread = std::thread([u = unit.get()] { run_on_lcore(u); });
            pthread_setname_np(unit->thread.native_handle(), "millrace-socket");
        } else if (rte_eal_remote_launch(run_on_lcore, unit.get(), *unit->lcore) != 0) {
            return tl::unexpected(unit->name + ": lcore " + std::to_string(*unit->lcore) + " does not start");
        }
    }
    return {};
}

void Workers::stop() {
    stop_.store(true, std::memory_order_relaxed);
    for (auto& unit : units_) {
        unit->handoff.sleeper().nudge();
        if (unit->thread.joinable()) unit->thread.join();
        if (unit->lcore) rte_eal_wait_lcore(*unit->lcore);
    }
    running_ = false;
}

unsigned Workers::drain(const std::function<void(const dataplane::Miss&, const Waiter&)>& take, Time end) {
    unsigned total = 0;
    auto workers = std::uint32_t(units_.size());
    for (std::uint32_t n = 0; n < workers; ++n) {
        std::uint32_t index = (first_ + n) % workers;
        for (unsigned taken = 0; taken < limits::misses_per_tick && boot_time() < end;) {
            unsigned count = units_[index]->handoff.take(misses_);
            table_.prefetch_starts(std::span<const dataplane::Miss>(misses_).first(count));
            for (unsigned m = 0; m < count; ++m) {
                const dataplane::Miss& miss = misses_[m];
                take(miss, Waiter{index, miss.waiter, miss.client, miss.id, miss.arrived, miss.capitals});
            }
            taken += count;
            total += count;
            if (count < misses_.size()) break;
        }
    }
    ++first_;
    return total;
}

void Workers::wake(const Waiter& waiter, const cache::Entry* entry, dataplane::Wake::Kind kind) {
    Unit& unit = *units_[waiter.source];
    unit.reader->sent();
    unit.handoff.send({entry, std::uint32_t(waiter.token), kind});
    unit.is_sent_to = true;
}

void Workers::end_sleeps() {
    for (auto& unit : units_) {
        if (std::exchange(unit->is_sent_to, false)) unit->handoff.sleeper().end_sleep();
    }
}

bool Workers::end_its_sleep() const {
    return std::ranges::none_of(units_, [](const auto& unit) { return unit->lcore.has_value(); });
}

bool Workers::have_misses() const {
    return std::ranges::any_of(units_, [](const auto& unit) { return unit->handoff.has_misses(); });
}

bool Workers::have_turned() const {
    return std::ranges::all_of(units_, [](const auto& unit) { return unit->worker->heartbeats() > 0; });
}

std::uint64_t Workers::outstanding() const {
    std::uint64_t sum = 0;
    for (const auto& unit : units_) sum += unit->reader->outstanding();
    return sum;
}

void Workers::watch(Time now) {
    watched_ = now;
    if (watch_due_ && now < *watch_due_) return;
    // Since when nobody turns is counted anew at the first look, and after a suspended machine's sleep.
    bool counts_anew = !watch_due_ || now - *watch_due_ > limits::stall;
    watch_due_ = now + limits::stall / 8;
    for (auto& unit : units_) {
        std::uint64_t heartbeats = unit->worker->heartbeats();
        bool turned = heartbeats != unit->heartbeats || counts_anew;
        if (turned) {
            if (unit->is_stalled) spdlog::warn("worker {} goes on", unit->name);
            unit->heartbeats = heartbeats;
            unit->turned = now;
            unit->is_stalled = false;
        } else if (!unit->is_stalled && now - unit->turned > limits::stall) {
            unit->is_stalled = true;
            spdlog::error(
                "worker {} has stalled: flushes are not acknowledged and memory is not freed until it "
                "goes on; look at the process that runs on its CPU",
                unit->name);
        }
    }
}

bool Workers::is_any_stalled() const {
    return std::ranges::any_of(units_, [](const auto& unit) { return unit->is_stalled; });
}

Workers::View Workers::view(std::size_t index) const {
    const Unit& unit = *units_[index];
    return {unit.name, unit.lcore, unit.counters, unit.worker->busy_cycles(),
            unit.is_stalled ? watched_ - unit.turned : Time{}};
}

} // namespace millrace::control
