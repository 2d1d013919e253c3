// Every Fetch there is, and everyone who waits for one.
//
// Questions are coalesced by key: one live Fetch per key. Starting the next Fetch of a key supersedes the one
// before it, in the table and here: its exchanges are cancelled, its waiters move to the successor, it can
// never publish. Bounded slots; a deadline each; close() refuses new ones, drains, and leaves nothing.
// Control thread only.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <unordered_map>
#include <vector>

#include "cache/replaceable.hpp"
#include "cache/table.hpp"
#include "control/fetch/fetch.hpp"
#include "control/fetch/publish.hpp"
#include "control/fetch/ranker.hpp"
#include "control/fetch/trace.hpp"
#include "control/upstream/exchange.hpp"
#include "control/upstream/upstreams.hpp"
#include "dataplane/access.hpp"
#include "dataplane/handoff.hpp"
#include "dataplane/local_names.hpp"

namespace millrace::control {

/// A client that waits for an answer. `source` and `token` are the business of whoever delivers it.
struct Waiter {
    std::uint32_t source = 0; ///< index of a worker, or tcp_source
    std::uint64_t token = 0;  ///< the worker's waiter, or the connection's question
    dataplane::Endpoint client;
    std::uint16_t id = 0; ///< of the message: recognises a retransmission
    Time arrived{};

    static constexpr std::uint32_t tcp_source = 0xffffffff;
    bool is_tcp() const { return source == tcp_source; }
};

/// Delivers the end of a wait: exactly one call for each Waiter that was given to the FetchTable.
class Waker {
  public:
    virtual ~Waker() = default;
    /// `entry` is null exactly for Kind::abandon, and not retired. Must not call back into the FetchTable.
    virtual void wake(const Waiter& waiter, const cache::Entry* entry, dataplane::Wake::Kind kind) = 0;
};

struct FetchCounters {
    std::uint64_t fetches = 0;           ///< started
    std::uint64_t coalesced = 0;         ///< questions that joined a running Fetch
    std::uint64_t answered_late = 0;     ///< questions whose answer was published on their way here
    std::uint64_t disagreements = 0;     ///< positive against negative
    std::uint64_t failed = 0;            ///< Fetches that ended without an answer
    std::uint64_t stale = 0;             ///< waiters that got stale data
    std::uint64_t abandoned = 0;         ///< waiters that got nothing
    std::uint64_t limited = 0;           ///< questions over a client's or a key's limit of Fetches
    std::uint64_t refused = 0;           ///< waiters turned away by a limit (SERVFAIL)
    std::uint64_t loops = 0;             ///< questions of our own that came back (SERVFAIL)
    std::uint64_t refreshes = 0;         ///< Fetches started ahead of an expiry
    std::uint64_t refreshes_dropped = 0; ///< requests that came too late, twice, or under pressure
    std::uint64_t aliased = 0;           ///< questions answered by way of another name's answer
    std::uint64_t chains_blocked = 0;    ///< replies whose CNAME chain led to a blocked name
    std::uint64_t ranked_late = 0;       ///< orders thrown away: what they were computed for is gone
};

/// A live Fetch as an operator sees it.
struct InflightFetch {
    cache::Generation generation;
    cache::Key key;
    Fetch::State state;
    Time started;
    std::size_t waiters;
    std::vector<Fetch::Attempt> attempts;
};

class FetchTable final : private ExchangeListener, private FetchEffects {
  public:
    FetchTable(cache::Table& table, Publisher& publisher, Exchanges& exchanges, Upstreams& upstreams,
               Waker& waker, const FetchPolicy& policy);
    ~FetchTable() override; ///< asserts that nothing is left: close() comes first

    /// A question that the cache did not answer, and who waits for it.
    void resolve(const cache::Key& key, cache::Hash hash, const Waiter& waiter, Time now);

    /// A worker hit an Entry that is about to expire. Dropped when another version is published by now, when
    /// a Fetch is live already, and under pressure: the worker asks again.
    void refresh(const cache::Key& key, cache::Hash hash, cache::Version version, Time now);

    /// Asks afresh, superseding the key's live Fetch, and tells its timeline when it is over. False: too many
    /// are traced, or there is no place for a Fetch.
    bool trace(const cache::Key& key, cache::Hash hash, Time now, Traces::Done done);

