#include "control/fetch/shares.hpp"

#include <algorithm>
#include <cassert>

namespace millrace::control {

void Shares::enter(std::uint32_t slot, std::uint64_t holder) {
    Place& place = places_[slot];
    assert(place.bucket == nobody);
    place.bucket = std::uint32_t(holder % buckets);
    place.older = youngest_[place.bucket];
    place.younger = nobody;
    (place.older == nobody ? oldest_[place.bucket] : places_[place.older].younger) = slot;
    youngest_[place.bucket] = slot;
    ++counts_[place.bucket];
}

void Shares::leave(std::uint32_t slot) {
    Place& place = places_[slot];
    if (place.bucket == nobody) return;
    (place.older == nobody ? oldest_[place.bucket] : places_[place.older].younger) = place.younger;
    (place.younger == nobody ? youngest_[place.bucket] : places_[place.younger].older) = place.older;
    --counts_[place.bucket];
    place = {};
}

std::optional<Shares::Largest> Shares::largest(std::uint64_t holder) const {
    auto most = std::size_t(std::ranges::max_element(counts_) - counts_.begin());
    std::size_t own = holder % buckets;
    if (counts_[own] == counts_[most]) most = own;
    if (counts_[most] < 2) return std::nullopt;
    return Largest{oldest_[most], youngest_[most], counts_[most]};
}

} // namespace millrace::control
