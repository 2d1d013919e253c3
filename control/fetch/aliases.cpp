#include "control/fetch/aliases.hpp"

#include <algorithm>
#include <iterator>

#include "cache/dns.hpp"
#include "control/limits.hpp"
#include "control/message/entry_read.hpp"

namespace millrace::control {

using dataplane::LocalNames;

bool Aliases::rules(const cache::Key& key, Time now) const {
    return local_ && (own_alias(local_->get(), key, now) || alias_of(local_->get(), key));
}

bool Aliases::take(const cache::Key& key, cache::Hash hash, std::vector<Waiter>& waiters, Time now) {
    if (!local_) return false;
    if (auto own = own_alias(local_->get(), key, now)) {
        conclude(key, hash, {}, std::move(*own), waiters, 0, now);
        return true;
    }
    auto alias = alias_of(local_->get(), key);
    if (alias) follow(key, hash, *alias, std::move(waiters), now);
    return alias.has_value();
}

bool Aliases::join(const cache::Key& key, cache::Hash hash, const Waiter& waiter, Time now) {
    Follower* follower = find(key, hash);
    if (!follower) return false;
    if (follower->waiters.size() >= limits::waiters_per_fetch) {
        const cache::Entry* stale = table_.find_usable(key, hash, now);
        waiters_.give_stale_or_refuse(waiter, stale, &FetchCounters::refused);
        return true;
    }
    ++counters_.coalesced;
    follower->waiters.push_back(waiter);
    return true;
}

void Aliases::follow(const cache::Key& key, cache::Hash hash, const Alias& alias, std::vector<Waiter> waiters,
                     Time now) {
    const cache::Key& target = alias.target;
    if (target.name.size == 0 || leads_to(target, key) || depth_of(key, hash) >= limits::chain) {
        return fail(key, hash, alias, waiters, nullptr, now);
    }
    cache::Hash target_hash = table_.hasher()(target);
    if (auto answer = known_answer(alias, target_hash, now)) {
        cache::Generation live = fetches_.asked_as(target, target_hash);
        cache::Generation root = live > 0 ? live : completions_.root_of(target_hash);
        return conclude(key, hash, alias, std::move(*answer), waiters, root, now);
    }
    const cache::Entry* entry = table_.find_usable(target, target_hash, now);
    bool has_failed = entry && entry->failure;
    if (has_failed) return fail(key, hash, alias, waiters, entry, now); // RFC 9520: not again so soon
    if (Follower* same = find(key, hash)) {
        std::ranges::move(waiters, std::back_inserter(same->waiters));
        return;
    }
    std::uint64_t account = waiters.empty() ? alias.account : waiters.front().prefix;
    if (!add(key, hash, alias, target_hash, waiters, now)) {
        return fail(key, hash, alias, waiters, publisher_.servfail(), now);
    }
    if (find(target, target_hash) || fetches_.seek_target(target, target_hash, account, now)) return;
    on_target_ended(target, target_hash, publisher_.servfail(), Kind::answer, now);
}

ChainVerdict Aliases::check_chain(const cache::Key& key, Answer& answer) {
    if (!local_) return {};
    ChainVerdict verdict = apply_block_lists(local_->get(), key, answer);
    counters_.chains_blocked += verdict.is_blocked;
    return verdict;
}

/// What is known of the target without asking: a rule's answer, or one in the table that no rule has
/// to do with.
std::optional<Answer> Aliases::known_answer(const Alias& alias, cache::Hash hash, Time now) const {
    const cache::Key& target = alias.target;
    if (auto answer = local_ ? rule_for_target(local_->get(), alias, now) : std::nullopt) return answer;
    const cache::Entry* entry = table_.find_usable(target, hash, now);
    bool usable = entry && now < entry->expiry && !entry->failure && !entry->rewritten &&
                  !(local_ && leads_to_blocked(local_->get(), target.name.bytes(), *entry));
    return usable ? read_entry(target, *entry, now) : std::nullopt;
}

/// Publishes the chain with what its end turned out to be, and wakes; those too who follow this name. `root`:
/// the Fetch at work that may revoke the end, or find another; 0: none.
void Aliases::conclude(const cache::Key& key, cache::Hash hash, const Alias& alias, Answer&& answer,
                       const std::vector<Waiter>& waiters, cache::Generation root, Time now) {
    counters_.aliased += waiters.size();
    const cache::Entry* newer = alias.generation > 0 ? table_.find_usable(key, hash, now) : nullptr;
    if (newer && newer->version.generation > alias.generation) { // asked afresh since, and answered
        waiters_.answer_in_time(waiters, newer, nullptr, now);
        return on_target_ended(key, hash, newer, Kind::answer, now);
    }
    if (!complete(alias, answer)) return fail(key, hash, alias, waiters, nullptr, now);
    Time latest = root > 0 ? now + limits::followed_ttl : Time::max();
    Published published = fetches_.publish_now(key, hash, answer, latest);
    bool is_told = published.entry != publisher_.servfail();
    if (!is_told) return fail(key, hash, alias, waiters, publisher_.servfail(), now);
    cache::Generation generation = published.entry->version.generation;
    waiters_.answer_in_time(waiters, published.entry, &published.hold, now);
    on_target_ended(key, hash, published.entry, Kind::answer, now, root);
    bool may_go = root > 0 && published.verdict == cache::Publication::accepted;
    if (may_go) completions_.note(root, key, hash, generation);
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
        return on_target_ended(key, hash, why, Kind::answer, now);
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
    Published published = fetches_.publish_failure_now(key, hash, said, now);
    waiters_.answer_in_time(waiters, published.entry, &published.hold, now);
    on_target_ended(key, hash, published.entry, Kind::answer, now);
}

/// How many names lead to the key one after the other: a chain that an upstream spells out name by name, each
/// by a Fetch of its own, is as long as any other.
unsigned Aliases::depth_of(const cache::Key& key, cache::Hash hash) const {
    unsigned depth = 0;
    auto [first, last] = followers_.equal_range(hash);
    for (auto at = first; at != last; ++at) {
        if (at->second.alias.target == key) depth = std::max(depth, at->second.depth);
    }
    return depth;
}

/// False: there is no place, and the waiters are where they were.
bool Aliases::add(const cache::Key& key, cache::Hash hash, const Alias& alias, cache::Hash target_hash,
                  std::vector<Waiter>& waiters, Time now) {
    if (followers_.size() >= limits::fetches || !following_.emplace(hash, target_hash).second) return false;
    if (followers_.empty()) patience_due_ = now + limits::follower_sweep;
    followers_.emplace(target_hash, Follower{key, hash, alias, std::move(waiters), depth_of(key, hash) + 1});
    return true;
}

void Aliases::on_target_ended(const cache::Key& target, cache::Hash hash, const cache::Entry* entry,
                              Kind kind, Time now, cache::Generation root) {
    for (Follower& f : take_followers(target, hash)) {
        bool is_answer = kind == Kind::answer && entry && !entry->failure;
        auto answer = is_answer ? read_entry(target, *entry, now) : std::nullopt;
        if (answer) {
            conclude(f.key, f.hash, f.alias, std::move(*answer), f.waiters, root, now);
        } else {
            fail(f.key, f.hash, f.alias, f.waiters, entry, now);
        }
    }
}

void Aliases::on_target_superseded(const cache::Key& target, cache::Hash hash) {
    for (Follower& f : take_followers(target, hash)) {
        on_target_superseded(f.key, f.hash);
        if (!f.waiters.empty()) fetches_.restart(f.key, f.hash, std::move(f.waiters));
    }
}

void Aliases::supersede(const std::function<bool(const cache::Key&)>& matches) {
    std::vector<std::pair<cache::Key, cache::Hash>> hit;
    for (const auto& [hash, f] : followers_) {
        if (matches(f.key)) hit.emplace_back(f.alias.target, hash);
    }
    for (const auto& [target, hash] : hit) on_target_superseded(target, hash);
}

void Aliases::tick(Time now) {
    if (followers_.empty() || now < patience_due_) return;
    patience_due_ = now + limits::follower_sweep;
    for (auto& [hash, f] : followers_) {
        waiters_.expire(f.waiters, table_.find_usable(f.key, f.hash, now), now);
    }
}

void Aliases::close() {
    following_.clear();
    for (const auto& [hash, follower] : std::exchange(followers_, {})) waiters_.abandon(follower.waiters);
}

bool Aliases::has_followers(const cache::Key& target, cache::Hash hash) const {
    auto [first, last] = followers_.equal_range(hash);
    return std::any_of(first, last, [&](const auto& f) { return f.second.alias.target == target; });
}

Aliases::Follower* Aliases::find(const cache::Key& key, cache::Hash hash) {
    auto at = following_.find(hash);
    if (at == following_.end()) return nullptr;
    auto [first, last] = followers_.equal_range(at->second);
    auto found = std::find_if(first, last, [&](const auto& f) { return f.second.key == key; });
    return found == last ? nullptr : &found->second;
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

std::vector<Aliases::Follower> Aliases::take_followers(const cache::Key& target, cache::Hash hash) {
    std::vector<Follower> taken;
    auto [at, last] = followers_.equal_range(hash);
    while (at != last) {
        if (at->second.alias.target == target) {
            following_.erase(at->second.hash);
            taken.push_back(std::move(at->second));
            at = followers_.erase(at);
        } else {
            ++at;
        }
    }
    return taken;
}

} // namespace millrace::control
