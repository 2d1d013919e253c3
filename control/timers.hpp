// When each of a number of places has something to do: a binary heap (Williams, "Heapsort", 1964) that knows
// where each place is in it. Logarithmic time, no allocation once it is made.
//
// Threads: one at a time.
#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <utility>
#include <vector>

#include "cache/time.hpp"

namespace millrace::control {

class Timers {
  public:
    /// For places 0 to `places` - 1, none of which has anything to do.
    explicit Timers(std::size_t places) : position_(places, none) { heap_.reserve(places); }

    /// From now on at `when`; Time::max(): never.
    void set(std::uint32_t place, Time when) {
        std::uint32_t at = position_[place];
        if (when == Time::max()) {
            if (at != none) remove(at);
            return;
        }
        if (at == none) {
            at = std::uint32_t(heap_.size());
            heap_.push_back({});
        }
        settle(at, {when, place});
    }

    /// Who is first, by time and then by place, and when. Time::max(): nobody.
    Time next() const { return heap_.empty() ? Time::max() : heap_.front().when; }
    std::uint32_t first() const { return heap_.front().place; } ///< if there is one

  private:
    struct Item {
        Time when{};
        std::uint32_t place = 0;
        auto operator<=>(const Item&) const = default;
    };
    static constexpr std::uint32_t none = std::numeric_limits<std::uint32_t>::max();

    void remove(std::uint32_t at) {
        position_[heap_[at].place] = none;
        Item last = heap_.back();
        heap_.pop_back();
        if (at < heap_.size()) settle(at, last);
    }

    /// Puts it where the heap's order wants it, `at` being free.
    void settle(std::uint32_t at, const Item& item) {
        for (std::uint32_t parent; at > 0 && item < heap_[parent = (at - 1) / 2]; at = parent)
            put(at, heap_[parent]);
        for (std::uint32_t child; (child = 2 * at + 1) < heap_.size(); at = child) {
            if (child + 1 < heap_.size() && heap_[child + 1] < heap_[child]) ++child;
            if (item <= heap_[child]) break;
            put(at, heap_[child]);
        }
        put(at, item);
    }
    void put(std::uint32_t at, const Item& item) {
        heap_[at] = item;
        position_[item.place] = at;
    }

    std::vector<Item> heap_;
    std::vector<std::uint32_t> position_; ///< of each place in the heap
};

} // namespace millrace::control