    /// The result of a ranking; published only onto the very Entry that it was computed for.
    void on_ranked(FetchId id, std::span<const dataplane::Address> order);
    void set_ranker(Ranker* ranker) { ranker_ = ranker; } ///< null: nobody ranks

    /// Names that are answered here: aliases are followed, chains are checked against block
    /// lists. Null: none.
    void set_local(const cache::Replaceable<dataplane::LocalNames>* local) { local_ = local; }

    /// Limits of new Fetches by client and by key. Null: none.
    void set_access(const dataplane::Access* access) { access_ = access; }

    /// For Fetches that start from here on.
    void set_policy(const FetchPolicy& policy) { policy_ = policy; }

    /// The oldest of the live Fetches, at most `most`.
    std::vector<InflightFetch> inflight(std::size_t most) const;

    void tick(Time now);     ///< resends, deadlines, batches, client timers; the exchanges' too
    Time next_timer() const; ///< when tick() has something to do; Time::max() when never

    /// Supersedes the live Fetches whose key matches, at once. Their waiters move to successors, which start
    /// in the next ticks, a bounded number in each.
    void supersede(const std::function<bool(const cache::Key&)>& matches);

    /// No new Fetch from here on; every waiter is abandoned, every exchange cancelled.
    void close();

    cache::Generation last_generation() const { return last_generation_; }
    std::size_t live() const { return by_hash_.size(); }
    std::size_t waiting() const { return waiting_; }
    const FetchCounters& counters() const { return counters_; }

  private:
    /// A chain of CNAMEs that leads from one key to another, which is asked in its place.
    struct Alias {
        std::vector<Record> chain; ///< in order, the last one's target is the other key's name
        cache::Key target;
        std::optional<std::uint16_t> info; ///< extended error of the block list that says so
        bool is_blocked = false;           ///< a block list has led it somewhere: no other will
    };
    /// Waiters of a superseded Fetch, until its successor starts; or of one that a rule leads elsewhere.
    struct Restart {
        cache::Key key;
        cache::Hash hash;
        std::vector<Waiter> waiters;
        std::optional<Alias> alias = std::nullopt;
    };
    /// A key that waits for the answer of its alias's target.
    struct Follower {
        cache::Key key;
        cache::Hash hash;
        Alias alias;
        std::vector<Waiter> waiters;
    };
    /// A UDP client's question, as a retransmission repeats it.
    struct Asker {
        dataplane::Endpoint client;
        std::uint16_t id;
        bool operator==(const Asker&) const = default;
    };
    struct HashAsker {
        std::size_t operator()(const Asker& asker) const;
    };
    struct Slot {
        std::unique_ptr<Fetch> fetch;                             ///< null: free
        std::vector<Waiter> waiters;                              ///< oldest first
        std::unordered_map<Asker, std::size_t, HashAsker> places; ///< of UDP clients in `waiters`
        Time waiter_due = Time::max(); ///< when the first waiter runs out of patience, or earlier
        Time timer = Time::max();      ///< as filed in timers_
        cache::Version published;      ///< the Entry in the table that is of this Fetch; generation 0: none
        cache::Reserve::Hold held;     ///< its answer when the table was full: for later questions
    };

    void on_answer(FetchId id, Answer&& answer) override;
    void on_exchange_failed(FetchId id, unsigned upstream, ExchangeFailure failure) override;
    void on_exchange_event(FetchId id, unsigned upstream, ExchangeEvent event, Time now) override;
    bool ask(const Fetch& fetch, unsigned upstream, Time deadline, Time now) override;
    void cancel(const Fetch& fetch, unsigned upstream) override;
    void collect(const Fetch& fetch, unsigned upstream, Time deadline) override;
    bool publish(const Fetch& fetch, const Answer& answer, std::uint32_t revision,
                 Time latest_expiry) override;
    bool rank(const Fetch& fetch, std::span<const dataplane::Address> addresses) override;
    void cancel_ranking(const Fetch& fetch) override;
    void fail(const Fetch& fetch, Silence silence, Time now) override;
    void disagreement(const Fetch& fetch) override;

