// Which upstream group a name is asked of: that of the longest suffix that names it or a name above it. One
// immutable object, built by control, read by every front end, replaced whole (dataplane/rules.hpp).
//
// Basic algorithm: a name's labels are hashed from the root leftwards, as many as the longest suffix has, and
// each step is one look into an open-addressed table. Without suffixes nothing is done.
//
// Threads: any, once built; readers on lcores are online for RCU.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "cache/name.hpp"

namespace millrace::dataplane {

class Routes final {
  public:
    struct Route {
        cache::Name suffix;
        std::uint8_t group; ///< Key::group
    };

    Routes() = default;
    /// Of a suffix that is there twice the first counts.
    explicit Routes(std::span<const Route> routes);

    /// For a canonical name and what is asked of it: DS records lie in the zone above (RFC 4035 4.2), so they
    /// are asked where that name is. 0: no suffix names it.
    std::uint8_t group_of(std::span<const std::uint8_t> name, std::uint16_t qtype) const {
        if (suffixes_.empty()) return 0;
        bool is_above = qtype == qtype_ds && name[0] != 0;
        return find(is_above ? name.subspan(1u + name[0]) : name);
    }
    bool is_empty() const { return suffixes_.empty(); }

  private:
    static constexpr std::uint32_t none = 0xffffffff;
    static constexpr std::uint16_t qtype_ds = 43;
    struct Suffix {
        std::uint32_t name; ///< where it begins in names_
        std::uint8_t size, group;
    };
    struct Bucket {
        std::uint32_t tag = 0; ///< the upper half of the hash
        std::uint32_t suffix = none;
    };

    std::uint8_t find(std::span<const std::uint8_t> name) const;
    std::size_t place_of(std::uint64_t hash, std::span<const std::uint8_t> name) const;

    std::vector<std::uint8_t> names_;
    std::vector<Suffix> suffixes_;
    std::vector<Bucket> buckets_; ///< a power of two of them, at most half in use
    unsigned most_labels_ = 0;    ///< of a suffix
    std::uint8_t root_ = 0;       ///< the group of names that no longer suffix names
};

} // namespace millrace::dataplane
