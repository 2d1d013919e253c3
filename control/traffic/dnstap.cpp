#include "control/traffic/dnstap.hpp"

#include <algorithm>
#include <exception>

#include <spdlog/spdlog.h>

#include "control/limits.hpp"

namespace millrace::control {

std::unique_ptr<const dataplane::LogRules> build_log_rules(const Config::Dnstap& dnstap) {
    auto rules = std::make_unique<dataplane::LogRules>();
    for (dataplane::LoggedKind kind : dnstap.messages) rules->kinds[std::size_t(kind)] = true;
    rules->part = dataplane::LogRules::all / dnstap.sample;
    rules->all_clients = dnstap.clients.empty();
    rules->clients = dataplane::AddressSet(dnstap.clients);
    for (unsigned rcode : dnstap.rcodes) rules->rcodes = std::uint16_t(rules->rcodes | 1U << rcode);
    return rules;
}

Dnstap::Dnstap(const Config& config)
    : target_(config.boot.dnstap_to), frame_{config.boot.dnstap_identity,
                                             std::string("millraced ") + MILLRACE_VERSION,
                                             {}},
      helper_cpus_(config.boot), rules_(build_log_rules(config.live.dnstap)) {}

Dnstap::~Dnstap() {
    stop();
}

dataplane::QueryLog* Dnstap::add() {
    if (!is_on()) return nullptr;
    logs_.push_back(std::make_unique<dataplane::QueryLog>(rules_));
    return logs_.back().get();
}

void Dnstap::set(const Config::Dnstap& dnstap, cache::Grace& grace) {
    rules_.replace(build_log_rules(dnstap), grace);
}

void Dnstap::start() {
    if (!is_on()) return;
    sink_.emplace(target_);
    helper_ = std::thread([this] { help(); });
}

void Dnstap::stop() {
    if (!helper_.joinable()) return;
    stop_.store(true);
    sink_->stop();
    helper_.join();
}

Dnstap::Counters Dnstap::counters() const {
    Counters all{written_.load(std::memory_order_relaxed), lost_.load(std::memory_order_relaxed),
                 connected_.load(std::memory_order_relaxed)};
    for (const auto& log : logs_) all.dropped += log->ring().dropped();
    return all;
}

void Dnstap::help() {
    helper_cpus_.enter("millrace-dnstap");
    try {
        for (bool is_last = false; !is_last;) {
            is_last = stop_.load(); // what was logged before is in the rings
            while (is_connected(boot_time()) && write_some()) {
            }
            connected_.store(sink_->is_open(), std::memory_order_relaxed);
            if (!is_last) std::this_thread::sleep_for(limits::dnstap_nap);
        }
        sink_->close();
    } catch (const std::exception& error) { // most likely no memory
        spdlog::error("dnstap has ended: {}", error.what());
    }
    connected_.store(false, std::memory_order_relaxed);
}

/// Tries again from time to time.
bool Dnstap::is_connected(Time now) {
    if (sink_->is_open()) return true;
    if (now < retry_) return false;
    retry_ = now + limits::dnstap_retry;
    auto opened = sink_->open();
    say(opened);
    return bool(opened);
}

/// A batch, of each ring its share. False: there was nothing, or the reader has gone.
bool Dnstap::write_some() {
    frame_.wall_offset = wall_time() - boot_time();
    frames_.clear();
    for (std::size_t empty = 0; empty < logs_.size() && frames_.size() < limits::dnstap_batch; ++next_) {
        bool is_taken = logs_[next_ % logs_.size()]->ring().take(what_, message_);
        if (is_taken) frames_.push_back(to_dnstap(what_, message_, frame_));
        empty = is_taken ? 0 : empty + 1;
    }
    if (frames_.empty()) return false;
    auto written = sink_->write(frames_);
    auto& counter = written ? written_ : lost_;
    counter.fetch_add(frames_.size(), std::memory_order_relaxed);
    say(written);
    return bool(written);
}

/// What has become of it, when that is another thing than before; not often, as a reader may come and go.
void Dnstap::say(const tl::expected<void, std::string>& result) {
    Time now = boot_time();
    bool has_failed = !result;
    bool is_soon = said_ && now - *said_ < limits::log_interval;
    if (has_failed == has_failed_ || (has_failed && is_soon)) return;
    has_failed_ = has_failed;
    said_ = now;
    has_failed ? spdlog::error("dnstap: {} {}", to_string(target_), result.error())
               : spdlog::info("dnstap: {} is written to", to_string(target_));
}

} // namespace millrace::control
