// Flushes asked for by an operator, and their acknowledgement: afterwards nothing collected before appears.
//
// Basic algorithm: take G, the last generation issued. At once, forbid the live Fetches concerned to publish
// (they end in pieces; their waiters get successors, which have later generations) and, for everything, raise
// the groups' floors to G. When they have ended, empty the slots that hold a generation up to G, a few shards
// per tick. After the last shard begin a grace period: when every worker has passed it and finished the Wakes
// sent until then, no reply written from the old data can follow, and the flush is acknowledged.
//
// Control thread only.
#pragma once

#include <deque>
#include <functional>
#include <optional>

#include "cache/grace.hpp"
#include "cache/table.hpp"
#include "control/fetch/table.hpp"

namespace millrace::control {

class Flushes {
  public:
    /// Told when the flush is complete, with the number of answers that were removed.
    using Done = std::function<void(std::size_t emptied)>;

    Flushes(cache::Table& table, cache::Grace& grace, FetchTable& fetches);

    // False: too many flushes are under way, and nothing was done.

    /// All types and flavours of one name, and of those whose chain of CNAMEs leads through it. Denials of
    /// what is below it, too: they may have been made of its own (RFC 8020).
    bool flush_name(const cache::Name& name, Done done);
    /// ... and of every name below it.
    bool flush_zone(const cache::Name& zone, Done done);
    /// Everything. `then`, if any, is called when no Fetch is live and no Exchange of one open, perhaps
    /// before this returns: it may change what is to be asked, and how. Until then none starts.
    bool flush_all(Done done, std::function<void()> then = nullptr);
    /// What a reload makes void. The rules are read as the flush goes on: `then`, as above, may replace them.
    struct Outdated {
        /// What a rule made, or would now make otherwise: answers whose chain leads to a blocked name, names
        /// with an alias. All live Fetches, as they may be of either kind. False: they are as they were.
        bool local = false;
        /// Names that are now asked of another group, or whose chain leads to one, or did; all live Fetches.
        /// False: routes are as they were.
        bool routes = false;
        /// All of these, a bit each, by Key::group; and what one group completed for another's names.
        std::uint32_t groups = 0;
        /// Of the first two.
        dataplane::CurrentRules rules{};

        bool is_any() const { return local || routes || groups; }
    };
    bool flush_outdated(const Outdated& what, Done done, std::function<void()> then = nullptr);
    /// Names and records that there are none of, and failures. Whatever is being asked is asked anew: what
    /// was said before this must not be published after it.
    bool flush_negative(Done done);
    /// Nothing; only waits until every worker has seen what was changed before.
    bool wait(Done done);

    /// Whether rules or routes make another answer of it now than they did when it was made.
    static bool is_made_otherwise(const dataplane::LocalNames& local, const dataplane::Routes& routes,
                                  const cache::KeyRef& key, const cache::Entry& entry);
    std::uint64_t begun() const { return begun_; } ///< flushes, complete or not

    /// Does a part of the work. Returns whether more can be done at once.
    bool tick();
    /// Until a grace period has passed, or longer: somebody is still to be told.
    bool is_waiting() const { return !jobs_.empty(); }

  private:
    /// `is_denied`: of an NXDOMAIN, or what leads to one, or may have been made by way of one.
    using NamePredicate = std::function<bool(std::span<const std::uint8_t> name, bool is_denied)>;
    using EntryPredicate = std::function<bool(const cache::KeyRef& key, const cache::Entry& entry)>;
    struct Job {
        EntryPredicate matches;
        cache::Generation last;
        Done done;
        cache::Table::Place at;
        std::size_t emptied;
        std::optional<cache::Grace::Period> period;
    };
    /// Whether a flush is on its way to this Entry. What is made of it would outlast the flush.
    bool forbids(const cache::KeyRef& key, const cache::Entry& entry) const;
    void raise_floors(std::uint32_t groups);
    bool begin(const NamePredicate& matches, Done done, std::function<void()> then = nullptr);
    static bool concerns(const cache::KeyRef& key, const cache::Entry& entry, const NamePredicate& matches);

    cache::Table& table_;
    cache::Grace& grace_;
    FetchTable& fetches_;
    std::deque<Job> jobs_;
    std::uint64_t begun_ = 0;
};

} // namespace millrace::control
