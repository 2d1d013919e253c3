// One answer, immutable once published, in the form in which workers send it.
//
// The records are prebuilt wire data: everything that follows the question in a reply (answer section, then
// authority section), with compression pointers that are right because the question always starts at offset
// 12 and has the length of the key's name. A worker copies them and overwrites the TTLs.
//
// Threads: made and freed by control. Workers read everything and write only the three hints, relaxed.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <span>
#include <string_view>

#include "cache/limits.hpp"
#include "cache/time.hpp"
#include "cache/version.hpp"

namespace millrace::cache {

/// What an Entry is made of. The spans are copied.
struct EntryDraft {
    Version version;
    Generation source = 0;  ///< of the answer to another question that this one is made of (DNS64); 0: none
    std::uint8_t rcode = 0; ///< RFC 1035 4.1.1; 0 to 15
    bool authentic = false; ///< AD from a trusted upstream (RFC 6840 5.8)
    bool chained = false;   ///< the answer begins with a CNAME
    bool rewritten = false; ///< made by a rule of the operator's, which may change
    bool crossed = false;   ///< its end is another upstream group's than its key's
    bool failure = false;   ///< a cached failure (RFC 9520), not an answer
    bool stale_at_once = false;          ///< once expired it is answered at once, and asked for beside that
    std::uint8_t quiet_hits = 0;         ///< the first hits, which ask for no refresh before the expiry
    std::optional<std::uint16_t> info;   ///< extended error code for clients with EDNS (RFC 8914)
    std::string_view info_text{};        ///< its text, at most limits::info_octets of printable ASCII
    Time born{};                         ///< when the first contributing reply arrived; TTLs count from here
    Time expiry{};                       ///< lowest over contributors and chain of (received + TTL)
    Time stale_until{};                  ///< end of its life as a stale answer (RFC 8767); not before expiry
    std::optional<Time> refresh_after{}; ///< when a hit first asks for a refresh; none: at the expiry
    std::uint16_t answers = 0;           ///< ANCOUNT
    std::uint16_t authorities = 0;       ///< NSCOUNT
    std::uint8_t rotating = 0; ///< addresses at the end of `records` whose order is free (RFC 1794), each
    bool rotates_ipv6 = false; ///< an AAAA record of 28 octets; else an A record of 16
    std::span<const std::uint8_t> records;      ///< as described above
    std::span<const std::uint16_t> ttl_offsets; ///< of each record's TTL within `records`
};

class Entry;
struct EntryDeleter {
    void operator()(const Entry* entry) const;
};
using EntryPtr = std::unique_ptr<const Entry, EntryDeleter>;

class Entry {
  public:
    /// One allocation for everything; a null pointer when memory is exhausted, or for more records than a
    /// message can hold.
    static EntryPtr make(const EntryDraft& draft);
    /// The same for another key, of one that is not published yet; null as above.
    static EntryPtr copy(const Entry& fresh);

    Entry(const Entry&) = delete;
    Entry& operator=(const Entry&) = delete;

    // A name's largest part: 64 octets, of which a hit reads nearly all.

    Version version;
    Time born, expiry, stale_until;
    std::uint16_t records_size; ///< of a message, hence below 65,536
    std::uint16_t ttl_count;
    std::uint16_t answers, authorities;
    std::uint16_t info; ///< extended error code, or no_info
    std::uint8_t rcode;
    std::uint8_t info_size; ///< of the extended error's text
    bool authentic : 1, chained : 1, rewritten : 1, crossed : 1, failure : 1, rotates_ipv6 : 1;
    bool stale_at_once : 1, derived : 1;
    std::uint8_t rotating;

