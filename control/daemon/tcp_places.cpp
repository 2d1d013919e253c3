#include "control/daemon/tcp_places.hpp"

#include <algorithm>

namespace millrace::control {

namespace {

dataplane::Address host_of(dataplane::Address client) {
    if (!client.is_v4()) std::fill(client.octets.begin() + 8, client.octets.end(), 0);
    return client;
}

} // namespace

/// Changes what a host holds; where it stands among the others, and its prefix among its like, follows.
template <class Change>
void TcpPlaces::change(const Place& place, Change change) {
    Prefix& prefix = prefixes_[place.prefix];
    if (prefix.held > 0) standings_.erase(standing_of(place.prefix, prefix));
    Host& host = prefix.hosts[place.host];
    if (!host.empty()) prefix.standings.erase(standing_of(place.host, host));
    prefix.held -= host.size();
    change(host);
    prefix.held += host.size();
    if (host.empty()) {
        prefix.hosts.erase(place.host);
    } else {
        prefix.standings.insert(standing_of(place.host, host));
    }
    if (prefix.held == 0) {
        prefixes_.erase(place.prefix);
    } else {
        standings_.insert(standing_of(place.prefix, prefix));
    }
}

void TcpPlaces::add(Id id, const dataplane::Address& client, std::uint64_t prefix, const State& state) {
    Place place{host_of(client), prefix, state};
    places_.emplace(id, place);
    ++hosts_[place.host];
    deadlines_.emplace(state.due, id);
    change(place, [&](Host& host) { host.insert(rank_of(id, state)); });
}

void TcpPlaces::set(Id id, const State& state) {
    auto found = places_.find(id);
    if (found == places_.end() || found->second.state == state) return;
    State before = std::exchange(found->second.state, state);
    deadlines_.erase({before.due, id});
    deadlines_.emplace(state.due, id);
    change(found->second, [&](Host& host) {
        host.erase(rank_of(id, before));
        host.insert(rank_of(id, state));
    });
}

void TcpPlaces::remove(Id id) {
    auto found = places_.find(id);
    if (found == places_.end()) return;
    const Place& place = found->second;
    deadlines_.erase({place.state.due, id});
    if (auto held = hosts_.find(place.host); --held->second == 0) hosts_.erase(held);
    change(place, [&](Host& host) { host.erase(rank_of(id, place.state)); });
    places_.erase(found);
}

unsigned TcpPlaces::of_client(const dataplane::Address& client) const {
    auto held = hosts_.find(host_of(client));
    return held == hosts_.end() ? 0 : held->second;
}

/// For one more of somebody who holds so many.
template <class Holder>
std::optional<TcpPlaces::Id> TcpPlaces::first_of(const Standings<Holder>& standings, std::size_t held) {
    if (standings.empty()) return std::nullopt;
    const Standing<Holder>& most = *standings.begin();
    // An idle one loses little. A busy one loses its answer: only for a share that stays the smaller one.
    if (held + (most.first.busy ? 1 : 0) >= most.held) return std::nullopt;
    return most.first.id;
}

std::optional<TcpPlaces::Id> TcpPlaces::gives_way_to(const dataplane::Address& client,
                                                     std::uint64_t prefix) const {
    auto own = prefixes_.find(prefix);
    if (own == prefixes_.end()) return first_of(standings_, 0);
    const Prefix& held = own->second;
    if (auto id = first_of(standings_, held.held)) return id;
    auto host = held.hosts.find(host_of(client));
    return first_of(held.standings, host == held.hosts.end() ? 0 : host->second.size());
}

std::optional<TcpPlaces::Id> TcpPlaces::overdue(Time now) const {
    if (deadlines_.empty() || deadlines_.begin()->first > now) return std::nullopt;
    return deadlines_.begin()->second;
}

} // namespace millrace::control
