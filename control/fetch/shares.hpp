// Who holds how many of the Fetches that are still to be answered, so that whoever holds most gives way when
// room is short.
//
// Basic algorithm (stochastic fairness queueing, McKenney 1990): whoever it is, a client prefix or a zone, is
// hashed into one of a fixed number of buckets, which count their Fetches and know them by age. The hash is
// keyed: nobody can choose to share another's bucket. Everything takes constant time but largest(), which
// looks at every count, and is called only when somebody has to give way.
//
// Control thread only.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <vector>

namespace millrace::control {

class Shares {
  public:
    /// `slots`: how many Fetches there may be.
    explicit Shares(std::uint32_t slots) : places_(slots) {}

    void enter(std::uint32_t slot, std::uint64_t holder); ///< a hash that is keyed
    void leave(std::uint32_t slot);                       ///< ignored when it has left

    /// The oldest and the youngest Fetch of whoever holds most, and how many that are.
    struct Largest {
        std::uint32_t oldest, youngest;
        std::uint32_t count;
    };
    /// None while nobody holds more than one. `holder` is preferred when it holds as many as anybody.
    std::optional<Largest> largest(std::uint64_t holder) const;
    std::uint32_t count_of(std::uint64_t holder) const { return counts_[holder % buckets]; }
    /// The next in age of the same holder's, or of one that shares its bucket.
    std::optional<std::uint32_t> younger(std::uint32_t slot) const { return or_none(places_[slot].younger); }
    std::optional<std::uint32_t> older(std::uint32_t slot) const { return or_none(places_[slot].older); }

  private:
    static constexpr std::uint32_t nobody = 0xffffffff;
    static constexpr std::size_t buckets = 4096;
    /// A Fetch's neighbours in age within its bucket.
    struct Place {
        std::uint32_t older = nobody, younger = nobody;
        std::uint32_t bucket = nobody;
    };
    static std::optional<std::uint32_t> or_none(std::uint32_t slot) {
        return slot == nobody ? std::nullopt : std::optional(slot);
    }
    std::vector<Place> places_;
    std::array<std::uint32_t, buckets> counts_{};
    std::vector<std::uint32_t> oldest_ = std::vector<std::uint32_t>(buckets, nobody);
    std::vector<std::uint32_t> youngest_ = std::vector<std::uint32_t>(buckets, nobody);
};

} // namespace millrace::control
