#include "control/fetch/table.hpp"

#include <algorithm>
#include <array>
#include <cassert>
#include <iterator>

#include "cache/keyed_hash.hpp"
#include "control/fetch/likely_zone.hpp"
#include "control/limits.hpp"

namespace millrace::control {

using WakeKind = dataplane::Wake::Kind;

namespace {

constexpr std::uint32_t zones_share = 4; // so many times what the largest prefix holds makes a zone give way

std::uint64_t zone_of(const cache::Key& key) {
    return cache::keyed_hash(likely_zone(key.name.bytes()), key.group);
}

} // namespace

FetchTable::FetchTable(cache::Table& table, Publisher& publisher, Exchanges& exchanges,
                       std::span<Upstreams> groups, Waker& waker, const FetchPolicy& policy)
    : table_(table), publisher_(publisher), exchanges_(exchanges), groups_(groups),
      policies_(groups.size(), policy), waiters_(waker, publisher.servfail(), counters_), completions_(table),
      aliases_(table, publisher, waiters_, completions_, counters_, *this), back_offs_(table, groups),
      slots_(limits::fetches), by_hash_(2 * limits::fetches) {
    waiters_.set_patience(policy.fanout.patience);
    for (std::uint32_t i = limits::fetches; i-- > 0;) free_.push_back(i);
    exchanges_.set_listener(*this);
}

FetchTable::~FetchTable() {
    assert(by_hash_.size() == 0 && waiters_.count() == 0 && "close() drains before the end");
}

void FetchTable::set_policy(unsigned group, const FetchPolicy& policy) {
    policies_[group] = policy;
    waiters_.set_patience(policy.fanout.patience);
}

/// A worker may have looked at the routes that were before.
std::uint8_t FetchTable::group_of(const cache::Key& key) const {
    return rules_.routes() ? rules_.routes()->group_of(key.name.bytes(), key.qtype) : key.group;
}

/// As the routes and the rules of DNS64 say now.
cache::Key FetchTable::as_ruled(cache::Key key, const Waiter& waiter) const {
    key.group = group_of(key);
    if (rules_.access()) key.set_dns64(rules_.access()->dns64_of(waiter.client.address, key));
    return key;
}

void FetchTable::resolve(const cache::Key& key, cache::Hash hash, const Waiter& asking, Time now) {
    if (cache::Key ruled = as_ruled(key, asking); ruled != key)
        return resolve(ruled, table_.hasher()(ruled), asking, now);
    now_ = now;
    Waiter waiter = asking;
    waiter.prefix = prefix_of(waiter.client.address);
    bool is_admitted = waiters_.admit(waiter);
    if (answer_from_table(key, hash, waiter, now)) return;
    if (closed_ || !is_admitted) return refuse(key, hash, waiter);
    bool is_crowded = waiters_.count_of(waiter.source) > limits::crowded;
    if (is_crowded && !relieve(key, hash, waiter)) return refuse(key, hash, waiter);
    FetchSlot* slot = find_valid(key, hash);
    bool is_again = slot && slot->side(key).waiters.has_retransmission(waiter);
    bool is_ours = !is_again && exchanges_.is_asking(waiter.client.address, key, waiter.capitals);
    // It would wait for itself. Nothing stale: the server would take that for fresh.
    if (is_ours) return waiters_.refuse(waiter, &FetchCounters::loops);
    if (answer_stale_at_once(key, hash, slot, waiter, now)) return;
    if (slot && slot->fetch->state() == Fetch::State::asking) {
        ++counters_.coalesced;
        join(slot->side(key), waiter);
        bool is_most = slot->waiting() > slots_[most_waited_].waiting();
        if (is_most) most_waited_ = slot->fetch->id().slot;
        return settle(*slot);
    }
    if (slot && answer_from_reserve(slot->side(key), waiter, now)) return;
    if (aliases_.join(key, hash, waiter, now)) return;
    if (!slot && answer_from_denial(key, waiter, now)) return;
    auto charge = may_start(key, hash, waiter, now);
    if (!charge) return waiters_.give_stale_or(waiter, find_stale(key, hash), publisher_.limited());
    // A Fetch that has answered and still collects: its answer is no longer usable, so its successor begins.
    if (slot) supersede(*slot);
    start(key, hash, {waiter}, now, *charge);
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
bool FetchTable::answer_from_reserve(Side& side, const Waiter& waiter, Time now) {
    if (!side.held || now >= side.held.entry()->expiry) return false;
    ++counters_.answered_late;
    waiters_.wake(waiter, side.held.entry(), WakeKind::answer);
    if (!waiter.is_tcp()) side.held.sent_to(waiter.source);
    return true;
}

/// Nobody waits for servers that are known to be silent, nor where the operator wants nobody to wait: the one
/// who asks is answered, and they are asked for the sake of those who come later.
bool FetchTable::answer_stale_at_once(const cache::Key& key, cache::Hash hash, const FetchSlot* slot,
                                      const Waiter& waiter, Time now) {
    bool at_once = policies_[key.group].ttl.stale_at_once || !groups_[key.group].is_any_closed();
    const cache::Entry* stale = at_once ? table_.find_usable(key, hash, now) : nullptr;
    if (!stale) return false;
    bool is_asked = slot || aliases_.is_follower(key, hash);
    if (is_asked) {
        waiters_.wake(waiter, stale, WakeKind::stale);
        return true;
    }
    tell_stale(key, hash, *stale, waiter, now);
    auto charge = may_start(key, hash, waiter, now);
    if (charge) start(key, hash, {}, now, *charge);
    return true;
}

/// Of a key that is not being asked. What is fresh behind a chain is published, so that workers know it.
void FetchTable::tell_stale(const cache::Key& key, cache::Hash hash, const cache::Entry& stale,
                            const Waiter& waiter, Time now) {
    // While the rules are about to change, nothing is made by the old ones.
    auto renewed = is_held() ? std::nullopt : aliases_.renewed(key, hash, stale, now);
    if (!renewed) return waiters_.wake(waiter, &stale, WakeKind::stale);
    Time latest = std::min(now + limits::followed_ttl, stale.stale_until);
    Published published = publish_now(key, hash, *renewed, latest);
    bool is_told = published.entry != publisher_.servfail();
    waiters_.wake(waiter, is_told ? published.entry : &stale, WakeKind::stale);
    if (is_told && published.hold && !waiter.is_tcp()) published.hold.sent_to(waiter.source);
}

/// Some have waited for long enough.
void FetchTable::expire(Side& side, Time now) {
    const cache::Entry* stale = table_.find_usable(side.key, side.hash, now);
    auto renewed = stale ? aliases_.renewed(side.key, side.hash, *stale, now) : std::nullopt;
    if (!renewed) return waiters_.expire(side.waiters, stale, now);
    // For them alone: it is the Fetch that will publish something.
    auto hold = publisher_.make_private(side.key, *renewed, stale->version, now + limits::followed_ttl);
    waiters_.expire(side.waiters, hold ? hold.entry() : stale, now, &hold);
}

void FetchTable::join(Side& side, const Waiter& waiter) {
    if (!waiters_.join(side.waiters, waiter)) refuse(side.key, side.hash, waiter);
}

/// A bound of ours: stale data is better than a failure.
void FetchTable::refuse(const cache::Key& key, cache::Hash hash, const Waiter& waiter) {
    const cache::Entry* stale = find_stale(key, hash);
    ++counters_.refused;
    waiters_.give_stale_or(waiter, stale, publisher_.limited());
}

void FetchTable::refresh(const cache::Key& key, cache::Hash hash, cache::Version version, Time now) {
    now_ = now;
    const cache::Entry* entry = table_.find_usable(key, hash, now);
    bool is_same = entry && entry->version == version;
    bool is_asked = find(key, hash) || aliases_.is_follower(key, hash);
    bool is_rerouted = group_of(key) != key.group;
    if (!is_same || is_asked || is_rerouted || !may_start_unasked()) {
        ++counters_.refreshes_dropped;
        return;
    }
    auto charge = caps_.admit_to_zone(key, is_spared(key, hash, now), now);
    if (!charge) {
        ++counters_.refreshes_dropped;
        return;
    }
    ++counters_.refreshes;
    start(key, hash, {}, now, *charge);
}

bool FetchTable::warm(const cache::Key& key, cache::Hash hash, Time now) {
    now_ = now;
    if (!groups_[key.group].is_any_closed()) return false;
    if (find(key, hash) || aliases_.is_follower(key, hash)) return true;
    ++counters_.warmed;
    start(key, hash, {}, now, {.is_spared = true});
    return true;
}

bool FetchTable::may_start_unasked() const {
    return !closed_ && !is_held() && free_.size() > slots_.size() / 4;
}

bool FetchTable::trace(const cache::Key& key, cache::Hash hash, Time now, Traces::Done done) {
    now_ = now;
    FetchSlot* slot = find(key, hash);
    if (closed_ || is_held() || !traces_.has_room() || (!slot && free_.empty())) return false;
    if (aliases_.rules(key, now)) return false; // no Fetch of its own
    if (slot) supersede(*slot);                 // who waits joins the new one, in the next tick
    return start_fetch(key, hash, {}, now, {.trace = std::move(done)});
}

void FetchTable::start(const cache::Key& key, cache::Hash hash, std::vector<Waiter> waiters, Time now,
                       const ZoneCuts::Charge& charge) {
    if (is_held()) return restart(key, hash, std::move(waiters));
    if (aliases_.take(key, hash, waiters, now)) return;
    if (start_fetch(key, hash, waiters, now, {.charge = charge})) return;
    aliases_.on_target_ended(key, hash, publisher_.servfail(), WakeKind::answer, now); // there was no room
}

/// On the account of who waits first, if anybody does. False: there is no room, and nobody waits any more.
bool FetchTable::start_fetch(const cache::Key& key, cache::Hash hash, const std::vector<Waiter>& waiters,
                             Time now, Origin origin) {
    std::uint64_t prefix = waiters.empty() ? origin.account : waiters.front().prefix, zone = zone_of(key);
    if (free_.empty() && !make_way(largest_holder(prefix, zone, false))) {
        for (const Waiter& w : waiters) refuse(key, hash, w);
        return false;
    }
    std::uint32_t index = free_.back();
    free_.pop_back();
    FetchId id{index, ++last_generation_};
    FetchSlot& slot = slots_[index];
    for (std::uint8_t is_secure : {0, 1}) {
        Side& side = slot.sides[is_secure];
        side.key = key;
        side.key.flavour &= std::uint8_t(~cache::dnssec_ok);
        side.key.flavour |= is_secure * cache::dnssec_ok;
        side.hash = side.key.flavour == key.flavour ? hash : cache::sibling_of(hash);
        by_hash_.add(side.hash, 2 * index + is_secure);
        table_.start(side.key, side.hash, id.generation); // false: it is full; the answer will be private
    }
    completions_.begin(id.generation);
    if (origin.trace) traces_.begin(id, std::move(origin.trace));
    traces_.note(id, now, "started");
    slot.prefix = prefix;
    slot.zone = zone;
    slot.charge = origin.charge;
    prefixes_.enter(index, prefix);
    zones_.enter(index, zone);
    const cache::Key& own = slot.sides.front().key;
    slot.fetch.emplace(id, own, candidates(key.group), policies_[key.group], now);
    ++counters_.fetches;
    for (const Waiter& w : waiters) join(slot.side(key), w);
    slot.fetch->start(*this);
    settle(slot);
    return true;
}

void FetchTable::tick(Time now) {
    now_ = now;
    publisher_.reclaim();
    exchanges_.tick(now);
    supersede_some();
    aliases_.tick(now);
    completions_.tick();
    start_successors(now);
    back_offs_.tick(last_generation_, now);
    for (unsigned i = 0; i < limits::timers_per_tick && timers_.next() <= now; ++i) {
        FetchSlot& slot = slots_[timers_.first()];
        if (is_superseded(slot)) {
            supersede(slot);
            continue;
        }
        for (Side& side : slot.sides) {
            if (now >= side.waiters.due()) expire(side, now);
        }
        slot.fetch->on_timer(now, *this);
        settle(slot);
    }
}

Time FetchTable::next_timer() const {
    if (is_superseding() || aliases_.is_due() || back_offs_.is_due() || completions_.is_due()) return now_;
    if (!successors_.empty()) return now_;
    return std::min({timers_.next(), aliases_.next_timer(), exchanges_.next_timer()});
}

std::uint64_t FetchTable::prefix_of(const dataplane::Address& client) const {
    return rules_.access() ? rules_.access()->prefix_of(client) : cache::keyed_hash(client.octets);
}

/// A client prefix or a zone, for a Fetch that is live, or wants to be. None: nobody holds more than one.
std::optional<FetchTable::Holder> FetchTable::largest_holder(std::uint64_t prefix, std::uint64_t zone,
                                                             bool is_live) const {
    auto by_prefix = prefixes_.largest(prefix), by_zone = zones_.largest(zone);
    if (!by_prefix && !by_zone) return std::nullopt;
    // Many share a zone: it has to stand out.
    bool is_prefixs = by_prefix && (!by_zone || by_prefix->count >= by_zone->count / zones_share);
    std::uint32_t wanted = is_live ? 0 : 1;
    return is_prefixs ? Holder{prefixes_, *by_prefix, prefixes_.count_of(prefix) + wanted}
                      : Holder{zones_, *by_zone, zones_.count_of(zone) + wanted};
}

/// Room is short: a Fetch of whoever holds most ends, the oldest one whose servers are overdue: so who asks
/// for silent names pushes out his own. What may yet be answered goes on (as in Unbound's jostle list): if
/// each new one took the place of an older one, an upstream that is merely slow would answer none, and be
/// asked all of them. Only for who holds half as much at most it gives way, too, the youngest, which loses
/// least: so who has little always gets some. False: what is new is refused; `but_for` asks for room at an
/// upstream, and none of theirs may give any there.
bool FetchTable::make_way(const std::optional<Holder>& holder, const FetchSlot* but_for, unsigned upstream) {
    if (!holder) return false;
    const auto& [shares, most, own] = *holder;
    auto gives = [&](const FetchSlot& slot) {
        return &slot != but_for && (!but_for || gives_room(slot, but_for->fetch->key().group, upstream));
    };
    std::optional<std::uint32_t> at = most.oldest;
    for (unsigned looks = 0; at && looks < limits::displaced_looks; ++looks, at = shares.younger(*at)) {
        if (!gives(slots_[*at]) || !is_overdue(slots_[*at])) continue;
        displace(slots_[*at]);
        return true;
    }
    at = most.count >= 2 * own ? std::optional(most.youngest) : std::nullopt;
    for (unsigned looks = 0; at && looks < limits::displaced_looks; ++looks, at = shares.older(*at)) {
        if (!gives(slots_[*at])) continue;
        displace(slots_[*at]);
        return true;
    }
    return false;
}

/// Each server that it waits for is silent for longer than it takes to ask it again.
bool FetchTable::is_overdue(const FetchSlot& slot) const {
    const Upstreams& group = groups_[slot.fetch->key().group];
    return std::ranges::none_of(slot.fetch->attempts(), [&](const Fetch::Attempt& a) {
        return a.phase == Fetch::Phase::asked && now_ <= *a.asked + group.resend_after(a.candidate.upstream);
    });
}

/// A worker's credits run short. Who waits for much already, or asks what most wait for, waits for no more;
/// for others the question with the most waiters lets its oldest go, or a Fetch of the largest holder's ends.
/// False: it is the one who asks, or none of those may end.
bool FetchTable::relieve(const cache::Key& key, cache::Hash hash, const Waiter& waiter) {
    FetchSlot& most = slots_[most_waited_];
    bool is_one_question = most.fetch && most.waiting() > limits::fair_waits;
    bool is_part = waiters_.count_of_prefix(waiter.prefix) > limits::fair_waits ||
                   (is_one_question && &most == find(key, hash));
    if (is_part) return false;
    if (!is_one_question) {
        auto holder = largest_holder(waiter.prefix, zone_of(key), false);
        return !holder || make_way(holder);
    }
    auto& [plain, secure] = most.sides;
    Side& side = plain.waiters.size() >= secure.waiters.size() ? plain : secure;
    waiters_.release_oldest(side.waiters, limits::fair_waits, find_stale(side.key, side.hash));
    settle(most);
    return true;
}

const cache::Entry* FetchTable::find_stale(const cache::Key& key, cache::Hash hash) const {
    return table_.find_usable(key, hash, now_);
}

/// Whether its end makes room at the upstream: at any other it does so only where places are short.
bool FetchTable::gives_room(const FetchSlot& slot, unsigned group, unsigned upstream) const {
    bool is_capped = !groups_[group].has_room(upstream), is_of_group = slot.fetch->key().group == group;
    return std::ranges::any_of(slot.fetch->attempts(), [&](const Fetch::Attempt& a) {
        bool is_there = is_of_group && a.candidate.upstream == upstream;
        return a.phase == Fetch::Phase::asked && (is_there || !is_capped);
    });
}

void FetchTable::displace(FetchSlot& slot) {
    ++counters_.displaced;
    traces_.note(slot.fetch->id(), now_, "displaced");
    slot.fetch->cancel(*this);
    for (Side& side : slot.sides) {
        for (const Waiter& w : side.waiters.take()) refuse(side.key, side.hash, w);
        aliases_.on_target_ended(side.key, side.hash, publisher_.servfail(), WakeKind::answer, now_);
    }
    settle(slot);
}

void FetchTable::close() {
    closed_ = true;
    for (const Successor& successor : successors_) waiters_.abandon(successor.waiters);
    successors_gone_ += successors_.size();
    successors_.clear();
    aliases_.close();
    for (FetchSlot& slot : slots_) {
        if (!slot.fetch) continue;
        for (Side& side : slot.sides) waiters_.abandon(side.waiters.take());
        supersede(slot);
    }
    for (const Sweep& sweep : std::exchange(sweeps_, {})) {
        if (sweep.then) sweep.then();
    }
    exchanges_.end_probing(now_);
}

// Slots.

/// After anything that happened to a Fetch: frees its slot when it is done, else files its timer.
void FetchTable::settle(FetchSlot& slot) {
    bool done = slot.fetch->state() == Fetch::State::done;
    timers_.set(slot.fetch->id().slot, done ? Time::max() : std::min(slot.fetch->next_timer(), slot.due()));
    if (done) free(slot);
}

void FetchTable::free(FetchSlot& slot) {
    assert(slot.waiting() == 0 && "a Fetch ends by answering everyone");
    FetchId id = slot.fetch->id();
    for (Side& side : slot.sides) {
        by_hash_.remove(std::uint32_t(2 * id.slot + (&side - slot.sides.data())));
        table_.finish(side.key, side.hash, id.generation);
        side.published = {};
        side.held = {};
    }
    completions_.end(id.generation);
    prefixes_.leave(id.slot);
    zones_.leave(id.slot);
    slot.fetch.reset();
    slot.datagrams = 0;
    slot.is_capped = false;
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
    auto fits = [&](std::uint32_t place) { return slots_[place / 2].sides[place % 2].key == key; };
    auto found = by_hash_.find(hash, fits);
    return found ? &slots_[*found / 2] : nullptr;
}

std::vector<InflightFetch> FetchTable::inflight(std::size_t most) const {
    std::vector<std::pair<cache::Generation, const FetchSlot*>> oldest;
    for (const FetchSlot& slot : slots_) {
        if (slot.fetch) oldest.emplace_back(slot.fetch->id().generation, &slot);
    }
    auto end = oldest.begin() + std::ptrdiff_t(std::min(most, oldest.size()));
    std::partial_sort(oldest.begin(), end, oldest.end());
    std::vector<InflightFetch> list;
    for (auto [generation, slot] : std::span(oldest.begin(), end)) {
        const Fetch& f = *slot->fetch;
        std::vector<Fetch::Attempt> attempts(f.attempts().begin(), f.attempts().end());
        list.push_back({generation, f.key(), f.state(), f.started(), slot->waiting(), std::move(attempts)});
    }
    return list;
}

} // namespace millrace::control
