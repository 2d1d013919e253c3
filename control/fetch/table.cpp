#include "control/fetch/table.hpp"

#include <algorithm>
#include <cassert>

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
    : table_(table), publisher_(publisher), exchanges_(exchanges), upstreams_(upstreams), waker_(waker),
      policy_(policy), slots_(limits::fetches) {
    for (std::uint32_t i = limits::fetches; i-- > 0;) free_.push_back(i);
    exchanges_.set_listener(*this);
}

FetchTable::~FetchTable() {
    assert(by_hash_.empty() && waiting_ == 0 && "close() drains before the end");
}

void FetchTable::resolve(const cache::Key& key, cache::Hash hash, const Waiter& waiter, Time now) {
    now_ = now;
    ++waiting_;
    unsigned& waits = waits_of_client_[waiter.client.address];
    if (++waits > limits::waiters_per_client || closed_) return refuse(waiter);
    if (answer_from_table(key, hash, waiter, now)) return;
    Slot* slot = find(key, hash);
    bool is_again = slot && slot->places.contains({waiter.client, waiter.id});
    bool is_ours = !is_again && exchanges_.is_asking(waiter.client.address, key);
    if (is_ours) return refuse(waiter, &FetchCounters::loops); // it would wait for itself
    if (slot && slot->fetch->state() == Fetch::State::asking) {
        ++counters_.coalesced;
        join(*slot, waiter);
        return settle(*slot);
    }
    if (slot && answer_from_reserve(*slot, waiter, now)) return;
    if (Follower* f = find_follower(key, hash)) {
        if (f->waiters.size() >= limits::waiters_per_fetch) return refuse(waiter);
        ++counters_.coalesced;
        return f->waiters.push_back(waiter);
    }
    if (!may_start(hash, waiter, now)) return answer_limited(key, hash, waiter, now);
    // A Fetch that has answered and still collects: its answer is no longer usable, so its successor begins.
    std::vector<Waiter> waiters;
    if (slot) waiters = retire(*slot);
    waiters.push_back(waiter);
    start(key, hash, std::move(waiters), now);
}

/// The answer may have been published while the question was on its way.
bool FetchTable::answer_from_table(const cache::Key& key, cache::Hash hash, const Waiter& waiter, Time now) {
    const cache::Entry* entry = table_.find(key, hash);
    if (!entry || now >= entry->expiry || entry->version.generation <= table_.floor(key.group)) return false;
    ++counters_.answered_late;
    wake(waiter, entry, WakeKind::answer);
    return true;
}

/// The table was full when this Fetch answered: its private answer serves while it is fresh and
/// the Fetch lives.
bool FetchTable::answer_from_reserve(Slot& slot, const Waiter& waiter, Time now) {
    if (!slot.held || now >= slot.held.entry()->expiry) return false;
    ++counters_.answered_late;
    wake(waiter, slot.held.entry(), WakeKind::answer);
    if (!waiter.is_tcp()) slot.held.sent_to(waiter.source);
    return true;
}

void FetchTable::refresh(const cache::Key& key, cache::Hash hash, cache::Version version, Time now) {
    now_ = now;
    const cache::Entry* entry = table_.find(key, hash);
    bool is_same = entry && entry->version == version && version.generation > table_.floor(key.group);
    bool has_room = free_.size() > slots_.size() / 4; // the rest is for those who wait
    if (closed_ || !is_same || find(key, hash) || !has_room) return void(++counters_.refreshes_dropped);
    ++counters_.refreshes;
    start(key, hash, {}, now);
}

bool FetchTable::trace(const cache::Key& key, cache::Hash hash, Time now, Traces::Done done) {
    now_ = now;
    Slot* slot = find(key, hash);
    if (closed_ || !traces_.has_room() || (!slot && free_.empty())) return false;
    if (alias_of(key) || own_alias(key, now)) return false; // no Fetch of its own
    std::vector<Waiter> waiters;
    if (slot) waiters = retire(*slot);
    start(key, hash, std::move(waiters), now, std::move(done));
    return true;
}

