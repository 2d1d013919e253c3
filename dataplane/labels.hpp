// The labels of a canonical name, and a keyed hash that grows by one label at a time, from the root on: one
// pass over a name's octets finds all that it lies below.
//
// Threads: pure.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <span>

#include "cache/keyed_hash.hpp"

namespace millrace::dataplane {

/// Where the labels of a name begin, the root's not among them.
struct Labels {
    static constexpr std::size_t most = 128; ///< a name of 255 octets has at most 127, and the root

    explicit Labels(std::span<const std::uint8_t> name) {
        for (std::size_t at = 0; at < name.size() && name[at] != 0; at += 1u + name[at]) {
            starts[count++] = std::uint8_t(at);
        }
    }
    std::array<std::uint8_t, most> starts;
    unsigned count = 0;
};

template <class Word>
std::uint64_t load(const std::uint8_t* at) {
    Word word;
    std::memcpy(&word, at, sizeof word);
    return word;
}

/// One to seven octets: two overlapping words hold them all.
inline std::uint64_t load_few(const std::uint8_t* at, std::size_t count) {
    if (count >= 4) return load<std::uint32_t>(at) | load<std::uint32_t>(at + count - 4) << 32;
    if (count >= 2) return load<std::uint16_t>(at) | load<std::uint16_t>(at + count - 2) << 32;
    return *at;
}

/// One label more, to the left of what `hash` covers, which begins with 0: its length octet and text, eight
/// octets at a time. Keyed: the author of a list, too, picks names.
inline std::uint64_t extended(std::uint64_t hash, const std::uint8_t* label) {
    auto add = [&](std::uint64_t octets) { hash = cache::keyed_mix(hash, octets); };
    std::size_t left = 1u + label[0];
    for (; left >= 8; left -= 8, label += 8) add(load<std::uint64_t>(label));
    if (left > 0) add(load_few(label, left));
    return hash;
}

inline std::uint64_t hash_of(std::span<const std::uint8_t> name) {
    Labels labels(name);
    std::uint64_t hash = 0;
    for (unsigned i = labels.count; i-- > 0;) hash = extended(hash, name.data() + labels.starts[i]);
    return hash;
}

} // namespace millrace::dataplane
