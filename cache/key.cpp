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

/// The name by XXH3, and what goes before it by one multiplication (as in keyed_hash.hpp), but for DO.
Hash Hasher::operator()(const Key& key) const {
    auto name = key.name.bytes();
    std::uint64_t before = 0, added, multiplier;
    std::memcpy(&before, &key, Key::header_octets - 1);
    std::memcpy(&added, secret_.data(), sizeof added);
    std::memcpy(&multiplier, secret_.data() + sizeof added, sizeof multiplier);
    before &= ~(std::uint64_t(dnssec_ok) << 8 * offsetof(Key, flavour));
    Hash hash = XXH3_64bits_withSecret(name.data(), name.size(), secret_.data(), secret_.size());
    auto product = __uint128_t(hash ^ before ^ added) * (multiplier | 1);
    hash = std::uint64_t(product) ^ std::uint64_t(product >> 64);
    return key.flavour & dnssec_ok ? sibling_of(hash) : hash;
}

} // namespace millrace::cache
