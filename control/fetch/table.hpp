// Every Fetch there is.
//
// Questions are coalesced: one live Fetch each, with lists of those who asked. Upstreams are asked with DO=1
// whatever the client wants, so a Fetch serves two keys, without DO and with it, and publishes both under
// its generation; a merge concerns the first alone. Starting the next Fetch of a key supersedes the one
// before it, in the table and here: its exchanges are cancelled, its waiters move to the successor, it can
// never publish. Bounded slots; a deadline each; close() refuses new ones, drains, and leaves nothing.
// Control thread only.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "cache/table.hpp"
#include "control/fetch/aliases.hpp"
#include "control/fetch/back_offs.hpp"
#include "control/fetch/caps.hpp"
#include "control/fetch/completions.hpp"
#include "control/fetch/counters.hpp"
#include "control/fetch/denials.hpp"
#include "control/fetch/fetch.hpp"
#include "control/fetch/publish.hpp"
#include "control/fetch/shares.hpp"
#include "control/fetch/trace.hpp"
#include "control/fetch/waiters.hpp"
#include "control/hash_places.hpp"
#include "control/limits.hpp"
#include "control/rank/ranker.hpp"
#include "control/timers.hpp"
#include "control/upstream/exchange.hpp"
#include "control/upstream/upstreams.hpp"
#include "dataplane/rules.hpp"

namespace millrace::control {

/// A live Fetch as an operator sees it.
struct InflightFetch {
    cache::Generation generation;
    cache::Key key;
    Fetch::State state;
    Time started;
    std::size_t waiters;
    std::vector<Fetch::Attempt> attempts;
};

class FetchTable final : private ExchangeListener, private FetchEffects, private TargetFetches {
  public:
    /// `groups` is indexed by Key::group, and outlives this; `policy` is all of theirs at first.
    FetchTable(cache::Table& table, Publisher& publisher, Exchanges& exchanges, std::span<Upstreams> groups,
               Waker& waker, const FetchPolicy& policy);
    ~FetchTable() override; ///< asserts that nothing is left: close() comes first

    /// A question that the cache did not answer, and who waits for it.
    void resolve(const cache::Key& key, cache::Hash hash, const Waiter& asking, Time now);

    /// A worker hit an Entry that is about to expire. Dropped when another version is published by now, when
    /// a Fetch is live already, and under pressure: the worker asks again.
    void refresh(const cache::Key& key, cache::Hash hash, cache::Version version, Time now);

    /// Where its name is asked now.
    std::uint8_t group_of(const cache::Key& key) const;
    /// Whether it is answered without asking anybody, nor the cache.
    bool is_answered_here(const cache::Key& key) const { return aliases_.is_answered_here(key); }

    /// Whether there is room to ask for nobody who waits: the last quarter is for those who do.
    bool may_start_unasked() const;
    /// Asks for the sake of who comes later, on nobody's account, unless that is being done already. False:
    /// not now; nobody of its group would reply. May be called while may_start_unasked().
    bool warm(const cache::Key& key, cache::Hash hash, Time now);

    /// Asks afresh, superseding the key's live Fetch, and tells its timeline when it is over. False: too many
    /// are traced, or there is no place for a Fetch.
    bool trace(const cache::Key& key, cache::Hash hash, Time now, Traces::Done done);

    /// The result of a ranking; published only onto the very Entry that it was computed for.
    void on_ranked(FetchId id, std::span<const dataplane::Address> order);
    void set_ranker(Ranker* ranker) { ranker_ = ranker; } ///< null: nobody ranks

    /// Limits of new Fetches, and the rules of DNS64; names that are answered here: aliases are followed,
    /// chains are checked against block lists; which group a name is asked of.
    void set_rules(dataplane::CurrentRules rules) {
        rules_ = rules;
        aliases_.set_rules(rules);
        caps_.set_rules(rules);
    }

