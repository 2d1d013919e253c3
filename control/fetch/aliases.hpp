// Questions that are answered by way of another name's answer.
//
// A rule of LocalNames, for the question's name or for one in a reply's chain of CNAMEs, makes an Alias: the
// chain so far, and the key to be asked in the place of the first. So does a reply whose chain has no end.
// The target is answered here, or is in the table, or has a Fetch of its own, which is an ordinary one: it is
// coalesced, cached and cancelled under its own key, and knows nothing of who follows it. What it ends with
// is put behind the chain and published under the first key, with a generation of its own, taken then.
//
// Control thread only.
#pragma once

#include <functional>
#include <optional>
#include <unordered_map>
#include <vector>

#include "cache/replaceable.hpp"
#include "cache/table.hpp"
#include "control/fetch/completions.hpp"
#include "control/fetch/publish.hpp"
#include "control/fetch/waiters.hpp"
#include "control/local/alias.hpp"

namespace millrace::control {

/// What aliases need of the table of Fetches.
class TargetFetches {
  public:
    virtual ~TargetFetches() = default;

    /// Sees to it that the target is being asked. False: there is no room for another Fetch. Its end, which
    /// may come before this returns, is told by Aliases::on_target_ended.
    /// `account`: the client prefix on whose account it runs.
    virtual bool seek_target(const cache::Key& target, cache::Hash hash, std::uint64_t account, Time now) = 0;
    /// The generation under which the target is being asked; 0: it is not.
    virtual cache::Generation asked_as(const cache::Key& target, cache::Hash hash) = 0;
    /// Publishes under a generation taken now.
    virtual Published publish_now(const cache::Key& key, cache::Hash hash, const Answer& answer,
                                  Time latest_expiry) = 0;
    virtual Published publish_failure_now(const cache::Key& key, cache::Hash hash,
                                          const std::optional<ExtendedError>& said, Time now) = 0;
    /// Resolves the key afresh for those who wait, soon.
    virtual void restart(const cache::Key& key, cache::Hash hash, std::vector<Waiter> waiters) = 0;
};

class Aliases {
  public:
    using Kind = dataplane::Wake::Kind;

    Aliases(const cache::Table& table, const Publisher& publisher, Waiters& waiters, Completions& completions,
            FetchCounters& counters, TargetFetches& fetches)
        : table_(table), publisher_(publisher), waiters_(waiters), completions_(completions),
          counters_(counters), fetches_(fetches) {}

    /// Null: there are no rules.
    void set_local(const cache::Replaceable<dataplane::LocalNames>* local) { local_ = local; }

    /// Whether a rule answers the key, or leads it elsewhere: it has no Fetch of its own.
    bool rules(const cache::Key& key, Time now) const;
    /// If so, takes those who wait for it. False: nothing was done.
    bool take(const cache::Key& key, cache::Hash hash, std::vector<Waiter>& waiters, Time now);
    /// Whether the key waits for a target already; then the waiter joins those who do, or is refused.
    bool join(const cache::Key& key, cache::Hash hash, const Waiter& waiter, Time now);
    /// Those who wait get what the alias's target is answered with.
    void follow(const cache::Key& key, cache::Hash hash, const Alias& alias, std::vector<Waiter> waiters,
                Time now);
    /// What becomes of a reply to the key that is a chain of CNAMEs without its end.
    Alias chased(const cache::Key& key, const Answer& answer) const {
        return chased_alias(local_ ? &local_->get() : nullptr, key, answer);
    }
    /// Holds a reply to the key against the block lists.
    ChainVerdict check_chain(const cache::Key& key, Answer& answer);

    bool has_followers(const cache::Key& target, cache::Hash hash) const;
    bool is_follower(const cache::Key& key, cache::Hash hash) { return find(key, hash) != nullptr; }
    /// `entry` is what the clients of the target got; `root`: the Fetch that may yet revoke it, or 0.
    void on_target_ended(const cache::Key& target, cache::Hash hash, const cache::Entry* entry, Kind kind,
                         Time now, cache::Generation root = 0);
    /// The target's Fetch was superseded: its followers are resolved afresh.
    void on_target_superseded(const cache::Key& target, cache::Hash hash);

    /// Followers whose own name matches are resolved afresh.
    void supersede(const std::function<bool(const cache::Key&)>& matches);
    void tick(Time now); ///< client timers
    Time next_timer() const { return followers_.empty() ? Time::max() : patience_due_; }
    void close(); ///< every waiter is abandoned

  private:
    /// A key that waits for the answer of its alias's target.
    struct Follower {
        cache::Key key;
        cache::Hash hash;
        Alias alias;
        std::vector<Waiter> waiters;
        unsigned depth; ///< followers that follow it one after the other, itself included
    };

    std::optional<Answer> known_answer(const Alias& alias, cache::Hash hash, Time now) const;
    void conclude(const cache::Key& key, cache::Hash hash, const Alias& alias, Answer&& answer,
                  const std::vector<Waiter>& waiters, cache::Generation root, Time now);
    /// `why`: what the target ended with; the static SERVFAIL: a bound of ours did it; null: the chain did.
    void fail(const cache::Key& key, cache::Hash hash, const Alias& alias, const std::vector<Waiter>& waiters,
              const cache::Entry* why, Time now);
    unsigned depth_of(const cache::Key& key, cache::Hash hash) const;
    bool add(const cache::Key& key, cache::Hash hash, const Alias& alias, cache::Hash target_hash,
             std::vector<Waiter>& waiters, Time now);
    Follower* find(const cache::Key& key, cache::Hash hash);
    bool leads_to(cache::Key from, const cache::Key& key);
    std::vector<Follower> take_followers(const cache::Key& target, cache::Hash hash);

    const cache::Table& table_;
    const Publisher& publisher_;
    Waiters& waiters_;
    Completions& completions_;
    FetchCounters& counters_;
    TargetFetches& fetches_;
    const cache::Replaceable<dataplane::LocalNames>* local_ = nullptr;
    std::unordered_multimap<cache::Hash, Follower> followers_; ///< by their target's
    std::unordered_map<cache::Hash, cache::Hash> following_;   ///< from their own to their target's
    Time patience_due_{};                                      ///< when their waiters are looked at
};

} // namespace millrace::control
