#include "control/daemon/tcp_places.hpp"

#include <algorithm>

namespace millrace::control {

namespace {

dataplane::Address host_of(dataplane::Address client) {
    if (!client.is_v4()) std::fill(client.octets.begin() + 8, client.octets.end(), 0);
    return client;
}

} // namespace

/// Changes what a prefix holds; where it stands among the others follows.
template <class Change>
void TcpPlaces::change(std::uint64_t prefix, Change change) {
    Holding& holding = holdings_[prefix];
    if (!holding.empty()) standings_.erase(standing_of(prefix, holding));
    change(holding);
    if (holding.empty()) {
        holdings_.erase(prefix);
    } else {
        standings_.insert(standing_of(prefix, holding));
    }
}

void TcpPlaces::add(Id id, const dataplane::Address& client, std::uint64_t prefix, const State& state) {
    places_.emplace(id, Place{host_of(client), prefix, state});
    ++hosts_[host_of(client)];
    deadlines_.emplace(state.due, id);
    change(prefix, [&](Holding& holding) { holding.insert(rank_of(id, state)); });
}

void TcpPlaces::set(Id id, const State& state) {
    auto found = places_.find(id);
    if (found == places_.end() || found->second.state == state) return;
    State before = std::exchange(found->second.state, state);
    deadlines_.erase({before.due, id});
    deadlines_.emplace(state.due, id);
    change(found->second.prefix, [&](Holding& holding) {
        holding.erase(rank_of(id, before));
        holding.insert(rank_of(id, state));
    });
}

void TcpPlaces::remove(Id id) {
    auto found = places_.find(id);
    if (found == places_.end()) return;
    const Place& place = found->second;
    deadlines_.erase({place.state.due, id});
    if (auto held = hosts_.find(place.host); --held->second == 0) hosts_.erase(held);
    change(place.prefix, [&](Holding& holding) { holding.erase(rank_of(id, place.state)); });
    places_.erase(found);
}

unsigned TcpPlaces::of_client(const dataplane::Address& client) const {
    auto held = hosts_.find(host_of(client));
    return held == hosts_.end() ? 0 : held->second;
}

std::optional<TcpPlaces::Id> TcpPlaces::gives_way_to(std::uint64_t prefix) const {
    if (standings_.empty()) return std::nullopt;
    const Standing& most = *standings_.begin();
    auto own = holdings_.find(prefix);
    std::size_t held = own == holdings_.end() ? 0 : own->second.size();
    // An idle one loses little. A busy one loses its answer: only for a share that stays the smaller one.
    if (held + (most.first.busy ? 1 : 0) >= most.held) return std::nullopt;
    return most.first.id;
}

std::optional<TcpPlaces::Id> TcpPlaces::overdue(Time now) const {
    if (deadlines_.empty() || deadlines_.begin()->first > now) return std::nullopt;
    return deadlines_.begin()->second;
}

} // namespace millrace::control
