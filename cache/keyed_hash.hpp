// A hash for tables whose keys are chosen by others: names, labels, addresses.
//
// Keyed with a secret drawn at start, so that nobody outside can aim at a bucket. One multiplication for
// eight octets, and nothing is allocated: it may be used on lcores. The cache's own is Hasher (key.hpp),
// which runs that have to repeat themselves can seed. Threads: any.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <span>

namespace millrace::cache {

struct HashSecret {
    std::uint64_t added, multiplier;
};
inline const HashSecret hash_secret = [] {
    HashSecret secret;
    arc4random_buf(&secret, sizeof secret);
    secret.multiplier |= 1;
    return secret;
}();

/// One word more behind what `hash` covers. Start with 0.
inline std::uint64_t keyed_mix(std::uint64_t hash, std::uint64_t word) {
    auto product = __uint128_t(hash ^ word ^ hash_secret.added) * hash_secret.multiplier;
    return std::uint64_t(product) ^ std::uint64_t(product >> 64);
}

/// Octets behind what `hash` covers, and how many they are.
inline std::uint64_t keyed_hash(std::span<const std::uint8_t> octets, std::uint64_t hash = 0) {
    hash = keyed_mix(hash, octets.size());
    for (; octets.size() >= 8; octets = octets.subspan(8)) {
        std::uint64_t word;
        std::memcpy(&word, octets.data(), sizeof word);
        hash = keyed_mix(hash, word);
    }
    if (octets.empty()) return hash;
    std::uint64_t word = 0;
    std::memcpy(&word, octets.data(), octets.size());
    return keyed_mix(hash, word);
}

} // namespace millrace::cache
