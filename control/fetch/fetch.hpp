// One Fetch: one question being asked of the upstreams, from the first query sent to the
// last result published.
//
// Basic algorithm (two-stage fan-out): ask the `active` best upstreams at once. Ask the rest in batches,
// started by the first usable reply, by the failure of everyone asked so far, or after `fallback`. The first
// reply that decides is published as revision 0 and answers the clients. If a merge is possible the others
// may still answer, each until its own collection limit; when the last has ended, they are merged, once, as
// revision 1. If somebody ranks addresses, the order found for what is then published becomes revision 2.
//
// Servers of a worse priority are asked only when all before them are out or have failed, or when they have
// been silent for half of the time until the deadline, or an ICMP error came from each. Nobody asks them to
// complete an answer.
//
// A validator that was asked is heard out even when a quicker server has decided: if it finds the name bogus
// (SERVFAIL with an extended error of DNSSEC), that is final, and revokes what was published. A reply that
// holds a chain of CNAMEs without its end waits for a better one until `fallback`, unless it leads to another
// upstream group, which nobody of this one can better; then the end is asked.
//
//     asking --decisive reply--> answered --merge possible--> collecting --last exchange ended--> ranking
//        |                          |                                                                |
//        \-- all failed, bogus, ----+----------------------------> done <----------------------------/
//            chain only, deadline
//
// A state machine without I/O: events come in, what has to be done goes out through FetchEffects. It holds
// its key, never a Slot. Control thread only.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "cache/key.hpp"
#include "control/config/config.hpp"
#include "control/message/answer.hpp"
#include "control/message/entry_build.hpp"
#include "control/upstream/fetch_id.hpp"

namespace millrace::control {

class Fetch;

/// What a Fetch wants done. No call comes back into the Fetch.
class FetchEffects {
  public:
    virtual ~FetchEffects() = default;

    /// Asks one upstream; false: a bound refuses, nothing will be heard.
    virtual bool ask_upstream(const Fetch& fetch, unsigned upstream, Time deadline, Time now) = 0;
    /// Forgets an asked upstream at once.
    virtual void cancel_upstream(const Fetch& fetch, unsigned upstream) = 0;
    /// An asked upstream is still silent, though one that was asked later has answered.
    virtual void overtaken(const Fetch& fetch, unsigned upstream) = 0;
    /// From now on an asked upstream only completes the answer, and has less time.
    virtual void collect_from(const Fetch& fetch, unsigned upstream, Time deadline) = 0;
    /// Publishes, and answers whoever waits. False: nobody will find it, a later revision is of no use.
    virtual bool publish(const Fetch& fetch, const Answer& answer, std::uint32_t revision,
                         Time latest_expiry) = 0;
    /// Begins to rank the addresses of what was published last. False: nobody ranks.
    virtual bool begin_ranking(const Fetch& fetch, std::span<const dataplane::Address> addresses) = 0;
    virtual void cancel_ranking(const Fetch& fetch) = 0;
    /// Why there is no answer.
    enum class Cause : std::uint8_t {
        heard,   ///< somebody replied, if only with a failure
        unheard, ///< nobody did, though all were asked
        unasked, ///< nobody did, and our own bounds kept us from asking somebody: says nothing about the name
        bogus,   ///< a validator says so: final, and it revokes what a quicker server said
    };
    /// `said`: the extended error that tells most, of those that failed.
    virtual void fail(const Fetch& fetch, Cause cause, const std::optional<ExtendedError>& said,
                      Time now) = 0;
    /// All that is known is a chain of CNAMEs: its end is to be asked, and answers whoever waits.
    virtual void chase(const Fetch& fetch, const Answer& answer) = 0;
    /// Upstreams contradicted each other: positive against negative.
    virtual void note_disagreement(const Fetch& fetch) = 0;
};

struct FetchPolicy {
    Config::Fanout fanout;
    Config::Merge merge;
    TtlPolicy ttl{};
    unsigned max_addresses = 0;         ///< that are left of a ranked answer; 0: all
    bool harden_below_nxdomain = false; ///< FetchTable's: see Config::Live
};

/// An upstream that may be asked, and its smoothed round trip.
struct Candidate {
    unsigned upstream;
    Time srtt;
    bool is_validator = false; ///< its word that a name fails DNSSEC validation is final,
    bool is_trusted = false;   ///< and is waited for until the deadline
    unsigned priority = 0;     ///< the lower is asked first
};

class Fetch {
  public:
    enum class State : std::uint8_t { asking, answered, collecting, ranking, done };
    enum class Phase : std::uint8_t { idle, asked, ended };
    struct Attempt {
        Candidate candidate;
        Phase phase = Phase::idle;
        std::optional<Time> asked{}; ///< none: it was not
        bool is_hinted = false;      ///< an ICMP error says that it cannot be reached
    };

