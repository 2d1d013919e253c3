// Questions that are answered by way of another name's answer.
//
// A rule of LocalNames, for the question's name or for one in a reply's chain of CNAMEs, makes an Alias: the
// chain so far, and the key to be asked in the place of the first. So does a reply whose chain has no end, or
// goes on in another upstream group, where the target is asked then.
// The target is answered here, or is in the table, or has a Fetch of its own, which is an ordinary one: it is
// coalesced, cached and cancelled under its own key, and knows nothing of who follows it. What it ends with
// is put behind the chain and published under the first key, with a generation of its own, taken then.
// A question that DNS64 (RFC 6147) concerns is one, too: its target is the same key without the rule, and
// then, when that has no AAAA records, the A records of the name, of which some are made.
// Whoever owns a zone may have thousands of names follow one target: a tick tells a bounded number of them.
//
// Control thread only.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <tuple>
#include <unordered_map>
#include <utility>
#include <vector>

#include "cache/table.hpp"
#include "control/fetch/completions.hpp"
#include "control/fetch/publish.hpp"
#include "control/fetch/waiters.hpp"
#include "control/local/alias.hpp"
#include "control/local/crossing.hpp"
#include "dataplane/rules.hpp"

namespace millrace::control {

/// Whether a flush concerns what is known of the key: `told`, a copy of what its clients got; null: what they
/// are yet to get.
using Concern = std::function<bool(const cache::Key& key, const cache::Entry* told)>;
/// Whether it concerns a name that a chain of CNAMEs, heard for the key and not published yet, leads to.
bool concerns_chain(const Concern& matches, const cache::Key& key, std::span<const Record> chain);
/// The key, or what leads it elsewhere.
bool concerns(const Concern& matches, const cache::Key& key, const Alias& alias);

/// What aliases need of the table of Fetches.
class TargetFetches {
  public:
    virtual ~TargetFetches() = default;

    /// Sees to it that the target is being asked. False: there is no room for another Fetch. Its end, which
    /// may come before this returns, is told by Aliases::on_target_ended.
    /// `account`: the client prefix on whose account it runs; `is_spared`: its zone's account is not asked.
    virtual bool seek_target(const cache::Key& target, cache::Hash hash, std::uint64_t account,
                             bool is_spared, Time now) = 0;
    /// Whether something was found for it, if only stale.
    virtual bool is_known(const cache::Key& key, cache::Hash hash, Time now) const = 0;
    /// The generation under which the target is being asked; 0: it is not.
    virtual cache::Generation asked_as(const cache::Key& target, cache::Hash hash) = 0;
    /// Publishes under a generation taken now.
    virtual Published publish_now(const cache::Key& key, cache::Hash hash, const Answer& answer,
                                  Time latest_expiry) = 0;
    virtual Published publish_failure_now(const cache::Key& key, cache::Hash hash,
                                          const std::optional<ExtendedError>& said, bool is_crossed,
                                          Time now) = 0;
    /// Resolves the key afresh for those who wait, soon.
    virtual void restart(const cache::Key& key, cache::Hash hash, std::vector<Waiter> waiters) = 0;
    /// Whether a flush that is still being worked off forbids what is known of the key since that generation,
    /// the newest there was. `told`: as for Concern; or what leads the key elsewhere.
    virtual bool is_superseded(const cache::Key& key, cache::Generation since,
                               const cache::Entry* told) const = 0;
    virtual bool is_superseded(const cache::Key& key, cache::Generation since, const Alias& alias) const = 0;
    /// Whether a flush is yet to empty this Entry of the table.
    virtual bool is_forbidden(const cache::Key& key, cache::Hash hash, const cache::Entry& entry) const = 0;
    virtual cache::Generation last_generation() const = 0;
};

class Aliases {
  public:
    using Kind = dataplane::Wake::Kind;

    Aliases(const cache::Table& table, const Publisher& publisher, Waiters& waiters, Completions& completions,
            FetchCounters& counters, TargetFetches& fetches)
        : table_(table), publisher_(publisher), waiters_(waiters), completions_(completions),
          counters_(counters), fetches_(fetches) {}

