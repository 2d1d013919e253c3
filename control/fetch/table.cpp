#include "control/fetch/table.hpp"

#include <algorithm>
#include <cassert>
#include <iterator>

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include "cache/dns.hpp"
#include "control/fetch/merge.hpp"
#include "control/limits.hpp"

namespace millrace::control {

using WakeKind = dataplane::Wake::Kind;

namespace {

std::string describe(const Answer& answer) {
    std::string text = fmt::format("{}, rcode {}", to_string(answer.kind), answer.rcode);
    for (const Record& r : answer.records) {
        ldns_rr_type type = ldns_rr_get_type(r.get());
        bool is_address = type == LDNS_RR_TYPE_A || type == LDNS_RR_TYPE_AAAA;
        if (!is_address) return fmt::format("{}, {} records", text, answer.records.size());
    }
    for (const auto& address : addresses_of(answer)) text += " " + to_string(address);
    return text;
}

std::string describe(cache::Version version, cache::Publication verdict, const Answer& answer) {
    return fmt::format("({}, {}) {}: {}", cache::Generation(version.generation), unsigned(version.revision),
                       to_string(verdict), describe(answer));
}

} // namespace

FetchTable::FetchTable(cache::Table& table, Publisher& publisher, Exchanges& exchanges, Upstreams& upstreams,
                       Waker& waker, const FetchPolicy& policy)
    : table_(table), publisher_(publisher), exchanges_(exchanges), upstreams_(upstreams), policy_(policy),
      waiters_(waker, publisher.servfail(), counters_),
      aliases_(table, publisher, waiters_, counters_, *this), slots_(limits::fetches) {
    for (std::uint32_t i = limits::fetches; i-- > 0;) free_.push_back(i);
    exchanges_.set_listener(*this);
}

FetchTable::~FetchTable() {
    assert(by_hash_.empty() && waiters_.count() == 0 && "close() drains before the end");
}

void FetchTable::resolve(const cache::Key& key, cache::Hash hash, const Waiter& waiter, Time now) {
    now_ = now;
    if (!waiters_.admit(waiter) || closed_) return waiters_.refuse(waiter);
    if (answer_from_table(key, hash, waiter, now)) return;
    FetchSlot* slot = find(key, hash);
    bool is_again = slot && slot->waiters.has_retransmission(waiter);
    bool is_ours = !is_again && exchanges_.is_asking(waiter.client.address, key);
    if (is_ours) return waiters_.refuse(waiter, &FetchCounters::loops); // it would wait for itself
    if (slot && slot->fetch->state() == Fetch::State::asking) {
        ++counters_.coalesced;
        waiters_.join(slot->waiters, waiter);
        return settle(*slot);
    }
    if (slot && answer_from_reserve(*slot, waiter, now)) return;
    if (aliases_.join(key, hash, waiter)) return;
    if (!may_start(hash, waiter, now)) {
        const cache::Entry* stale = table_.find_usable(key, hash, now);
        return waiters_.give_stale_or_refuse(waiter, stale, &FetchCounters::limited);
    }
    // A Fetch that has answered and still collects: its answer is no longer usable, so its successor begins.
    std::vector<Waiter> waiters;
    if (slot) waiters = supersede(*slot);
    waiters.push_back(waiter);
    start(key, hash, std::move(waiters), now);
}

/// The answer may have been published while the question was on its way.
bool FetchTable::answer_from_table(const cache::Key& key, cache::Hash hash, const Waiter& waiter, Time now) {
    const cache::Entry* entry = table_.find_usable(key, hash, now);
    if (!entry || now >= entry->expiry) return false;
    ++counters_.answered_late;
    waiters_.wake(waiter, entry, WakeKind::answer);
    return true;
}

/// The table was full when this Fetch answered: its private answer serves while it is fresh and
/// the Fetch lives.
bool FetchTable::answer_from_reserve(FetchSlot& slot, const Waiter& waiter, Time now) {
    if (!slot.held || now >= slot.held.entry()->expiry) return false;
    ++counters_.answered_late;
    waiters_.wake(waiter, slot.held.entry(), WakeKind::answer);
    if (!waiter.is_tcp()) slot.held.sent_to(waiter.source);
    return true;
}

/// Within the limits of the client's prefix and of the key (CacheFlush, NXNS). Successors that a flush or a
/// reload forces do not come this way.
bool FetchTable::may_start(cache::Hash hash, const Waiter& waiter, Time now) const {
    if (!access_) return true;
    std::uint64_t prefix = access_->prefix_of(waiter.client.address);
    return access_->takes_fetch(prefix, waiter.is_tcp(), now) && access_->takes_start(hash, prefix, now);
}

void FetchTable::refresh(const cache::Key& key, cache::Hash hash, cache::Version version, Time now) {
    now_ = now;
    const cache::Entry* entry = table_.find_usable(key, hash, now);
    bool is_same = entry && entry->version == version;
    bool has_room = free_.size() > slots_.size() / 4; // the rest is for those who wait
    if (closed_ || !is_same || find(key, hash) || !has_room) {
        ++counters_.refreshes_dropped;
        return;
    }
    ++counters_.refreshes;
    start(key, hash, {}, now);
}

bool FetchTable::trace(const cache::Key& key, cache::Hash hash, Time now, Traces::Done done) {
    now_ = now;
    FetchSlot* slot = find(key, hash);
    if (closed_ || !traces_.has_room() || (!slot && free_.empty())) return false;
    if (aliases_.rules(key, now)) return false; // no Fetch of its own
    std::vector<Waiter> waiters;
    if (slot) waiters = supersede(*slot);
    start_fetch(key, hash, waiters, now, std::move(done));
    return true;
}

void FetchTable::start(const cache::Key& key, cache::Hash hash, std::vector<Waiter> waiters, Time now) {
    if (!aliases_.take(key, hash, waiters, now)) start_fetch(key, hash, waiters, now);
}

void FetchTable::start_fetch(const cache::Key& key, cache::Hash hash, const std::vector<Waiter>& waiters,
                             Time now, Traces::Done trace) {
    if (free_.empty()) {
        for (const Waiter& w : waiters) waiters_.refuse(w);
        return;
    }
    std::uint32_t index = free_.back();
    free_.pop_back();
    FetchId id{index, ++last_generation_};
    table_.start(key, hash, id.generation); // false: the table is full; the answer will be private
    if (trace) traces_.begin(id, std::move(trace));
    traces_.note(id, now, "started");
    FetchSlot& slot = slots_[index];
    slot.fetch = std::make_unique<Fetch>(id, key, hash, candidates(now), policy_, now);
    by_hash_.emplace(hash, index);
    ++counters_.fetches;
    for (const Waiter& w : waiters) waiters_.join(slot.waiters, w);
    slot.fetch->start(*this);
    settle(slot);
}

void FetchTable::tick(Time now) {
    now_ = now;
    publisher_.reclaim();
    exchanges_.tick(now);
    start_successors(now);
    aliases_.tick(now);
    for (unsigned i = 0; i < limits::timers_per_tick && !timers_.empty() && timers_.begin()->first <= now;
         ++i) {
        FetchSlot& slot = slots_[timers_.begin()->second];
        if (now >= slot.waiters.due()) {
            const cache::Entry* stale = table_.find_usable(slot.fetch->key(), slot.fetch->hash(), now);
            waiters_.expire(slot.waiters, stale, now);
        }
        slot.fetch->on_timer(now, *this);
        settle(slot);
    }
}

Time FetchTable::next_timer() const {
    if (!successors_.empty()) return now_;
    Time own = timers_.empty() ? Time::max() : timers_.begin()->first;
    return std::min({own, aliases_.next_timer(), exchanges_.next_timer()});
}

// The end of a Fetch before its time, and what comes after.

void FetchTable::supersede(const std::function<bool(const cache::Key&)>& matches) {
    aliases_.supersede(matches);
    for (Successor& successor : successors_) {
        if (matches(successor.key)) successor.alias.reset();
    }
    std::vector<std::uint32_t> hit;
    for (auto [hash, index] : by_hash_) {
        if (matches(slots_[index].fetch->key())) hit.push_back(index);
    }
    for (std::uint32_t index : hit) {
        cache::Key key = slots_[index].fetch->key();
        cache::Hash hash = slots_[index].fetch->hash();
        std::vector<Waiter> waiters = supersede(slots_[index]);
        if (!waiters.empty()) restart(key, hash, std::move(waiters));
    }
}

/// Ends a live Fetch. Returns who waited.
std::vector<Waiter> FetchTable::supersede(FetchSlot& slot, Followers followers) {
    publisher_.count_superseded();
    traces_.note(slot.fetch->id(), now_, "superseded");
    slot.fetch->cancel(*this);
    std::vector<Waiter> waiters = slot.waiters.take();
    if (followers == Followers::restart) {
        aliases_.on_target_superseded(slot.fetch->key(), slot.fetch->hash());
    }
    settle(slot);
    return waiters;
}

void FetchTable::restart(const cache::Key& key, cache::Hash hash, std::vector<Waiter> waiters) {
    successors_.push_back({key, hash, std::move(waiters)});
}

/// A block list leads the reply's chain to another name, from which no upstream is asked.
void FetchTable::lead_elsewhere(FetchSlot& slot, const Answer& answer, Alias&& alias) {
    if (slot.fetch->state() != Fetch::State::asking) {
        slot.fetch->on_failed(answer.upstream, answer.received, *this);
        return settle(slot);
    }
    cache::Key key = slot.fetch->key();
    cache::Hash hash = slot.fetch->hash();
    std::vector<Waiter> waiters = supersede(slot, Followers::stay);
    successors_.push_back({key, hash, std::move(waiters), std::move(alias)});
}

void FetchTable::start_successors(Time now) {
    for (unsigned i = 0; i < limits::restarts_per_tick && !successors_.empty(); ++i) {
        Successor successor = std::move(successors_.front());
        successors_.pop_front();
        start_successor(std::move(successor), now);
    }
}

void FetchTable::start_successor(Successor&& successor, Time now) {
    auto& [key, hash, waiters, alias] = successor;
    FetchSlot* slot = find(key, hash);
    if (alias) {
        if (slot) std::ranges::copy(supersede(*slot, Followers::stay), std::back_inserter(waiters));
        return aliases_.follow(key, hash, *alias, std::move(waiters), now);
    }
    if (slot && slot->fetch->state() == Fetch::State::asking) {
        for (const Waiter& w : waiters) waiters_.join(slot->waiters, w);
        return settle(*slot);
    }
    // Another client may have asked meanwhile and have been answered: then so are these.
    std::erase_if(waiters, [&, this](const Waiter& w) {
        return answer_from_table(successor.key, successor.hash, w, now) ||
               (slot && answer_from_reserve(*slot, w, now));
    });
    if (waiters.empty()) return;
    if (slot) supersede(*slot); // its answer is no longer usable
    start(key, hash, std::move(waiters), now);
}

void FetchTable::close() {
    closed_ = true;
    for (const Successor& successor : std::exchange(successors_, {})) waiters_.abandon(successor.waiters);
    aliases_.close();
    while (!by_hash_.empty()) waiters_.abandon(supersede(slots_[by_hash_.begin()->second]));
}

// Slots.

/// After anything that happened to a Fetch: frees its slot when it is done, else files its timer.
void FetchTable::settle(FetchSlot& slot) {
    std::uint32_t index = slot.fetch->id().slot;
    bool done = slot.fetch->state() == Fetch::State::done;
    Time timer = done ? Time::max() : std::min(slot.fetch->next_timer(), slot.waiters.due());
    if (timer != slot.timer) {
        timers_.erase({slot.timer, index});
        slot.timer = timer;
        if (!done) timers_.emplace(timer, index);
    }
    if (done) free(slot);
}

void FetchTable::free(FetchSlot& slot) {
    assert(slot.waiters.empty() && "a Fetch ends by answering everyone");
    FetchId id = slot.fetch->id();
    auto [first, last] = by_hash_.equal_range(slot.fetch->hash());
    by_hash_.erase(std::find_if(first, last, [&](const auto& entry) { return entry.second == id.slot; }));
    table_.finish(slot.fetch->key(), slot.fetch->hash(), id.generation);
    slot.fetch.reset();
    slot.published = {};
    slot.held = {};
    free_.push_back(id.slot);
    traces_.note(id, now_, "over");
    traces_.end(id);
}

FetchTable::FetchSlot* FetchTable::find(FetchId id) {
    if (id.slot >= slots_.size()) return nullptr;
    FetchSlot& slot = slots_[id.slot];
    return slot.fetch && slot.fetch->id() == id ? &slot : nullptr;
}

FetchTable::FetchSlot* FetchTable::find(const cache::Key& key, cache::Hash hash) {
    auto [first, last] = by_hash_.equal_range(hash);
    for (auto at = first; at != last; ++at) {
        if (slots_[at->second].fetch->key() == key) return &slots_[at->second];
    }
    return nullptr;
}

std::vector<InflightFetch> FetchTable::inflight(std::size_t most) const {
    std::vector<std::pair<cache::Generation, const FetchSlot*>> oldest;
    for (auto [hash, index] : by_hash_) {
        oldest.emplace_back(slots_[index].fetch->id().generation, &slots_[index]);
    }
    auto end = oldest.begin() + std::ptrdiff_t(std::min(most, oldest.size()));
    std::partial_sort(oldest.begin(), end, oldest.end());
    std::vector<InflightFetch> list;
    for (auto [generation, slot] : std::span(oldest.begin(), end)) {
        const Fetch& f = *slot->fetch;
        std::vector<Fetch::Attempt> attempts(f.attempts().begin(), f.attempts().end());
        list.push_back(
            {generation, f.key(), f.state(), f.started(), slot->waiters.size(), std::move(attempts)});
    }
    return list;
}

// Events from the exchanges.

void FetchTable::on_answer(FetchId id, Answer&& answer) {
    FetchSlot* slot = find(id);
    if (!slot) return;
    Time received = answer.received;
    now_ = std::max(now_, received);
    if (traces_.is_traced(id)) traces_.note(id, received, "answer", answer.upstream, describe(answer));
    ChainVerdict chain = aliases_.check_chain(slot->fetch->key(), answer);
    if (chain.alias) return lead_elsewhere(*slot, answer, std::move(*chain.alias));
    slot->fetch->on_answer(std::move(answer), received, *this);
    settle(*slot);
}

void FetchTable::on_exchange_failed(FetchId id, unsigned upstream, ExchangeFailure failure) {
    FetchSlot* slot = find(id);
    if (!slot) return;
    traces_.note(id, now_, "failed", upstream, std::string(to_string(failure)));
    slot->fetch->on_failed(upstream, now_, *this);
    settle(*slot);
}

void FetchTable::on_exchange_event(FetchId id, unsigned upstream, ExchangeEvent event, Time now) {
    traces_.note(id, now, to_string(event), upstream);
}

void FetchTable::on_ranked(FetchId id, std::span<const dataplane::Address> order) {
    FetchSlot* slot = find(id);
    if (!slot || slot->fetch->state() != Fetch::State::ranking) {
        ++counters_.ranked_late;
        return;
    }
    const cache::Entry* entry = table_.find(slot->fetch->key(), slot->fetch->hash());
    bool is_same = entry && entry->version == slot->published;
    traces_.note(id, now_, is_same ? "ranked" : "ranked too late");
    if (is_same) {
        slot->fetch->on_ranked(order, *this);
    } else {
        ++counters_.ranked_late;
        slot->fetch->cancel(*this);
    }
    settle(*slot);
}

// What a Fetch wants done.

bool FetchTable::ask_upstream(const Fetch& fetch, unsigned upstream, Time deadline, Time now) {
    // What nobody waits for goes first under pressure: collections, and refreshes ahead of time.
    bool collects =
        fetch.state() == Fetch::State::collecting ||
        (slots_[fetch.id().slot].waiters.empty() && !aliases_.has_followers(fetch.key(), fetch.hash()));
    auto purpose = collects ? Purpose::collection : Purpose::answer;
    bool asked = exchanges_.open(fetch.id(), fetch.key(), upstream, deadline, now, purpose);
    if (!asked) traces_.note(fetch.id(), now, "not asked", upstream, "its breaker, or a limit of ours");
    return asked;
}

void FetchTable::cancel_upstream(const Fetch& fetch, unsigned upstream) {
    traces_.note(fetch.id(), now_, "cancelled", upstream);
    exchanges_.close(fetch.id(), upstream);
}

void FetchTable::collect_from(const Fetch& fetch, unsigned upstream, Time deadline) {
    traces_.note(fetch.id(), now_, "collecting", upstream);
    exchanges_.collect(fetch.id(), upstream, deadline);
}

bool FetchTable::begin_ranking(const Fetch& fetch, std::span<const dataplane::Address> addresses) {
    bool is_published = slots_[fetch.id().slot].published.generation > 0;
    bool ranks = ranker_ && is_published && ranker_->rank(fetch.id(), addresses);
    if (ranks) traces_.note(fetch.id(), now_, "ranking");
    return ranks;
}

void FetchTable::cancel_ranking(const Fetch& fetch) {
    if (ranker_) ranker_->cancel(fetch.id());
}

bool FetchTable::publish(const Fetch& fetch, const Answer& answer, std::uint32_t revision,
                         Time latest_expiry) {
    cache::Version version{fetch.id().generation, revision};
    FetchSlot& slot = slots_[fetch.id().slot];
    if (revision == 0) traces_.note(fetch.id(), now_, "decided", answer.upstream);
    Published published = publisher_.publish(fetch.key(), fetch.hash(), answer, version, latest_expiry);
    if (traces_.is_traced(fetch.id())) {
        traces_.note(fetch.id(), now_, "published", {}, describe(version, published.verdict, answer));
    }
    wake_all(slot, published.entry, WakeKind::answer, &published.hold);
    if (published.verdict == cache::Publication::accepted) {
        slot.published = version;
        slot.held = {};
        return true;
    }
    // A revision 1 that the table has no memory for leaves revision 0 in it.
    bool serves =
        published.verdict == cache::Publication::full && published.hold && published.entry->expiry > now_;
    if (!serves || slot.published.generation > 0) return false;
    slot.held = std::move(published.hold);
    return true;
}

void FetchTable::fail(const Fetch& fetch, Silence silence, Time now) {
    ++counters_.failed;
    FetchSlot& slot = slots_[fetch.id().slot];
    if (const cache::Entry* stale = table_.find_usable(fetch.key(), fetch.hash(), now)) {
        // Never a failure in the place of usable or stale data; and nobody tries again for a while, unless it
        // was our own doing.
        traces_.note(fetch.id(), now, "failed, the older answer stays");
        if (silence != Silence::unasked) {
            stale->refresh_after.store((now + limits::stale_recheck).count(), std::memory_order_relaxed);
        }
        return wake_all(slot, stale, WakeKind::stale);
    }
    if (silence == Silence::unasked) { // not cached: it is not the name's fault
        counters_.refused += slot.waiters.size();
        return wake_all(slot, publisher_.servfail(), WakeKind::answer);
    }
    cache::Version version{fetch.id().generation, 0};
    std::uint16_t info =
        silence == Silence::heard ? dns::ede::network_error : dns::ede::no_reachable_authority;
    Published published = publisher_.publish_failure(fetch.key(), fetch.hash(), version, now, info);
    traces_.note(fetch.id(), now, "published", {}, describe(version, published.verdict, {}));
    wake_all(slot, published.entry, WakeKind::answer, &published.hold);
}

void FetchTable::note_disagreement(const Fetch& fetch) {
    ++counters_.disagreements;
    traces_.note(fetch.id(), now_, "disagreement", {}, "the earlier answer stands, 30 s at most");
    if (now_ < disagreements_logged_ + limits::log_interval) return; // clients choose what is asked
    disagreements_logged_ = now_;
    spdlog::info(
        "upstreams disagree whether names exist, {} times so far; `millracectl trace` shows who says "
        "what",
        counters_.disagreements);
}

/// The clients of the Fetch, then those who follow its name.
void FetchTable::wake_all(FetchSlot& slot, const cache::Entry* entry, WakeKind kind,
                          cache::Reserve::Hold* hold) {
    FetchId id = slot.fetch->id();
    if (traces_.is_traced(id)) {
        auto named = slot.waiters.view().first(std::min(slot.waiters.size(), limits::named_wakes));
        for (const Waiter& w : named) traces_.note(id, now_, "woken", {}, to_string(w.client));
        if (std::size_t rest = slot.waiters.size() - named.size(); rest > 0) {
            traces_.note(id, now_, "woken", {}, fmt::format("{} more", rest));
        }
    }
    waiters_.wake_all(slot.waiters, entry, kind, hold);
    aliases_.on_target_ended(slot.fetch->key(), slot.fetch->hash(), entry, kind, now_);
}

std::vector<Candidate> FetchTable::candidates(Time now) const {
    std::vector<Candidate> result;
    for (unsigned upstream : upstreams_.ranked(now)) result.push_back({upstream, upstreams_.srtt(upstream)});
    return result;
}

// What aliases want done.

bool FetchTable::seek_target(const cache::Key& target, cache::Hash hash, Time now) {
    FetchSlot* slot = find(target, hash);
    if (slot && slot->fetch->state() == Fetch::State::asking) return true;
    if (slot) supersede(*slot, Followers::stay); // it has answered, and its answer is no longer usable
    if (free_.empty()) return false;
    start_fetch(target, hash, {}, now);
    return true;
}

Published FetchTable::publish_now(const cache::Key& key, cache::Hash hash, const Answer& answer) {
    cache::Generation generation = ++last_generation_;
    table_.start(key, hash, generation);
    Published published = publisher_.publish(key, hash, answer, {generation, 0}, Time::max());
    table_.finish(key, hash, generation);
    return published;
}

} // namespace millrace::control
