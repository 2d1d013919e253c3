#include "dataplane/ethdev_port.hpp"

#include <algorithm>

#include <rte_ethdev.h>
#include <rte_ether.h>
#include <rte_mbuf.h>

namespace millrace::dataplane {

namespace {

/// What the NIC vouches for: a checksum that is right, or one that was never written because the packet
/// came from next door (virtio). "Bad" and "unknown" are looked at again, because some NICs call an
/// absent checksum bad.
Verified verified_by_nic(const rte_mbuf& mbuf) {
    std::uint64_t ip = mbuf.ol_flags & RTE_MBUF_F_RX_IP_CKSUM_MASK,
                  l4 = mbuf.ol_flags & RTE_MBUF_F_RX_L4_CKSUM_MASK;
    return {ip == RTE_MBUF_F_RX_IP_CKSUM_GOOD || ip == RTE_MBUF_F_RX_IP_CKSUM_NONE,
            l4 == RTE_MBUF_F_RX_L4_CKSUM_GOOD || l4 == RTE_MBUF_F_RX_L4_CKSUM_NONE};
}

/// The header that lies in front of the payload, whose lengths the mbuf remembers.
std::uint8_t* header_of(rte_mbuf* mbuf) {
    return rte_pktmbuf_mtod(mbuf, std::uint8_t*);
}

/// Describes what follows the reply's headers, with which the mbuf's data starts.
void describe(rte_mbuf* mbuf, unsigned l2, unsigned l3, Packet& packet) {
    mbuf->l2_len = l2;
    mbuf->l3_len = l3;
    unsigned headers = l2 + l3 + 8;
    packet.data = header_of(mbuf) + headers;
    packet.room =
        std::uint16_t(std::min<std::size_t>(mbuf->buf_len - mbuf->data_off - headers, limits::payload_room));
    packet.reply = 0;
    packet.handle = mbuf;
}

constexpr std::uint64_t tags_stripped = RTE_MBUF_F_RX_VLAN_STRIPPED | RTE_MBUF_F_RX_QINQ_STRIPPED;

/// Puts the tags back that a NIC has taken off, though it was not asked to: replies carry them, and so does
/// what the kernel gets. False: there is no room, or the buffer is others' too.
bool restore_tags(rte_mbuf* mbuf) {
    std::uint64_t stripped = mbuf->ol_flags;
    bool done = true;
    if (stripped & RTE_MBUF_F_RX_VLAN_STRIPPED) done = rte_vlan_insert(&mbuf) == 0;
    if (stripped & RTE_MBUF_F_RX_QINQ_STRIPPED) { // the outer one, too
        mbuf->vlan_tci = mbuf->vlan_tci_outer;
        done = done && rte_vlan_insert(&mbuf) == 0;
        if (done) rte_pktmbuf_mtod(mbuf, rte_ether_hdr*)->ether_type = RTE_BE16(RTE_ETHER_TYPE_QINQ);
    }
    mbuf->ol_flags &= ~tags_stripped;
    return done;
}

/// Writes the reply's headers to where the kernel would route it; false: no way is known.
bool route(const rte_mbuf& mbuf, std::uint8_t* bytes, const Frame& frame, const NextHop* to) {
    if (!to || frame.begin(*to) + int(rte_pktmbuf_headroom(&mbuf)) < 0) return false;
    frame.turn_round(bytes, *to);
    return true;
}

} // namespace

/// The query in `mbuf`, or the verdict to drop it with.
std::optional<Verdict> EthdevPort::accept(rte_mbuf* mbuf, const NextHops* next_hops, Packet& packet,
                                          Counters& counters) const {
    if (mbuf->nb_segs != 1) return Verdict::drop_frame;
    if (mbuf->ol_flags & tags_stripped && !restore_tags(mbuf)) return Verdict::drop_frame;
    std::span bytes(header_of(mbuf), mbuf->data_len);
    auto frame = Frame::parse(bytes, *setup_.service, verified_by_nic(*mbuf));
    if (!frame) return frame.error();
    packet.size = frame->payload_size;
    packet.client = frame->source;
    // Who has a link-local address is on the link that he asks from, and knows no other way.
    if (next_hops && !frame->source.address.is_link_local()) {
        const NextHop* to = next_hops->find(setup_.interface, frame->source.address);
        if (route(*mbuf, bytes.data(), *frame, to)) {
            mbuf->data_off = std::uint16_t(mbuf->data_off + frame->begin(*to));
            describe(mbuf, to->l2(), frame->l3, packet);
            return std::nullopt;
        }
        counters.add(Event::unrouted); // so back to the sender, a neighbour that has reached us
    }
    auto begin = frame->turn_round(bytes.data(), setup_.service->next_hop);
    mbuf->data_off = std::uint16_t(mbuf->data_off + begin);
    describe(mbuf, frame->l2, frame->l3, packet);
    return std::nullopt;
}

/// Takes back what the kernel has read, and sends what it wants sent.
void EthdevPort::serve_kernel(Counters& counters) const {
    std::array<rte_mbuf*, limits::burst> mbufs;
    if (unsigned read = setup_.kernel->take_back(mbufs)) rte_pktmbuf_free_bulk(mbufs.data(), read);
    unsigned count = setup_.kernel->take_frames(mbufs);
    if (count == 0) return;
    send_all(std::span(mbufs).first(count), Event::from_kernel, counters);
}

void EthdevPort::send_all(std::span<rte_mbuf*> mbufs, Event event, Counters& counters) const {
    auto count = unsigned(mbufs.size());
    unsigned sent = is_suspended() ? 0 : transmit(mbufs.data(), count);
    counters.add(event, sent);
    if (sent == count) return;
    counters.add(Event::send_failed, count - sent);
    rte_pktmbuf_free_bulk(mbufs.data() + sent, count - sent);
}

/// What control asks upstreams. What finds no buffer waits for the next turn.
void EthdevPort::send_queries(Counters& counters) const {
    static_assert(UpstreamQueue::query_room <= limits::header_room + limits::payload_room);
    std::array<rte_mbuf*, limits::burst> mbufs;
    unsigned count = 0;
    while (count < mbufs.size() && setup_.upstreams->has_query()) {
        rte_mbuf* mbuf = rte_pktmbuf_alloc(setup_.pool);
        if (mbuf == nullptr) break;
        rte_pktmbuf_append(mbuf, std::uint16_t(setup_.upstreams->take_query(header_of(mbuf))));
        mbufs[count++] = mbuf;
    }
    if (count > 0) send_all(std::span(mbufs).first(count), Event::from_control, counters);
}

/// A frame that is no query: an upstream's reply, the kernel's, or nobody's.
Verdict EthdevPort::judge_refused(rte_mbuf* mbuf, Verdict verdict, Time now, Counters& counters) const {
    if (setup_.upstreams && verdict == Verdict::drop_destination) {
        std::span<const std::uint8_t> frame(header_of(mbuf), mbuf->data_len);
        verdict = setup_.upstreams->offer(frame, *setup_.service, verified_by_nic(*mbuf));
    }
    if (setup_.kernel) verdict = setup_.kernel->offer(mbuf, verdict, *setup_.service, now, counters);
    return verdict;
}

void EthdevPort::receive(Burst& burst, Counters& counters) {
    if (setup_.kernel) serve_kernel(counters);
    if (setup_.upstreams) send_queries(counters);
    if (is_suspended()) return;
    std::array<rte_mbuf*, limits::burst> mbufs, dropped;
    auto room = std::uint16_t(burst.packets.size() - burst.count);
    unsigned received = rte_eth_rx_burst(setup_.port, setup_.queue, mbufs.data(), room);
    for (unsigned i = 0; i < received; ++i) rte_prefetch0(header_of(mbufs[i]));
    const NextHops* next_hops = setup_.next_hops ? &setup_.next_hops->get() : nullptr;
    unsigned drops = 0;
    for (unsigned i = 0; i < received; ++i) {
        if (auto verdict = accept(mbufs[i], next_hops, burst.packets[burst.count], counters)) {
            verdict = judge_refused(mbufs[i], *verdict, burst.now, counters);
            counters.add(*verdict);
            if (*verdict != Verdict::to_kernel) dropped[drops++] = mbufs[i];
        } else {
            ++burst.count;
        }
    }
    if (drops > 0) rte_pktmbuf_free_bulk(dropped.data(), drops);
}

void EthdevPort::save(const Packet& packet, ReturnPath& path) {
    auto* mbuf = static_cast<rte_mbuf*>(packet.handle);
    ReplyHeader header;
    header.l2 = std::uint8_t(mbuf->l2_len);
    header.l3 = std::uint8_t(mbuf->l3_len);
    std::memcpy(header.octets.data(), header_of(mbuf), header.size());
    std::memcpy(path.octets.data(), &header, sizeof header);
}

bool EthdevPort::compose(Burst& burst, const ReturnPath& path) {
    rte_mbuf* mbuf = rte_pktmbuf_alloc(setup_.pool);
    if (mbuf == nullptr) return false;
    ReplyHeader header;
    std::memcpy(&header, path.octets.data(), sizeof header);
    Packet& packet = burst.packets[burst.count++];
    std::memcpy(header_of(mbuf), header.octets.data(), header.size());
    describe(mbuf, header.l2, header.l3, packet);
    packet.size = 0;
    packet.client = header.client();
    return true;
}

/// Lengths and checksums, in the headers and for the driver.
void EthdevPort::finish(rte_mbuf* mbuf, const Packet& packet) const {
    auto l2 = unsigned(mbuf->l2_len), l3 = unsigned(mbuf->l3_len);
    seal(header_of(mbuf), l2, l3, packet.reply, setup_.offload);
    mbuf->data_len = std::uint16_t(packet.data - header_of(mbuf) + packet.reply);
    mbuf->pkt_len = mbuf->data_len;
    bool v4 = l3 == sizeof(rte_ipv4_hdr);
    std::uint64_t wanted = 0;
    if (setup_.offload.udp) wanted |= RTE_MBUF_F_TX_UDP_CKSUM;
    if (setup_.offload.ipv4_header && v4) wanted |= RTE_MBUF_F_TX_IP_CKSUM;
    if (wanted != 0) wanted |= v4 ? RTE_MBUF_F_TX_IPV4 : RTE_MBUF_F_TX_IPV6;
    // What the receiving NIC said about the packet no longer holds; how its buffer is attached still does.
    mbuf->ol_flags = (mbuf->ol_flags & (RTE_MBUF_F_INDIRECT | RTE_MBUF_F_EXTERNAL)) | wanted;
}

unsigned EthdevPort::transmit(rte_mbuf** mbufs, unsigned count) const {
    bool offloads = setup_.offload.udp || setup_.offload.ipv4_header;
    if (offloads) count = rte_eth_tx_prepare(setup_.port, setup_.queue, mbufs, std::uint16_t(count));
    return rte_eth_tx_burst(setup_.port, setup_.queue, mbufs, std::uint16_t(count));
}

void EthdevPort::resume(std::uint16_t port, Offload offload) {
    setup_.port = port;
    setup_.offload = offload;
    is_suspended_.store(false, std::memory_order_release);
}

void EthdevPort::send(Burst& burst, Counters& counters) {
    std::array<rte_mbuf*, limits::burst> replies, unused;
    unsigned to_send = 0, to_free = 0;
    bool may_send = !is_suspended(); // else what is enabled on the ethdev may be changing
    for (unsigned i = 0; i < burst.count; ++i) {
        auto* mbuf = static_cast<rte_mbuf*>(burst.packets[i].handle);
        if (burst.packets[i].reply == 0) {
            unused[to_free++] = mbuf;
        } else {
            if (may_send) finish(mbuf, burst.packets[i]);
            replies[to_send++] = mbuf;
        }
    }
    unsigned sent = to_send == 0 || !may_send ? 0 : transmit(replies.data(), to_send);
    counters.add(Event::sent, sent);
    if (sent < to_send) {
        counters.add(Event::send_failed, to_send - sent);
        rte_pktmbuf_free_bulk(replies.data() + sent, to_send - sent);
    }
    if (to_free > 0) rte_pktmbuf_free_bulk(unused.data(), to_free);
    burst.count = 0;
}

} // namespace millrace::dataplane
