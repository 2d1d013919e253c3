// What Entries hold here: records that derive, octet by octet, from the name and the version that they
// were made for. A reply that was copied from two Entries, from freed memory or from one still being
// written shows it.
#pragma once

#include <optional>
#include <span>

#include "cache/entry.hpp"

namespace millrace::stress {

struct Content {
    std::uint32_t name = 0; ///< index into Names
    cache::Version version;
    bool operator==(const Content&) const = default;
};

/// Between 1 and 4 records, 40 to 900 octets; both depend on the content.
cache::EntryPtr make_entry(const Content& content, Time now, Time life);

/// The content of an answer section of `count` records; nothing when any octet, TTLs aside, is not as made.
std::optional<Content> read_records(std::span<const std::uint8_t> records, unsigned count);

} // namespace millrace::stress