void FetchTable::start(const cache::Key& key, cache::Hash hash, std::vector<Waiter> waiters, Time now,
                       Traces::Done trace, bool is_target) {
    if (auto own = own_alias(key, now)) return conclude(key, hash, {}, std::move(*own), waiters);
    auto alias = is_target ? std::nullopt : alias_of(key);
    if (alias) return follow(key, hash, *alias, std::move(waiters), now);
    if (free_.empty()) {
        for (const Waiter& w : waiters) refuse(w);
        return;
    }
    std::uint32_t index = free_.back();
    free_.pop_back();
    FetchId id{index, ++last_generation_};
    table_.start(key, hash, id.generation); // false: the table is full; the answer will be private
    if (trace) traces_.begin(id, std::move(trace));
    traces_.note(id, now, "started");
    Slot& slot = slots_[index];
    slot.fetch = std::make_unique<Fetch>(id, key, hash, candidates(now), policy_, now);
    by_hash_.emplace(hash, index);
    ++counters_.fetches;
    for (const Waiter& w : waiters) join(slot, w);
    slot.fetch->start(*this);
    settle(slot);
}

void FetchTable::tick(Time now) {
    now_ = now;
    publisher_.reclaim();
    exchanges_.tick(now);
    restart_some(now);
    expire_followers(now);
    for (unsigned i = 0; i < limits::timers_per_tick && !timers_.empty() && timers_.begin()->first <= now;
         ++i) {
        Slot& slot = slots_[timers_.begin()->second];
        expire_waiters(slot, now);
        slot.fetch->on_timer(now, *this);
        settle(slot);
    }
}

Time FetchTable::next_timer() const {
    if (!restarts_.empty()) return now_;
    Time own = timers_.empty() ? Time::max() : timers_.begin()->first;
    if (!followers_.empty()) own = std::min(own, followers_due_);
    return std::min(own, exchanges_.next_timer());
}

void FetchTable::supersede(const std::function<bool(const cache::Key&)>& matches) {
    supersede_followers(matches);
    std::vector<std::uint32_t> hit;
    for (auto [hash, index] : by_hash_) {
        if (matches(slots_[index].fetch->key())) hit.push_back(index);
    }
    for (std::uint32_t index : hit) {
        cache::Key key = slots_[index].fetch->key();
        cache::Hash hash = slots_[index].fetch->hash();
        std::vector<Waiter> waiters = retire(slots_[index]);
        if (!waiters.empty()) restarts_.push_back({key, hash, std::move(waiters)});
    }
}

void FetchTable::restart_some(Time now) {
    for (unsigned i = 0; i < limits::restarts_per_tick && !restarts_.empty(); ++i) {
        Restart restart = std::move(restarts_.front());
        restarts_.pop_front();
        Slot* slot = find(restart.key, restart.hash);
        if (restart.alias) {
            if (slot) std::ranges::copy(retire(*slot, Followers::stay), std::back_inserter(restart.waiters));
            follow(restart.key, restart.hash, *restart.alias, std::move(restart.waiters), now);
            continue;
        }
        if (slot && slot->fetch->state() == Fetch::State::asking) {
            for (const Waiter& w : restart.waiters) join(*slot, w);
            settle(*slot);
            continue;
        }
        // Another client may have asked meanwhile and have been answered: then so are these.
        std::erase_if(restart.waiters, [&](const Waiter& w) {
            return answer_from_table(restart.key, restart.hash, w, now) ||
                   (slot && answer_from_reserve(*slot, w, now));
        });
        if (restart.waiters.empty()) continue;
        if (slot) retire(*slot); // its answer is no longer usable
        start(restart.key, restart.hash, std::move(restart.waiters), now);
    }
}

