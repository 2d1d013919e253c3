#include "control/fetch/aliases.hpp"

#include <algorithm>
#include <iterator>
#include <limits>

#include "cache/dns.hpp"
#include "control/fetch/dns64.hpp"
#include "control/limits.hpp"
#include "control/message/entry_read.hpp"
#include "control/message/records.hpp"

namespace millrace::control {

using dataplane::LocalNames;

namespace {

cache::EntryPtr copy_of(const cache::Entry& entry) {
    cache::EntryDraft draft;
    draft.version = entry.version;
    draft.source = entry.source();
    draft.rcode = entry.rcode;
    draft.authentic = entry.authentic;
    draft.chained = entry.chained;
    draft.rewritten = entry.rewritten;
    draft.crossed = entry.crossed;
    draft.failure = entry.failure;
    if (entry.info != cache::Entry::no_info) draft.info = entry.info;
    draft.info_text = {reinterpret_cast<const char*>(entry.info_text().data()), entry.info_size};
    draft.born = entry.born;
    draft.expiry = entry.expiry;
    draft.stale_until = entry.stale_until;
    draft.rotating = entry.rotating;
    draft.rotates_ipv6 = entry.rotates_ipv6;
    draft.answers = entry.answers;
    draft.authorities = entry.authorities;
    draft.records = entry.records();
    draft.ttl_offsets = entry.ttl_offsets();
    return cache::Entry::make(draft);
}

/// Whether another group than the key's answers in its place.
bool crosses(const cache::Key& key, const Alias& alias) {
    return alias.target.name.size > 0 && alias.target.group != key.group;
}

} // namespace

bool concerns_chain(const Concern& matches, const cache::Key& key, std::span<const Record> chain) {
    cache::Key link = key;
    return std::ranges::any_of(chain, [&](const Record& record) {
        if (!is_cname(record)) return false; // a DNAME: the CNAME that is made of it comes next
        link.name = name_of(ldns_rr_rdf(record.get(), 0));
        return matches(link, nullptr);
    });
}

bool concerns(const Concern& matches, const cache::Key& key, const Alias& alias) {
    return matches(key, nullptr) || concerns_chain(matches, key, alias.chain) ||
           (alias.native && concerns_chain(matches, key, alias.native->chain));
}

bool Aliases::rules(const cache::Key& key, Time now) const {
    return key.dns64() > 0 ||
           (rules_.local() && (own_alias(*rules_.local(), key, now) || alias_of(*rules_.local(), key)));
}

bool Aliases::is_answered_here(const cache::Key& key) const {
    auto match = rules_.local() ? rules_.local()->find(key.name.bytes()) : std::nullopt;
    return match && rules_.local()->answer(*match, key.qtype);
}

bool Aliases::take(const cache::Key& key, cache::Hash hash, std::vector<Waiter>& waiters, Time now) {
    if (auto own = rules_.local() ? own_alias(*rules_.local(), key, now) : std::nullopt) {
        conclude(key, hash, {}, {std::move(*own)}, waiters, now);
        return true;
    }
    auto alias = rules_.local() ? alias_of(*rules_.local(), key) : std::nullopt;
    if (!alias) return translate(key, hash, waiters, now);
    follow(key, hash, std::move(*alias), std::move(waiters), now);
    return true;
}

bool Aliases::join(const cache::Key& key, cache::Hash hash, const Waiter& waiter, Time now) {
    Follower* follower = find(key, hash);
    if (!follower) return false;
    now_ = now;
    ++counters_.coalesced;
    join(*follower, {waiter});
    return true;
}

void Aliases::follow(const cache::Key& key, cache::Hash hash, Alias alias, std::vector<Waiter> waiters,
                     Time now) {
    now_ = now;
    cache::Key& target = alias.target;
    if (rules_.routes()) target.group = rules_.routes()->group_of(target.name.bytes(), target.qtype);
    if (target.name.size == 0 || leads_to(target, key) || depth_of(hash) >= limits::chain) {
        return fail(key, hash, alias, waiters, nullptr, now);
    }
    cache::Hash target_hash = table_.hasher()(target);
    bool is_ahead = alias.dns64 != Alias::Dns64::none && waiters.empty();
    if (auto found = known_answer(alias, target_hash, now, is_ahead)) {
        found->root = root_of(target, target_hash);
        if (found->root > 0) found->latest = now + limits::followed_ttl;
        return conclude(key, hash, alias, std::move(*found), waiters, now);
    }
    if (auto stale = held_stale(key, hash, alias, target_hash, now))
        return conclude(key, hash, alias, std::move(*stale), waiters, now);
    const cache::Entry* entry = table_.find_usable(target, target_hash, now);
    bool has_failed = entry && entry->failure && !fetches_.is_forbidden(target, target_hash, *entry);
    if (has_failed && may_map(key, hash, alias, entry)) {
        return follow(key, hash, mapped_alias(key, now), std::move(waiters), now);
    }
    if (has_failed) return fail(key, hash, alias, waiters, entry, now); // RFC 9520: not again so soon
    if (Follower* same = find(key, hash)) return join(*same, waiters);
    std::uint64_t account = waiters.empty() ? alias.account : waiters.front().prefix;
    if (!add(key, hash, alias, target_hash, waiters)) {
        return fail(key, hash, alias, waiters, publisher_.servfail(), now);
    }
    // Where an upstream leads a name is no reason: it may lead it elsewhere each time.
    bool is_ours = alias.dns64 != Alias::Dns64::none || !alias.is_chased;
    bool is_spared = is_ours && fetches_.is_known(key, hash, now);
    if (is_sought(target, target_hash, account, is_spared, now)) return;
    on_target_ended(target, target_hash, publisher_.servfail(), Kind::answer, now);
}

std::optional<Answer> Aliases::renewed(const cache::Key& key, cache::Hash hash, const cache::Entry& stale,
                                       Time now) {
    bool is_made = key.dns64() > 0; // by way of other keys
    if (!stale.chained || stale.rewritten || is_made || now < stale.expiry) return std::nullopt;
    // What a flush is yet to empty would come through it under another generation.
    if (renewed_ >= limits::renewals_per_tick || fetches_.is_forbidden(key, hash, stale)) return std::nullopt;
    ++renewed_;
    auto old = read_entry(key, stale, now);
    if (!old || !old->proofs.empty()) return std::nullopt; // proofs do not say which part they are of
    for (std::size_t links = 1; links <= old->chain.size(); ++links) {
        if (!is_cname(old->chain[links - 1])) continue; // the DNAME that the next one is made of
        Answer link;
        for (const Record& r : std::span(old->chain).first(links)) {
            link.chain.push_back(with_ttl(r, dns::ttl_of_stale));
            for (const Record& s : old->signatures) {
                bool is_its = ldns_dname_compare(ldns_rr_owner(s.get()), ldns_rr_owner(r.get())) == 0;
                if (is_its) link.signatures.push_back(with_ttl(s, dns::ttl_of_stale));
            }
        }
        auto is_lost = [](const Record& r) { return !r; }; // no memory for it
        if (std::ranges::any_of(link.chain, is_lost) || std::ranges::any_of(link.signatures, is_lost))
            return std::nullopt;
        Alias alias = chased(key, link);
        if (rules_.routes())
            alias.target.group = rules_.routes()->group_of(alias.target.name.bytes(), key.qtype);
        if (alias.target.name.size == 0 || alias.target == key) return std::nullopt;
        auto found = known_answer(alias, table_.hasher()(alias.target), now, false);
        if (!found || found->expiry - now < 1s) continue; // it would have TTL 0, which may not be kept
        Answer* answer = &found->answer;
        if (!complete(alias, *answer)) return std::nullopt;
        answer->authentic = false; // the chain may have changed since
        answer->is_crossed = answer->is_crossed || stale.crossed || crosses(key, alias);
        answer->info.emplace(dns::ede::stale_answer);
        answer->stale_until = stale.stale_until;
        ++counters_.chains_renewed;
        return std::move(*answer);
    }
    return std::nullopt;
}

ChainVerdict Aliases::check_chain(const cache::Key& key, Answer& answer) {
    if (rules_.routes() && !rules_.routes()->is_empty()) cut_at_crossing(*rules_.routes(), key, answer);
    if (!rules_.local()) return {};
    ChainVerdict verdict = apply_block_lists(*rules_.local(), key, answer);
    counters_.chains_blocked += verdict.is_blocked;
    return verdict;
}

std::optional<Aliases::Found> Aliases::read_found(const cache::Key& key, const cache::Entry& entry,
                                                  Time now) {
    auto answer = read_entry(key, entry, now);
    if (!answer) return std::nullopt;
    answer->authentic = answer->is_trusted = entry.authentic;
    answer->is_rewritten = entry.rewritten;
    auto text = entry.info_text();
    if (entry.info != cache::Entry::no_info)
        answer->info.emplace(entry.info, std::string(text.begin(), text.end()));
    return Found{std::move(*answer), entry.expiry, entry.version.generation};
}

/// What is known of the target without asking: a rule's answer, or one in the table that no rule has
/// to do with. `is_ahead`: nobody waits, and what is about to expire is to be asked afresh.
std::optional<Aliases::Found> Aliases::known_answer(const Alias& alias, cache::Hash hash, Time now,
                                                    bool is_ahead) const {
    const cache::Key& target = alias.target;
    if (auto answer = rules_.local() ? rule_for_target(*rules_.local(), alias, now) : std::nullopt)
        return Found{std::move(*answer)};
    const cache::Entry* entry = table_.find_usable(target, hash, now);
    bool is_due = entry && is_ahead && now.count() >= entry->refresh_after.load(std::memory_order_relaxed);
    bool usable = entry && now < entry->expiry && !is_due && !entry->failure && !entry->rewritten &&
                  !fetches_.is_forbidden(target, hash, *entry) &&
                  !(rules_.local() && leads_to_blocked(*rules_.local(), target.name.bytes(), *entry));
    return usable ? read_found(target, *entry, now) : std::nullopt;
}

/// The Fetch at work on whose answer that of the target depends; 0: none.
cache::Generation Aliases::root_of(const cache::Key& target, cache::Hash hash) const {
    cache::Generation live = fetches_.asked_as(target, hash);
    return live > 0 ? live : completions_.root_of(hash);
}

/// Publishes the chain with what its end turned out to be, and wakes; those too who follow this name.
void Aliases::conclude(const cache::Key& key, cache::Hash hash, const Alias& alias, Found&& found,
                       const std::vector<Waiter>& waiters, Time now) {
    if (alias.dns64 == Alias::Dns64::none) {
        counters_.aliased += waiters.size();
    } else {
        if (auto next = settle(key, alias, found)) return follow(key, hash, *next, waiters, now);
        if (found.answer.kind == millrace::control::Kind::failure)
            return fail(key, hash, alias, waiters, nullptr, now);
    }
    const cache::Entry* newer = alias.generation > 0 ? table_.find_usable(key, hash, now) : nullptr;
    if (newer && newer->version.generation > alias.generation) { // asked afresh since, and answered
        waiters_.answer_in_time(waiters, newer, nullptr, now);
        return on_target_ended(key, hash, newer, Kind::answer, now, root_of(key, hash));
    }
    bool is_whole = alias.dns64 != Alias::Dns64::none || complete(alias, found.answer);
    if (!is_whole) return fail(key, hash, alias, waiters, nullptr, now);
    found.answer.is_crossed = found.answer.is_crossed || crosses(key, alias);
    if (found.is_stale) found.latest = found.answer.received;
    Published published = fetches_.publish_now(key, hash, found.answer, found.latest);
    bool is_told = published.entry != publisher_.servfail();
    if (!is_told) return fail(key, hash, alias, waiters, publisher_.servfail(), now);
    cache::Generation generation = published.entry->version.generation;
    Kind kind = found.is_stale ? Kind::stale : Kind::answer;
    waiters_.answer_in_time(waiters, published.entry, &published.hold, now, kind);
    note(key, hash, generation, alias, found);
    on_target_ended(key, hash, published.entry, kind, now, std::max(found.root, found.native_root));
}

/// Whose answer a published one depends on: also that of which the target, in its turn, was made.
void Aliases::note(const cache::Key& key, cache::Hash hash, cache::Generation generation, const Alias& alias,
                   const Found& found) {
    auto note_of = [&](cache::Generation root, const cache::Key& target) {
        if (root == 0) return;
        completions_.note(root, key, hash, generation);
        for (cache::Generation other : completions_.roots_of(table_.hasher()(target)))
            completions_.note(other, key, hash, generation);
    };
    cache::Key native = alias.target;
    native.qtype = LDNS_RR_TYPE_AAAA;
    note_of(found.root, alias.target);
    note_of(found.native_root, native);
}

/// Stale data of the name's own if there is any, and no other try for a while, unless it was our own doing;
/// else SERVFAIL, cached when an upstream was asked for the name and the fault is its end's. That the end is
/// bogus is told like the end's own failure, whatever there is. Then those who follow this name.
void Aliases::fail(const cache::Key& key, cache::Hash hash, const Alias& alias,
                   const std::vector<Waiter>& waiters, const cache::Entry* why, Time now) {
    bool is_ours = why == publisher_.servfail();
    bool is_bogus = why && !is_ours && dns::ede::is_of_dnssec(why->info);
    const cache::Entry* stale = is_bogus ? nullptr : table_.find_usable(key, hash, now);
    if (stale) {
        if (!is_ours) stale->hold_refresh(now + limits::stale_recheck);
        for (const Waiter& w : waiters) waiters_.wake(w, stale, Kind::stale);
        return on_target_ended(key, hash, is_ours ? why : stale, is_ours ? Kind::answer : Kind::stale, now);
    }
    if (is_ours || !(alias.is_chased || is_bogus)) {
        waiters_.answer_in_time(waiters, publisher_.servfail(), nullptr, now);
        return on_target_ended(key, hash, publisher_.servfail(), Kind::answer, now);
    }
    std::optional<ExtendedError> said;
    if (is_bogus) {
        auto text = why->info_text();
        said.emplace(why->info, std::string(text.begin(), text.end()));
    }
    bool is_crossed = crosses(key, alias) || (why && why->crossed);
    Published published = fetches_.publish_failure_now(key, hash, said, is_crossed, now);
    waiters_.answer_in_time(waiters, published.entry, &published.hold, now);
    on_target_ended(key, hash, published.entry, Kind::answer, now);
}

/// How many names lead to the key one after the other: a chain that an upstream spells out name by name, each
/// by a Fetch of its own, is as long as any other.
unsigned Aliases::depth_of(cache::Hash hash) const {
    auto after = by_depth_.upper_bound({hash, limits::chain, std::numeric_limits<Number>::max()});
    bool is_followed = after != by_depth_.begin() && std::get<0>(*std::prev(after)) == hash;
    return is_followed ? std::get<1>(*std::prev(after)) : 0;
}

/// False: there is no place, and the waiters are where they were.
bool Aliases::add(const cache::Key& key, cache::Hash hash, const Alias& alias, cache::Hash target_hash,
                  const std::vector<Waiter>& waiters) {
    Number number = last_follower_ + 1;
    if (followers_.size() >= limits::fetches || !following_.emplace(hash, number).second) return false;
    last_follower_ = number;
    Follower follower{key, hash, alias, target_hash, depth_of(hash) + 1, fetches_.last_generation()};
    by_target_.emplace(target_hash, number);
    by_depth_.emplace(target_hash, follower.depth, number);
    if (alias.native_root > 0) by_native_root_.emplace(alias.native_root, number);
    join(followers_.emplace(number, std::move(follower)).first->second, waiters);
    return true;
}

void Aliases::join(Follower& follower, const std::vector<Waiter>& waiters) {
    for (const Waiter& w : waiters) {
        if (waiters_.join(follower.waiters, w)) continue;
        const cache::Entry* stale = table_.find_usable(follower.key, follower.hash, now_);
        waiters_.give_stale_or_refuse(w, stale, &FetchCounters::refused);
    }
    file_timer(following_.at(follower.hash), follower);
}

void Aliases::file_timer(Number number, Follower& follower) {
    Time timer = follower.waiters.due();
    if (timer == follower.timer) return;
    timers_.erase({follower.timer, number});
    follower.timer = timer;
    if (timer != Time::max()) timers_.emplace(timer, number);
}

void Aliases::on_target_ended(const cache::Key& target, cache::Hash hash, const cache::Entry* entry,
                              Kind kind, Time now, cache::Generation root) {
    now_ = now;
    using How = Ended::How;
    How how = entry == publisher_.servfail()                     ? How::refused
              : kind == Kind::answer && entry && !entry->failure ? How::answered
                                                                 : How::failed;
    if (!has_followers(target, hash)) return;
    cache::EntryPtr copy = how != How::refused && entry ? copy_of(*entry) : nullptr;
    if (entry && !copy) how = How::refused; // no memory for what they should get
    ended_.push_back(
        {target, hash, how, std::move(copy), now, fetches_.last_generation(), root, last_follower_});
    tell_followers();
}

void Aliases::revoke(cache::Generation root) {
    auto at = by_native_root_.lower_bound({root, 0});
    for (; at != by_native_root_.end() && at->first == root; ++at)
        followers_.at(at->second).is_revoked = true;
    for (Ended& ended : ended_) {
        if (ended.root == root || completions_.depends(ended.hash, root)) ended.how = Ended::How::superseded;
    }
}

void Aliases::on_target_superseded(const cache::Key& target, cache::Hash hash) {
    if (!has_followers(target, hash)) return;
    ended_.push_back(
        {target, hash, Ended::How::superseded, nullptr, now_, fetches_.last_generation(), 0, last_follower_});
}

/// Not all at once: whoever owns a zone may lead all names of it to one. What one is told may end others, in
/// turn, who are then told by the loop that is under way.
void Aliases::tell_followers() {
    if (is_telling_) return;
    is_telling_ = true;
    while (!ended_.empty() && told_ < limits::followers_per_tick) {
        const Ended& ended = ended_.front(); // stays where it is when others are added
        if (auto number = follower_of(ended.target, ended.hash, ended.last)) {
            ++told_;
            tell(ended, take(*number));
        } else {
            ended_.pop_front();
            ++ended_gone_;
        }
    }
    is_telling_ = false;
}

void Aliases::tell(const Ended& ended, Follower&& f) {
    using How = Ended::How;
    bool is_void = ended.how == How::superseded || f.is_revoked ||
                   fetches_.is_superseded(f.key, f.since, f.alias) ||
                   fetches_.is_superseded(ended.target, ended.since, ended.entry.get());
    if (is_void) return restart(std::move(f));
    bool is_ours = ended.how == How::refused;
    bool is_stale = ended.how == How::failed && may_derive_stale(f.key, f.hash, f.alias, ended.entry.get());
    bool is_read = ended.how == How::answered || is_stale;
    auto found = is_read ? read_found(ended.target, *ended.entry, ended.at) : std::nullopt;
    std::vector<Waiter> waiters = f.waiters.take();
    if (found) {
        found->root = ended.root;
        if (ended.root > 0) found->latest = ended.at + limits::followed_ttl;
        found->is_stale = is_stale;
        return conclude(f.key, f.hash, f.alias, std::move(*found), waiters, now_);
    }
    if (!is_ours && may_map(f.key, f.hash, f.alias, ended.entry.get())) {
        return follow(f.key, f.hash, mapped_alias(f.key, now_), std::move(waiters), now_);
    }
    fail(f.key, f.hash, f.alias, waiters, is_ours ? publisher_.servfail() : ended.entry.get(), now_);
}

void Aliases::restart(Follower&& follower) {
    on_target_superseded(follower.key, follower.hash);
    if (!follower.waiters.empty()) fetches_.restart(follower.key, follower.hash, follower.waiters.take());
}

bool Aliases::go_on(Sweep& sweep, const Concern& matches, unsigned& steps) {
    for (; steps > 0; --steps) {
        auto next = followers_.upper_bound(sweep.follower);
        if (next == followers_.end() || next->first > sweep.last_follower) break;
        sweep.follower = next->first;
        if (concerns(matches, next->second.key, next->second.alias)) restart(take(next->first));
    }
    for (; steps > 0; --steps) {
        sweep.ended = std::max(sweep.ended, ended_gone_);
        if (sweep.ended >= sweep.last_ended) return false;
        Ended& ended = ended_[sweep.ended++ - ended_gone_];
        if (matches(ended.target, ended.entry.get())) ended.how = Ended::How::superseded;
    }
    return true;
}

void Aliases::tick(Time now) {
    now_ = now;
    told_ = renewed_ = 0;
    tell_followers();
    for (unsigned i = 0; i < limits::timers_per_tick && next_timer() <= now; ++i) {
        Number number = timers_.begin()->second;
        Follower& f = followers_.at(number);
        waiters_.expire(f.waiters, table_.find_usable(f.key, f.hash, now), now);
        file_timer(number, f);
    }
}

void Aliases::close() {
    following_.clear();
    by_target_.clear();
    by_depth_.clear();
    by_native_root_.clear();
    timers_.clear();
    ended_gone_ += ended_.size();
    ended_.clear();
    for (auto& [number, follower] : std::exchange(followers_, {})) {
        waiters_.abandon(follower.waiters.take());
    }
}

bool Aliases::has_followers(const cache::Key& target, cache::Hash hash) const {
    return follower_of(target, hash, last_follower_).has_value();
}

Aliases::Follower* Aliases::find(const cache::Key& key, cache::Hash hash) {
    auto at = following_.find(hash);
    if (at == following_.end()) return nullptr;
    Follower& follower = followers_.at(at->second);
    return follower.key == key ? &follower : nullptr;
}

/// Whether who waits for `from` would wait for `key`.
bool Aliases::leads_to(cache::Key from, const cache::Key& key) {
    for (unsigned steps = 0; steps <= limits::chain; ++steps) {
        if (from == key) return true;
        Follower* next = find(from, table_.hasher()(from));
        if (!next) return false;
        from = next->alias.target;
    }
    return true;
}

/// The first there is, of those up to `last`.
std::optional<Aliases::Number> Aliases::follower_of(const cache::Key& target, cache::Hash hash,
                                                    Number last) const {
    auto at = by_target_.lower_bound({hash, 0});
    for (; at != by_target_.end() && at->first == hash && at->second <= last; ++at) {
        if (followers_.at(at->second).alias.target == target) return at->second;
    }
    return std::nullopt;
}

Aliases::Follower Aliases::take(Number number) {
    auto node = followers_.extract(number);
    Follower& f = node.mapped();
    following_.erase(f.hash);
    by_target_.erase({f.target_hash, number});
    by_depth_.erase({f.target_hash, f.depth, number});
    by_native_root_.erase({f.alias.native_root, number});
    timers_.erase({f.timer, number});
    return std::move(f);
}

} // namespace millrace::control
