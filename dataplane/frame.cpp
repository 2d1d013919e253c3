#include "dataplane/frame.hpp"

#include <algorithm>
#include <optional>

#include <rte_ip.h>

#include "cache/wire.hpp"

namespace millrace::dataplane {

using cache::load_u16;
using cache::store_u16;

namespace {

constexpr std::size_t mac_octets = 6, ethernet_octets = 14, tag_octets = 4;
constexpr std::size_t ipv4_octets = 20, ipv6_octets = 40, udp_octets = 8;
constexpr std::size_t ipv4_addresses = 12, ipv6_addresses = 8; // offsets: source, then destination
constexpr std::uint16_t type_ipv4 = 0x0800, type_ipv6 = 0x86dd, type_tag = 0x8100, type_service_tag = 0x88a8;
constexpr std::uint8_t protocol_udp = 17;
constexpr std::uint8_t hop_limit = 64;

/// Next headers that are walked over, or that end the walk with a verdict of their own (RFC 8200 4).
enum Extension : std::uint8_t { hop_by_hop = 0, routing = 43, fragment = 44, destination_options = 60 };

/// Of a sum below 2^48, as all here are.
std::uint16_t fold(std::uint64_t sum) {
    sum = (sum >> 32) + (sum & 0xffffffff);
    sum = (sum >> 16) + (sum & 0xffff); // below 2^18 now
    sum = (sum >> 16) + (sum & 0xffff);
    return std::uint16_t((sum >> 16) + sum);
}

/// RFC 1071: the sum of the 16-bit words, in the byte order of the wire. Four at a time; the carries gather
/// in the upper half of the wide number.
inline std::uint64_t sum_of(const std::uint8_t* at, std::size_t size) {
    auto four_at = [&](std::size_t offset) {
        std::uint64_t words;
        std::memcpy(&words, at + offset, sizeof words);
        return words;
    };
    __uint128_t wide = 0;
    std::size_t whole = size & ~std::size_t(7), rest = size & 7;
    for (std::size_t offset = 0; offset < whole; offset += 8) wide += four_at(offset);
    if (rest > 0 && size > 8)
        wide += four_at(size - 8) >> (64 - 8 * rest); // what is left of the last eight octets
    if (rest > 0 && size < 8) {
        std::uint64_t words = 0;
        std::memcpy(&words, at, rest);
        wide += words;
    }
    auto low = std::uint64_t(wide), carries = std::uint64_t(wide >> 64);
    return (low >> 32) + (low & 0xffffffff) + carries;
}

/// The sum over the pseudo-header (RFC 768, RFC 8200 8.1), in the byte order of the wire like every sum here.
/// `addresses` is the source and, right behind it, the destination: `octets` for both.
std::uint64_t pseudo_header_sum(const std::uint8_t* addresses, std::size_t octets, std::uint16_t udp_length) {
    return sum_of(addresses, octets) + rte_cpu_to_be_16(udp_length) + rte_cpu_to_be_16(protocol_udp);
}

/// A checksum field as it lies there, to be compared with sums.
std::uint16_t raw_u16(const std::uint8_t* at) {
    std::uint16_t value;
    std::memcpy(&value, at, sizeof value);
    return value;
}

/// Each step looks at one layer and leaves the next one in [at_, end_). A verdict ends the walk.
class Parser {
  public:
    using Step = std::optional<Verdict>;

    Parser(std::span<const std::uint8_t> bytes, const Service& service, Verified verified,
           const Peers* peers = nullptr)
        : bytes_(bytes), service_(service), verified_(verified), peers_(peers), end_(bytes.size()) {}

    Step run();
    Frame frame;

  private:
    Step ethernet();
    Step ip();
    Step ipv4();
    Step ipv6();
    Step extension(std::uint8_t& next);
    Step udp();
    Step endpoints() const;
    Step udp_checksum(std::uint16_t length) const;

    const std::uint8_t* here() const { return bytes_.data() + at_; }
    bool lacks(std::size_t octets) const { return end_ - at_ < octets; }
    bool is_v4() const { return type_ == type_ipv4; }