void FetchTable::close() {
    closed_ = true;
    for (const Restart& restart : std::exchange(restarts_, {})) {
        for (const Waiter& w : restart.waiters) wake(w, nullptr, WakeKind::abandon);
    }
    following_.clear();
    for (auto& [hash, follower] : std::exchange(followers_, {})) {
        for (const Waiter& w : follower.waiters) wake(w, nullptr, WakeKind::abandon);
    }
    while (!by_hash_.empty()) {
        for (const Waiter& w : retire(slots_[by_hash_.begin()->second])) wake(w, nullptr, WakeKind::abandon);
    }
}

/// Ends a live Fetch before its time: it is superseded. Returns who waited.
std::vector<Waiter> FetchTable::retire(Slot& slot, Followers followers) {
    publisher_.count_superseded();
    traces_.note(slot.fetch->id(), now_, "superseded");
    slot.fetch->cancel(*this);
    std::vector<Waiter> waiters = std::exchange(slot.waiters, {});
    slot.places.clear();
    if (followers == Followers::restart) restart_followers(slot.fetch->key(), slot.fetch->hash());
    settle(slot);
    return waiters;
}

/// After anything that happened to a Fetch: frees its slot when it is done, else files its timer.
void FetchTable::settle(Slot& slot) {
    std::uint32_t index = slot.fetch->id().slot;
    bool done = slot.fetch->state() == Fetch::State::done;
    Time timer = done ? Time::max() : std::min(slot.fetch->next_timer(), slot.waiter_due);
    if (timer != slot.timer) {
        timers_.erase({slot.timer, index});
        slot.timer = timer;
        if (!done) timers_.emplace(timer, index);
    }
    if (!done) return;
    assert(slot.waiters.empty() && "a Fetch ends by answering everyone");
    auto [first, last] = by_hash_.equal_range(slot.fetch->hash());
    by_hash_.erase(std::find_if(first, last, [&](const auto& entry) { return entry.second == index; }));
    table_.finish(slot.fetch->key(), slot.fetch->hash(), slot.fetch->id().generation);
    FetchId id = slot.fetch->id();
    slot.fetch.reset();
    slot.published = {};
    slot.held = {};
    slot.waiter_due = Time::max();
    free_.push_back(index);
    traces_.note(id, now_, "over");
    traces_.end(id);
}

// Events from the exchanges.

void FetchTable::on_answer(FetchId id, Answer&& answer) {
    Slot* slot = live_slot(id);
    if (!slot) return;
    Time received = answer.received;
    now_ = std::max(now_, received);
    if (traces_.is_traced(id)) traces_.note(id, received, "answer", answer.upstream, describe(answer));
    if (!apply_block_lists(*slot, answer)) return;
    slot->fetch->on_answer(std::move(answer), received, *this);
    settle(*slot);
}

void FetchTable::on_exchange_failed(FetchId id, unsigned upstream, ExchangeFailure failure) {
    Slot* slot = live_slot(id);
    if (!slot) return;
    traces_.note(id, now_, "failed", upstream, std::string(to_string(failure)));
    slot->fetch->on_failed(upstream, now_, *this);
    settle(*slot);
}

void FetchTable::on_exchange_event(FetchId id, unsigned upstream, ExchangeEvent event, Time now) {
    traces_.note(id, now, to_string(event), upstream);
}

