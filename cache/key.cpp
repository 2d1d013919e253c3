#include "cache/key.hpp"

#include <cstddef>
#include <cstdlib>
#include <cstring>

#define XXH_INLINE_ALL
#include <xxhash.h>

namespace millrace::cache {

static_assert(192 >= XXH3_SECRET_SIZE_MIN && 192 == XXH3_SECRET_DEFAULT_SIZE);

Hasher::Hasher() {
    arc4random_buf(secret_.data(), secret_.size());
}

Hasher::Hasher(std::uint64_t seed) {
    XXH3_generateSecret_fromSeed(secret_.data(), seed);
}

/// Of the name's, then of what goes before it, but for DO.
Hash Hasher::operator()(const Key& key) const {
    auto hash = [this](const void* octets, std::size_t size) {
        return XXH3_64bits_withSecret(octets, size, secret_.data(), secret_.size());
    };
    std::uint64_t words[2]{};
    std::memcpy(&words[0], &key, Key::header_octets - 1);
    words[0] &= ~(std::uint64_t(dnssec_ok) << 8 * offsetof(Key, flavour));
    words[1] = hash(key.name.octets.data(), key.name.size);
    Hash plain_hash = hash(words, sizeof words);
    return key.flavour & dnssec_ok ? sibling_of(plain_hash) : plain_hash;
}

} // namespace millrace::cache
