// What of that which millraced does not answer is the kernel's, how urgent it is and who
// sent it; and how much of it the kernel is given. The rules: RULES.md, exception path.
//
// Pure functions of bytes and time: no mbuf, no port. Nothing here locks or allocates after construction.
// Threads: KernelFrame any; one KernelRates serves all lcores of a port.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "cache/time.hpp"
#include "dataplane/counters.hpp"
#include "dataplane/frame.hpp"
#include "dataplane/rate_table.hpp"

namespace millrace::dataplane {

struct KernelFrame {
    /// Each has a rate of its own, so that a flood of one does not end the others.
    enum class Kind : std::uint8_t {
        neighbours, ///< ARP (RFC 826) and neighbour discovery (RFC 4861): from this link alone
        routing,    ///< BGP (RFC 4271) and BFD (RFC 5881, 5883)
        other,
    };

    Kind kind = Kind::other;
    /// Of the sender, hashed: its IPv4 address or /64; its MAC address where it has no address that means
    /// something beyond the link.
    std::uint64_t source = 0;

    /// `bytes` is one whole frame that Frame::parse refused with `verdict`.
    /// None: it is nobody's. That is so of what is broken, of whatever may be
    /// DNS over UDP to an address of the service, and of fragments of UDP.
    static std::optional<KernelFrame> classify(std::span<const std::uint8_t> bytes, Verdict verdict,
                                               const Service& service);
};

class KernelRates {
  public:
    /// `rate`: frames a second of each kind, limits::kernel_share at least. `lcores` take them in.
    KernelRates(unsigned rate, std::size_t lcores);

    /// Charges a frame to its source, for what it sends of this kind,
    /// and to the kind; false, when one of them is over its rate.
    bool take(const KernelFrame& frame, Time now, Counters& counters);

  private:
    unsigned rate_;
    RateTable kinds_; ///< apart, so that no source ever takes a kind's place
    RateTable sources_;
};

} // namespace millrace::dataplane
