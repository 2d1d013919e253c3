// A reader: a real Worker on a port that asks for names and looks at every reply.
#pragma once

#include <memory>
#include <optional>
#include <random>
#include <thread>
#include <vector>

#include "dataplane/descriptor.hpp"
#include "dataplane/worker.hpp"
#include "tests/stress/chaos.hpp"
#include "tests/stress/checks.hpp"
#include "tests/stress/names.hpp"
#include "tests/stress/pattern.hpp"

namespace millrace::stress {

/// What readers share, and the owner gives them.
struct World {
    const cache::Table& table;
    const Names& names;
    Checks& checks;
    const Acknowledged& acknowledged;
    const cache::Replaceable<dataplane::Rules>& rules;
};

class AskingPort final : public dataplane::Port {
  public:
    /// `naps`: the worker sleeps between bursts, offline, woken by a timer or a Wake.
    AskingPort(const World& world, std::uint64_t seed, bool naps);

    void receive(dataplane::Burst& burst, dataplane::Counters& counters) override;
    void save(const dataplane::Packet& packet, dataplane::ReturnPath& path) override;
    bool compose(dataplane::Burst& burst, const dataplane::ReturnPath& path) override;
    void send(dataplane::Burst& burst, dataplane::Counters& counters) override;
    int wait_descriptor() const override { return timer_.get(); }

    void stop_asking() { asks_.store(false, std::memory_order_relaxed); } ///< any thread

  private:
    struct Asked {
        unsigned name;
        std::uint16_t id;
        cache::Generation floor;                ///< seen before the lookup
        std::optional<cache::Version> at_least; ///< for a woken waiter: what had been seen when it asked
    };
    static constexpr std::size_t room = dataplane::limits::payload_room;

    dataplane::Packet packet(unsigned index);
    void check(const Asked& asked, std::span<const std::uint8_t> reply);
    void check_content(const Asked& asked, const Content& content);
    cache::Generation flushed_up_to(unsigned name) const; ///< by acknowledged flushes
    void complain(Rule rule, const Asked& asked, const Content& content) const;

    const World& world_;
    std::mt19937_64 chance_;
    dataplane::Descriptor timer_;
    std::atomic<bool> asks_{true};
    bool refused_ = false; ///< something since the last burst
    std::unique_ptr<std::uint8_t[]> buffers_;
    std::array<Asked, dataplane::limits::burst> asked_;
    std::vector<cache::Version> seen_; ///< of each name, the newest that a lookup found
};

class WorkerThread {
  public:
    WorkerThread(const World& world, cache::Grace& grace, std::uint64_t seed, bool naps);
    ~WorkerThread();

    void start();
    void stop_asking() { port_.stop_asking(); }
    void stop(); ///< when all its Wakes are finished

    Victim& victim() { return *victim_; }
    bool naps() const { return port_.wait_descriptor() >= 0; }
    dataplane::Handoff& handoff() { return handoff_; }
    cache::Grace::Reader& grace() { return grace_; }
    const dataplane::Counters& counters() const { return counters_; }

  private:
    cache::Grace::Reader& grace_;
    dataplane::Handoff handoff_;
    dataplane::Counters counters_;
    AskingPort port_;
    dataplane::Worker worker_;
    std::unique_ptr<Victim> victim_;
    std::atomic<bool> stop_{false};
    std::thread thread_;
};

} // namespace millrace::stress
