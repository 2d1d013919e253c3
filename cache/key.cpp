#include "cache/key.hpp"

#include <cstdlib>

#define XXH_INLINE_ALL
#include <xxhash.h>

namespace millrace::cache {

static_assert(192 >= XXH3_SECRET_SIZE_MIN);

Hasher::Hasher() {
    arc4random_buf(secret_.data(), secret_.size());
}

Hash Hasher::operator()(const Key& key) const {
    auto bytes = key.bytes();
    return XXH3_64bits_withSecret(bytes.data(), bytes.size(), secret_.data(), secret_.size());
}

} // namespace millrace::cache
