// Flushes, step by step as control does them (ARCHITECTURE.md, flush and reload), and how readers are told.
#pragma once

#include <deque>
#include <optional>
#include <span>

#include "tests/stress/worker_thread.hpp"

namespace millrace::stress {

/// What a flush is about.
struct Scope {
    enum class Kind : std::uint8_t { name, zone, everything } kind;
    unsigned index = 0; ///< of the name or of the zone

    bool covers(unsigned name) const {
        return kind == Kind::everything || (kind == Kind::zone ? Names::zone_of(name) : name) == index;
    }
};

class Flusher {
  public:
    Flusher(cache::Table& table, cache::Grace& grace, Checks& checks, Acknowledged& acknowledged,
            std::span<const std::unique_ptr<WorkerThread>> readers);

    /// The owner has superseded the live Fetches concerned. `last`: the last generation issued.
    void flush(Scope scope, cache::Generation last);

    void tick(); ///< does a part
    std::size_t waiting() const { return jobs_.size(); }
    std::uint64_t emptied() const { return emptied_; } ///< slots, by all flushes

  private:
    struct Job {
        Scope scope;
        cache::Generation last;
        cache::Table::Place at{};
        Time begun{}; ///< before the period
        std::optional<cache::Grace::Period> period{};
    };
    void acknowledge(const Job& job);

    cache::Table& table_;
    cache::Grace& grace_;
    Checks& checks_;
    Acknowledged& acknowledged_;
    std::span<const std::unique_ptr<WorkerThread>> readers_;
    std::deque<Job> jobs_;
    std::uint64_t emptied_ = 0;
};

} // namespace millrace::stress