    /// Hints. `visited`: hit since the eviction hand last passed. `quiet_hits`: that are still to come before
    /// one asks for a refresh; it only falls, so that the line is left shared once the name is popular.
    /// `refresh_after`: microseconds since boot; until then nobody asks for a refresh, and an expired entry
    /// is answered stale at once. First the start of prefetch; who asks moves it on, by compare-and-swap, so
    /// that one asks and a lost request is repeated; control stores back-offs here (RFC 9520).
    mutable std::atomic<std::uint8_t> visited{0};
    mutable std::atomic<std::uint8_t> quiet_hits;
    mutable std::atomic<std::int64_t> refresh_after;

    /// A hit at `now`, also a stale one: whether the caller is who asks for a refresh. Then nobody else
    /// does for `retry`, or until this life's end, which is enough to bring a lost request again.
    bool claim_refresh(Time now, Time retry) const {
        bool is_fresh = now < expiry;
        if (is_fresh && quiet_hits.load(std::memory_order_relaxed) > 0) [[unlikely]] {
            count_hit();
            return false;
        }
        std::int64_t due = refresh_after.load(std::memory_order_relaxed);
        if (now.count() < due) [[likely]]
            return false;
        // Relaxed: nothing else hangs on the hint.
        Time end = is_fresh ? expiry : stale_until;
        return refresh_after.compare_exchange_strong(due, std::min(now + retry, end).count(),
                                                     std::memory_order_relaxed);
    }
    /// An expired Entry: whether its hit is answered stale, without asking first.
    bool is_answered_stale(Time now) const {
        return now < stale_until &&
               (stale_at_once || now.count() < refresh_after.load(std::memory_order_relaxed));
    }
    /// Whether it has expired, and control holds the refresh (hold_refresh). Nobody has just claimed it: that
    /// is for `retry` from a moment that may be a little later than `now`.
    bool is_backed_off(Time now, Time retry) const {
        return now >= expiry && refresh_after.load(std::memory_order_relaxed) > (now + 2 * retry).count();
    }
    /// Nobody asks for a refresh before `until`, nor sooner than anyway. Control's.
    void hold_refresh(Time until) const {
        if (refresh_after.load(std::memory_order_relaxed) < until.count())
            refresh_after.store(until.count(), std::memory_order_relaxed);
    }
    std::span<const std::uint16_t> ttl_offsets() const {
        return {reinterpret_cast<const std::uint16_t*>(this + 1), ttl_count};
    }
    std::span<const std::uint8_t> records() const {
        return {reinterpret_cast<const std::uint8_t*>(ttl_offsets().data() + ttl_count), records_size};
    }
    /// Octets of each rotating record: a pointer, type, class, TTL, RDLENGTH, the address.
    std::size_t rotating_octets() const { return rotates_ipv6 ? 28 : 16; }
    std::span<const std::uint8_t> info_text() const { return {records().data() + records_size, info_size}; }
    /// The generation of the answer that this one is made of; 0: it is made of none.
    Generation source() const {
        Generation generation = 0;
        if (derived) std::memcpy(&generation, records().data() + records_size + info_size, sizeof generation);
        return generation;
    }
    /// What it occupies, for the memory bound: with malloc's header, in malloc's steps of 16.
    std::size_t bytes() const { return (octets() + 8 + 15) / 16 * 16; }

    static constexpr std::uint16_t no_info = 0xffff;

  private:
    explicit Entry(const EntryDraft& draft);
    std::size_t octets() const {
        return sizeof(Entry) + ttl_count * sizeof(std::uint16_t) + records_size + info_size +
               (derived ? sizeof(Generation) : 0);
    }
    friend struct EntryDeleter;
    friend class Grace;
    /// One that two lcores count at the same time may be lost: the name is popular a hit later.
    void count_hit() const {
        std::uint8_t left = quiet_hits.load(std::memory_order_relaxed);
        if (left > 0) quiet_hits.compare_exchange_strong(left, left - 1, std::memory_order_relaxed);
    }
    mutable const Entry* limbo_next_ = nullptr; ///< control's alone, once retired
};
static_assert(sizeof(Entry) == 64);

} // namespace millrace::cache
