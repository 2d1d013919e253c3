// The query log: messages of clients and upstreams as dnstap (`dnstap:`), written by a thread of its own.
//
// Each producer, a worker or control, has a QueryLog, whose ring the thread empties. A reader that stops, or
// is not there, makes the rings full; what then finds no place is counted and nothing else comes of it.
//
// Threads: control's, but for the helper and for what is marked so.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <thread>
#include <vector>

#include <tl/expected.hpp>

#include "cache/grace.hpp"
#include "cache/replaceable.hpp"
#include "control/config/config.hpp"
#include "control/config/helper_cpus.hpp"
#include "control/traffic/dnstap_frame.hpp"
#include "control/traffic/dnstap_sink.hpp"
#include "dataplane/query_log.hpp"

namespace millrace::control {

std::unique_ptr<const dataplane::LogRules> build_log_rules(const Config::Dnstap& dnstap);

class Dnstap {
  public:
    /// Before EAL binds this thread to a CPU.
    explicit Dnstap(const Config& config);
    ~Dnstap(); ///< as stop()

    bool is_on() const { return target_.kind != Config::DnstapTarget::Kind::none; }

    /// One more producer, which it outlives. Before start(). Null: there is no log.
    dataplane::QueryLog* add();
    void start();
    /// What is logged from here on.
    void set(const Config::Dnstap& dnstap, cache::Grace& grace);
    /// Writes what is in the rings, if its reader reads, and ends the helper. No producer is at work.
    void stop();

    struct Counters {
        std::uint64_t written = 0; ///< messages, given to the reader's socket
        std::uint64_t dropped = 0; ///< no place in a ring, or lost with a connection
        bool is_connected = false;
    };
    Counters counters() const; ///< any thread

  private:
    void help();
    bool write_some();
    bool is_connected(Time now);
    void say(const tl::expected<void, std::string>& result);

    Config::DnstapTarget target_;
    DnstapFrame frame_;
    HelperCpus helper_cpus_;
    cache::Replaceable<dataplane::LogRules> rules_;
    std::vector<std::unique_ptr<dataplane::QueryLog>> logs_;
    std::thread helper_;
    std::atomic<bool> stop_{false};
    std::optional<DnstapSink> sink_;
    std::atomic<std::uint64_t> written_{0}, lost_{0};
    std::atomic<bool> connected_{false};

    // The helper's.
    Time retry_{};
    std::optional<bool> has_failed_; ///< as it was said last: a change alone is
    std::optional<Time> said_;
    std::size_t next_ = 0; ///< whose ring is looked at first
    dataplane::LoggedMessage what_;
    std::vector<std::uint8_t> message_;
    std::vector<std::vector<std::uint8_t>> frames_;
};

} // namespace millrace::control
