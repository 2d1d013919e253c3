// Where replies go at layer 2 on ports with `next-hop: routed`: routes, neighbours and VLAN interfaces of the
// kernel, made into what a frame's header needs. One immutable object, built aside (next_hop_watch.hpp), read
// by lcores, replaced whole (cache/replaceable.hpp).
//
// Basic algorithm: address -> way (KernelRoutes) -> of a route with several hops one, by a hash
// of the address -> what is known of its gateway, or for neighbours a binary search among those
// that the kernel knows.
//
// Threads: any, once built; readers on lcores are online for RCU.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "cache/grace.hpp"
#include "dataplane/frame.hpp"
#include "dataplane/kernel_routes.hpp"

namespace millrace::dataplane {

/// A network interface of the kernel's.
struct KernelLink {
    struct Vlan {
        std::uint32_t lower = 0;    ///< index of the interface that it is a VLAN of
        std::uint16_t protocol = 0; ///< the tag's: 0x8100 or 0x88a8
        std::uint16_t id = 0;

        bool operator==(const Vlan&) const = default;
    };
    std::uint32_t index = 0;
    std::string name;
    std::optional<Vlan> vlan{};

    bool operator==(const KernelLink&) const = default;
};

/// A neighbour whose MAC address the kernel knows.
struct KernelNeighbour {
    std::uint32_t interface = 0;
    Address address;
    Mac mac;
    bool is_confirmed = true; ///< lately, or being confirmed, or for ever; no: it may have another one by now

    bool operator==(const KernelNeighbour&) const = default;
};

/// An address on a link of the kernel's, given by its index: link-local ones are the same on each.
struct KernelPlace {
    Address address;
    std::uint32_t link = 0;

    auto operator<=>(const KernelPlace&) const = default;
};

/// What the kernel has said.
struct KernelView {
    std::vector<KernelLink> links;
    std::vector<KernelNeighbour> neighbours;
    std::shared_ptr<const KernelRoutes> routes = std::make_shared<KernelRoutes>();
    bool is_overfull = false; ///< there are more routes than limits::kernel_routes: none are here
    std::string fault{};      ///< why some of it is missing or old, for the operator; empty: nothing is
};

class NextHops final : public cache::Retired {
  public:
    /// A neighbour that routes lead to, or that is one of the hosts.
    struct Gateway {
        KernelPlace at;
        bool is_known = false;     ///< its MAC address is
        bool is_confirmed = false; ///< as KernelNeighbour::is_confirmed
    };
    /// What there is by one of `interfaces`.
    struct Summary {
        bool is_there = false; ///< the interface
        std::size_t gateways = 0, unresolved = 0, neighbours = 0;
        std::optional<Address> first_unresolved{};
    };

    /// `interfaces` by name: those that ports send by. VLAN interfaces on them, up to limits::vlan_tags one
    /// on the other, are theirs.
    /// `hosts`: that are looked after as gateways are where they are neighbours.
    NextHops(const KernelView& kernel, std::span<const std::string> interfaces,
             std::span<const Address> hosts = {});

    /// For a port that sends by the interface of that place in `interfaces`. Null: there is no route to the
    /// client, it leads elsewhere, or the MAC address of the neighbour is not known.
    const NextHop* find(std::size_t interface, const Address& client) const;

    std::span<const Gateway> gateways() const { return gateways_; }
    const Summary& summary(std::size_t interface) const { return summaries_[interface]; }
    std::size_t routes() const { return routes_->size(); } ///< of the kernel's main table
    const std::string& fault() const { return fault_; }
    std::size_t bytes() const override;

  private:
    /// Which interface of ours a link of the kernel's belongs to, and the tags on it.
    struct Place {
        std::size_t interface = 0;
        NextHop tags; ///< without the MAC address
    };
    using Places = std::unordered_map<std::uint32_t, Place>; ///< by the kernel's index
    struct Hop {
        std::uint32_t interface; ///< of ours,
        std::uint32_t
            link; ///< of the kernel's; the destinations are neighbours on it unless there is a gateway
        bool is_gateway, is_known;
        std::uint32_t weights; ///< its own and those of the way's hops before it
        NextHop to;
    };
    struct Way {
        std::uint32_t first = 0, count = 0; ///< of hops_
    };
    struct Neighbour {
        KernelPlace at;
        NextHop to;
    };

    static Places places_of(std::span<const KernelLink> links, std::span<const std::string> interfaces);
    void add_neighbours(const KernelView& kernel, const Places& places);
    void add_ways(const Places& places);
    void add_hosts(std::span<const Address> hosts);
    void look_at_gateways(const KernelView& kernel, const Places& places);
    Hop hop_of(const KernelHop& hop, const Places& places);
    const NextHop* neighbour(std::uint32_t link, const Address& address) const;
    std::uint32_t pick(const Way& way, const Address& client) const;

    std::shared_ptr<const KernelRoutes> routes_;
    std::vector<Way> ways_; ///< as routes_ numbers them
    std::vector<Hop> hops_;
    std::vector<Neighbour> neighbours_; ///< in rising order
    std::vector<Gateway> gateways_;
    std::vector<Summary> summaries_;
    std::string fault_;
};

} // namespace millrace::dataplane
