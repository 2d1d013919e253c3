// FetchTable: questions that start no Fetch, for a limit of the operator's or because nothing can be there.
#include "cache/dns.hpp"
#include "control/fetch/table.hpp"
#include "control/limits.hpp"
#include "control/message/entry_read.hpp"

namespace millrace::control {

/// Within the limits (CacheFlush, NXNS, random names). Successors that a flush or a reload forces do not come
/// this way. What a rule leads elsewhere or answers is in no zone of an upstream's.
std::optional<ZoneCuts::Charge> FetchTable::may_start(const cache::Key& key, cache::Hash hash,
                                                      const Waiter& waiter, Time now) {
    bool has_zones = access_ && access_->limits().fetches_per_zone > 0;
    bool is_spared = has_zones && (is_known(key, hash, now) || aliases_.rules(key, now));
    return caps_.admit(key, hash, waiter, is_spared, now);
}

/// Whether something was found for it, if only stale: such names come before those that nobody knows.
bool FetchTable::is_known(const cache::Key& key, cache::Hash hash, Time now) const {
    const cache::Entry* entry = table_.find_usable(key, hash, now);
    return entry && !entry->failure && entry->rcode == unsigned(dns::Rcode::noerror) && entry->answers > 0;
}

/// What a Fetch's first answer says of the zone, and of names below its own.
void FetchTable::learn(const FetchSlot& slot, const Answer& answer) {
    if (answer.is_rewritten) return;
    const cache::Key& key = slot.fetch->key();
    caps_.learn(key, answer, slot.charge, now_);
    // The Entry decides whether it counts: it may be another's by then.
    bool may_count = answer.is_bare_denial() && answer.authentic;
    if (policies_[key.group].harden_below_nxdomain && may_count) denials_.note(key);
}

/// An NXDOMAIN that a validator has vouched for: a name that is signed, and not merely unsigned (opt-out,
/// RFC 5155 9.2).
const cache::Entry* FetchTable::find_denial(const cache::Key& above, Time now) const {
    cache::Hash hash = table_.hasher()(above);
    const cache::Entry* entry = table_.find_usable(above, hash, now);
    bool denies = entry && now < entry->expiry && entry->rcode == unsigned(dns::Rcode::nxdomain) &&
                  entry->authentic && !entry->chained && !entry->rewritten && !entry->failure;
    return denies && !is_forbidden(above, hash, *entry) ? entry : nullptr;
}

/// Nothing is below a name that does not exist (RFC 8020 2). The denial of the name above is published under
/// this one for the rest of its life; its proof holds for both: no name lies between them (RFC 4034 6.1), and
/// the closest encloser is the same.
bool FetchTable::answer_from_denial(const cache::Key& key, cache::Hash hash, const Waiter& waiter, Time now) {
    if (!policies_[key.group].harden_below_nxdomain || is_held()) return false;
    auto above = denials_.above(key);
    const cache::Entry* denial = above ? find_denial(*above, now) : nullptr;
    if (!denial || aliases_.rules(key, now)) return false;
    auto answer = read_entry(*above, *denial, now);
    if (!answer || !answer->is_bare_denial()) return false;
    answer->authentic = answer->is_trusted = true; // as the Entry says; a reply without DO does not
    // A validator that is still at work may revoke it.
    cache::Hash hash_above = table_.hasher()(*above);
    cache::Generation live = asked_as(*above, hash_above);
    cache::Generation root = live > 0 ? live : completions_.root_of(hash_above);
    Time latest = root > 0 ? std::min(denial->expiry, now + limits::followed_ttl) : denial->expiry;
    Published published = publish_now(key, hash, *answer, latest);
    if (published.entry == publisher_.servfail()) return false;
    if (root > 0) completions_.note(root, key, hash, published.entry->version.generation);
    ++counters_.below_denied;
    waiters_.answer_in_time({&waiter, 1}, published.entry, &published.hold, now);
    return true;
}

} // namespace millrace::control
