// Keys and Entries for tests, small and recognisable.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "cache/entry.hpp"
#include "cache/key.hpp"
#include "cache/table.hpp"

namespace millrace::test {

inline cache::Key key_of(const std::string& name, std::uint16_t qtype = 1) {
    cache::Key key;
    key.name = cache::parse_name(name).value();
    key.qtype = qtype;
    key.qclass = 1;
    return key;
}

/// An Entry that has nothing but an rcode, and authority records if there are any.
inline cache::EntryPtr bare_entry(std::uint8_t rcode, std::span<const std::uint8_t> authority = {}) {
    cache::EntryDraft draft;
    draft.rcode = rcode;
    draft.authorities = authority.empty() ? 0 : 1;
    draft.records = authority;
    return cache::Entry::make(draft);
}

/// An Entry with one A record per address octet 192.0.2.x, owner the question's name.
inline cache::EntryPtr entry_of(cache::Version version, const std::vector<std::uint8_t>& hosts, Time born,
                                Time ttl, Time stale = 0s, bool rotates = false) {
    std::vector<std::uint8_t> records;
    std::vector<std::uint16_t> offsets;
    for (std::uint8_t host : hosts) {
        offsets.push_back(std::uint16_t(records.size() + 6));
        std::array<std::uint8_t, 16> record{0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4, 192, 0, 2, host};
        cache::store_u32(record.data() + 6, std::uint32_t(ttl / 1s));
        records.insert(records.end(), record.begin(), record.end());
    }
    return cache::Entry::make({.version = version,
                               .rcode = 0,
                               .authentic = false,
                               .failure = false,
                               .info = {},
                               .born = born,
                               .expiry = born + ttl,
                               .stale_until = born + ttl + stale,
                               .answers = std::uint16_t(hosts.size()),
                               .authorities = 0,
                               .rotating = std::uint8_t(rotates ? hosts.size() : 0),
                               .records = records,
                               .ttl_offsets = offsets});
}

/// All slots of one shard at once.
template <class Matches>
std::size_t flush_shard(cache::Table& table, std::size_t shard, cache::Generation last, Matches matches) {
    cache::Table::Place at{.shard = shard};
    std::size_t steps = cache::limits::shard_slots + 1;
    return table.flush(at, steps, last, matches);
}

} // namespace millrace::test
