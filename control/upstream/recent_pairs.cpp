#include "control/upstream/recent_pairs.hpp"

#include <algorithm>

#define XXH_INLINE_ALL
#include <xxhash.h>

namespace millrace::control {

RecentPairs::RecentPairs(std::uint64_t seed)
    : seed_(seed), current_((std::size_t(1) << bits_log2) / 64), previous_(current_.size()) {}

bool RecentPairs::use(std::span<const std::uint8_t> question, const dataplane::Endpoint& upstream,
                      std::uint16_t port, std::uint16_t id, Time now) {
    turn(now);
    std::uint64_t rest = std::uint64_t(upstream.port) << 32 | std::uint64_t(port) << 16 | id;
    const auto& address = upstream.address.octets;
    std::uint64_t seed = XXH3_64bits_withSeed(question.data(), question.size(), seed_);
    seed = XXH3_64bits_withSeed(address.data(), address.size(), seed);
    auto hash = XXH3_128bits_withSeed(&rest, sizeof rest, seed);
    // The bits of a pair lie in one cache line (blocked Bloom filter: Putze, Sanders, Singler 2007).
    constexpr std::uint32_t line_bits = 512, mask = (1u << bits_log2) - line_bits;
    auto line = std::uint32_t(hash.low64) & mask;
    Bits bits;
    for (unsigned i = 0; i < probes; ++i) bits[i] = line | (hash.high64 >> 9 * i & (line_bits - 1));
    if (holds(current_, bits) || holds(previous_, bits)) return false;
    for (std::uint32_t bit : bits) current_[bit / 64] |= std::uint64_t(1) << bit % 64;
    return true;
}

/// What was noted since `turned_` stays for one more span; what is older goes.
void RecentPairs::turn(Time now) {
    if (now - turned_ < span) return;
    bool idle = now - turned_ >= 2 * span;
    std::swap(current_, previous_);
    std::ranges::fill(current_, 0);
    if (idle) std::ranges::fill(previous_, 0);
    turned_ = now;
}

bool RecentPairs::holds(const Filter& filter, const Bits& bits) {
    return std::ranges::all_of(bits, [&](std::uint32_t bit) { return filter[bit / 64] >> bit % 64 & 1; });
}

} // namespace millrace::control