    void set_rules(dataplane::CurrentRules rules) { rules_ = rules; }

    /// Whether a rule answers the key, or leads it elsewhere: it has no Fetch of its own.
    bool rules(const cache::Key& key, Time now) const;
    /// Whether workers answer it without asking: nobody comes here with it.
    bool is_answered_here(const cache::Key& key) const;
    /// If so, takes those who wait for it. False: nothing was done.
    bool take(const cache::Key& key, cache::Hash hash, std::vector<Waiter>& waiters, Time now);
    /// Whether the key waits for a target already; then the waiter joins those who do, or is refused.
    bool join(const cache::Key& key, cache::Hash hash, const Waiter& waiter, Time now);
    /// Those who wait get what the alias's target is answered with, by its own group.
    void follow(const cache::Key& key, cache::Hash hash, Alias alias, std::vector<Waiter> waiters, Time now);
    /// What becomes of a reply to the key that is a chain of CNAMEs without its end.
    Alias chased(const cache::Key& key, const Answer& answer) const {
        return chased_alias(rules_.local(), key, answer);
    }
    /// What is to be told in the place of a stale chain of CNAMEs: its beginning, up to the first name that
    /// has something fresh of its own, and that (RULES.md, replies to clients). It ends 30 s from now at the
    /// latest. None: `stale` itself, which is also all that is told once limits::renewals_per_tick are made.
    std::optional<Answer> renewed(const cache::Key& key, cache::Hash hash, const cache::Entry& stale,
                                  Time now);
    /// Cuts a reply to the key where its chain leaves the group, and holds it against the block lists.
    ChainVerdict check_chain(const cache::Key& key, Answer& answer);

    bool has_followers(const cache::Key& target, cache::Hash hash) const;
    bool is_follower(const cache::Key& key, cache::Hash hash) { return find(key, hash) != nullptr; }
    /// `entry` is what the clients of the target got; `root`: the Fetch that may yet revoke it, or 0. Its
    /// followers are told at once, as far as this tick's share goes, or in the next ticks.
    void on_target_ended(const cache::Key& target, cache::Hash hash, const cache::Entry* entry, Kind kind,
                         Time now, cache::Generation root = 0);
    /// A validator found the answer of this Fetch bogus: who has not been told of it yet will not be.
    void revoke(cache::Generation root);
    /// The target's Fetch was superseded: its followers are resolved afresh, from the next tick on.
    void on_target_superseded(const cache::Key& target, cache::Hash hash);

    /// Followers whose own name matches, and those of targets that have ended and match, are to be resolved
    /// afresh: of those there were when the Sweep was made, a piece of the work for each call.
    struct Sweep {
        std::uint64_t follower = 0, last_follower, ended, last_ended; ///< how far it is, and where it ends
    };
    Sweep begin_sweep() const {
        return {
            .last_follower = last_follower_, .ended = ended_gone_, .last_ended = ended_gone_ + ended_.size()};
    }
    /// False: it is over. `steps` is what may still be looked at, and is counted down.
    bool go_on(Sweep& sweep, const Concern& matches, unsigned& steps);

    void tick(Time now); ///< followers of targets that have ended, and client timers: a piece of both
    Time next_timer() const { return timers_.empty() ? Time::max() : timers_.begin()->first; }
    bool is_due() const { return !ended_.empty(); } ///< whatever next_timer() says
    void close();                                   ///< every waiter is abandoned

  private:
    using Number = std::uint64_t; ///< in the order in which followers came
    /// A key that waits for the answer of its alias's target.
    struct Follower {
        cache::Key key;
        cache::Hash hash;
        Alias alias;
        cache::Hash target_hash;
        unsigned depth; ///< followers that follow it one after the other, itself included
        cache::Generation since;
        WaiterList waiters{};
        bool is_revoked = false;  ///< the AAAA answer that led to A records was found bogus meanwhile
        Time timer = Time::max(); ///< as filed in timers_
    };
    /// A target that has ended, and what its followers, those that it had then, are still to be told.
    struct Ended {
        enum class How : std::uint8_t { answered, failed, refused, superseded };
        cache::Key target;
        cache::Hash hash;
        How how;
        cache::EntryPtr entry; ///< a copy of what its clients got, if they got one
        Time at;
        cache::Generation since, root;
        Number last; ///< of its followers
    };

