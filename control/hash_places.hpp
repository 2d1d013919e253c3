// Which of a number of places a hash leads to: chains through arrays (Knuth, "Sorting and Searching", 6.4).
// Constant time, no allocation once it is made. Where others choose what is hashed, hashes have to be keyed.
//
// Threads: one at a time.
#pragma once

#include <bit>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <vector>

namespace millrace::control {

class HashPlaces {
  public:
    /// For places 0 to `places` - 1, to none of which a hash leads.
    explicit HashPlaces(std::size_t places) : heads_(std::bit_ceil(places), none), links_(places) {}

    /// To a place that none leads to.
    void add(std::uint64_t hash, std::uint32_t place) {
        assert(!links_[place].is_in);
        std::uint32_t& head = heads_[hash & (heads_.size() - 1)];
        links_[place] = {hash, head, true};
        head = place;
        ++size_;
    }
    /// Ignored when none leads there.
    void remove(std::uint32_t place) {
        Link& link = links_[place];
        if (!link.is_in) return;
        std::uint32_t* at = &heads_[link.hash & (heads_.size() - 1)];
        while (*at != place) at = &links_[*at].next;
        *at = link.next;
        link.is_in = false;
        --size_;
    }
    /// A place that the hash leads to and that `fits`, or none.
    template <class Fits>
    std::optional<std::uint32_t> find(std::uint64_t hash, const Fits& fits) const {
        for (std::uint32_t at = heads_[hash & (heads_.size() - 1)]; at != none; at = links_[at].next) {
            if (links_[at].hash == hash && fits(at)) return at;
        }
        return std::nullopt;
    }
    bool contains(std::uint64_t hash) const {
        return find(hash, [](std::uint32_t) { return true; }).has_value();
    }
    std::size_t size() const { return size_; }

  private:
    static constexpr std::uint32_t none = std::numeric_limits<std::uint32_t>::max();
    struct Link {
        std::uint64_t hash = 0;
        std::uint32_t next = none;
        bool is_in = false;
    };

    std::vector<std::uint32_t> heads_;
    std::vector<Link> links_; ///< by place
    std::size_t size_ = 0;
};

} // namespace millrace::control
