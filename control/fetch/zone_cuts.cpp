#include "control/fetch/zone_cuts.hpp"

#include <algorithm>
#include <chrono>
#include <utility>

#include "cache/keyed_hash.hpp"
#include "control/limits.hpp"

namespace millrace::control {

namespace {

constexpr std::int64_t second = 1'000'000'000;

std::int64_t nanoseconds(Time time) {
    return std::chrono::nanoseconds(time).count();
}

} // namespace

ZoneCuts::Admission ZoneCuts::admit(const cache::Key& key, unsigned rate, Time now) {
    auto [place, at, below] = deepest(key);
    if (!place) return {};
    place->ask(now);
    Nanoseconds cost = second / rate, start = std::max(place->full, nanoseconds(now));
    if (start + cost > nanoseconds(now) + second) return {.is_over = true, .cut_at = at};
    if (!place->denies) return {};
    place->full = start + cost;
    return {.charge = {.cut = place->hash}};
}

void ZoneCuts::learn(const cache::Key& key, const Answer& answer, const Charge& charge, unsigned rate,
                     Time now) {
    bool is_denied = answer.kind == Kind::nxdomain || answer.kind == Kind::nodata;
    // A DNAME makes a chain for every name below it (RFC 6672): what leads to nothing is no name that exists.
    bool leads_nowhere = answer.kind == Kind::nxdomain && !answer.chain.empty();
    bool exists = answer.kind == Kind::positive || (!answer.chain.empty() && !leads_nowhere);
    if (exists) return learn_existence(key, charge, rate, now);
    if (leads_nowhere) { // and the SOA is another zone's
        Place* place = deepest(key).place;
        if (place) deny(*place, charge, rate, now);
        return;
    }
    if (is_denied && !answer.authority.empty()) learn_denial(key, answer, charge, rate, now);
}

void ZoneCuts::touch(const cache::Key& key, Time now) {
    if (Place* place = deepest(key).place) place->ask(now);
}

void ZoneCuts::learn_denial(const cache::Key& key, const Answer& answer, const Charge& charge, unsigned rate,
                            Time now) {
    auto name = key.name.bytes();
    const ldns_rdf* owner = ldns_rr_owner(answer.authority.front().get());
    std::span<const std::uint8_t> zone(ldns_rdf_data(owner), ldns_rdf_size(owner));
    std::size_t least = answer.kind == Kind::nxdomain ? 1 : 0; // what does not exist is no zone
    if (!cache::is_at_or_below(name, zone) || name.size() - zone.size() < least) return;
    std::size_t cut = name.size() - zone.size();
    for (std::size_t at = 1u + name[0]; at < cut; at += 1u + name[at]) {
        if (Place* between = find(hash_of(name.subspan(at), key.group))) *between = {};
    }
    Place& place = add(hash_of(zone, key.group), now);
    deny(place, charge, rate, now);
    if (answer.kind == Kind::nodata && !charge.is_spared) note_lack(hash_of(name, key.group), place.hash);
}

void ZoneCuts::deny(Place& place, const Charge& charge, unsigned rate, Time now) {
    place.has_denied = true;
    if (charge.is_spared) return;
    place.denies = true;
    if (charge.cut == place.hash) return;
    refund(charge, rate);
    Nanoseconds start = std::max(place.full, nanoseconds(now));
    place.full = std::min(start + second / rate, nanoseconds(now + limits::zone_debt));
}

void ZoneCuts::learn_existence(const cache::Key& key, const Charge& charge, unsigned rate, Time now) {
    refund(charge, rate);
    refund_lack(hash_of(key.name.bytes(), key.group), rate);
    auto [place, at, below] = deepest(key);
    if (!place) return;
    if (at == 0) return; // the zone's own name exists in any case
    if (place->full <= nanoseconds(now)) place->denies = false;
    if (place->has_denied) add(hash_of(key.name.bytes().subspan(below), key.group), now);
}

void ZoneCuts::refund(const Charge& charge, unsigned rate) {
    Place* place = charge.cut ? find(charge.cut) : nullptr;
    if (place) place->full -= second / rate;
}

void ZoneCuts::note_lack(std::uint64_t name, std::uint64_t cut) {
    if (lacks_.empty()) lacks_.resize(limits::zone_cuts / 16);
    Lack& lack = lacks_[name % lacks_.size()];
    if (lack.name != name || lack.cut != cut) lack = {.name = name, .cut = cut};
    ++lack.count;
}

void ZoneCuts::refund_lack(std::uint64_t name, unsigned rate) {
    if (lacks_.empty()) return;
    Lack& lack = lacks_[name % lacks_.size()];
    if (lack.name != name) return;
    Place* place = find(lack.cut);
    if (place) place->full = std::max<Nanoseconds>(place->full - lack.count * (second / rate), 0);
    lack = {};
}

bool ZoneCuts::has(std::span<const std::uint8_t> name, unsigned group) const {
    return const_cast<ZoneCuts*>(this)->find(hash_of(name, group)) != nullptr;
}

std::uint64_t ZoneCuts::hash_of(std::span<const std::uint8_t> name, unsigned group) {
    return std::max<std::uint64_t>(cache::keyed_hash(name, group), 1);
}

ZoneCuts::Place* ZoneCuts::find(std::uint64_t hash) {
    if (places_.empty()) return nullptr;
    auto set = std::span(places_).subspan(hash % (places_.size() / ways) * ways, ways);
    auto at = std::ranges::find(set, hash, &Place::hash);
    return at == set.end() ? nullptr : &*at;
}

ZoneCuts::Found ZoneCuts::deepest(const cache::Key& key) {
    if (places_.empty()) return {};
    auto name = key.name.bytes();
    for (std::size_t at = 0, above = 0;; above = at, at += 1u + name[at]) {
        Place* place = find(hash_of(name.subspan(at), key.group));
        if (place) return {place, at, above};
        if (name[at] == 0) return {};
    }
}

ZoneCuts::Place& ZoneCuts::add(std::uint64_t hash, Time now) {
    if (places_.empty()) places_.resize(limits::zone_cuts);
    auto set = std::span(places_).subspan(hash % (places_.size() / ways) * ways, ways);
    auto at = std::ranges::find(set, hash, &Place::hash);
    if (at == set.end()) at = std::ranges::find(set, 0u, &Place::hash);
    if (at == set.end()) {
        at = std::ranges::min_element(set, {},
                                      [](const Place& p) { return std::pair(p.is_asked_again, p.asked); });
    }
    if (at->hash == hash) {
        at->ask(now);
    } else {
        *at = {.hash = hash, .asked = now};
    }
    return *at;
}

} // namespace millrace::control