    /// What is known of a target.
    struct Found {
        Answer answer;
        Time expiry = Time::max();        ///< of the Entry that says so,
        cache::Generation generation = 0; ///< and its generation; 0: no Entry of the table's
        /// The Fetch that may revoke it, or find another, while it is at work; 0: none.
        cache::Generation root = 0;
        cache::Generation native_root = 0; ///< and the one that may revoke the AAAA answer before it
        Time latest = Time::max();         ///< what is made of it lives no longer
        bool is_stale = false;             ///< it has expired: what is made of it is for those who wait alone
    };
    static std::optional<Found> read_found(const cache::Key& key, const cache::Entry& entry, Time now);
    cache::Generation root_of(const cache::Key& target, cache::Hash hash) const;
    std::optional<Found> known_answer(const Alias& alias, cache::Hash hash, Time now, bool is_ahead) const;
    void conclude(const cache::Key& key, cache::Hash hash, const Alias& alias, Found&& found,
                  const std::vector<Waiter>& waiters, Time now);
    void note(const cache::Key& key, cache::Hash hash, cache::Generation generation, const Alias& alias,
              const Found& found);
    /// `why`: what the target ended with; the static SERVFAIL: a bound of ours did it; null: the chain did.
    void fail(const cache::Key& key, cache::Hash hash, const Alias& alias, const std::vector<Waiter>& waiters,
              const cache::Entry* why, Time now);
    bool is_sought(const cache::Key& target, cache::Hash hash, std::uint64_t account, bool is_spared,
                   Time now);
    bool translate(const cache::Key& key, cache::Hash hash, std::vector<Waiter>& waiters, Time now);
    std::optional<Alias> settle(const cache::Key& key, const Alias& alias, Found& found);
    bool may_map(const cache::Key& key, cache::Hash hash, const Alias& alias, const cache::Entry* why) const;
    bool may_derive_stale(const cache::Key& key, cache::Hash hash, const Alias& alias,
                          const cache::Entry* entry) const;
    std::optional<Found> held_stale(const cache::Key& key, cache::Hash hash, const Alias& alias,
                                    cache::Hash target_hash, Time now) const;
    unsigned depth_of(cache::Hash hash) const;
    bool add(const cache::Key& key, cache::Hash hash, const Alias& alias, cache::Hash target_hash,
             const std::vector<Waiter>& waiters);
    Follower* find(const cache::Key& key, cache::Hash hash);
    bool leads_to(cache::Key from, const cache::Key& key);
    std::optional<Number> follower_of(const cache::Key& target, cache::Hash hash, Number last) const;
    Follower take(Number number);
    void join(Follower& follower, const std::vector<Waiter>& waiters);
    void file_timer(Number number, Follower& follower);
    void tell_followers();
    void tell(const Ended& ended, Follower&& follower);
    void restart(Follower&& follower);

    const cache::Table& table_;
    const Publisher& publisher_;
    Waiters& waiters_;
    Completions& completions_;
    FetchCounters& counters_;
    TargetFetches& fetches_;
    dataplane::CurrentRules rules_;
    std::map<Number, Follower> followers_;
    std::set<std::pair<cache::Hash, Number>> by_target_;
    std::set<std::tuple<cache::Hash, unsigned, Number>> by_depth_;  ///< of a target
    std::set<std::pair<cache::Generation, Number>> by_native_root_; ///< those that have one
    std::unordered_map<cache::Hash, Number> following_;             ///< by their own hash
    std::set<std::pair<Time, Number>> timers_;
    std::deque<Ended> ended_;
    std::uint64_t ended_gone_ = 0; ///< that were before those in `ended_`
    Number last_follower_ = 0;
    unsigned told_ = 0, renewed_ = 0; ///< in this tick
    bool is_telling_ = false;
    Time now_{};
};

} // namespace millrace::control
