// FetchTable: questions that start no Fetch, for a limit of the operator's or because nothing can be there.
#include <algorithm>
#include <array>

#include "cache/dns.hpp"
#include "control/fetch/table.hpp"
#include "control/limits.hpp"
#include "control/message/entry_read.hpp"

namespace millrace::control {

/// Within the limits (CacheFlush, NXNS, random names). Successors that a flush or a reload forces do not come
/// this way. What a rule leads elsewhere or answers is in no zone of an upstream's.
std::optional<ZoneCuts::Charge> FetchTable::may_start(const cache::Key& key, cache::Hash hash,
                                                      const Waiter& waiter, Time now) {
    bool has_zones = rules_.access() && rules_.access()->limits().fetches_per_zone > 0;
    return caps_.admit(key, hash, waiter, has_zones && is_spared(key, hash, now), now);
}

bool FetchTable::is_spared(const cache::Key& key, cache::Hash hash, Time now) const {
    return is_known(key, hash, now) || aliases_.rules(key, now);
}

/// Such names come before those that nobody knows. One that has an address exists, whatever else it is asked
/// for: browsers ask for A, AAAA and HTTPS records, and DNS64 for AAAA records first (RFC 6147 5.1).
bool FetchTable::is_known(const cache::Key& key, cache::Hash hash, Time now) const {
    auto is_found = [&, this](const cache::Key& one, cache::Hash hash_of_it) {
        const cache::Entry* entry = table_.find_usable(one, hash_of_it, now);
        return entry && !entry->failure && entry->rcode == unsigned(dns::Rcode::noerror) &&
               entry->answers > 0;
    };
    if (is_found(key, hash)) return true;
    if (key.dns64() > 0) return false;
    constexpr std::array<std::uint16_t, 2> types{LDNS_RR_TYPE_A, LDNS_RR_TYPE_AAAA};
    return std::ranges::any_of(types, [&, this](std::uint16_t type) {
        cache::Key sibling = key;
        sibling.qtype = type;
        return type != key.qtype && is_found(sibling, table_.hasher()(sibling));
    });
}

/// What a Fetch's first answer says of the zone, and of names below its own.
void FetchTable::learn(const FetchSlot& slot, const Answer& answer) {
    if (answer.is_rewritten) return;
    const cache::Key& key = slot.fetch->key();
    // That a name which is there has no record of one type is no miss.
    bool is_there = answer.kind == Kind::nodata && is_known(key, slot.sides.front().hash, now_);
    if (is_there) caps_.refund(slot.charge);
    caps_.learn(key, answer, is_there ? ZoneCuts::Charge{.is_spared = true} : slot.charge, now_);
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

/// Nothing is below a name that does not exist (RFC 8020 2). The denial of the name above answers this one
/// for the rest of its life; its proof holds for both: no name lies between them (RFC 4034 6.1), and the
/// closest encloser is the same. Nothing is stored: no limit bounds how many such names a client may ask for,
/// and a flush of the name above reaches all of them.
FetchTable::Denied FetchTable::denied_from_above(const cache::Key& key, Time now) {
    if (!policies_[key.group].harden_below_nxdomain || is_held()) return {};
    auto above = denials_.above(key);
    const cache::Entry* denial = above ? find_denial(*above, now) : nullptr;
    if (!denial || aliases_.rules(key, now)) return {};
    auto answer = read_entry(*above, *denial, now);
    if (!answer || !answer->is_bare_denial()) return {};
    bool wants_proof = key.flavour & cache::dnssec_ok;
    if (wants_proof && answer->proofs.empty()) return {};
    answer->authentic = answer->is_trusted = true; // as the Entry says; a reply without DO does not
    // While it is asked afresh, a validator may revoke it.
    cache::Generation root = asked_as(*above, table_.hasher()(*above));
    Time latest = root > 0 ? std::min(denial->expiry, now + limits::followed_ttl) : denial->expiry;
    return {publisher_.make_private(key, *answer, denial->version, latest), root};
}

bool FetchTable::answer_from_denial(const cache::Key& key, const Waiter& waiter, Time now) {
    Denied denied = denied_from_above(key, now);
    if (!denied.hold) return false;
    ++counters_.below_denied;
    waiters_.answer_in_time({&waiter, 1}, denied.hold.entry(), &denied.hold, now);
    return true;
}

} // namespace millrace::control
