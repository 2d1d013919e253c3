// Ethernet, IP and UDP around a DNS message: judged on the way in, written afresh on the way out.
//
// Pure functions of bytes: no mbuf, no port, no allocation, so tests and fuzzers need nothing of DPDK's but
// headers. Lengths are in octets, addresses and ports as in address.hpp. The rules: RULES.md, frames.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <type_traits>
#include <vector>

#include <tl/expected.hpp>

#include "cache/dns.hpp"
#include "dataplane/address.hpp"
#include "dataplane/burst.hpp"
#include "dataplane/counters.hpp"
#include "dataplane/limits.hpp"

namespace millrace::dataplane {

/// What a port answers on, and how far its checksums can be trusted. Read-only while workers run.
struct Service {
    std::vector<Address> addresses; ///< UDP port 53 of these
    std::vector<Endpoint> own;      ///< every endpoint that this program answers on: never a client (loops)
    /// The peer is a kernel that leaves checksums to a NIC which is not there (veth): a UDP checksum field
    /// that holds the bare sum over the pseudo-header passes as well.
    bool partial_checksums = false;
    /// Where replies are sent at layer 2; none: back to where the query came from, unless it is
    /// looked up (EthdevPort::Setup::next_hops).
    std::optional<Mac> next_hop = std::nullopt;

    static constexpr std::uint16_t port = dns::port;
};

/// What a NIC has already found right.
struct Verified {
    bool ipv4_header = false;
    bool udp = false;
};

/// A neighbour that replies are sent to, and the VLAN that it is on.
struct NextHop {
    Mac mac;
    std::uint8_t tag_count = 0;
    std::array<std::uint8_t, 4 * limits::vlan_tags> tags{}; ///< as on the wire, outermost first

    unsigned l2() const { return 14 + 4U * tag_count; } ///< octets of Ethernet header and tags
    bool operator==(const NextHop&) const = default;
};

/// The headers of a reply, ready but for lengths and checksums: addresses and ports swapped, the VLAN stack
/// echoed, IPv4 without options, IPv6 without extension headers. Plain bytes, as a ReturnPath holds them.
struct ReplyHeader {
    std::uint8_t l2 = 0; ///< octets of Ethernet header and VLAN tags
    std::uint8_t l3 = 0; ///< 20: IPv4, 40: IPv6
    std::array<std::uint8_t, 14 + 4 * limits::vlan_tags + 40 + 8> octets;

    unsigned size() const { return l2 + l3 + 8U; }
    Endpoint client() const; ///< to whom the reply goes
};
static_assert(std::is_trivially_copyable_v<ReplyHeader> && sizeof(ReplyHeader) <= limits::return_octets);

/// Whose replies a port takes, and what they have to be addressed to.
struct Peers {
    std::vector<Address> sources;  ///< what we ask from: to a port that is not privileged
    std::vector<Endpoint> remotes; ///< who is asked, ascending

    bool is_reply(const Endpoint& from, const Endpoint& to) const;
};
inline constexpr std::uint16_t first_source_port = 1024; ///< those below are privileged

/// A query's way through the layers. Offsets count from the start of the Ethernet header.
struct Frame {
    Endpoint source, destination;
    std::uint16_t payload = 0;      ///< offset of the DNS message
    std::uint16_t payload_size = 0; ///< as the UDP length says; Ethernet padding does not count
    std::uint8_t l2 = 0;            ///< offset of the IP header
    std::uint8_t l3 = 0;            ///< octets of the reply's IP header, 20 or 40

    /// The layers of `bytes`, one whole frame, or the verdict to drop it with. The payload may be empty.
    static tl::expected<Frame, Verdict> parse(std::span<const std::uint8_t> bytes, const Service& service,
                                              Verified verified = {});
    /// The same of a reply to one of the questions to `peers`: anything else is drop_destination. Of the
    /// Service, partial_checksums counts alone.
    static tl::expected<Frame, Verdict> parse_reply(std::span<const std::uint8_t> bytes, const Peers& peers,
                                                    const Service& service, Verified verified = {});

    /// Writes the reply's headers (as in ReplyHeader) over those of `bytes`, from which this was
    /// parsed: right in front of the payload, never longer than the query's own. Returns the offset at
    /// which they begin.
    unsigned turn_round(std::uint8_t* bytes, const std::optional<Mac>& next_hop = std::nullopt) const;
    /// The same to a neighbour, with its VLAN's tags instead of the query's. They begin at begin(hop), which
    /// may lie before `bytes`, by as much as those tags are longer.
    void turn_round(std::uint8_t* bytes, const NextHop& hop) const;
    int begin(const NextHop& hop) const { return int(payload) - 8 - l3 - int(hop.l2()); }
};

/// Octets of the headers that address() writes.
inline constexpr std::size_t longest_header = 14 + 4 * limits::vlan_tags + 40 + 8;

/// Writes the headers of a datagram between two addresses of one family, as a Frame's turn_round() does a
/// reply's: seal() completes them. Returns how long they are; its layer 2 is hop.l2() of that.
unsigned address(std::uint8_t* header, const NextHop& hop, const Mac& own, const Endpoint& from,
                 const Endpoint& to);

/// Which checksums the NIC fills in. For UDP it is given the sum over the pseudo-header.
struct Offload {
    bool ipv4_header = false;
    bool udp = false;
};

/// Completes the reply at `header`, which `size` octets of DNS message follow: lengths and checksums. The
/// fixed fields of the IP header are taken to be as turn_round() writes them.
void seal(std::uint8_t* header, unsigned l2, unsigned l3, std::uint16_t size, Offload offload = {});

} // namespace millrace::dataplane
