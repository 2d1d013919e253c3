// What became of each packet: one verdict, one counter; and how long answers took.
//
// A worker's counters are written by that worker alone, with relaxed loads and stores; any thread
// may read them.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "dataplane/histogram.hpp"

namespace millrace::dataplane {

/// Every received packet ends with exactly one of these; their sum is the number received.
enum class Verdict : std::uint8_t {
    answered,         ///< replied to at once: from the cache, or with an error rcode
    missed,           ///< handed to control; answered or abandoned later, by a Wake
    refused,          ///< REFUSED by the access list
    to_kernel,        ///< not DNS for us; on its way to the port's kernel interface
    drop_frame,       ///< shorter than its headers say (L2 to L4), or a header that makes no sense
    drop_protocol,    ///< neither IPv4 nor IPv6, or not UDP; without a kernel interface,
    drop_destination, ///< as is what is not for an address and port that DNS is served on
    drop_source,      ///< non-unicast source, source port 0, or one of our own endpoints
    drop_fragment,    ///< RFC 9715
    drop_checksum,    ///< IPv4 header or UDP; an absent UDP checksum over IPv6 (RFC 8200 8.1)
    drop_short,       ///< payload shorter than a DNS header
    drop_response,    ///< QR=1
    drop_rate,        ///< the client's prefix asks too much, or is sent too much
    drop_kernel_rate, ///< for the kernel, but more than it is given of its class, or of its source
    drop_kernel_full, ///< for the kernel, which takes less than comes: the way there is full
    to_control,       ///< an upstream's reply to what left by this port; on its way to control
    drop_reply_full,  ///< such a reply, when the way there is full
    drop_unasked,     ///< what would be one, to a port from which nobody asks
    count_,
};
inline constexpr std::size_t verdicts = std::size_t(Verdict::count_);

/// Things that happen beside the verdicts. Nothing here is part of the sum.
enum class Event : std::uint8_t {
    hit,              ///< answered from the cache
    stale_hit,        ///< of which expired, within max-stale
    refresh_asked,    ///< a hit in the last part of a life told control
    refresh_dropped,  ///< ... or found the miss ring full
    local,            ///< answered by a special-use zone or by the operator's records
    blocked,          ///< answered by a block list
    rate_queries,     ///< of those dropped, refused or slipped for their rate: too many queries,
    rate_errors,      ///< too many errors,
    rate_responses,   ///< too many answers of one kind
    dry_queries,      ///< what rate_queries would count (`limits: dry-run`),
    dry_errors,       ///< rate_errors,
    dry_responses,    ///< rate_responses
    slipped,          ///< answered with TC=1 instead
    rate_table_full,  ///< something that counted towards a rate was forgotten for something else
    servfail_full,    ///< SERVFAIL or stale because no waiter credit or miss-ring place was left
    wake_answered,    ///< a waiter was answered
    wake_abandoned,   ///< a waiter was given up by control
    sent,             ///< a reply that the port took
    send_failed,      ///< a reply, or a frame of the kernel's or control's, not taken by the port; lost
    buffer_exhausted, ///< a woken waiter that found no packet buffer
    from_kernel,      ///< a frame of the kernel interface that the port took
    unrouted,         ///< a query whose reply was to be routed goes back to its sender: no way is known
    from_control,     ///< a query to an upstream that the port took
    count_,
};
inline constexpr std::size_t events = std::size_t(Event::count_);

std::string_view to_string(Verdict verdict); ///< "answered", "drop_short", ...
std::string_view to_string(Event event);

class alignas(64) Counters { // other workers' are on other cache lines
  public:
    void add(Verdict v, std::uint64_t n = 1) { bump(verdicts_[std::size_t(v)], n); }
    void add(Event e, std::uint64_t n = 1) { bump(events_[std::size_t(e)], n); }
    std::uint64_t get(Verdict v) const { return verdicts_[std::size_t(v)].load(std::memory_order_relaxed); }
    std::uint64_t get(Event e) const { return events_[std::size_t(e)].load(std::memory_order_relaxed); }
    std::uint64_t received() const {
        std::uint64_t sum = 0;
        for (auto& v : verdicts_) sum += v.load(std::memory_order_relaxed);
        return sum;
    }

    /// From the turn that received a hit to its burst's being handed to the port: what the wait in the NIC's
    /// ring adds is not seen. All hits of a burst took as long.
    SharedHistogram hit_time;
    /// From handing a miss to control to the Wake that answers it.
    SharedHistogram miss_time;

  private:
    // One writer: a load and a store are enough, and cheaper than a locked add.
    static void bump(std::atomic<std::uint64_t>& c, std::uint64_t n) {
        c.store(c.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
    }

    std::array<std::atomic<std::uint64_t>, verdicts> verdicts_{};
    std::array<std::atomic<std::uint64_t>, events> events_{};
};

} // namespace millrace::dataplane