    /// Entries in the table that a flush is yet to empty: no other answer is made of them.
    using EntryPredicate = std::function<bool(const cache::KeyRef& key, const cache::Entry& entry)>;
    void set_forbidden(EntryPredicate forbidden) { forbidden_ = std::move(forbidden); }

    /// For Fetches of the group that start from here on; `patience` is every group's.
    void set_policy(unsigned group, const FetchPolicy& policy);

    /// The oldest of the live Fetches, at most `most`.
    std::vector<InflightFetch> inflight(std::size_t most) const;

    void tick(Time now);     ///< resends, deadlines, batches, client timers; the exchanges' too
    Time next_timer() const; ///< when tick() has something to do; Time::max() when never

    /// Supersedes the live Fetches whose key matches: from here on none of them publishes anything. Their
    /// exchanges end, and their waiters move to successors, a bounded number in this call and in each tick;
    /// the successors start in the next ticks.
    /// `then` is called when the last of them is gone, perhaps before this returns, or by close(). Until then
    /// no Fetch starts: all that start afterwards see what `then` changes, and none is live when it does.
    void supersede(Concern matches, std::function<void()> then = nullptr);
    bool is_superseding() const { return !sweeps_.empty(); } ///< tick() is still at it

    /// No new Fetch from here on; every waiter is abandoned, every exchange cancelled.
    void close();

    cache::Generation last_generation() const override { return last_generation_; }
    /// One that no Fetch has: older than those that start from now on.
    cache::Generation take_generation() { return ++last_generation_; }
    std::size_t live() const { return slots_.size() - free_.size(); }
    std::size_t waiting() const { return waiters_.count(); }
    const FetchCounters& counters() const { return counters_; }

  private:
    /// One of the two keys that a Fetch is for, and who waits for it.
    struct Side {
        cache::Key key;
        cache::Hash hash = 0;
        WaiterList waiters;
        cache::Version published;  ///< the Entry in the table that is of this Fetch; generation 0: none
        cache::Reserve::Hold held; ///< its answer when the table was full: for later questions
    };
    /// A live Fetch. FetchId::slot is the index in `slots_`.
    struct FetchSlot {
        std::optional<Fetch> fetch;         ///< none: free
        std::array<Side, 2> sides;          ///< the Fetch's own key, which has DO=0; the same with DO=1
        std::uint64_t prefix = 0, zone = 0; ///< on whose account it runs: keyed hashes
        std::size_t datagrams = 0;          ///< sent to upstreams, but for those of another shape (EDNS)
        ZoneCuts::Charge charge;            ///< to the account of its zone
        bool is_capped = false;             ///< a limit of ours kept some server from being asked

        Side& side(const cache::Key& key) { return sides[key.flavour & cache::dnssec_ok ? 1 : 0]; }
        std::size_t waiting() const { return sides[0].waiters.size() + sides[1].waiters.size(); }
        Time due() const { return std::min(sides[0].waiters.due(), sides[1].waiters.due()); }
    };
    /// Waiters of a superseded Fetch, until its successor starts; or of one that is led elsewhere, by a block
    /// list or by a chain of CNAMEs.
    struct Successor {
        cache::Key key;
        cache::Hash hash;
        std::vector<Waiter> waiters;
        std::optional<Alias> alias = std::nullopt;
        cache::Generation since = 0; ///< of the alias: the newest there was
    };
    /// What supersede() was asked for, and how far it is: slots, then aliases, then successors.
    struct Sweep {
        Concern matches;
        std::function<void()> then;
        cache::Generation last; ///< the newest that it concerns
        Aliases::Sweep aliases;
        std::size_t slot = 0;
        std::uint64_t successor, last_successor; ///< counted from the first there ever was
    };
    enum class Followers : bool { restart, stay };
    /// What a Fetch begins with, beside its question and who waits.
    struct Origin {
        std::uint64_t account = 0;    ///< the client prefix's, if nobody waits
        ZoneCuts::Charge charge{};    ///< what its zone was charged
        Traces::Done trace = nullptr; ///< who is told its timeline
    };

