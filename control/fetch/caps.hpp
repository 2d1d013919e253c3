// Which new Fetches are over a limit of the operator's (`limits: fetches` and those that begin so).
//
// A question has to be within all of them: of the client's narrow prefix, of its wide one, of the key for one
// prefix, of the question whoever asks, of the zone. They are asked in this order, so that what a narrower
// one refuses is not charged to a wider one. In a dry run they are counted and named, and nothing is refused,
// but by the bound of a key, which is no limit of the operator's.
//
// What is over is named in the log, each once a minute and few of them. Control thread only.
#pragma once

#include <array>
#include <optional>
#include <set>
#include <string>

#include "cache/key.hpp"
#include "control/fetch/counters.hpp"
#include "control/fetch/waiters.hpp"
#include "control/fetch/zone_cuts.hpp"
#include "dataplane/rules.hpp"

namespace millrace::control {

class Caps {
  public:
    explicit Caps(FetchCounters& counters) : counters_(counters) {}

    void set_rules(dataplane::CurrentRules rules) { rules_ = rules; }

    /// Whether a question may start a Fetch, and what its zone is charged. None: it is over a limit; counted.
    /// `is_known`: something was found for it once, so its zone has no part in it.
    std::optional<ZoneCuts::Charge> admit(const cache::Key& key, cache::Hash hash, const Waiter& waiter,
                                          bool is_known, Time now);
    /// The same of a name that another leads to: its zone alone.
    std::optional<ZoneCuts::Charge> admit_to_zone(const cache::Key& key, bool is_known, Time now);
    /// One that was charged so is asked no further.
    void refund(const ZoneCuts::Charge& charge);
    /// How a Fetch that was charged so has ended. Not of what a rule made.
    void learn(const cache::Key& key, const Answer& answer, const ZoneCuts::Charge& charge, Time now);

  private:
    using Limit = FetchCounters::Limit;
    bool is_within(const cache::Key& key, cache::Hash hash, const Waiter& waiter, Time now);
    /// Counts what is over, and logs it by what `name()` gives, which is called then only. Whether it is let
    /// pass all the same.
    template <class Name>
    bool is_dry(Limit limit, std::uint64_t which, const Name& name, Time now);

    FetchCounters& counters_;
    dataplane::CurrentRules rules_;
    ZoneCuts cuts_;
    std::set<std::uint64_t> named_; ///< since `named_since_`
    Time named_since_ = -limits::log_interval;
};

} // namespace millrace::control
