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

std::uint16_t fold(std::uint32_t sum) {
    sum = (sum >> 16) + (sum & 0xffff);
    return std::uint16_t((sum >> 16) + sum);
}

/// The sum over the pseudo-header (RFC 768, RFC 8200 8.1), in the byte order of the wire like every sum here.
/// `addresses` is the source and, right behind it, the destination: `octets` for both.
std::uint32_t pseudo_header_sum(const std::uint8_t* addresses, std::size_t octets, std::uint16_t udp_length) {
    return std::uint32_t(rte_raw_cksum(addresses, octets)) + rte_cpu_to_be_16(udp_length) +
           rte_cpu_to_be_16(protocol_udp);
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

    Parser(std::span<const std::uint8_t> bytes, const Service& service, Verified verified)
        : bytes_(bytes), service_(service), verified_(verified), end_(bytes.size()) {}

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
    std::size_t at_ = 0;
    std::size_t end_;
    std::uint16_t type_ = 0;
};

Parser::Step Parser::run() {
    for (auto step : {&Parser::ethernet, &Parser::ip, &Parser::udp}) {
        if (Step verdict = (this->*step)()) return verdict;
    }
    return std::nullopt;
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
    if (!verified_.ipv4_header && rte_raw_cksum(ip, header) != 0xffff) return Verdict::drop_checksum;
    if (ip[9] != protocol_udp) return Verdict::drop_protocol;
    if (load_u16(ip + 6) & 0x3fff) return Verdict::drop_fragment; // more fragments, or an offset
    frame.source.address = Address::v4(ip + ipv4_addresses);
    frame.destination.address = Address::v4(ip + ipv4_addresses + 4);
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
    if (to_group || destination.port != Service::port ||
        std::ranges::find(service_.addresses, destination.address) == service_.addresses.end()) {
        return Verdict::drop_destination;
    }
    // Loopback addresses have no business on a wire (RFC 1122 3.2.1.3, RFC 4291 2.5.3), and access lists
    // trust them.
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
    std::uint32_t pseudo = is_v4() ? pseudo_header_sum(ip + ipv4_addresses, 8, length)
                                   : pseudo_header_sum(ip + ipv6_addresses, 32, length);
    if (fold(pseudo + rte_raw_cksum(here(), length)) == 0xffff) return std::nullopt;
    if (service_.partial_checksums && field == fold(pseudo)) return std::nullopt;
    return Verdict::drop_checksum;
}

void write_ipv4(std::uint8_t* to, const std::uint8_t* query) {
    // Atomic (DF, never fragmented), so the identification may be zero (RFC 6864 4.1). No traffic class is
    // echoed.
    static constexpr std::uint8_t fixed[12] = {0x45, 0, 0, 0, 0, 0, 0x40, 0, hop_limit, protocol_udp, 0, 0};
    std::memcpy(to, fixed, sizeof fixed);
    std::memcpy(to + ipv4_addresses, query + ipv4_addresses + 4, 4);
    std::memcpy(to + ipv4_addresses + 4, query + ipv4_addresses, 4);
}

void write_ipv6(std::uint8_t* to, const std::uint8_t* query) {
    static constexpr std::uint8_t fixed[8] = {0x60, 0, 0, 0, 0, 0, protocol_udp, hop_limit};
    std::memcpy(to, fixed, sizeof fixed);
    std::memcpy(to + ipv6_addresses, query + ipv6_addresses + 16, 16);
    std::memcpy(to + ipv6_addresses + 16, query + ipv6_addresses, 16);
}

} // namespace

tl::expected<Frame, Verdict> Frame::parse(std::span<const std::uint8_t> bytes, const Service& service,
                                          Verified verified) {
    Parser parser(bytes, service, verified);
    if (auto verdict = parser.run()) return tl::unexpected(*verdict);
    return parser.frame;
}

ReplyHeader Frame::reply_header(const std::uint8_t* bytes, const std::optional<Mac>& next_hop) const {
    ReplyHeader header;
    header.l2 = l2;
    header.l3 = source.address.is_v4() ? ipv4_octets : ipv6_octets;
    std::uint8_t* to = header.octets.data();
    std::memcpy(to, next_hop ? next_hop->octets.data() : bytes + mac_octets, mac_octets);
    std::memcpy(to + mac_octets, bytes, mac_octets);
    std::memcpy(to + 2 * mac_octets, bytes + 2 * mac_octets, l2 - 2 * mac_octets); // VLAN stack and EtherType
    (header.l3 == ipv4_octets ? write_ipv4 : write_ipv6)(to + l2, bytes + l2);
    std::uint8_t* udp = to + l2 + header.l3;
    store_u16(udp, destination.port);
    store_u16(udp + 2, source.port);
    std::memset(udp + 4, 0, 4);
    return header;
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
    store_u16(udp + 4, udp_length);
    if (v4) {
        store_u16(ip + 2, std::uint16_t(ipv4_octets + udp_length));
        std::memset(ip + 10, 0, 2);
        auto checksum = std::uint16_t(~rte_raw_cksum(ip, ipv4_octets));
        if (!offload.ipv4_header) std::memcpy(ip + 10, &checksum, 2);
    } else {
        store_u16(ip + 4, udp_length);
    }
    std::uint32_t sum = v4 ? pseudo_header_sum(ip + ipv4_addresses, 8, udp_length)
                           : pseudo_header_sum(ip + ipv6_addresses, 32, udp_length);
    std::uint16_t checksum = fold(sum);
    if (!offload.udp) {
        std::memset(udp + 6, 0, 2);
        checksum = std::uint16_t(~fold(sum + rte_raw_cksum(udp, udp_length)));
        if (checksum == 0) checksum = 0xffff; // zero would mean "none" (RFC 768, RFC 8200 8.1)
    }
    std::memcpy(udp + 6, &checksum, 2);
}

} // namespace millrace::dataplane
