// What an answer is filed under: the folded question, and what else decides which answer is right for it.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <span>
#include <type_traits>

#include "cache/name.hpp"

namespace millrace::cache {

/// The bits of a query that ask for another answer to the same question (RFC 4035 3.2.1, 3.2.2).
enum Flavour : std::uint8_t { plain = 0, dnssec_ok = 1, checking_disabled = 2 };
inline constexpr std::uint8_t flavours[] = {plain, dnssec_ok, checking_disabled,
                                            dnssec_ok | checking_disabled};

/// The upper bits of a flavour: whose prefix makes AAAA records of A records (DNS64, RFC 6147), as the number
/// of a rule of the operator's, from 1 on; 0: nobody's. Clients of different rules share no answer.
inline constexpr unsigned dns64_shift = 4;

/// A key by value. Its meaningful bytes are contiguous, so that one hash and one memcmp cover all of it.
struct Key {
    std::uint16_t qtype = 0;
    std::uint16_t qclass = 0;
    std::uint8_t group = 0;       ///< index of the upstream group
    std::uint8_t flavour = plain; ///< Flavour bits, and a rule of DNS64
    Name name;                    ///< folded qname

    std::span<const std::uint8_t> bytes() const {
        return {reinterpret_cast<const std::uint8_t*>(this), header_octets + name.size};
    }
    unsigned dns64() const { return flavour >> dns64_shift; }
    void set_dns64(unsigned rule) {
        flavour = std::uint8_t((flavour & ((1u << dns64_shift) - 1)) | rule << dns64_shift);
    }
    bool operator==(const Key& other) const {
        return name.size == other.name.size && std::memcmp(this, &other, header_octets + name.size) == 0;
    }

    static constexpr std::size_t header_octets = 7;
};
static_assert(std::is_trivially_copyable_v<Key> && offsetof(Key, name) + 1 == Key::header_octets);

/// A keyed hash of a Key. The upper bits pick the shard, the lower ones the bucket.
using Hash = std::uint64_t;

/// Of the same key with DO=1 where this is of the one with DO=0, and the reverse. One is seldom touched
/// without the other: they lie in neighbouring lines and buckets.
constexpr Hash sibling_of(Hash hash) {
    return hash ^ 1;
}

/// The secret of the keyed hash, drawn once at start so that nobody outside can aim at a bucket.
class Hasher {
  public:
    Hasher();                            ///< a random secret (arc4random_buf)
    explicit Hasher(std::uint64_t seed); ///< a known one, for runs that have to repeat themselves
    Hash operator()(const Key& key) const;

  private:
    std::array<std::uint8_t, 192> secret_;
};

} // namespace millrace::cache
