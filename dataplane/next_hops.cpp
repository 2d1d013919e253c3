#include "dataplane/next_hops.hpp"

#include <algorithm>

#include "cache/keyed_hash.hpp"
#include "cache/wire.hpp"
#include "dataplane/limits.hpp"

namespace millrace::dataplane {

namespace {

constexpr std::uint32_t no_interface = 0xffffffff; // that no port sends by

NextHop with_mac(NextHop tags, const Mac& mac) {
    tags.mac = mac;
    return tags;
}

} // namespace

NextHops::NextHops(const KernelView& kernel, std::span<const std::string> interfaces,
                   std::span<const Address> hosts)
    : routes_(kernel.routes), summaries_(interfaces.size()), fault_(kernel.fault) {
    for (const KernelLink& link : kernel.links) {
        auto ours = std::ranges::find(interfaces, link.name);
        if (ours != interfaces.end()) summaries_[std::size_t(ours - interfaces.begin())].is_there = true;
    }
    Places places = places_of(kernel.links, interfaces);
    add_neighbours(kernel, places);
    add_ways(places);
    add_hosts(hosts);
    look_at_gateways(kernel, places);
}

/// Down from each link to the interface that its frames leave by, and the tags that they get on the way.
auto NextHops::places_of(std::span<const KernelLink> links, std::span<const std::string> interfaces)
    -> Places {
    std::unordered_map<std::uint32_t, const KernelLink*> by_index;
    for (const KernelLink& link : links) by_index.emplace(link.index, &link);
    Places places;
    for (const KernelLink& link : links) {
        const KernelLink* lower = &link;
        auto ours = std::ranges::find(interfaces, link.name);
        std::vector<const KernelLink::Vlan*> tags; // innermost first
        while (ours == interfaces.end() && lower->vlan && tags.size() < limits::vlan_tags) {
            tags.push_back(&*lower->vlan);
            auto found = by_index.find(lower->vlan->lower);
            if (found == by_index.end()) break;
            lower = found->second;
            ours = std::ranges::find(interfaces, lower->name);
        }
        if (ours == interfaces.end()) continue;
        Place place{std::size_t(ours - interfaces.begin()), {}};
        for (auto tag = tags.rbegin(); tag != tags.rend(); ++tag) {
            std::uint8_t* at = place.tags.tags.data() + 4U * place.tags.tag_count++;
            cache::store_u16(at, (*tag)->protocol);
            cache::store_u16(at + 2, (*tag)->id); // priority 0: the query's is of another VLAN
        }
        places.emplace(link.index, place);
    }
    return places;
}

void NextHops::add_neighbours(const KernelView& kernel, const Places& places) {
    for (const KernelNeighbour& one : kernel.neighbours) {
        auto place = places.find(one.interface);
        if (place == places.end()) continue;
        neighbours_.push_back({{one.address, one.interface}, with_mac(place->second.tags, one.mac)});
        ++summaries_[place->second.interface].neighbours;
    }
    std::ranges::sort(neighbours_, {}, &Neighbour::at);
}

void NextHops::add_ways(const Places& places) {
    for (const auto& hops : routes_->ways()) {
        Way way{std::uint32_t(hops_.size()), 0};
        std::uint32_t weights = 0;
        for (const KernelHop& hop : hops) {
            if (way.count == limits::paths) break;
            hops_.push_back(hop_of(hop, places));
            hops_.back().weights = weights += std::max(1U, hop.weight);
            ++way.count;
        }
        ways_.push_back(way);
    }
}

void NextHops::add_hosts(std::span<const Address> hosts) {
    for (const Address& host : hosts) {
        const Way& way = ways_[routes_->way(host)];
        for (const Hop& hop : std::span(hops_).subspan(way.first, way.count)) {
            if (hop.interface == no_interface || hop.is_gateway) continue;
            gateways_.push_back({{host, hop.link}, neighbour(hop.link, host) != nullptr, false});
        }
    }
}

void NextHops::look_at_gateways(const KernelView& kernel, const Places& places) {
    std::ranges::sort(gateways_, {}, &Gateway::at);
    auto is_same = [](const Gateway& a, const Gateway& b) { return a.at == b.at; };
    gateways_.erase(std::unique(gateways_.begin(), gateways_.end(), is_same), gateways_.end());
    for (const KernelNeighbour& one : kernel.neighbours) {
        if (!one.is_confirmed) continue;
        auto found =
            std::ranges::lower_bound(gateways_, KernelPlace{one.address, one.interface}, {}, &Gateway::at);
        if (found != gateways_.end() && found->at == KernelPlace{one.address, one.interface})
            found->is_confirmed = true;
    }
    for (const Gateway& gateway : gateways_) {
        Summary& summary = summaries_[places.at(gateway.at.link).interface];
        ++summary.gateways;
        if (gateway.is_known) continue;
        ++summary.unresolved;
        if (!summary.first_unresolved) summary.first_unresolved = gateway.at.address;
    }
}

auto NextHops::hop_of(const KernelHop& hop, const Places& places) -> Hop {
    auto place = places.find(hop.interface);
    if (place == places.end()) return {no_interface, 0, false, false, 0, {}};
    Hop made{std::uint32_t(place->second.interface), hop.interface, hop.gateway.has_value(), false, 0, {}};
    if (!hop.gateway) return made;
    const NextHop* to = neighbour(hop.interface, *hop.gateway);
    made.is_known = to != nullptr;
    if (to) made.to = *to;
    gateways_.push_back({{*hop.gateway, hop.interface}, made.is_known, false});
    return made;
}

const NextHop* NextHops::find(std::size_t interface, const Address& client) const {
    const Way& way = ways_[routes_->way(client)];
    if (way.count == 0) return nullptr;
    std::uint32_t first = way.count == 1 ? 0 : pick(way, client);
    // Of several hops the next one stands in for one that cannot be used.
    for (std::uint32_t i = 0, at = first; i < way.count; ++i, at = at + 1 == way.count ? 0 : at + 1) {
        const Hop& hop = hops_[way.first + at];
        if (hop.interface != interface) continue;
        if (hop.is_gateway && hop.is_known) return &hop.to;
        if (hop.is_gateway) continue;
        if (const NextHop* to = neighbour(hop.link, client)) return to;
    }
    return nullptr;
}

/// In proportion to the hops' weights, always the same one for a client.
std::uint32_t NextHops::pick(const Way& way, const Address& client) const {
    auto hops = std::span(hops_).subspan(way.first, way.count);
    auto share = std::uint32_t(cache::keyed_hash(client.octets) % hops.back().weights);
    return std::uint32_t(std::ranges::upper_bound(hops, share, {}, &Hop::weights) - hops.begin());
}

const NextHop* NextHops::neighbour(std::uint32_t link, const Address& address) const {
    KernelPlace at{address, link};
    auto found = std::ranges::lower_bound(neighbours_, at, {}, &Neighbour::at);
    return found != neighbours_.end() && found->at == at ? &found->to : nullptr;
}

std::size_t NextHops::bytes() const {
    return sizeof *this + routes_->bytes() + ways_.capacity() * sizeof(Way) + hops_.capacity() * sizeof(Hop) +
           neighbours_.capacity() * sizeof(Neighbour) + gateways_.capacity() * sizeof(Gateway);
}

} // namespace millrace::dataplane