void FetchTable::on_ranked(FetchId id, std::span<const dataplane::Address> order) {
    Slot* slot = live_slot(id);
    if (!slot || slot->fetch->state() != Fetch::State::ranking) return void(++counters_.ranked_late);
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

bool FetchTable::ask(const Fetch& fetch, unsigned upstream, Time deadline, Time now) {
    // What nobody waits for goes first under pressure: collections, and refreshes ahead of time.
    bool collects = fetch.state() == Fetch::State::collecting ||
                    (slots_[fetch.id().slot].waiters.empty() && !has_followers(fetch));
    auto purpose = collects ? Exchanges::Purpose::collection : Exchanges::Purpose::answer;
    bool asked = exchanges_.open(fetch.id(), fetch.key(), upstream, deadline, now, purpose);
    if (!asked) traces_.note(fetch.id(), now, "not asked", upstream, "its breaker, or a limit of ours");
    return asked;
}

void FetchTable::cancel(const Fetch& fetch, unsigned upstream) {
    traces_.note(fetch.id(), now_, "cancelled", upstream);
    exchanges_.close(fetch.id(), upstream);
}

void FetchTable::collect(const Fetch& fetch, unsigned upstream, Time deadline) {
    traces_.note(fetch.id(), now_, "collecting", upstream);
    exchanges_.collect(fetch.id(), upstream, deadline);
}

bool FetchTable::rank(const Fetch& fetch, std::span<const dataplane::Address> addresses) {
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
    Slot& slot = slots_[fetch.id().slot];
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
    Slot& slot = slots_[fetch.id().slot];
    if (const cache::Entry* stale = stale_entry(fetch.key(), fetch.hash(), now)) {
        // Never a failure in the place of usable or stale data; and nobody tries again for a while, unless it
        // was our own doing.
        traces_.note(fetch.id(), now, "failed, the older answer stays");
        if (silence != Silence::unasked) {
            stale->refresh_after.store((now + limits::stale_recheck).count(), std::memory_order_relaxed);
        }
        return wake_all(slot, stale, WakeKind::stale);
    }
    if (silence == Silence::unasked) {
        counters_.refused += slot.waiters.size();
        return wake_all(slot, publisher_.servfail(),
                        WakeKind::answer); // not cached: it is not the name's fault
    }
    cache::Version version{fetch.id().generation, 0};
    std::uint16_t info =
        silence == Silence::heard ? dns::ede::network_error : dns::ede::no_reachable_authority;
    Published published = publisher_.publish_failure(fetch.key(), fetch.hash(), version, now, info);
    traces_.note(fetch.id(), now, "published", {}, describe(version, published.verdict, {}));
    wake_all(slot, published.entry, WakeKind::answer, &published.hold);
}

void FetchTable::disagreement(const Fetch& fetch) {
    ++counters_.disagreements;
    traces_.note(fetch.id(), now_, "disagreement", {}, "the earlier answer stands, 30 s at most");
    spdlog::info("generation {}: upstreams disagree whether {} type {} exists; the earlier answer stands",
                 fetch.id().generation, cache::to_string(fetch.key().name.bytes()), fetch.key().qtype);
}

// Slots.

FetchTable::Slot* FetchTable::live_slot(FetchId id) {
    if (id.slot >= slots_.size()) return nullptr;
    Slot& slot = slots_[id.slot];
    return slot.fetch && slot.fetch->id() == id ? &slot : nullptr;
}

FetchTable::Slot* FetchTable::find(const cache::Key& key, cache::Hash hash) {
    auto [first, last] = by_hash_.equal_range(hash);
    for (auto at = first; at != last; ++at) {
        if (slots_[at->second].fetch->key() == key) return &slots_[at->second];
    }
    return nullptr;
}

std::vector<InflightFetch> FetchTable::inflight(std::size_t most) const {
    std::vector<std::pair<cache::Generation, const Slot*>> oldest;
    for (auto [hash, index] : by_hash_)
        oldest.emplace_back(slots_[index].fetch->id().generation, &slots_[index]);
    auto end = oldest.begin() + std::ptrdiff_t(std::min(most, oldest.size()));
    std::partial_sort(oldest.begin(), end, oldest.end());
    std::vector<InflightFetch> list;
    for (auto [generation, slot] : std::span(oldest.begin(), end)) {
        const Fetch& f = *slot->fetch;
        list.push_back({generation,
                        f.key(),
                        f.state(),
                        f.started(),
                        slot->waiters.size(),
                        {f.attempts().begin(), f.attempts().end()}});
    }
    return list;
}

std::vector<Candidate> FetchTable::candidates(Time now) const {
    std::vector<Candidate> result;
    for (unsigned upstream : upstreams_.ranked(now)) result.push_back({upstream, upstreams_.srtt(upstream)});
    return result;
}

} // namespace millrace::control
