// What the kernel has in its main routing table: which way packets to an address go, whatever interface that
// leads over. Built once from a dump (netlink.hpp), then immutable.
//
// Basic algorithm: prefixes nest or are disjoint, so they cut the addresses of a family into ranges, each
// with the way of the longest prefix that covers it. A lookup is one binary search, about 20 steps of four
// octets for a full table of the Internet.
//
// Threads: whoever builds it; any, once seal() was called.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <vector>

#include "dataplane/address.hpp"

namespace millrace::dataplane {

/// One next hop of a route: a neighbour, or none, when the destinations are neighbours themselves.
struct KernelHop {
    std::uint32_t interface = 0; ///< the kernel's index
    std::optional<Address> gateway{};
    std::uint32_t weight = 1; ///< its share among those of a route (RTA_MULTIPATH)

    auto operator<=>(const KernelHop&) const = default;
};

/// Values by ranges of keys, of integers.
template <class Key>
class KeyRanges {
  public:
    /// All keys that have the first `length` bits of `first`.
    struct Prefix {
        Key first;
        std::uint32_t length;
        std::uint32_t priority; ///< of those with the same keys the lowest counts, then the one given first
        std::uint32_t value;
    };

    KeyRanges() = default;
    /// Where no prefix is, the value is 0.
    explicit KeyRanges(std::vector<Prefix> prefixes);

    std::uint32_t find(Key key) const;
    std::size_t bytes() const {
        return starts_.capacity() * sizeof(Key) + values_.capacity() * sizeof(std::uint32_t);
    }
    bool operator==(const KeyRanges&) const = default;

  private:
    void begin(Key start, std::uint32_t value);

    std::vector<Key> starts_{0}; ///< rising, the first is 0
    std::vector<std::uint32_t> values_{0};
};

class KernelRoutes {
  public:
    KernelRoutes() = default;

    /// Without hops: what goes there goes nowhere, whatever shorter prefixes say (blackhole, unreachable).
    void add(const Prefix& to, std::uint32_t priority, std::vector<KernelHop> hops);
    /// Nothing is added any more.
    void seal();

    std::size_t size() const { return size_; } ///< routes added
    /// Empty: there is no way.
    std::span<const KernelHop> hops(const Address& to) const { return ways_[way(to)]; }
    /// The same as an index of ways().
    std::uint32_t way(const Address& to) const;
    std::span<const std::vector<KernelHop>> ways() const { return ways_; } ///< each once, the first is empty
    std::size_t bytes() const { return sizeof *this + v4_.bytes() + v6_.bytes(); }
    /// Once sealed.
    bool operator==(const KernelRoutes&) const = default;

  private:
    using V6 = __uint128_t;
    /// Until it is sealed.
    struct Draft {
        std::vector<KeyRanges<std::uint32_t>::Prefix> v4;
        std::vector<KeyRanges<V6>::Prefix> v6;
        std::map<std::vector<KernelHop>, std::uint32_t> ways;
        bool operator==(const Draft&) const { return true; }
    };

    Draft draft_;
    KeyRanges<std::uint32_t> v4_;
    KeyRanges<V6> v6_;
    std::vector<std::vector<KernelHop>> ways_{{}};
    std::size_t size_ = 0;
};

} // namespace millrace::dataplane
