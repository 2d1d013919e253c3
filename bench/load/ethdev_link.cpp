#include <optional>
#include <thread>

#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_ethdev.h>
#include <rte_ip.h>
#include <rte_mbuf.h>
#include <rte_udp.h>

#include "bench/load/link.hpp"
#include "dataplane/eal_plan.hpp"
#include "dataplane/ethdev.hpp"

namespace millrace::bench {
namespace {

using dataplane::Ethdev;

constexpr unsigned l2 = sizeof(rte_ether_hdr), l3 = sizeof(rte_ipv4_hdr),
                   headers = l2 + l3 + sizeof(rte_udp_hdr);
constexpr std::uint16_t right_sum = 0xffff; ///< over a datagram and its checksum
constexpr auto link_patience = std::chrono::seconds(10);

class EthdevLink final : public Link {
  public:
    EthdevLink(Ethdev ethdev, const Ends& ends) : ethdev_(std::move(ethdev)) {
        auto* ether = reinterpret_cast<rte_ether_hdr*>(header_.data());
        std::memcpy(&ether->dst_addr, ends.server_mac.octets.data(), 6);
        std::memcpy(&ether->src_addr, ends.client_mac.octets.data(), 6);
        ether->ether_type = rte_cpu_to_be_16(RTE_ETHER_TYPE_IPV4);
        auto* ip = reinterpret_cast<rte_ipv4_hdr*>(ether + 1);
        ip->version_ihl = 0x45;
        ip->fragment_offset = rte_cpu_to_be_16(RTE_IPV4_HDR_DF_FLAG); // as dataplane::seal() expects
        ip->time_to_live = 64;
        ip->next_proto_id = IPPROTO_UDP;
        std::memcpy(&ip->src_addr, ends.client.address.v4_octets(), 4);
        std::memcpy(&ip->dst_addr, ends.server.address.v4_octets(), 4);
        auto* udp = reinterpret_cast<rte_udp_hdr*>(ip + 1);
        udp->src_port = rte_cpu_to_be_16(ends.client.port);
        udp->dst_port = rte_cpu_to_be_16(ends.server.port);
    }
    ~EthdevLink() override { rte_pktmbuf_free_bulk(held_.data(), held_count_); }

    unsigned send(std::span<const Message> messages) override {
        std::array<rte_mbuf*, burst> mbufs;
        auto count = unsigned(messages.size());
        if (rte_pktmbuf_alloc_bulk(ethdev_.pool(0), mbufs.data(), count) != 0) return 0;
        for (unsigned i = 0; i < count; ++i) write(*mbufs[i], messages[i]);
        unsigned sent = rte_eth_tx_burst(ethdev_.port(), 0, mbufs.data(), std::uint16_t(count));
        if (sent < count) rte_pktmbuf_free_bulk(mbufs.data() + sent, count - sent);
        return sent;
    }

    void stray(unsigned count) override {
        std::array<rte_mbuf*, burst> mbufs;
        if (count == 0 || rte_pktmbuf_alloc_bulk(ethdev_.pool(0), mbufs.data(), count) != 0) return;
        for (unsigned i = 0; i < count; ++i) write_stray(*mbufs[i], strays_++);
        unsigned sent = rte_eth_tx_burst(ethdev_.port(), 0, mbufs.data(), std::uint16_t(count));
        if (sent < count) rte_pktmbuf_free_bulk(mbufs.data() + sent, count - sent);
    }

    unsigned receive(Messages& messages) override {
        rte_pktmbuf_free_bulk(held_.data(), held_count_);
        held_count_ = rte_eth_rx_burst(ethdev_.port(), 0, held_.data(), burst);
        unsigned count = 0;
        for (unsigned i = 0; i < held_count_; ++i) rte_prefetch0(rte_pktmbuf_mtod(held_[i], void*));
        for (unsigned i = 0; i < held_count_; ++i) {
            if (auto message = payload(*held_[i])) {
                messages[count++] = *message;
            } else {
                ++strangers_;
            }
        }
        return count;
    }

    void sleep(unsigned microseconds) override {
        timespec time{0, long(microseconds) * 1000};
        nanosleep(&time, nullptr);
    }

    bool wait_for_link() const {
        rte_eth_link link{};
        auto end = std::chrono::steady_clock::now() + link_patience;
        while (std::chrono::steady_clock::now() < end) {
            if (rte_eth_link_get_nowait(ethdev_.port(), &link) == 0 && link.link_status == RTE_ETH_LINK_UP)
                return true;
            std::this_thread::sleep_for(std::chrono::milliseconds(5));
        }
        return false;
    }

  private:
    void write(rte_mbuf& mbuf, Message message) const {
        auto* to = rte_pktmbuf_mtod(&mbuf, std::uint8_t*);
        std::memcpy(to, header_.data(), headers);
        std::memcpy(to + headers, message.data(), message.size());
        dataplane::seal(to, l2, l3,
                        std::uint16_t(message.size())); // no offload: the server has to be able to check
        mbuf.data_len = std::uint16_t(headers + message.size());
        mbuf.pkt_len = mbuf.data_len;
    }