    void on_answer(FetchId id, Answer&& answer) override;
    void on_exchange_failed(FetchId id, unsigned upstream, ExchangeFailure failure) override;
    void on_exchange_hint(FetchId id, unsigned upstream, Time now) override;
    bool may_resend(FetchId id) override;
    void on_exchange_event(FetchId id, unsigned upstream, ExchangeEvent event, Time now) override;

    bool ask_upstream(const Fetch& fetch, unsigned upstream, Time deadline, Time now) override;
    void cancel_upstream(const Fetch& fetch, unsigned upstream) override;
    void overtaken(const Fetch& fetch, unsigned upstream) override;
    void collect_from(const Fetch& fetch, unsigned upstream, Time deadline) override;
    bool publish(const Fetch& fetch, const Answer& answer, std::uint32_t revision,
                 Time latest_expiry) override;
    bool begin_ranking(const Fetch& fetch, std::span<const dataplane::Address> addresses) override;
    void cancel_ranking(const Fetch& fetch) override;
    void fail(const Fetch& fetch, Cause cause, const std::optional<ExtendedError>& said, Time now) override;
    void chase(const Fetch& fetch, const Answer& answer) override;
    void note_disagreement(const Fetch& fetch) override;

    bool seek_target(const cache::Key& target, cache::Hash hash, std::uint64_t account, bool is_spared,
                     Time now) override;
    cache::Generation asked_as(const cache::Key& target, cache::Hash hash) override;
    Published publish_now(const cache::Key& key, cache::Hash hash, const Answer& answer,
                          Time latest_expiry) override;
    Published publish_failure_now(const cache::Key& key, cache::Hash hash,
                                  const std::optional<ExtendedError>& said, bool is_crossed,
                                  Time now) override;
    void restart(const cache::Key& key, cache::Hash hash, std::vector<Waiter> waiters) override;

