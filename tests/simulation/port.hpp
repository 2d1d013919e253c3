// The clients, and the port of one worker, which is how they reach it.
//
// A Port for the product's Worker: hands it the queries that have arrived, and takes its replies back to the
// clients, to be checked. It is also where a worker can be stopped in the middle of a turn: each call that
// the worker makes is a point at which it may hold Entries.
#pragma once

#include <array>
#include <deque>
#include <vector>

#include "dataplane/port.hpp"
#include "tests/simulation/message.hpp"
#include "tests/simulation/scene.hpp"

namespace millrace::simulation {

/// One question of one client, and what became of it.
struct Question {
    enum class Fate : std::uint8_t { under_way, answered, lost };

    ClientQuery query;
    unsigned client = 0;
    unsigned worker = 0;
    bool arrived = false; ///< a descriptor was free
    Fate fate = Fate::under_way;
    bool is_content = false; ///< it got addresses or a text
};
dataplane::Endpoint endpoint_of(const Question& question);

/// Who is told what a worker does.
class PortListener {
  public:
    virtual ~PortListener() = default;
    /// The worker may be stopped here: other things happen before this returns.
    virtual void at(unsigned worker, Point point) = 0;
    /// A reply leaves. `woken`: to a waiter, else in the turn in which the query was received.
    virtual void on_reply(unsigned worker, std::uint32_t question, std::span<const std::uint8_t> reply,
                          bool woken) = 0;
};

class SimulatedPort final : public dataplane::Port {
  public:
    SimulatedPort(Scene& scene, std::vector<Question>& questions, unsigned worker, PortListener& listener);

    /// A query arrives. False: no descriptor is free, it is lost.
    bool push(std::uint32_t question);
    bool has_queries() const { return !arrived_.empty(); }

    void receive(dataplane::Burst& burst, dataplane::Counters& counters) override;
    void save(const dataplane::Packet& packet, dataplane::ReturnPath& path) override;
    bool compose(dataplane::Burst& burst, const dataplane::ReturnPath& path) override;
    void send(dataplane::Burst& burst, dataplane::Counters& counters) override;

  private:
    static constexpr std::size_t descriptors = 1024;
    static constexpr std::size_t buffer_octets = 2048;
    struct Buffer {
        std::uint32_t question;
        bool woken;
        std::array<std::uint8_t, buffer_octets> octets;
    };
    dataplane::Packet packet_of(Buffer& buffer);

    Scene& scene_;
    std::vector<Question>& questions_;
    unsigned worker_;
    PortListener& listener_;
    std::deque<std::uint32_t> arrived_;
    std::vector<Buffer> buffers_; ///< of one burst
};

} // namespace millrace::simulation