    void write_stray(rte_mbuf& mbuf, std::uint16_t number) const {
        auto* to = rte_pktmbuf_mtod(&mbuf, std::uint8_t*);
        std::memcpy(to, header_.data(), headers);
        std::memset(to + headers, 0, 60 - headers);
        to[10] = std::uint8_t(number >> 8); // each its own sender
        to[11] = std::uint8_t(number);
        auto* ether = reinterpret_cast<rte_ether_hdr*>(to);
        auto* ip = reinterpret_cast<rte_ipv4_hdr*>(ether + 1);
        if (number % 2 == 0) {
            const std::uint8_t request[] = {0, 1, 8, 0, 6, 4, 0, 1}; // RFC 826
            ether->ether_type = rte_cpu_to_be_16(RTE_ETHER_TYPE_ARP);
            std::memset(to, 0xff, 6);
            std::memcpy(to + l2, request, sizeof request);
            std::memcpy(to + l2 + 8, to + 6, 6);
            std::memcpy(to + l2 + 14, &header_[l2 + 12], 4);
            std::memcpy(to + l2 + 24, &header_[l2 + 16], 4);
        } else {
            ip->total_length = rte_cpu_to_be_16(40);
            ip->next_proto_id = IPPROTO_TCP;
            to[l2 + 14] = std::uint8_t(number >> 8);
            to[l2 + 15] = std::uint8_t(number);
            ip->hdr_checksum = 0;
            ip->hdr_checksum = rte_ipv4_cksum(ip);
            to[l2 + l3 + 12] = 0x50;
            to[l2 + l3 + 13] = 0x02; // SYN; its checksum is the kernel's to look at
        }
        mbuf.data_len = 60;
        mbuf.pkt_len = 60;
    }

    /// The DNS message of a packet that is the mirror image of ours.
    std::optional<Message> payload(const rte_mbuf& mbuf) const {
        if (mbuf.nb_segs != 1 || mbuf.data_len < headers) return std::nullopt;
        const auto* at = rte_pktmbuf_mtod(&mbuf, const std::uint8_t*);
        auto *ip = reinterpret_cast<const rte_ipv4_hdr*>(at + l2),
             *ours = reinterpret_cast<const rte_ipv4_hdr*>(&header_[l2]);
        auto *udp = reinterpret_cast<const rte_udp_hdr*>(ip + 1),
             *our_udp = reinterpret_cast<const rte_udp_hdr*>(ours + 1);
        bool mirrored = std::memcmp(at, &header_[6], 6) == 0 && std::memcmp(at + 12, &header_[12], 2) == 0 &&
                        ip->version_ihl == 0x45 && ip->next_proto_id == IPPROTO_UDP &&
                        ip->src_addr == ours->dst_addr && ip->dst_addr == ours->src_addr &&
                        udp->src_port == our_udp->dst_port && udp->dst_port == our_udp->src_port;
        unsigned length = rte_be_to_cpu_16(ip->total_length), udp_length = rte_be_to_cpu_16(udp->dgram_len);
        if (!mirrored || length > mbuf.data_len - l2 || udp_length != length - l3) return std::nullopt;
        if (rte_ipv4_cksum(ip) != 0 || rte_ipv4_udptcp_cksum(ip, udp) != right_sum) return std::nullopt;
        return Message(at + headers, udp_length - sizeof(rte_udp_hdr));
    }

    Ethdev ethdev_;
    std::array<std::uint8_t, headers> header_{};
    std::array<rte_mbuf*, burst> held_{}; ///< what receive gave out last
    unsigned held_count_ = 0;
    std::uint16_t strays_ = 0; ///< their numbers
};

} // namespace

LinkResult open_ethdev(const std::string& device, const Ends& ends) {
    auto machine = dataplane::Machine::inspect();
    unsigned cpu = machine.cpus.front();
    dataplane::EalPlan plan;
    plan.ports = {{device, {cpu}, {}}};
    plan.arguments = {"--single-file-segments", "--no-telemetry", "--file-prefix=dns_load"};
    plan.control_cpu = cpu;
    auto words = dataplane::eal_arguments(plan, machine);
    if (!words) return tl::unexpected(words.error());
    static std::vector<std::string> kept; // EAL keeps pointers to its arguments
    kept = std::move(*words);
    std::vector<char*> argv = {const_cast<char*>("dns_load")};
    for (std::string& word : kept) argv.push_back(word.data());
    if (rte_eal_init(int(argv.size()), argv.data()) < 0)
        return tl::unexpected("DPDK does not start: " + std::string(rte_strerror(rte_errno)));
    std::string name = dataplane::ethdev_name(device);
    std::uint16_t port = 0;
    if (rte_eth_dev_get_port_by_name(name.c_str(), &port) != 0)
        return tl::unexpected("DPDK found no device " + name);
    auto ethdev = Ethdev::start(port, name, {&cpu, 1});
    if (!ethdev) return tl::unexpected(ethdev.error());
    auto link = std::make_unique<EthdevLink>(std::move(*ethdev), ends);
    if (!link->wait_for_link()) return tl::unexpected("no link on " + device + ": is the server running?");
    return link;
}

} // namespace millrace::bench
