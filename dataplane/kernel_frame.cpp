#include "dataplane/kernel_frame.hpp"

#include <algorithm>

#include "cache/keyed_hash.hpp"
#include "cache/wire.hpp"

namespace millrace::dataplane {

using cache::load_u16;

namespace {

constexpr std::size_t mac_octets = 6, ethernet_octets = 14, tag_octets = 4;
constexpr std::size_t ipv4_octets = 20, ipv6_octets = 40, ports_octets = 4;
constexpr std::uint16_t type_ipv4 = 0x0800, type_arp = 0x0806, type_ipv6 = 0x86dd;
constexpr std::uint16_t type_tag = 0x8100, type_service_tag = 0x88a8;
constexpr std::uint16_t bgp = 179, bfd_ports[] = {3784, 3785, 4784}; // one hop, echo, several hops

enum Protocol : std::uint8_t { hop_by_hop = 0, tcp = 6, udp = 17, routing = 43, fragment = 44, icmpv6 = 58 };
constexpr std::uint8_t destination_options = 60;

bool is_extension(std::uint8_t protocol) {
    return protocol == hop_by_hop || protocol == routing || protocol == fragment ||
           protocol == destination_options;
}

/// Goes from layer to layer, as Frame::parse does, for which the frame was none of ours.
class Classifier {
    using Kind = KernelFrame::Kind;

  public:
    Classifier(std::span<const std::uint8_t> bytes, const Service& service)
        : bytes_(bytes), service_(service) {}

    std::optional<KernelFrame> run();

  private:
    bool link();
    bool ipv4();
    bool ipv6();
    bool extensions(std::uint8_t& next);
    bool transport(std::uint8_t protocol);

    const std::uint8_t* here() const { return bytes_.data() + at_; }
    bool lacks(std::size_t octets) const { return bytes_.size() - at_ < octets; }
    void take_source(std::span<const std::uint8_t> octets) { frame_.source = cache::keyed_hash(octets); }

    std::span<const std::uint8_t> bytes_;
    const Service& service_;
    std::size_t at_ = 0;
    std::span<const std::uint8_t> mac_; ///< the sender's
    Address destination_{};
    bool has_transport_ = true; ///< no: a later fragment
    KernelFrame frame_;
};

std::optional<KernelFrame> Classifier::run() {
    if (!link()) return std::nullopt;
    return frame_;
}

/// False here and below: nobody's.
bool Classifier::link() {
    if (lacks(ethernet_octets)) return false;
    mac_ = bytes_.subspan(mac_octets, mac_octets);
    take_source(mac_);
    at_ = ethernet_octets;
    std::uint16_t type = load_u16(here() - 2);
    for (std::size_t tags = 0; type == type_tag || type == type_service_tag; ++tags) {
        if (tags == limits::vlan_tags || lacks(tag_octets)) return false;
        at_ += tag_octets;
        type = load_u16(here() - 2);
    }
    if (type == type_ipv4) return ipv4();
    if (type == type_ipv6) return ipv6();
    if (type == type_arp) frame_.kind = Kind::neighbours;
    return true;
}

bool Classifier::ipv4() {
    if (lacks(ipv4_octets)) return false;
    const std::uint8_t* ip = here();
    std::size_t header = (ip[0] & 0x0f) * 4U;
    if (header < ipv4_octets || lacks(header)) return false;
    take_source({ip + 12, 4});
    destination_ = Address::v4(ip + 16);
    std::uint16_t fragment_field = load_u16(ip + 6);
    if (ip[9] == udp && (fragment_field & 0x3fff) != 0) return false;
    has_transport_ = (fragment_field & 0x1fff) == 0;
    at_ += header;
    return transport(ip[9]);
}

bool Classifier::ipv6() {
    if (lacks(ipv6_octets)) return false;
    const std::uint8_t* ip = here();
    Address source = Address::v6(ip + 8);
    if (!source.is_link_local() && source != Address{}) take_source({ip + 8, 8});
    destination_ = Address::v6(ip + 24);
    if (source.is_v4() || destination_.is_v4()) return false; // must not appear on the wire (RFC 4291 2.5.5)
    at_ += ipv6_octets;
    std::uint8_t next = ip[6];
    if (!extensions(next)) return false;
    bool is_from_link = ip[7] == 255; // RFC 4861 3.1
    if (next == icmpv6 && is_from_link && has_transport_ && !lacks(1) && here()[0] >= 133 &&
        here()[0] <= 137) {
        frame_.kind = Kind::neighbours;
        take_source(mac_); // else all of this link's network were one
    }
    return transport(next);
}

/// As many as Frame::parse walks over: behind more, or behind what it does not know, may be anything.
bool Classifier::extensions(std::uint8_t& next) {
    for (std::size_t walked = 0; is_extension(next); ++walked) {
        if (walked == limits::extension_headers || lacks(8)) return false;
        const std::uint8_t* header = here();
        if (next == fragment) {
            next = header[0];
            has_transport_ = (load_u16(header + 2) & 0xfff8) == 0;
            at_ += 8;
            return next == tcp || next == icmpv6;
        }
        std::size_t length = (header[1] + 1U) * 8;
        if (next == routing && header[3] != 0) return false; // segments left: on its way to elsewhere
        if (lacks(length)) return false;
        next = header[0];
        at_ += length;
    }
    return true;
}

bool Classifier::transport(std::uint8_t protocol) {
    if ((protocol != tcp && protocol != udp) || !has_transport_) return true;
    if (lacks(ports_octets)) return false;
    std::uint16_t from = load_u16(here()), to = load_u16(here() + 2);
    if (protocol == tcp) {
        if (from == bgp || to == bgp) frame_.kind = Kind::routing;
        return true;
    }
    if (std::ranges::find(bfd_ports, to) != std::end(bfd_ports)) frame_.kind = Kind::routing;
    return to != Service::port ||
           std::ranges::find(service_.addresses, destination_) == service_.addresses.end();
}

} // namespace

std::optional<KernelFrame> KernelFrame::classify(std::span<const std::uint8_t> bytes, Verdict verdict,
                                                 const Service& service) {
    bool is_whole = verdict == Verdict::drop_protocol || verdict == Verdict::drop_destination ||
                    verdict == Verdict::drop_fragment;
    return is_whole ? Classifier(bytes, service).run() : std::nullopt;
}

KernelRates::KernelRates(unsigned rate, std::size_t lcores)
    : rate_(rate), kinds_(RateTable::places_for(0, 0)),
      sources_(
          RateTable::places_for(lcores * limits::packets_per_us * 1'000'000, rate / limits::kernel_share)) {}

bool KernelRates::take(const KernelFrame& frame, Time now, Counters& counters) {
    // The source first: what is over its own rate must not use up that of all.
    std::uint64_t kind = std::uint64_t(frame.kind) + 1, source = cache::keyed_mix(frame.source, kind);
    RateTable::Taken taken = sources_.take(source, rate_ / limits::kernel_share, now);
    if (taken == RateTable::Taken::displacing) counters.add(Event::rate_table_full);
    if (taken == RateTable::Taken::no) return false;
    return kinds_.take(kind << 56, rate_, now) != RateTable::Taken::no;
}

} // namespace millrace::dataplane
