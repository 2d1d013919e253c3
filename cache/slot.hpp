// A key and its place in a shard.
#pragma once

#include <atomic>
#include <cstdint>
#include <cstring>
#include <span>
#include <utility>

#include "cache/entry.hpp"
#include "cache/key.hpp"
#include "cache/version.hpp"

namespace millrace::cache {

/// memcmp for a key's octets, of which there are at least eight: by words, the last of which overlaps.
inline bool equal(const std::uint8_t* a, const std::uint8_t* b, std::size_t size) {
    static_assert(Key::header_octets + 1 >= sizeof(std::uint64_t));
    auto differ = [&](std::size_t at) {
        std::uint64_t one, other;
        std::memcpy(&one, a + at, 8);
        std::memcpy(&other, b + at, 8);
        return one ^ other;
    };
    std::uint64_t difference = differ(size - 8);
    for (std::size_t at = 0; at + 8 < size; at += 8) difference |= differ(at);
    return difference == 0;
}

/// A key inside a shard: its hash, and its bytes in the shard's arena (or, to look up, in a Key).
struct KeyRef {
    Hash hash;
    const std::uint8_t* bytes;

    std::size_t size() const { return Key::header_octets + bytes[Key::header_octets - 1]; }
    unsigned group() const { return bytes[offsetof(Key, group)]; }
    unsigned dns64() const { return bytes[offsetof(Key, flavour)] >> dns64_shift; }
    std::span<const std::uint8_t> name() const {
        return {bytes + Key::header_octets, bytes[Key::header_octets - 1]};
    }
    Key key() const; ///< a copy by value
    bool operator==(const KeyRef& other) const {
        return hash == other.hash && size() == other.size() && equal(bytes, other.bytes, size());
    }
};

/// A key's place. Workers load `entry` (acquire); the owner stores it (release). The rest is
/// the owner's alone.
struct Slot {
    std::atomic<const Entry*> entry{nullptr};
    Generation started = 0; ///< newest generation started for this key: all older ones can never publish
    bool is_live = false;   ///< `started` is still running: the slot outlasts rebuilds
};
using Node = std::pair<const KeyRef, Slot>;

} // namespace millrace::cache
