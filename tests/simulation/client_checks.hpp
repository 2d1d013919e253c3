// Checks of what clients get, of every wait, and of the memory that workers read.
//
// Basic algorithm: each reply is read and each of its addresses asked whom it was given for, by whom and
// when; a flush that was acknowledged forbids everything older. Each Miss that control takes opens a wait,
// exactly one Wake ends it. Each Entry named by a Wake stays until its worker has finished that Wake, each
// that was taken out of the table until every worker that was in a turn has ended it.
#pragma once

#include <array>
#include <deque>
#include <unordered_map>
#include <vector>

#include "dataplane/worker.hpp"
#include "tests/simulation/entry_checks.hpp"
#include "tests/simulation/memory_watch.hpp"
#include "tests/simulation/port.hpp"

namespace millrace::simulation {

/// A worker as the checks know it.
struct WorkerState {
    const dataplane::Worker* worker = nullptr;
    const dataplane::Counters* counters = nullptr;
    const cache::Grace::Reader* reader = nullptr;
    bool in_turn = false;
    Time turn_time{};
    Moment turn_began = 0;
    std::array<cache::Generation, 2> floors{}; ///< by group, when the turn began
    std::uint64_t taken = 0;                   ///< Misses that control has taken
    struct Wait {
        std::uint32_t key = EntryChecks::no_key; ///< no_key: nobody waits
        Time since{};
    };
    std::vector<Wait> waits;               ///< by waiter
    std::deque<const cache::Entry*> wakes; ///< sent and not finished; null: abandoned
};

class ClientChecks final : public MemoryListener {
  public:
    ClientChecks(Scene& scene, EntryChecks& entries, std::vector<Question>& questions)
        : scene_(scene), entries_(entries), questions_(questions), servers_{scene.servers} {}

    void add_worker(const dataplane::Worker& worker, const dataplane::Counters& counters,
                    const cache::Grace::Reader& reader);

    void begin_turn(unsigned worker);
    void end_turn(unsigned worker);
    void on_reply(unsigned worker, std::uint32_t question, std::span<const std::uint8_t> reply, bool woken);
    void on_stream_reply(std::uint32_t question, std::span<const std::uint8_t> reply);

    void on_miss(unsigned worker, std::uint32_t waiter, const cache::Key& key, std::uint32_t key_index);
    void on_stream_miss() { ++stream_waits_; }
    /// Before it is sent. `key`: of a stream's question; a worker's waiter is known.
    void on_wake(unsigned worker, std::uint32_t waiter, const cache::Entry* entry,
                 dataplane::Wake::Kind kind);
    void on_stream_wake(std::uint32_t key, const cache::Entry* entry, dataplane::Wake::Kind kind);
    std::size_t waits() const { return open_waits_ + stream_waits_; }

    /// A flush that was asked for, and is acknowledged later.
    struct Flush {
        enum class Of : std::uint8_t { name, zone, group, everything } of = Of::everything;
        unsigned number = 0; ///< of the name, the zone or the group
        Moment asked = 0;
        unsigned servers = 0; ///< a reload: in use from now on; else 0

        bool concerns(const Scene& scene, unsigned name) const {
            if (of == Of::group) return scene.group_of(name) == number;
            return of == Of::everything ||
                   (of == Of::name ? name == number : number == zones || name % zones == number);
        }
    };
    void on_asked(const Flush& flush);
    void on_acknowledged(const Flush& flush);

    void on_free(const void* entry) override;
    /// Nothing is left: every wait ended, every credit came back.
    void check_end() const;

  private:
    void check_content(const Question& question, const Content& content);
    void check_hit(const WorkerState& worker, const Question& question, const Reading& reading);
    bool may_be_stale(const WorkerState& worker, const KeyState& key, const KeyState::Shown& shown) const;
    unsigned rule_of(const Question& question) const;
    void check_age(unsigned name, Moment made, unsigned server, const char* what);
    void check_entry_given(const cache::Entry* entry, dataplane::Wake::Kind kind, std::uint32_t key);
    bool read(std::uint32_t question, std::span<const std::uint8_t> reply);
    void settle_wakes(WorkerState& worker);

    Scene& scene_;
    EntryChecks& entries_;
    std::vector<Question>& questions_;
    std::vector<WorkerState> workers_;
    std::size_t open_waits_ = 0, stream_waits_ = 0;
    std::unordered_map<const void*, unsigned> named_; ///< by how many unfinished Wakes
    const cache::Entry* checked_ = nullptr;           ///< the last Entry that went to a waiter
    std::uint32_t checked_key_ = 0;
    std::vector<Flush> flushes_;   ///< acknowledged ones
    std::deque<unsigned> servers_; ///< of the last acknowledged reload, then of those under way
    Reading reading_;
    std::array<std::uint8_t, 512> sent_; ///< the query, once more
};

} // namespace millrace::simulation