    std::span<const std::uint8_t> bytes_;
    const Service& service_;
    Verified verified_;
    const Peers* peers_; ///< null: a query is looked for
    std::size_t at_ = 0;
    std::size_t end_;
    std::uint16_t type_ = 0;
};

Parser::Step Parser::run() {
    if (Step verdict = ethernet()) return verdict;
    if (Step verdict = ip()) return verdict;
    return udp();
}

Parser::Step Parser::ethernet() {
    if (lacks(ethernet_octets)) return Verdict::drop_frame;
    at_ = ethernet_octets;
    type_ = load_u16(here() - 2);
    for (std::size_t tags = 0; type_ == type_tag || type_ == type_service_tag; ++tags) {
        if (tags == limits::vlan_tags) return Verdict::drop_protocol;
        if (lacks(tag_octets)) return Verdict::drop_frame;
        at_ += tag_octets;
        type_ = load_u16(here() - 2);
    }
    frame.l2 = std::uint8_t(at_);
    return std::nullopt;
}

Parser::Step Parser::ip() {
    if (is_v4()) return ipv4();
    if (type_ == type_ipv6) return ipv6();
    return Verdict::drop_protocol;
}

Parser::Step Parser::ipv4() {
    if (lacks(ipv4_octets)) return Verdict::drop_frame;
    const std::uint8_t* ip = here();
    std::size_t header = (ip[0] & 0x0f) * 4U, total = load_u16(ip + 2);
    if (ip[0] >> 4 != 4 || header < ipv4_octets || total < header || lacks(total)) return Verdict::drop_frame;
    if (!verified_.ipv4_header && fold(sum_of(ip, header)) != 0xffff) return Verdict::drop_checksum;
    if (ip[9] != protocol_udp) return Verdict::drop_protocol;
    if (load_u16(ip + 6) & 0x3fff) return Verdict::drop_fragment; // more fragments, or an offset
    frame.source.address = Address::v4(ip + ipv4_addresses);
    frame.destination.address = Address::v4(ip + ipv4_addresses + 4);
    frame.l3 = ipv4_octets;
    end_ = at_ + total;
    at_ += header;
    return std::nullopt;
}

Parser::Step Parser::ipv6() {
    if (lacks(ipv6_octets)) return Verdict::drop_frame;
    const std::uint8_t* ip = here();
    std::size_t length = load_u16(ip + 4);
    if (ip[0] >> 4 != 6 || lacks(ipv6_octets + length)) return Verdict::drop_frame;
    frame.source.address = Address::v6(ip + ipv6_addresses);
    frame.destination.address = Address::v6(ip + ipv6_addresses + 16);
    // Mapped addresses must not appear on the wire; here they would pass for IPv4 ones.
    if (frame.source.address.is_v4()) return Verdict::drop_source;
    if (frame.destination.address.is_v4()) return Verdict::drop_destination;
    frame.l3 = ipv6_octets;
    at_ += ipv6_octets;
    end_ = at_ + length;
    std::uint8_t next = ip[6];
    for (std::size_t walked = 0; next != protocol_udp; ++walked) {
        if (walked == limits::extension_headers) return Verdict::drop_protocol;
        if (walked > 0 && next == hop_by_hop)
            return Verdict::drop_protocol; // only in first place, RFC 8200 4.1
        if (Step verdict = extension(next)) return verdict;
    }
    return std::nullopt;
}

/// Steps over one extension header; `next` becomes what follows it.
Parser::Step Parser::extension(std::uint8_t& next) {
    if (next == fragment) return Verdict::drop_fragment;
    if (next != hop_by_hop && next != routing && next != destination_options) return Verdict::drop_protocol;
    if (lacks(8)) return Verdict::drop_frame;
    const std::uint8_t* header = here();
    std::size_t length = (header[1] + 1U) * 8;
    if (lacks(length)) return Verdict::drop_frame;
    if (next == routing && header[3] != 0) return Verdict::drop_destination; // segments left: not there yet
    next = header[0];
    at_ += length;
    return std::nullopt;
}

Parser::Step Parser::udp() {
    if (lacks(udp_octets)) return Verdict::drop_frame;
    std::uint16_t length = load_u16(here() + 4);
    if (length < udp_octets || lacks(length)) return Verdict::drop_frame;
    frame.source.port = load_u16(here());
    frame.destination.port = load_u16(here() + 2);
    if (Step verdict = endpoints()) return verdict;
    if (Step verdict = udp_checksum(length)) return verdict;
    frame.payload = std::uint16_t(at_ + udp_octets);
    frame.payload_size = std::uint16_t(length - udp_octets);
    return std::nullopt;
}

Parser::Step Parser::endpoints() const {
    const Endpoint &source = frame.source, &destination = frame.destination;
    // A unicast query in a group's Ethernet frame is nobody's to answer (RFC 1122 3.3.6), and its address
    // swapped into the reply would be an impossible source.
    bool to_group = bytes_[0] & 1, from_group = bytes_[mac_octets] & 1;
    if (peers_) {
        if (to_group || !peers_->is_reply(source, destination)) return Verdict::drop_destination;
        return from_group ? Verdict::drop_source : Step{};
    }
    if (to_group || destination.port != Service::port ||
        std::ranges::find(service_.addresses, destination.address) == service_.addresses.end()) {
        return Verdict::drop_destination;
    }
    // Loopback addresses have no business on a wire (RFC 1122 3.2.1.3, RFC 4291 2.5.3), and access
    // lists trust them.
    static constexpr Address loopback{{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}};
    bool is_loopback = is_v4() ? source.address.octets[12] == 127 : source.address == loopback;
    if (from_group || source.port == 0 || is_loopback || !source.address.is_unicast())
        return Verdict::drop_source;
    if (std::ranges::find(service_.own, source) != service_.own.end()) return Verdict::drop_source;
    return std::nullopt;
}

Parser::Step Parser::udp_checksum(std::uint16_t length) const {
    std::uint16_t field = raw_u16(here() + 6);
    if (field == 0) return is_v4() ? Step{} : Verdict::drop_checksum; // RFC 768, RFC 8200 8.1
    if (verified_.udp) return std::nullopt;
    const std::uint8_t* ip = bytes_.data() + frame.l2;
    std::uint64_t pseudo = is_v4() ? pseudo_header_sum(ip + ipv4_addresses, 8, length)
                                   : pseudo_header_sum(ip + ipv6_addresses, 32, length);
    if (fold(pseudo + sum_of(here(), length)) == 0xffff) return std::nullopt;
    if (service_.partial_checksums && field == fold(pseudo)) return std::nullopt;
    return Verdict::drop_checksum;
}

/// The fixed part of the reply's IPv4 header, and of its IPv6 header. Atomic (DF, never fragmented), so the
/// identification may be zero (RFC 6864 4.1). No traffic class is echoed.
constexpr std::uint8_t fixed_ipv4[12] = {0x45, 0, 0, 0, 0, 0, 0x40, 0, hop_limit, protocol_udp, 0, 0};
constexpr std::uint16_t fixed_ipv4_sum = RTE_BE16(0x4500 + 0x4000 + (hop_limit << 8 | protocol_udp));
constexpr std::uint8_t fixed_ipv6[8] = {0x60, 0, 0, 0, 0, 0, protocol_udp, hop_limit};

/// The octets of an IP header's addresses with source and destination swapped.
template <std::size_t octets>
void swap_addresses(std::uint8_t* to, const std::array<std::uint8_t, 2 * octets>& both) {
    std::memcpy(to, &both[octets], octets);
    std::memcpy(to + octets, &both[0], octets);
}

template <std::size_t octets>
std::array<std::uint8_t, octets> copy_of(const std::uint8_t* at) {
    std::array<std::uint8_t, octets> copy;
    std::memcpy(copy.data(), at, octets);
    return copy;
}

/// The reply's headers over those of `bytes`, of which `query` is: its IP header comes to lie at `ip`.
template <class WriteEthernet>
void write_headers(const Frame& query, const std::uint8_t* bytes, std::uint8_t* ip,
                   const WriteEthernet& write_ethernet) {
    if (query.l3 == ipv4_octets) {
        auto addresses = copy_of<8>(bytes + query.l2 + ipv4_addresses);
        write_ethernet();
        std::memcpy(ip, fixed_ipv4, sizeof fixed_ipv4);
        swap_addresses<4>(ip + ipv4_addresses, addresses);
    } else {
        auto addresses = copy_of<32>(bytes + query.l2 + ipv6_addresses);
        write_ethernet();
        std::memcpy(ip, fixed_ipv6, sizeof fixed_ipv6);
        swap_addresses<16>(ip + ipv6_addresses, addresses);
    }
    std::uint8_t* udp = ip + query.l3;
    store_u16(udp, query.destination.port);
    store_u16(udp + 2, query.source.port);
    std::memset(udp + 4, 0, 4);
}

} // namespace

tl::expected<Frame, Verdict> Frame::parse(std::span<const std::uint8_t> bytes, const Service& service,
                                          Verified verified) {
    Parser parser(bytes, service, verified);
    if (auto verdict = parser.run()) return tl::unexpected(*verdict);
    return parser.frame;
}

tl::expected<Frame, Verdict> Frame::parse_reply(std::span<const std::uint8_t> bytes, const Peers& peers,
                                                const Service& service, Verified verified) {
    Parser parser(bytes, service, verified, &peers);
    if (auto verdict = parser.run()) return tl::unexpected(*verdict);
    return parser.frame;
}

bool Peers::is_reply(const Endpoint& from, const Endpoint& to) const {
    return to.port >= first_source_port && std::ranges::find(sources, to.address) != sources.end() &&
           std::ranges::binary_search(remotes, from);
}

unsigned Frame::turn_round(std::uint8_t* bytes, const std::optional<Mac>& next_hop) const {
    std::uint8_t* to = bytes + payload - udp_octets - l3 - l2;
    // Read before anything is written: the two overlap where the query had options. There are always as many
    // octets as the longest Ethernet header has; what the copy has too many, the IP header overwrites.
    auto ethernet = copy_of<ethernet_octets + limits::vlan_tags * tag_octets>(bytes);
    write_headers(*this, bytes, to + l2, [&] {
        std::memcpy(to, ethernet.data(), ethernet.size());
        std::memcpy(to, next_hop ? next_hop->octets.data() : &ethernet[mac_octets], mac_octets);
        std::memcpy(to + mac_octets, &ethernet[0], mac_octets);
    });
    return unsigned(to - bytes);
}

void Frame::turn_round(std::uint8_t* bytes, const NextHop& hop) const {
    std::uint8_t* to = bytes + begin(hop);
    auto own = copy_of<mac_octets>(bytes); // read and written as above
    write_headers(*this, bytes, to + hop.l2(), [&] {
        std::memcpy(to, hop.mac.octets.data(), mac_octets);
        std::memcpy(to + mac_octets, own.data(), mac_octets);
        std::memcpy(to + 2 * mac_octets, hop.tags.data(), hop.tags.size());
        store_u16(to + hop.l2() - 2, l3 == ipv4_octets ? type_ipv4 : type_ipv6);
    });
}

unsigned address(std::uint8_t* header, const NextHop& hop, const Mac& own, const Endpoint& from,
                 const Endpoint& to) {
    bool v4 = to.address.is_v4();
    std::memcpy(header, hop.mac.octets.data(), mac_octets);
    std::memcpy(header + mac_octets, own.octets.data(), mac_octets);
    std::memcpy(header + 2 * mac_octets, hop.tags.data(), 4U * hop.tag_count);
    store_u16(header + hop.l2() - 2, v4 ? type_ipv4 : type_ipv6);
    std::uint8_t* ip = header + hop.l2();
    if (v4) {
        std::memcpy(ip, fixed_ipv4, sizeof fixed_ipv4);
        std::memcpy(ip + ipv4_addresses, from.address.v4_octets(), 4);
        std::memcpy(ip + ipv4_addresses + 4, to.address.v4_octets(), 4);
    } else {
        std::memcpy(ip, fixed_ipv6, sizeof fixed_ipv6);
        std::memcpy(ip + ipv6_addresses, from.address.octets.data(), 16);
        std::memcpy(ip + ipv6_addresses + 16, to.address.octets.data(), 16);
    }
    std::uint8_t* udp = ip + (v4 ? ipv4_octets : ipv6_octets);
    store_u16(udp, from.port);
    store_u16(udp + 2, to.port);
    std::memset(udp + 4, 0, 4);
    return unsigned(udp + udp_octets - header);
}

Endpoint ReplyHeader::client() const {
    const std::uint8_t* ip = octets.data() + l2;
    bool v4 = l3 == ipv4_octets;
    return {v4 ? Address::v4(ip + ipv4_addresses + 4) : Address::v6(ip + ipv6_addresses + 16),
            load_u16(ip + l3 + 2)};
}

void seal(std::uint8_t* header, unsigned l2, unsigned l3, std::uint16_t size, Offload offload) {
    std::uint8_t* ip = header + l2;
    std::uint8_t* udp = ip + l3;
    bool v4 = l3 == ipv4_octets;
    auto udp_length = std::uint16_t(udp_octets + size);
    std::uint64_t addresses = v4 ? sum_of(ip + ipv4_addresses, 8) : sum_of(ip + ipv6_addresses, 32);
    // Of what is known, sums are made from what is known: octets just stored could not be loaded in time.
    store_u16(udp + 4, udp_length);
    if (v4) {
        auto total = std::uint16_t(ipv4_octets + udp_length);
        store_u16(ip + 2, total);
        auto checksum = std::uint16_t(~fold(fixed_ipv4_sum + rte_cpu_to_be_16(total) + addresses));
        if (offload.ipv4_header) checksum = 0;
        std::memcpy(ip + 10, &checksum, 2);
    } else {
        store_u16(ip + 4, udp_length);
    }
    std::uint64_t sum = addresses + rte_cpu_to_be_16(udp_length) + rte_cpu_to_be_16(protocol_udp);
    std::uint16_t checksum = fold(sum);
    if (!offload.udp) {
        sum +=
            raw_u16(udp) + raw_u16(udp + 2) + rte_cpu_to_be_16(udp_length) + sum_of(udp + udp_octets, size);
        checksum = std::uint16_t(~fold(sum));
        if (checksum == 0) checksum = 0xffff; // zero would mean "none" (RFC 768, RFC 8200 8.1)
    }
    std::memcpy(udp + 6, &checksum, 2);
}

} // namespace millrace::dataplane
