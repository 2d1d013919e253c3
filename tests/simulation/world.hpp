// One run: the resolver's real parts, wired together as millraced wires them, in a world whose time, network,
// workers and operators are simulated.
//
// Basic algorithm: everything that happens is a step of one of three kinds of actors: the plan's next event,
// a part of control's tick (in the order of Loop::tick), a turn of a worker. The actor whose time is next
// takes its step; small gaps drawn by chance interleave them. A worker that is stopped in the middle of a
// turn runs the others' steps from inside that turn. After every step the checks look at what it did.
#pragma once

#include <memory>
#include <optional>
#include <unordered_map>
#include <vector>

#include "control/fetch/flush.hpp"
#include "control/fetch/table.hpp"
#include "dataplane/worker.hpp"
#include "tests/simulation/client_checks.hpp"
#include "tests/simulation/entry_checks.hpp"
#include "tests/simulation/network.hpp"
#include "tests/simulation/port.hpp"
#include "tests/simulation/priority_checks.hpp"
#include "tests/simulation/ranking.hpp"
#include "tests/simulation/scene.hpp"

namespace millrace::simulation {

class World final : private control::Waker, private control::ExchangeListener, private PortListener {
  public:
    World(const Plan& plan, Tally& tally, Trace& trace);
    ~World() override;

    /// To the end, with every check. Returns only when all of them hold.
    void run();

  private:
    /// What control does next: the parts of Loop::tick.
    static constexpr Time idle_tick = 8ms, busy_tick = 400us, idle_turn = 5ms;
    enum class Part : std::uint8_t {
        misses,
        network,
        rankings,
        fetches,
        flushes,
        upkeep,
        reclaim,
        zombie,
        count_
    };
    struct Heard {
        control::FetchId fetch;
        control::Answer answer;
    };
    struct Stall {
        Point point = Point::between_turns;
        Time length{};
    };
    struct SimulatedWorker {
        SimulatedWorker(World& world, unsigned index);

        cache::Grace::Reader* reader;
        SimulatedPort port;
        dataplane::Handoff handoff;
        dataplane::Counters counters;
        std::uint64_t taken = 0; ///< Misses, by control
        std::optional<dataplane::Worker> worker;
        Time next{};
        std::uint64_t turns = 0;
        bool in_turn = false, asleep = false;
        std::optional<Stall> stall;
    };

    control::Upstreams group(unsigned servers) const;
    dataplane::ClientPolicy client_policy() const;
    void begin_step();
    control::TtlPolicy ttl_policy() const;
    control::FetchPolicy fetch_policy() const;

    // Time.
    Time next_step() const;
    void step();
    void run_until(Time end);
    void advance_to(Time now);
    void run_event(const PlanEvent& event);
    void finish();
    bool is_quiet() const;
    std::vector<std::pair<cache::Generation, cache::Key>> inflight() const;

    // Workers.
    void turn(unsigned index);
    void poke(unsigned index);
    void at(unsigned worker, Point point) override;
    void on_reply(unsigned worker, std::uint32_t question, std::span<const std::uint8_t> reply,
                  bool woken) override;

    // Control.
    void control_step();
    void do_part(Part part);
    void after_control();
    void schedule_control();
    void hurry_control();
    void take_misses();
    void take_rankings();
    void take_miss(SimulatedWorker& worker, unsigned index, const dataplane::Miss& miss);
    bool is_told_at_once(const cache::Key& key, cache::Hash hash) const;
    void require_told(bool is_told, std::size_t waits_before);
    void raise_zombie();
    void answer_late();
    void publish_again(const KeyState& key, const control::Answer& answer);
    void shut_down();
    void wake(const control::Waiter& waiter, const cache::Entry* entry, dataplane::Wake::Kind kind) override;
    void on_answer(control::FetchId fetch, control::Answer&& answer) override;
    void on_exchange_failed(control::FetchId fetch, unsigned upstream,
                            control::ExchangeFailure failure) override;
    void on_exchange_hint(control::FetchId fetch, unsigned upstream, Time now) override;
    bool may_resend(control::FetchId fetch) override { return fetch_table_->may_resend(fetch); }
    void on_exchange_event(control::FetchId fetch, unsigned upstream, control::ExchangeEvent event,
                           Time now) override;

    // Clients and operators.
    void ask(const PlanEvent& event, unsigned client, unsigned name, unsigned id);
    void ask_stream(std::uint32_t question);
    void crowd(const PlanEvent& event);
    void flush(const PlanEvent& event);
    void reload(const PlanEvent& event);
    bool begin_flush(ClientChecks::Flush record, std::function<void()> then = nullptr);
    void trace(const PlanEvent& event);
    void count_everything();

    Scene scene_;
    std::vector<PlanEvent> events_; ///< the plan's, crowds taken apart
    std::size_t next_event_ = 0;
    std::vector<Question> questions_;

    SimulatedRandom random_;
    SimulatedNetwork network_;
    dataplane::TscClock clock_;
    cache::Replaceable<dataplane::Rules> rules_;
    cache::Grace grace_;
    cache::Table table_;
    control::Publisher publisher_;
    std::vector<control::Upstreams> groups_;
    SimulatedProbes probes_;
    SimulatedRanker ranker_;
    control::Exchanges exchanges_;
    control::FetchTable fetches_;
    control::Flushes flushes_;
    control::ExchangeListener* fetch_table_; ///< behind the spy that this object is

    EntryChecks entry_checks_;
    PriorityChecks priority_checks_;
    ClientChecks checks_;
    std::vector<std::unique_ptr<SimulatedWorker>> workers_;

    Part part_ = Part::misses;
    Time control_next_{}, control_last_{};
    std::uint64_t ticks_ = 0;
    unsigned first_worker_ = 0;
    bool stopping_ = false, closed_ = false, asking_ = false;
    unsigned flushes_open_ = 0, traces_open_ = 0;
    std::uint64_t changes_ = 0;                        ///< how much had changed at the last look
    std::unordered_map<std::uint32_t, Heard> answers_; ///< the last one accepted for each key
    std::uint64_t zombies_ = 0;
    Octets buffer_;
};

/// Runs the plan in this process; a violation ends it (Scene::fail).
void run_plan(const Plan& plan, Tally& tally, Trace& trace);

} // namespace millrace::simulation
