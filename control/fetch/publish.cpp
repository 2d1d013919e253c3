#include "control/fetch/publish.hpp"

#include <algorithm>
#include <new>

#include "cache/dns.hpp"
#include "control/limits.hpp"
#include "dataplane/query.hpp"

namespace millrace::control {

namespace {

/// A merged answer must fit a UDP reply to every client with EDNS: else one upstream's whole reply is better.
bool fits_udp(const cache::Key& key, const cache::Entry& entry) {
    std::size_t size = dns::header_octets + key.name.size + 4 + entry.records_size + dns::opt_octets;
    return size <= dataplane::limits::edns_octets;
}

} // namespace

Publisher::Publisher(cache::Table& table, cache::Grace& grace, const TtlPolicy& policy)
    : table_(table), reserve_(grace, table.limits().bytes / 64),
      servfail_(build_failure({}, Time{}, Time{}, dns::ede::other)),
      limited_(build_failure({}, Time{}, Time{}, {dns::ede::other, "over a limit of new questions"})) {
    policies_.fill(policy);
    if (!servfail_ || !limited_) throw std::bad_alloc();
}

cache::EntryPtr Publisher::build(const cache::Key& key, const Answer& answer, cache::Version version,
                                 Time latest_expiry) const try {
    std::optional<Time> latest;
    if (latest_expiry != Time::max()) latest = latest_expiry;
    return build_entry(key, answer, version, policies_[key.group], latest);
} catch (const std::bad_alloc&) {
    return nullptr;
}

Published Publisher::publish(const cache::Key& key, cache::Hash hash, cache::EntryPtr entry) {
    if (!entry) {
        ++counters_.full;
        return {cache::Publication::full, servfail()};
    }
    bool storable = entry->expiry > entry->born;
    cache::Version version = entry->version;
    if (version.revision > 0) {
        const cache::Entry* before = table_.find(key, hash);
        bool grew = !before || entry->records_size > before->records_size;
        if (!storable || (grew && !fits_udp(key, *entry))) return {cache::Publication::full, servfail()};
    }
    if (!storable) return keep_private(key, hash, cache::Publication::full, std::move(entry));
    Published published = place(key, hash, std::move(entry));
    counters_.merged += version.revision == 1 && published.verdict == cache::Publication::accepted;
    return published;
}

cache::Reserve::Hold Publisher::make_private(const cache::Key& key, const Answer& answer,
                                             cache::Version version, Time latest_expiry) {
    cache::EntryPtr entry = build(key, answer, version, latest_expiry);
    return entry ? reserve_.hold(entry) : cache::Reserve::Hold();
}

Published Publisher::publish_failure(const cache::Key& key, cache::Hash hash, cache::Version version,
                                     Time now, const std::optional<ExtendedError>& said, std::uint16_t info,
                                     bool is_crossed) {
    const cache::Entry* before = table_.find(key, hash);
    // The failure before this one, while it was not followed by an answer, says how long it was held; one of
    // long ago says nothing.
    Time held_for = before && before->failure ? before->expiry - before->born : Time{};
    bool goes_on = held_for > Time{} && now < before->expiry + held_for + limits::failure_memory;
    bool revokes = version.revision > 0; // then the next question is not to be won by the same server at once
    Time shortest = revokes ? limits::revoked_ttl : limits::failure_min;
    Time life = std::clamp<Time>(goes_on ? 2 * held_for : Time{}, shortest, limits::failure_max);
    cache::EntryPtr cached = build_failure(version, now, now + life,
                                           said.value_or(ExtendedError(dns::ede::cached_error)), is_crossed);
    cache::EntryPtr told = build_failure(version, now, now + life, ExtendedError(info));
    if (!cached || !told) return {cache::Publication::full, servfail()};
    Published published = place(key, hash, std::move(cached));
    counters_.failures += published.verdict == cache::Publication::accepted;
    if (said) return published;
    cache::Reserve::Hold hold = reserve_.hold(told);
    if (!hold) return published;
    const cache::Entry* held = hold.entry();
    return {published.verdict, held, std::move(hold)};
}

Published Publisher::place(const cache::Key& key, cache::Hash hash, cache::EntryPtr entry) {
    const cache::Entry* raw = entry.get();
    cache::Publication verdict = table_.publish(key, hash, entry);
    switch (verdict) {
    case cache::Publication::accepted: ++counters_.published; return {verdict, raw};
    case cache::Publication::superseded: ++counters_.superseded; break;
    case cache::Publication::full: ++counters_.full; break;
    }
    return keep_private(key, hash, verdict, std::move(entry));
}

/// For those who wait now, in no Slot; without room for that, SERVFAIL. What an older generation left in the
/// Slot ends all the same when clients are told something newer: it must not come back as stale data.
Published Publisher::keep_private(const cache::Key& key, cache::Hash hash, cache::Publication verdict,
                                  cache::EntryPtr entry) {
    const cache::Entry* before = table_.find(key, hash);
    bool is_older = before && before->version.generation < entry->version.generation;
    bool is_failure = entry->failure;
    cache::Reserve::Hold hold = reserve_.hold(entry);
    if (is_older && (hold || is_failure)) table_.withdraw(key, hash);
    if (!hold) return {verdict, servfail()};
    const cache::Entry* held = hold.entry();
    return {verdict, held, std::move(hold)};
}

} // namespace millrace::control
