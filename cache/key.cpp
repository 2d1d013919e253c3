#include "cache/key.hpp"

#include <cstdlib>

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

Hash Hasher::operator()(const Key& key) const {
    auto bytes = key.bytes();
    return XXH3_64bits_withSecret(bytes.data(), bytes.size(), secret_.data(), secret_.size());
}

} // namespace millrace::cache