    FetchSlot* find(FetchId id);
    FetchSlot* find(const cache::Key& key, cache::Hash hash);
    bool answer_from_table(const cache::Key& key, cache::Hash hash, const Waiter& waiter, Time now);
    bool answer_from_reserve(Side& side, const Waiter& waiter, Time now);
    bool answer_stale_at_once(const cache::Key& key, cache::Hash hash, const FetchSlot* slot,
                              const Waiter& waiter, Time now);
    void join(Side& side, const Waiter& waiter);
    void tell_stale(const cache::Key& key, cache::Hash hash, const cache::Entry& stale, const Waiter& waiter,
                    Time now);
    void expire(Side& side, Time now);
    void refuse(const cache::Key& key, cache::Hash hash, const Waiter& waiter);
    std::optional<ZoneCuts::Charge> may_start(const cache::Key& key, cache::Hash hash, const Waiter& waiter,
                                              Time now);
    bool is_known(const cache::Key& key, cache::Hash hash, Time now) const override;
    bool is_spared(const cache::Key& key, cache::Hash hash, Time now) const;
    bool answer_from_denial(const cache::Key& key, const Waiter& waiter, Time now);
    /// A denial in an Entry of no Slot, and the Fetch at work that may revoke it, or 0. Empty: none is known.
    struct Denied {
        cache::Reserve::Hold hold;
        cache::Generation root = 0;
    };
    Denied denied_from_above(const cache::Key& key, Time now);
    const cache::Entry* find_denial(const cache::Key& above, Time now) const;
    void learn(const FetchSlot& slot, const Answer& answer);
    void start(const cache::Key& key, cache::Hash hash, std::vector<Waiter> waiters, Time now,
               const ZoneCuts::Charge& charge = {});
    bool start_fetch(const cache::Key& key, cache::Hash hash, const std::vector<Waiter>& waiters, Time now,
                     Origin origin);
    void supersede(FetchSlot& slot, Followers followers = Followers::restart);
    void lead_elsewhere(FetchSlot& slot, const Answer& answer, Alias&& alias);
    void lead_to(FetchSlot& slot, Alias&& alias);
    void supersede_some();
    bool go_on(Sweep& sweep, unsigned steps);
    bool is_held() const;
    template <typename Concerned>
    bool is_swept(cache::Generation since, Concerned concerned) const;
    bool is_superseded(const cache::Key& key, cache::Generation since,
                       const cache::Entry* told) const override;
    bool is_superseded(const cache::Key& key, cache::Generation since, const Alias& alias) const override;
    static bool is_void(const Concern& matches, const FetchSlot& slot);
    bool is_forbidden(const cache::Key& key, cache::Hash hash, const cache::Entry& entry) const override {
        return forbidden_ && forbidden_({hash, key.bytes().data()}, entry);
    }
    bool is_superseded(const FetchSlot& slot) const;
    FetchSlot* find_valid(FetchId id);
    FetchSlot* find_valid(const cache::Key& key, cache::Hash hash);
    void start_successors(Time now);
    void start_successor(Successor&& successor, Time now);
    cache::Key as_ruled(cache::Key key, const Waiter& waiter) const;
    void settle(FetchSlot& slot);
    void free(FetchSlot& slot);
    std::uint64_t prefix_of(const dataplane::Address& client) const;
    /// Who holds most of what is short, and what is held by who wants some, with what it wants.
    struct Holder {
        const Shares& shares;
        Shares::Largest most;
        std::uint32_t own;
    };
    std::optional<Holder> largest_holder(std::uint64_t prefix, std::uint64_t zone, bool is_live) const;
    bool make_way(const std::optional<Holder>& holder, const FetchSlot* but_for = nullptr,
                  unsigned upstream = 0);
    bool is_overdue(const FetchSlot& slot) const;
    bool gives_room(const FetchSlot& slot, unsigned group, unsigned upstream) const;
    void displace(FetchSlot& slot);
    bool relieve(const cache::Key& key, cache::Hash hash, const Waiter& waiter);
    const cache::Entry* find_stale(const cache::Key& key, cache::Hash hash) const;
    bool publish(FetchId id, Side& side, const Answer& answer, cache::Version version, cache::EntryPtr entry);
    void fail(FetchId id, Side& side, Cause cause, const std::optional<ExtendedError>& said, Time now);
    bool tell_renewed(FetchId id, Side& side, const cache::Entry& stale, Time now);
    void wake_waiters(FetchId id, Side& side, const cache::Entry* entry, dataplane::Wake::Kind kind,
                      cache::Reserve::Hold* hold = nullptr);
    void refuse_all(FetchId id, Side& side);
    void wake_all(FetchId id, Side& side, const cache::Entry* entry, dataplane::Wake::Kind kind,
                  cache::Reserve::Hold* hold = nullptr);
    std::vector<Candidate> candidates(unsigned group) const;

    cache::Table& table_;
    Publisher& publisher_;
    Exchanges& exchanges_;
    std::span<Upstreams> groups_;
    std::vector<FetchPolicy> policies_; ///< by Key::group
    FetchCounters counters_;
    Waiters waiters_;
    Completions completions_;
    Aliases aliases_;
    BackOffs back_offs_;
    Ranker* ranker_ = nullptr;
    dataplane::CurrentRules rules_;
    Caps caps_{counters_};
    Denials denials_;
    EntryPredicate forbidden_;
    Traces traces_;
    std::vector<FetchSlot> slots_;
    std::vector<std::uint32_t> free_;
    Shares prefixes_{limits::fetches}, zones_{limits::fetches};
    std::uint32_t most_waited_ = 0; ///< the slot that had the most waiters when one was last added
    HashPlaces by_hash_;            ///< live ones' sides, two to a slot
    Timers timers_{limits::fetches};
    std::deque<Successor> successors_;
    std::uint64_t successors_gone_ = 0; ///< that were before those
    std::deque<Sweep> sweeps_;
    cache::Generation last_generation_ = 0;
    Time now_{};
    Time disagreements_logged_ = -limits::log_interval;
    bool closed_ = false;
};

} // namespace millrace::control
