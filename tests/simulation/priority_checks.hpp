// Who is asked before whom (`priority`; dataplane/RULES.md, queries to upstreams).
//
// Basic algorithm: each first question of a Fetch to a server is held against what the Fetch has heard of the
// servers that are better. One of a worse priority than all that were asked so far needs a reason: each
// better one was not to be asked, has failed, or has an ICMP error; or half of the time has passed. After a
// reply that is of use nobody of a worse priority is asked at all.
#pragma once

#include <array>
#include <optional>
#include <span>
#include <unordered_map>

#include "control/upstream/exchange.hpp"
#include "control/upstream/upstreams.hpp"
#include "tests/simulation/entry_checks.hpp"
#include "tests/simulation/servers.hpp"

namespace millrace::simulation {

class PriorityChecks {
  public:
    PriorityChecks(Scene& scene, const EntryChecks& entries, std::span<const control::Upstreams> groups,
                   const control::Exchanges& exchanges)
        : scene_(scene), entries_(entries), groups_(groups), exchanges_(exchanges) {
        unusable_.fill(Time::min());
    }

    void begin_tick() { last_tick_ = scene_.now; } ///< of the Fetches
    void begin_step();                             ///< of control
    void end_step(cache::Generation last);
    void on_sent(unsigned server, const Asked& asked);
    void on_answer(control::FetchId fetch, const control::Answer& answer);
    void on_end(control::FetchId fetch, unsigned upstream); ///< a failure, or an ICMP error

  private:
    struct Course {
        unsigned group = 0;
        Time began{}; ///< at the earliest: after another one's end it has the last tick's time
        std::uint64_t refused = 0; ///< questions for want of room, until then
        std::array<bool, Servers::pool + Servers::others> asked{}, ended{};
        std::optional<unsigned> worst; ///< priority asked so far
        bool is_told = false;          ///< a reply of use has come
    };
    void note_usable();
    Course& course_of(cache::Generation generation);
    bool may_descend(const Course& course, unsigned priority) const;
    unsigned server_of(const Course& course, unsigned upstream) const;

    Scene& scene_;
    const EntryChecks& entries_;
    std::span<const control::Upstreams> groups_;
    const control::Exchanges& exchanges_;
    std::unordered_map<cache::Generation, Course> courses_;        ///< of Fetches
    cache::Generation last_ = 0;                                   ///< that there was
    std::array<Time, Servers::pool + Servers::others> unusable_{}; ///< when each server last was so
    Time last_tick_{};
    std::uint64_t refused_at_first_ = 0; ///< in this step
};

} // namespace millrace::simulation
