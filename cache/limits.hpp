// Every bound of the cache room, and how the bounds relate.
#pragma once

#include <cstddef>

namespace millrace::cache::limits {

inline constexpr std::size_t name_octets = 255;      ///< RFC 1035 2.3.4, the root label included
inline constexpr std::size_t label_octets = 63;      ///< RFC 1035 2.3.4
inline constexpr std::size_t message_octets = 65535; ///< RFC 1035 4.2.2, the two-octet length of TCP
inline constexpr std::size_t info_octets = 120;      ///< of the text of an extended error
inline constexpr std::size_t shard_slots = 4096;     ///< slots of one shard
inline constexpr std::size_t shard_buckets = 1024;   ///< of its map, which an Index stands before
inline constexpr std::size_t shard_fill = 3700; ///< slots per shard that the number of shards is planned for
inline constexpr std::size_t dead_share = 4;    ///< a shard is rebuilt when this part of its slots is dead
inline constexpr std::size_t shards_per_tick = 2; ///< built ahead of their first key: 60 us each, page faults
/// Slots that a tick goes through when it evicts, or rebuilds: so many for each that was made since the last,
/// but not fewer, nor more, than these.
inline constexpr std::size_t upkeep_share = 16, upkeep_slots = 512, most_upkeep_slots = shard_slots;
inline constexpr std::size_t frees_per_tick = 1024; ///< Entries; or as many as were retired since the last
inline constexpr std::size_t retired_per_tick = 1;  ///< other objects: a shard's chunks, 25 of them
inline constexpr std::size_t workers = 64;          ///< RCU readers, each of which receives Wakes
inline constexpr std::size_t groups = 16;           ///< upstream groups, each with a floor
inline constexpr std::size_t dns64_rules = 15;      ///< what a key has bits for

static_assert((shard_buckets & (shard_buckets - 1)) == 0, "TBB rounds bucket counts up to a power of two");
static_assert(upkeep_share >= 16, "of 16 slots that a rebuild goes through one may be all that it gains");
static_assert(shard_fill + 6 * 64 < shard_slots,
              "a hash spreads shard_fill keys with a deviation of about 61: no "
              "shard fills up before the table does");

} // namespace millrace::cache::limits
