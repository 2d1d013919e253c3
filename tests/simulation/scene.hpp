// What every part of one run shares: its plan, its time, what was said, and how to say that
// something is wrong.
#pragma once

#include <deque>
#include <iosfwd>
#include <sstream>
#include <string>
#include <string_view>

#include "tests/simulation/chance.hpp"
#include "tests/simulation/ledger.hpp"
#include "tests/simulation/nat64.hpp"
#include "tests/simulation/plan.hpp"
#include "tests/simulation/tally.hpp"
#include "tests/support/clock.hpp"

namespace millrace::simulation {

inline constexpr unsigned client_kinds = 3; ///< by the rules of DNS64 that they have

/// The run's events in words. Costs nothing while it is off; a failing seed is run again with it.
class Trace {
  public:
    enum class Mode : std::uint8_t { off, tail, all };

    explicit Trace(Mode mode = Mode::off, std::ostream* out = nullptr) : mode_(mode), out_(out) {}

    bool is_on() const { return mode_ != Mode::off; }
    void add(std::string line);
    void print_tail() const;

  private:
    static constexpr std::size_t tail_lines = 40;
    Mode mode_;
    std::ostream* out_;
    std::deque<std::string> tail_;
};

struct Scene {
    Scene(const Plan& p, Tally& t, Trace& tr)
        : plan(p), chance(p.seed), tally(t), trace(tr), servers((1u << p.servers) - 1), merge(p.merge % 4),
          quorum(p.quorum) {}

    const Plan& plan;
    Chance chance;
    Tally& tally;
    Trace& trace;
    Ledger ledger;
    Time start = support::clock_start(); ///< of the plan's events
    Time now = start;
    Moment moment = 1;
    std::uint64_t steps = 0;
    Time longest_pause{};          ///< of control, so far
    unsigned servers;              ///< in use, a bit each
    unsigned merge, quorum;        ///< in effect for Fetches that start
    unsigned layout = 0;           ///< of the first group's priorities and weights
    unsigned operator_actions = 0; ///< flushes and the like that were asked for

    bool has(Danger danger) const { return plan.has(danger); }
    /// The upstream group of a name; of the links of its chain it is the first.
    unsigned group_of(unsigned name) const { return name % zones < plan.routed ? 1 : 0; }

    /// DNS64. One client in three has no rule, one has the second, one both, of which the first counts that
    /// concerns the name's group. 0: no rule concerns the question.
    unsigned rule_of(unsigned client, unsigned name, unsigned aspects) const;
    /// The NAT64 that a rule is for.
    unsigned nat64_of(unsigned rule) const { return (plan.nat64 + rule - 1) % nat64_count + 1; }
    /// Whether an AAAA record is as none to the rule.
    bool is_excluded(unsigned rule, const Host& host) const {
        return plan.excluded >> (rule - 1) & 1 && host.is_private == (rule == 1);
    }

    /// A line of the trace.
    template <class... Parts>
    void say(const Parts&... parts) {
        if (!trace.is_on()) return;
        std::ostringstream line;
        ((line << parts), ...);
        add_line(line.str());
    }
    /// Ends the process: an invariant does not hold. Its name stays the same while a plan is shrunk.
    [[noreturn]] void fail(std::string_view invariant, const std::string& detail);
    void require(bool holds, std::string_view invariant, const char* detail) {
        if (!holds) fail(invariant, detail);
    }

  private:
    void add_line(const std::string& line);
};

/// Where a failing process leaves its message: set once by the runner.
struct Failure {
    std::uint64_t seed = 0, step = 0;
    char invariant[96] = {};
    char detail[400] = {};
};
extern Failure* failure_report;
inline constexpr int exit_failed = 3; ///< of a process in which an invariant did not hold

} // namespace millrace::simulation