    Slot* live_slot(FetchId id);
    Slot* find(const cache::Key& key, cache::Hash hash);
    bool answer_from_table(const cache::Key& key, cache::Hash hash, const Waiter& waiter, Time now);
    bool answer_from_reserve(Slot& slot, const Waiter& waiter, Time now);
    void start(const cache::Key& key, cache::Hash hash, std::vector<Waiter> waiters, Time now,
               Traces::Done trace = nullptr, bool is_target = false);
    enum class Followers : bool { restart, stay };
    std::vector<Waiter> retire(Slot& slot, Followers followers = Followers::restart);
    void restart_some(Time now);

    // Aliases (fetch_alias.cpp).
    std::optional<Alias> alias_of(const cache::Key& key) const;
    std::optional<Answer> own_alias(const cache::Key& key, Time now) const;
    bool extend(Alias& alias) const;
    void follow(const cache::Key& key, cache::Hash hash, const Alias& alias, std::vector<Waiter> waiters,
                Time now);
    std::optional<Answer> known_answer(const Alias& alias, cache::Hash hash, Time now) const;
    void conclude(const cache::Key& key, cache::Hash hash, const Alias& alias, Answer&& answer,
                  const std::vector<Waiter>& waiters);
    void fail_alias(const cache::Key& key, cache::Hash hash, const std::vector<Waiter>& waiters, Time now);
    void conclude_followers(const cache::Key& target, cache::Hash hash, const cache::Entry* entry,
                            dataplane::Wake::Kind kind);
    void restart_followers(const cache::Key& target, cache::Hash hash);
    void supersede_followers(const std::function<bool(const cache::Key&)>& matches);
    void expire_followers(Time now);
    bool has_followers(const Fetch& fetch) const;
    Follower* find_follower(const cache::Key& key, cache::Hash hash);
    bool leads_to(cache::Key from, const cache::Key& key);
    std::vector<Follower> take_followers(const cache::Key& target, cache::Hash hash);
    bool apply_block_lists(Slot& slot, Answer& answer);
    void wake_some(const std::vector<Waiter>& waiters, const cache::Entry* entry, cache::Reserve::Hold* hold);

    void settle(Slot& slot);
    void join(Slot& slot, const Waiter& waiter);
    bool replace_retransmission(Slot& slot, const Waiter& waiter);
    void refuse(const Waiter& waiter, std::uint64_t FetchCounters::*why = &FetchCounters::refused);
    bool may_start(cache::Hash hash, const Waiter& waiter, Time now) const;
    void answer_limited(const cache::Key& key, cache::Hash hash, const Waiter& waiter, Time now);
    void wake(const Waiter& waiter, const cache::Entry* entry, dataplane::Wake::Kind kind);
    void note_wakes(const Slot& slot);
    void wake_all(Slot& slot, const cache::Entry* entry, dataplane::Wake::Kind kind,
                  cache::Reserve::Hold* hold = nullptr);
    void expire_waiters(Slot& slot, Time now);
    Time patience(const Waiter& waiter, const cache::Entry* stale) const;
    const cache::Entry* stale_entry(const cache::Key& key, cache::Hash hash, Time now) const;
    std::vector<Candidate> candidates(Time now) const;

    cache::Table& table_;
    Publisher& publisher_;
    Exchanges& exchanges_;
    Upstreams& upstreams_;
    Waker& waker_;
    FetchPolicy policy_;
    Ranker* ranker_ = nullptr;
    const cache::Replaceable<dataplane::LocalNames>* local_ = nullptr;
    const dataplane::Access* access_ = nullptr;
    Traces traces_;
    std::vector<Slot> slots_;
    std::vector<std::uint32_t> free_;
    std::deque<Restart> restarts_;                                ///< at most as many as there are waiters
    std::unordered_multimap<cache::Hash, std::uint32_t> by_hash_; ///< live ones
    std::unordered_multimap<cache::Hash, Follower> followers_;    ///< by their target's
    std::unordered_map<cache::Hash, cache::Hash> following_;      ///< from their own to their target's
    Time followers_due_{};                                        ///< when their waiters are looked at
    std::set<std::pair<Time, std::uint32_t>> timers_;
    std::map<dataplane::Address, unsigned> waits_of_client_;
    std::size_t waiting_ = 0;
    cache::Generation last_generation_ = 0;
    Time now_{};
    bool closed_ = false;
    FetchCounters counters_;
};

} // namespace millrace::control
