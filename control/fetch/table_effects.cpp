// FetchTable: what the exchanges report, and what Fetches and aliases want done.
#include <algorithm>

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include "cache/dns.hpp"
#include "control/fetch/merge.hpp"
#include "control/fetch/table.hpp"
#include "control/limits.hpp"

namespace millrace::control {

using WakeKind = dataplane::Wake::Kind;

namespace {

std::string describe(const Answer& answer) {
    if (!answer.unfit.empty()) return fmt::format("nothing is kept of it: {}", answer.unfit);
    std::string text = fmt::format("{}, rcode {}", to_string(answer.kind), answer.rcode);
    if (answer.info) text += fmt::format(", extended error {} {}", answer.info->code, answer.info->text);
    for (const Record& r : answer.records) {
        ldns_rr_type type = ldns_rr_get_type(r.get());
        bool is_address = type == LDNS_RR_TYPE_A || type == LDNS_RR_TYPE_AAAA;
        if (!is_address) return fmt::format("{}, {} records", text, answer.records.size());
    }
    auto all = addresses_of(answer);
    auto named = std::span(all).first(std::min<std::size_t>(all.size(), limits::merged_addresses));
    for (const auto& address : named) text += " " + to_string(address);
    return all.size() > named.size() ? fmt::format("{}, {} in all", text, all.size()) : text;
}

std::string describe(cache::Version version, cache::Publication verdict, const Answer& answer) {
    return fmt::format("({}, {}) {}: {}", cache::Generation(version.generation), unsigned(version.revision),
                       to_string(verdict), describe(answer));
}

} // namespace

// Events from the exchanges.

void FetchTable::on_answer(FetchId id, Answer&& answer) {
    FetchSlot* slot = find_valid(id);
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
    FetchSlot* slot = find_valid(id);
    if (!slot) return;
    traces_.note(id, now_, "failed", upstream, std::string(to_string(failure)));
    bool is_ours = failure == ExchangeFailure::no_room;
    slot->is_capped |= is_ours;
    is_ours ? slot->fetch->on_refused(upstream, now_, *this) : slot->fetch->on_failed(upstream, now_, *this);
    settle(*slot);
}

void FetchTable::on_exchange_hint(FetchId id, unsigned upstream, Time now) {
    FetchSlot* slot = find_valid(id);
    if (!slot) return;
    slot->fetch->on_hint(upstream, now, *this);
    settle(*slot);
}

/// One for each upstream that is yet to be asked is kept back.
bool FetchTable::may_resend(FetchId id) {
    FetchSlot* slot = find_valid(id);
    if (!slot) return false;
    auto attempts = slot->fetch->attempts();
    auto kept = std::ranges::count(attempts, Fetch::Phase::idle, &Fetch::Attempt::phase);
    std::size_t most = std::max(limits::datagrams_per_fetch, attempts.size() + limits::resends_per_fetch);
    if (slot->datagrams + std::size_t(kept) >= most) return false;
    ++slot->datagrams;
    return true;
}

void FetchTable::on_exchange_event(FetchId id, unsigned upstream, ExchangeEvent event, Time now) {
    traces_.note(id, now, to_string(event), upstream);
}

void FetchTable::on_ranked(FetchId id, std::span<const dataplane::Address> order) {
    FetchSlot* slot = find_valid(id);
    if (!slot || slot->fetch->state() != Fetch::State::ranking) {
        ++counters_.ranked_late;
        return;
    }
    const Side& own = slot->sides.front();
    const cache::Entry* entry = table_.find(own.key, own.hash);
    bool is_same = entry && entry->version == own.published;
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
    FetchSlot& slot = slots_[fetch.id().slot];
    auto is_followed = [this](const Side& side) { return aliases_.has_followers(side.key, side.hash); };
    bool is_waited_for = slot.waiting() > 0 || std::ranges::any_of(slot.sides, is_followed);
    bool collects = fetch.state() == Fetch::State::collecting || !is_waited_for;
    auto purpose = collects ? Purpose::collection : Purpose::answer;
    bool is_in_rate = groups_[fetch.key().group].is_in_rate(upstream, now, Upstreams::Share::all);
    bool is_crowded = !collects && !exchanges_.has_room(fetch.key().group, upstream);
    // While others are left to be asked in its place, nobody has to end for this one; nor in vain.
    bool is_last = std::ranges::count(fetch.attempts(), Fetch::Phase::idle, &Fetch::Attempt::phase) == 1;
    bool has_to = is_crowded && is_last && is_in_rate;
    if (has_to) make_way(largest_holder(slot.prefix, slot.zone, true), &slot, upstream);
    bool asked = exchanges_.open(fetch.id(), fetch.key(), upstream, deadline, now, purpose);
    slot.datagrams += asked;
    slot.is_capped |= !asked && (is_crowded || !is_in_rate);
    if (!asked)
        traces_.note(fetch.id(), now, "not asked", upstream, "its breaker, the operator, or a limit of ours");
    return asked;
}

void FetchTable::cancel_upstream(const Fetch& fetch, unsigned upstream) {
    traces_.note(fetch.id(), now_, "cancelled", upstream);
    exchanges_.close(fetch.id(), upstream, now_);
}

void FetchTable::overtaken(const Fetch& fetch, unsigned upstream) {
    traces_.note(fetch.id(), now_, "overtaken", upstream);
    groups_[fetch.key().group].suspect(upstream, now_);
}

void FetchTable::collect_from(const Fetch& fetch, unsigned upstream, Time deadline) {
    traces_.note(fetch.id(), now_, "collecting", upstream);
    exchanges_.collect(fetch.id(), upstream, deadline);
}

bool FetchTable::begin_ranking(const Fetch& fetch, std::span<const dataplane::Address> addresses) {
    bool is_published = slots_[fetch.id().slot].sides.front().published.generation > 0;
    bool ranks = ranker_ && is_published && ranker_->rank(fetch.id(), addresses);
    if (ranks) traces_.note(fetch.id(), now_, "ranking");
    return ranks;
}

void FetchTable::cancel_ranking(const Fetch& fetch) {
    if (ranker_) ranker_->cancel(fetch.id());
}

bool FetchTable::publish(const Fetch& fetch, const Answer& answer, std::uint32_t revision,
                         Time latest_expiry) {
    FetchId id = fetch.id();
    auto& [plain, secure] = slots_[id.slot].sides;
    if (revision == 0) {
        traces_.note(id, now_, "decided", answer.upstream);
        prefixes_.leave(id.slot); // what it still collects gives way by itself
        zones_.leave(id.slot);
        learn(slots_[id.slot], answer);
    }
    cache::Version version{id.generation, revision};
    cache::EntryPtr entry = publisher_.build(plain.key, answer, version, latest_expiry), other;
    // To who validates it is of no consequence what others have to say.
    bool is_same = latest_expiry == Time::max() && !answer.has_dnssec_records();
    if (revision == 0 && is_same && entry) other = cache::Entry::copy(*entry);
    if (revision == 0 && !is_same) other = publisher_.build(secure.key, answer, version, Time::max());
    bool is_kept = publish(id, plain, answer, version, std::move(entry));
    if (revision == 0) publish(id, secure, answer, version, std::move(other));
    return is_kept;
}

bool FetchTable::publish(FetchId id, Side& side, const Answer& answer, cache::Version version,
                         cache::EntryPtr entry) {
    Published published = publisher_.publish(side.key, side.hash, std::move(entry));
    bool is_traced = traces_.is_traced(id) && !(side.key.flavour & cache::dnssec_ok);
    if (is_traced) traces_.note(id, now_, "published", {}, describe(version, published.verdict, answer));
    // Without memory even for those who wait, what they can have is stale.
    bool is_told = published.entry != publisher_.servfail();
    is_told ? wake_all(id, side, published.entry, WakeKind::answer, &published.hold) : refuse_all(id, side);
    if (published.verdict == cache::Publication::accepted) {
        side.published = version;
        side.held = {};
        return true;
    }
    // A revision 1 that the table has no memory for leaves revision 0 in it.
    bool serves =
        published.verdict == cache::Publication::full && published.hold && published.entry->expiry > now_;
    if (!serves || side.published.generation > 0) return false;
    side.held = std::move(published.hold);
    return true;
}

void FetchTable::fail(const Fetch& fetch, Cause cause, const std::optional<ExtendedError>& said, Time now) {
    ++counters_.failed;
    FetchSlot& slot = slots_[fetch.id().slot];
    prefixes_.leave(fetch.id().slot); // it ends by itself, and gives way to nobody whom it tells
    zones_.leave(fetch.id().slot);
    if (cause == Cause::bogus) {
        auto is_published = [](const Side& side) { return side.published.generation > 0; };
        bool revokes = std::ranges::any_of(slot.sides, is_published);
        ++counters_.bogus;
        counters_.revoked += revokes;
        completions_.revoke(fetch.id().generation);
        aliases_.revoke(fetch.id().generation);
        traces_.note(fetch.id(), now, revokes ? "bogus: the answer is revoked" : "bogus: final");
    }
    for (Side& side : slot.sides) fail(fetch.id(), side, cause, said, now);
}

void FetchTable::fail(FetchId id, Side& side, Cause cause, const std::optional<ExtendedError>& said,
                      Time now) {
    bool is_bogus = cause == Cause::bogus, is_told = !(side.key.flavour & cache::dnssec_ok);
    const cache::Entry* stale = table_.find_usable(side.key, side.hash, now);
    if (stale && !is_bogus) {
        // Never a failure in the place of usable or stale data; and nobody tries again for a while, unless it
        // was our own doing.
        if (is_told) traces_.note(id, now, "failed, the older answer stays");
        if (cause == Cause::unasked) return refuse_all(id, side);
        if (tell_renewed(id, side, *stale, now)) return; // its end is the end of the back-off
        stale->hold_refresh(now + limits::stale_recheck);
        return wake_all(id, side, stale, WakeKind::stale);
    }
    if (cause == Cause::unasked) return refuse_all(id, side); // not cached: it is not the name's fault
    bool revokes = is_bogus && side.published.generation > 0;
    side.held = {};
    cache::Version version{id.generation, revokes ? 1u : 0u};
    std::uint16_t info = cause == Cause::unheard ? dns::ede::no_reachable_authority : dns::ede::network_error;
    Published published = publisher_.publish_failure(side.key, side.hash, version, now, said, info);
    if (is_bogus && published.verdict == cache::Publication::full) table_.withdraw(side.key, side.hash);
    Answer failed;
    failed.info = said;
    if (is_told) traces_.note(id, now, "published", {}, describe(version, published.verdict, failed));
    wake_all(id, side, published.entry, WakeKind::answer, &published.hold);
}

/// What is fresh behind a stale chain is published in its place. False: nothing is.
bool FetchTable::tell_renewed(FetchId id, Side& side, const cache::Entry& stale, Time now) {
    auto renewed = aliases_.renewed(side.key, side.hash, stale, now);
    if (!renewed) return false;
    Time latest = std::min(now + limits::followed_ttl, stale.stale_until);
    Published published = publisher_.publish(side.key, side.hash, *renewed, {id.generation, 0}, latest);
    if (published.entry == publisher_.servfail()) return false;
    wake_all(id, side, published.entry, WakeKind::stale, &published.hold);
    return true;
}

void FetchTable::chase(const Fetch& fetch, const Answer& answer) {
    traces_.note(fetch.id(), now_, "its chain's end is asked", answer.upstream);
    FetchSlot& slot = slots_[fetch.id().slot];
    learn(slot, answer);
    lead_to(slot, aliases_.chased(fetch.key(), answer));
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
void FetchTable::wake_all(FetchId id, Side& side, const cache::Entry* entry, WakeKind kind,
                          cache::Reserve::Hold* hold) {
    wake_waiters(id, side, entry, kind, hold);
    aliases_.on_target_ended(side.key, side.hash, entry, kind, now_, id.generation);
}

/// A bound of ours: stale data where there is some. Those who follow the name have their own.
void FetchTable::refuse_all(FetchId id, Side& side) {
    const cache::Entry* stale = find_stale(side.key, side.hash);
    if (!stale) counters_.refused += side.waiters.size();
    const cache::Entry* why = slots_[id.slot].is_capped ? publisher_.limited() : publisher_.servfail();
    wake_waiters(id, side, stale ? stale : why, stale ? WakeKind::stale : WakeKind::answer);
    aliases_.on_target_ended(side.key, side.hash, publisher_.servfail(), WakeKind::answer, now_);
}

void FetchTable::wake_waiters(FetchId id, Side& side, const cache::Entry* entry, WakeKind kind,
                              cache::Reserve::Hold* hold) {
    if (traces_.is_traced(id)) {
        auto named = side.waiters.view().first(std::min(side.waiters.size(), limits::named_wakes));
        for (const Waiter& w : named) traces_.note(id, now_, "woken", {}, to_string(w.client));
        if (std::size_t rest = side.waiters.size() - named.size(); rest > 0) {
            traces_.note(id, now_, "woken", {}, fmt::format("{} more", rest));
        }
    }
    waiters_.wake_all(side.waiters, entry, kind, hold);
}

std::vector<Candidate> FetchTable::candidates(unsigned group) const {
    std::vector<Candidate> result;
    const Upstreams& upstreams = groups_[group];
    result.reserve(upstreams.size());
    for (unsigned upstream : exchanges_.ranked(group)) {
        result.push_back({upstream, upstreams.srtt(upstream), upstreams.is_validator(upstream),
                          upstreams.is_trusted(upstream), upstreams.priority(upstream)});
    }
    return result;
}

// What aliases want done.

bool FetchTable::seek_target(const cache::Key& target, cache::Hash hash, std::uint64_t account,
                             bool is_spared, Time now) {
    FetchSlot* slot = find(target, hash);
    if (slot && slot->fetch->state() == Fetch::State::asking) return true;
    if (slot) supersede(*slot, Followers::stay); // it has answered, and its answer is no longer usable
    if (Denied denied = denied_from_above(target, now); denied.hold) {
        ++counters_.below_denied;
        aliases_.on_target_ended(target, hash, denied.hold.entry(), WakeKind::answer, now, denied.root);
        return true;
    }
    auto charge = caps_.admit_to_zone(target, is_spared || is_known(target, hash, now), now);
    return charge && start_fetch(target, hash, {}, now, {.account = account, .charge = *charge});
}

cache::Generation FetchTable::asked_as(const cache::Key& target, cache::Hash hash) {
    const FetchSlot* slot = find(target, hash);
    return slot ? slot->fetch->id().generation : 0;
}

Published FetchTable::publish_now(const cache::Key& key, cache::Hash hash, const Answer& answer,
                                  Time latest_expiry) {
    cache::Generation generation = ++last_generation_;
    table_.start(key, hash, generation);
    Published published = publisher_.publish(key, hash, answer, {generation, 0}, latest_expiry);
    table_.finish(key, hash, generation);
    return published;
}

Published FetchTable::publish_failure_now(const cache::Key& key, cache::Hash hash,
                                          const std::optional<ExtendedError>& said, bool is_crossed,
                                          Time now) {
    cache::Generation generation = ++last_generation_;
    table_.start(key, hash, generation);
    Published published = publisher_.publish_failure(key, hash, {generation, 0}, now, said,
                                                     dns::ede::network_error, is_crossed);
    table_.finish(key, hash, generation);
    return published;
}

} // namespace millrace::control