    /// `candidates`: best first, and so by priority.
    Fetch(FetchId id, const cache::Key& key, const std::vector<Candidate>& candidates,
          const FetchPolicy& policy, Time now);

    void start(FetchEffects& effects);
    void on_answer(Answer&& answer, Time now, FetchEffects& effects);
    void on_failed(unsigned upstream, Time now, FetchEffects& effects);
    /// A bound of ours ended its question: that is no failure of the name's.
    void on_refused(unsigned upstream, Time now, FetchEffects& effects);
    /// An asked upstream may be out of reach: others are asked sooner. Anybody may have said so.
    void on_hint(unsigned upstream, Time now, FetchEffects& effects);
    /// The ranking's result, best first; empty: none.
    void on_ranked(std::span<const dataplane::Address> order, FetchEffects& effects);
    void on_timer(Time now, FetchEffects& effects);
    /// Superseded or shut down: forgets every exchange and can never publish again.
    void cancel(FetchEffects& effects);

    Time next_timer() const; ///< when on_timer() has something to do; Time::max() when done
    State state() const { return state_; }
    FetchId id() const { return id_; }
    const cache::Key& key() const { return key_; }
    Time started() const { return started_; }
    std::span<const Attempt> attempts() const { return attempts_; }
    /// Replies that something may yet be published of.
    std::span<const Answer> heard() const { return answers_; }

  private:
    Attempt* attempt_of(unsigned upstream);
    bool any(Phase phase) const;
    bool awaits_trusted() const;
    bool is_time_to_chase(Time now) const;
    bool is_in_turn(const Attempt& attempt) const {
        return attempt.phase == Phase::idle && attempt.candidate.priority <= priority_;
    }
    bool is_worse(const Attempt& attempt) const {
        return attempt.phase == Phase::idle && attempt.candidate.priority > priority_;
    }
    bool wants_more() const;
    bool may_descend() const;
    void descend(Time now);
    void descend_to(unsigned priority, Time now);
    void ask_batch(Time now, FetchEffects& effects);
    bool can_merge(const Answer& winner) const;
    void note_overtaken(const Answer& winner, FetchEffects& effects);
    void explore(bool is_settled, Time now, FetchEffects& effects);
    Time collect_limit(const Attempt& attempt) const;
    void ask_some(unsigned count, Time now, FetchEffects& effects);
    void weigh(Answer&& answer, Time now, FetchEffects& effects);
    void note_error(std::optional<ExtendedError>&& error);
    const Answer* bare_chain() const;
    void chase(const Answer& answer, FetchEffects& effects);
    void go_on(Time now, FetchEffects& effects);
    void decide(Answer&& answer, Time now, FetchEffects& effects);
    void collect(Time now, FetchEffects& effects);
    void hear_validators(FetchEffects& effects);
    void collect_from(const Attempt& attempt, FetchEffects& effects);
    void complete(Time now, FetchEffects& effects);
    void rank(Answer&& answer, Time latest_expiry, Time now, FetchEffects& effects);
    void stop_asking(FetchEffects& effects);
    void give_up(Time now, FetchEffects& effects);

    FetchId id_;
    cache::Key key_;
    FetchPolicy policy_;
    Time started_, next_batch_;
    unsigned priority_ = 0; ///< of those that are asked now, and before
    Time descends_at_{};    ///< to those of the next one
    State state_ = State::asking;
    bool heard_ = false;
    std::optional<ExtendedError> said_; ///< by those that failed, what tells most
    bool refused_ = false;              ///< a bound of ours kept some upstream from being asked
    std::vector<Attempt> attempts_;
    std::vector<Answer> answers_;      ///< asking: incomplete ones; collecting: the winner, then the others;
                                       ///< ranking: the one that is published
    Time latest_expiry_ = Time::max(); ///< ranking: of the one that is published
    Time ranking_ends_{};
};

std::string_view to_string(Fetch::State state);
std::string_view to_string(Fetch::Phase phase);

} // namespace millrace::control
