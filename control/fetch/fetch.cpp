#include "control/fetch/fetch.hpp"

#include <algorithm>
#include <cassert>

#include "control/fetch/merge.hpp"
#include "control/limits.hpp"

namespace millrace::control {

namespace {

/// How the servers are asked, by strategy.
struct Pace {
    unsigned first, later;       ///< how many at once
    Time first_wait, later_wait; ///< from one time to the next
    bool completes;              ///< what one server said with what the others say
};

Pace pace_of(const Config::Fanout& fanout) {
    switch (fanout.strategy) {
    case Config::Strategy::two_stage:
        return {fanout.active, fanout.batch, fanout.fallback, fanout.stagger, true};
    case Config::Strategy::race: return {1, 1, fanout.stagger, fanout.stagger, false};
    case Config::Strategy::sequential: return {1, 1, fanout.fallback, fanout.fallback, false};
    case Config::Strategy::parallel:
        return {limits::upstreams, limits::upstreams, fanout.fallback, fanout.fallback, true};
    }
    return {};
}

} // namespace

Fetch::Fetch(FetchId id, const cache::Key& key, const std::vector<Candidate>& candidates,
             const FetchPolicy& policy, Time now)
    : id_(id), key_(key), policy_(policy), started_(now),
      next_batch_(now + pace_of(policy.fanout).first_wait) {
    attempts_.reserve(candidates.size());
    for (const Candidate& c : candidates) attempts_.push_back({c});
    if (!attempts_.empty()) descend_to(attempts_.front().candidate.priority, now);
}

void Fetch::start(FetchEffects& effects) {
    ask_some(pace_of(policy_.fanout).first, started_, effects);
    go_on(started_, effects);
}

void Fetch::on_answer(Answer&& answer, Time now, FetchEffects& effects) {
    Attempt* attempt = attempt_of(answer.upstream);
    if (!attempt || attempt->phase != Phase::asked) return;
    attempt->phase = Phase::ended;
    heard_ = true;
    bool is_final = attempt->candidate.is_validator && answer.is_bogus();
    if (is_final) {
        stop_asking(effects);
        state_ = State::done;
        return effects.fail(*this, FetchEffects::Cause::bogus, answer.info, now);
    }
    if (state_ == State::asking) {
        weigh(std::move(answer), now, effects);
    } else if (state_ == State::collecting) {
        answers_.push_back(std::move(answer));
    }
    go_on(now, effects);
}

void Fetch::on_failed(unsigned upstream, Time now, FetchEffects& effects) {
    Attempt* attempt = attempt_of(upstream);
    if (!attempt || attempt->phase != Phase::asked) return;
    attempt->phase = Phase::ended;
    go_on(now, effects);
}

void Fetch::on_refused(unsigned upstream, Time now, FetchEffects& effects) {
    refused_ = true;
    on_failed(upstream, now, effects);
}

void Fetch::on_hint(unsigned upstream, Time now, FetchEffects& effects) {
    Attempt* attempt = attempt_of(upstream);
    if (!attempt || attempt->phase != Phase::asked || state_ != State::asking) return;
    attempt->is_hinted = true;
    auto may_answer = [](const Attempt& a) { return a.phase == Phase::asked && !a.is_hinted; };
    if (may_descend() && !wants_more() && std::ranges::none_of(attempts_, may_answer)) descend(now);
    ask_batch(now, effects);
}

void Fetch::on_ranked(std::span<const dataplane::Address> order, FetchEffects& effects) {
    if (state_ != State::ranking) return;
    state_ = State::done;
    if (order.empty()) return;
    Answer ordered = in_order(answers_.front(), order);
    auto& records = ordered.records;
    Time latest = latest_expiry_;
    if (policy_.max_addresses > 0 && records.size() > policy_.max_addresses) {
        latest = std::min(latest, lowest_expiry(ordered, policy_.ttl)); // also of those that go
        records.erase(records.begin() + std::ptrdiff_t(policy_.max_addresses), records.end());
    }
    // The order as it was is published, too, where replies change it otherwise.
    bool changes = policy_.ttl.rotate || records != answers_.front().records;
    if (changes) effects.publish(*this, ordered, 2, latest);
}

void Fetch::on_timer(Time now, FetchEffects& effects) {
    if (state_ == State::done) return;
    if (state_ == State::ranking) {
        if (now >= ranking_ends_) cancel(effects);
        return;
    }
    if (now >= started_ + policy_.fanout.deadline) {
        // Who was not asked, or too late to answer, may have known.
        refused_ = refused_ || std::ranges::any_of(attempts_, [now](const Attempt& a) {
                       bool is_late = a.phase == Phase::asked && now < *a.asked + limits::collect_min;
                       return a.phase == Phase::idle || is_late;
                   });
        stop_asking(effects);
    } else if (!is_time_to_chase(now)) {
        bool descends = may_descend() && now >= descends_at_;
        if (descends) descend(now);
        if (descends || now >= next_batch_) ask_batch(now, effects);
    }
    go_on(now, effects);
}

void Fetch::cancel(FetchEffects& effects) {
    stop_asking(effects);
    if (state_ == State::ranking) effects.cancel_ranking(*this);
    state_ = State::done;
}

void Fetch::stop_asking(FetchEffects& effects) {
    for (Attempt& a : attempts_) {
        if (a.phase == Phase::asked) effects.cancel_upstream(*this, a.candidate.upstream);
        a.phase = Phase::ended;
    }
}

Time Fetch::next_timer() const {
    if (state_ == State::done) return Time::max();
    if (state_ == State::ranking) return ranking_ends_;
    Time next = started_ + policy_.fanout.deadline;
    if (wants_more()) next = std::min(next, next_batch_);
    if (may_descend()) next = std::min(next, descends_at_);
    if (bare_chain() && !awaits_trusted()) next = std::min(next, started_ + policy_.fanout.fallback);
    return next;
}

/// While nothing is decided: does this reply decide?
void Fetch::weigh(Answer&& answer, Time now, FetchEffects& effects) {
    switch (answer.kind) {
    case Kind::positive:
    case Kind::yxdomain:
    case Kind::nodata: return decide(std::move(answer), now, effects);
    case Kind::nxdomain:
        // Without an SOA its life is unknown: another upstream may have it whole.
        if (!answer.authority.empty()) return decide(std::move(answer), now, effects);
        answers_.push_back(std::move(answer));
        return;
    case Kind::incomplete: answers_.push_back(std::move(answer)); return;
    case Kind::failure: return note_error(std::move(answer.info));
    }
}

void Fetch::note_error(std::optional<ExtendedError>&& error) {
    auto weight = [](const std::optional<ExtendedError>& e) {
        return !e ? 0 : e->is_of_dnssec() ? 3 : e->code != dns::ede::other ? 2 : 1;
    };
    if (weight(error) > weight(said_)) said_ = std::move(error);
}

/// While nothing is decided: a reply with a chain of CNAMEs whose end it does not tell.
const Answer* Fetch::bare_chain() const {
    if (state_ != State::asking) return nullptr;
    auto at = std::ranges::find_if(
        answers_, [](const Answer& a) { return a.kind == Kind::incomplete && !a.chain.empty(); });
    return at == answers_.end() ? nullptr : &*at;
}

void Fetch::chase(const Answer& answer, FetchEffects& effects) {
    stop_asking(effects);
    state_ = State::done;
    effects.chase(*this, answer);
}

/// After every event: when nobody who was asked is left to wait for, ask more, or draw the conclusion.
void Fetch::go_on(Time now, FetchEffects& effects) {
    if (state_ == State::ranking || state_ == State::done) return;
    if (is_time_to_chase(now)) return chase(*bare_chain(), effects);
    while (!any(Phase::asked) && (wants_more() || may_descend())) {
        if (!wants_more()) descend(now);
        ask_batch(now, effects);
    }
    if (any(Phase::asked)) return;
    if (state_ == State::collecting) return complete(now, effects);
    give_up(now, effects);
}

void Fetch::ask_batch(Time now, FetchEffects& effects) {
    Pace pace = pace_of(policy_.fanout);
    ask_some(pace.later, now, effects);
    next_batch_ = now + pace.later_wait;
}

void Fetch::ask_some(unsigned count, Time now, FetchEffects& effects) {
    for (Attempt& a : attempts_) {
        if (count == 0) return;
        if (!is_in_turn(a)) continue;
        a.asked = now;
        Time deadline = state_ == State::collecting ? collect_limit(a) : started_ + policy_.fanout.deadline;
        bool sent = effects.ask_upstream(*this, a.candidate.upstream, deadline, now);
        a.phase = sent ? Phase::asked : Phase::ended;
        refused_ = refused_ || !sent;
        count -= sent;
    }
}

Time Fetch::collect_limit(const Attempt& a) const {
    Time own = *a.asked + std::max<Time>(4 * a.candidate.srtt, limits::collect_min);
    return std::min(own, started_ + policy_.fanout.deadline);
}

void Fetch::decide(Answer&& answer, Time now, FetchEffects& effects) {
    state_ = State::answered;
    bool others = any(Phase::asked) || wants_more();
    bool merges = others && can_merge(answer);
    Time latest = merges ? Time::max() : lone_expiry(key_, answer, policy_.merge, policy_.ttl);
    bool kept = effects.publish(*this, answer, 0, latest);
    // What nobody will find may still be bogus: then that is to be found.
    if (!kept && (answer.is_trusted || !awaits_trusted())) return cancel(effects);
    state_ = State::collecting;
    merges = merges && kept;
    if (!merges) {
        note_overtaken(answer, effects);
        answer.is_trusted ? stop_asking(effects) : hear_validators(effects);
        explore(answer.is_trusted, now, effects);
        if (!any(Phase::asked)) return rank(std::move(answer), latest, now, effects);
    }
    answers_.clear();
    answers_.push_back(std::move(answer));
    latest_expiry_ = latest;
    if (merges) collect(now, effects);
}

/// Whether what others say completes the answer.
bool Fetch::can_merge(const Answer& winner) const {
    return pace_of(policy_.fanout).completes && control::can_merge(key_, winner, policy_.merge.policy);
}

/// Where one server is asked after the other, the first would stay first however slow it has become: its
/// wait is cut short before it tells anything.
void Fetch::note_overtaken(const Answer& winner, FetchEffects& effects) {
    if (pace_of(policy_.fanout).completes) return;
    const Attempt* quicker = attempt_of(winner.upstream);
    for (const Attempt& a : attempts_) {
        bool is_overtaken = a.phase == Phase::asked && a.asked < quicker->asked;
        if (is_overtaken) effects.overtaken(*this, a.candidate.upstream);
    }
}

/// Now and then one more server is asked, for whose answer nobody waits: one may have become quicker.
/// `is_settled`: a trusted server has answered, nobody's word that the name is bogus counts any more.
void Fetch::explore(bool is_settled, Time now, FetchEffects& effects) {
    if (id_.generation % limits::exploration != 0) return;
    std::vector<Attempt*> unknown;
    for (Attempt& a : attempts_) {
        if (!a.asked && a.candidate.priority <= priority_) unknown.push_back(&a);
    }
    if (unknown.empty()) return;
    Attempt& a = *unknown[id_.generation / limits::exploration % unknown.size()];
    a.asked = now;
    a.candidate.is_validator = a.candidate.is_validator && !is_settled;
    if (effects.ask_upstream(*this, a.candidate.upstream, collect_limit(a), now)) a.phase = Phase::asked;
}

/// Leaves of those that were asked who may yet say that the name is bogus.
void Fetch::hear_validators(FetchEffects& effects) {
    for (Attempt& a : attempts_) {
        bool is_heard = a.phase == Phase::asked && a.candidate.is_validator;
        if (is_heard) {
            collect_from(a, effects);
            continue;
        }
        if (a.phase == Phase::asked) effects.cancel_upstream(*this, a.candidate.upstream);
        a.phase = Phase::ended;
    }
}

/// The client has its answer; from here on the others complete it, in the background and within limits.
void Fetch::collect(Time now, FetchEffects& effects) {
    for (Attempt& a : attempts_) {
        if (a.phase == Phase::asked) collect_from(a, effects);
    }
    ask_batch(now, effects);
}

/// A bogus name takes a validator longest, as it tries again: a trusted one keeps its time and its place.
void Fetch::collect_from(const Attempt& a, FetchEffects& effects) {
    if (!a.candidate.is_trusted) effects.collect_from(*this, a.candidate.upstream, collect_limit(a));
}

void Fetch::complete(Time now, FetchEffects& effects) {
    if (!can_merge(answers_.front())) {
        return rank(Answer(answers_.front()), latest_expiry_, now, effects);
    }
    Merged merged = merge(answers_, policy_.merge, policy_.ttl);
    if (merged.disagreement) effects.note_disagreement(*this);
    bool kept = merged.answer && effects.publish(*this, *merged.answer, 1, merged.latest_expiry);
    if (kept) return rank(std::move(*merged.answer), merged.latest_expiry, now, effects);
    Answer winner = answers_.front();
    Time latest = merged.answer ? lone_expiry(key_, winner, policy_.merge, policy_.ttl) : Time::max();
    if (latest != Time::max()) effects.publish(*this, winner, 1, latest); // what a quorum holds has no room
    rank(std::move(winner), latest, now, effects);
}

/// Nobody else is to be heard: the order of what is published, where there is one to find.
void Fetch::rank(Answer&& answer, Time latest_expiry, Time now, FetchEffects& effects) {
    stop_asking(effects);
    state_ = State::done;
    bool ours = policy_.merge.policy != Config::MergePolicy::off && is_plain_addresses(key_, answer);
    if (!ours || answer.records.size() < 2 || !effects.begin_ranking(*this, addresses_of(answer))) return;
    state_ = State::ranking;
    ranking_ends_ = now + limits::ranking;
    latest_expiry_ = latest_expiry;
    answers_.clear();
    answers_.push_back(std::move(answer));
}

/// No decisive reply will come: the best of the others, else failure.
void Fetch::give_up(Time now, FetchEffects& effects) {
    const Answer* chain = bare_chain();
    state_ = State::done;
    using Cause = FetchEffects::Cause;
    auto cause = heard_ ? Cause::heard : refused_ ? Cause::unasked : Cause::unheard;
    if (answers_.empty()) return effects.fail(*this, cause, said_, now);
    auto denial = std::ranges::find(answers_, Kind::nxdomain, &Answer::kind);
    if (denial == answers_.end() && chain) return effects.chase(*this, *chain);
    effects.publish(*this, denial != answers_.end() ? *denial : answers_.front(), 0, Time::max());
}

Fetch::Attempt* Fetch::attempt_of(unsigned upstream) {
    auto at = std::ranges::find(attempts_, upstream, [](const Attempt& a) { return a.candidate.upstream; });
    return at == attempts_.end() ? nullptr : &*at;
}

bool Fetch::awaits_trusted() const {
    return std::ranges::any_of(
        attempts_, [](const Attempt& a) { return a.phase == Phase::asked && a.candidate.is_trusted; });
}

/// A trusted server that was asked may find the name bogus, or have its whole chain; nobody of the group has
/// more of one that leaves it.
bool Fetch::is_time_to_chase(Time now) const {
    const Answer* chain = bare_chain();
    return chain && !awaits_trusted() && (chain->is_cut || now >= started_ + policy_.fanout.fallback);
}

bool Fetch::wants_more() const {
    return std::ranges::any_of(attempts_, [this](const Attempt& a) { return is_in_turn(a); });
}

/// Whether there are some of a worse priority, and nothing at all was said so far.
bool Fetch::may_descend() const {
    return state_ == State::asking && answers_.empty() &&
           std::ranges::any_of(attempts_, [this](const Attempt& a) { return is_worse(a); });
}

/// To the best of the worse priorities. Better ones that their turn has not come to yet come after those.
void Fetch::descend(Time now) {
    auto next = std::ranges::find_if(attempts_, [this](const Attempt& a) { return is_worse(a); });
    descend_to(next->candidate.priority, now);
    auto is_of_it = [this](const Attempt& a) { return a.candidate.priority == priority_; };
    std::stable_partition(attempts_.begin(), attempts_.end(), is_of_it);
}

void Fetch::descend_to(unsigned priority, Time now) {
    priority_ = priority;
    descends_at_ = now + (started_ + policy_.fanout.deadline - now) / 2;
}

bool Fetch::any(Phase phase) const {
    return std::ranges::find(attempts_, phase, &Attempt::phase) != attempts_.end();
}

std::string_view to_string(Fetch::State state) {
    switch (state) {
    case Fetch::State::asking: return "asking";
    case Fetch::State::answered: return "answered";
    case Fetch::State::collecting: return "collecting";
    case Fetch::State::ranking: return "ranking";
    case Fetch::State::done: return "done";
    }
    return "unknown";
}

std::string_view to_string(Fetch::Phase phase) {
    switch (phase) {
    case Fetch::Phase::idle: return "idle";
    case Fetch::Phase::asked: return "asked";
    case Fetch::Phase::ended: return "ended";
    }
    return "unknown";
}

} // namespace millrace::control
