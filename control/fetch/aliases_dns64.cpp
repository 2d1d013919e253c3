// Aliases: questions that DNS64 (RFC 6147) concerns.
#include <algorithm>
#include <utility>

#include "cache/dns.hpp"
#include "control/fetch/aliases.hpp"
#include "control/fetch/dns64.hpp"
#include "control/limits.hpp"

namespace millrace::control {

/// Sees to it that the target is being asked. One that DNS64 concerns has no Fetch, but follows others.
/// False: there is no room.
bool Aliases::is_sought(const cache::Key& target, cache::Hash hash, std::uint64_t account, bool is_spared,
                        Time now) {
    if (find(target, hash)) return true;
    std::vector<Waiter> nobody;
    return translate(target, hash, nobody, now) ||
           fetches_.seek_target(target, hash, account, is_spared, now);
}

/// False: DNS64 has nothing to do with the key, and nothing was done.
bool Aliases::translate(const cache::Key& key, cache::Hash hash, std::vector<Waiter>& waiters, Time now) {
    if (key.dns64() == 0) return false;
    // None: a worker has read the rules as they were before a reload. The answer is that of anybody else.
    const dataplane::Dns64* rule = rules_.access() ? rules_.access()->dns64_rule(key.dns64()) : nullptr;
    bool is_address = key.qtype == LDNS_RR_TYPE_A || key.qtype == LDNS_RR_TYPE_AAAA;
    if (rule && is_address && dataplane::is_ipv4only(key.name)) {
        auto answer = ipv4only_answer(*rule, key, now);
        if (answer) {
            conclude(key, hash, {}, {std::move(*answer)}, waiters, now);
        } else {
            fail(key, hash, {}, waiters, publisher_.servfail(), now);
        }
        return true;
    }
    bool is_reverse = rule && key.qtype == LDNS_RR_TYPE_PTR;
    follow(key, hash, is_reverse ? reverse_alias(*rule, key) : native_alias(key), std::move(waiters), now);
    return true;
}

/// What comes of the answer that was followed. An Alias: A records are followed next. None: `found` is to be
/// published, or of Kind::failure when there is nothing to say.
std::optional<Alias> Aliases::settle(const cache::Key& key, const Alias& alias, Found& found) {
    const dataplane::Dns64* rule = rules_.access() ? rules_.access()->dns64_rule(key.dns64()) : nullptr;
    Answer& answer = found.answer;
    if (alias.dns64 == Alias::Dns64::native) {
        bool is_last = !rule || stands(*rule, key, answer);
        if (!is_last) {
            Alias next = mapped_alias(key, found.answer.received);
            next.is_native_stale = found.is_stale;
            if (!found.is_stale) // else as after a failure
                next.latest = std::min(found.latest, latest_expiry(answer, found.expiry));
            next.native_expiry = found.expiry;
            next.native_root = found.root;
            next.native = std::make_shared<const Answer>(std::move(answer));
            return next;
        }
        found.latest = std::min(found.latest, found.expiry);
        return std::nullopt;
    }
    found.latest = std::min({found.latest, found.expiry, alias.latest});
    found.native_root = alias.native_root;
    if (rule && synthesise(*rule, key, answer)) {
        ++counters_.dns64_synthesised;
        answer.source = found.generation;
        answer.is_rewritten = answer.is_rewritten || (alias.native && alias.native->is_rewritten);
        answer.is_crossed = answer.is_crossed || (alias.native && alias.native->is_crossed);
    } else if (alias.native) {
        answer = *alias.native;
        found.latest = std::min(found.latest, alias.native_expiry); // it is not said once more
        found.is_stale = found.is_stale || alias.is_native_stale;
    } else if (answer.kind != millrace::control::Kind::nxdomain) {
        answer.kind = millrace::control::Kind::failure; // nobody has said that there are no AAAA records
    }
    return std::nullopt;
}

/// Whether A records are followed although the AAAA question has failed (RFC 6147 5.1.2, 5.1.3): not when its
/// answer would be bogus, nor while there is an AAAA answer, if only a stale one. One that was made does not
/// count: it would last for as long as the AAAA question fails.
bool Aliases::may_map(const cache::Key& key, cache::Hash hash, const Alias& alias,
                      const cache::Entry* why) const {
    bool is_bogus = why && dns::ede::is_of_dnssec(why->info);
    const cache::Entry* own = table_.find_usable(key, hash, now_);
    return alias.dns64 == Alias::Dns64::native && !is_bogus && (!own || own->source() > 0);
}

/// Whether the target's stale data answers who waits, as there is none of the key's own.
bool Aliases::may_derive_stale(const cache::Key& key, cache::Hash hash, const Alias& alias,
                               const cache::Entry* entry) const {
    bool is_dns64s = alias.dns64 != Alias::Dns64::none || alias.target.dns64() > 0;
    return is_dns64s && entry && !entry->failure && !table_.find_usable(key, hash, now_);
}

/// The same while the target is not to be asked, as it has just failed (RFC 9520). One that is being asked,
/// as a client was answered stale at once, is followed.
std::optional<Aliases::Found> Aliases::held_stale(const cache::Key& key, cache::Hash hash, const Alias& alias,
                                                  cache::Hash target_hash, Time now) const {
    const cache::Entry* entry = table_.find_usable(alias.target, target_hash, now);
    bool may_use = entry && entry->is_backed_off(now, dataplane::limits::refresh_retry) &&
                   may_derive_stale(key, hash, alias, entry) && !entry->rewritten &&
                   !fetches_.is_forbidden(alias.target, target_hash, *entry) &&
                   !(rules_.local() && leads_to_blocked(*rules_.local(), alias.target.name.bytes(), *entry));
    auto found = may_use ? read_found(alias.target, *entry, now) : std::nullopt;
    if (found) found->is_stale = true;
    return found;
}

} // namespace millrace::control
