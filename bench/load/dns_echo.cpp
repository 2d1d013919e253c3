// dns_echo: the ceiling of a port. Sends every packet back where it came from with the DNS bit QR set, on the
// ethdev that millraced would open for the same device string: same rings, buffers, bursts and XDP program.
// Until SIGTERM; then it prints what it did as JSON. Pin it with taskset: it polls on the first CPU allowed.
#include <algorithm>
#include <atomic>
#include <csignal>
#include <cstdio>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>
#include <rte_cycles.h>
#include <rte_ethdev.h>
#include <rte_ip.h>
#include <rte_mbuf.h>
#include <rte_udp.h>

#include "cache/dns.hpp"
#include "dataplane/eal.hpp"
#include "dataplane/ethdev.hpp"

namespace millrace::bench {
namespace {

constexpr unsigned qr_octet = 2; // of the DNS message
constexpr std::uint8_t qr_bit = 0x80;

std::atomic<bool> stop, show;

template <class T>
void swap(T& a, T& b) { // members of packed headers, which std::swap cannot take by reference
    T kept = a;
    a = b;
    b = kept;
}

/// Turns the packet round; the checksum is adjusted for the bit (RFC 1624). False: nothing of UDP.
bool turn_round(rte_mbuf* mbuf) {
    auto* ether = rte_pktmbuf_mtod(mbuf, rte_ether_hdr*);
    auto* ip4 = reinterpret_cast<rte_ipv4_hdr*>(ether + 1);
    auto* ip6 = reinterpret_cast<rte_ipv6_hdr*>(ether + 1);
    bool v4 = ether->ether_type == rte_cpu_to_be_16(RTE_ETHER_TYPE_IPV4);
    bool v6 = ether->ether_type == rte_cpu_to_be_16(RTE_ETHER_TYPE_IPV6);
    std::size_t headers = sizeof *ether + (v4 ? sizeof *ip4 : sizeof *ip6);
    if ((!v4 && !v6) || mbuf->data_len < headers + sizeof(rte_udp_hdr) + dns::header_octets) return false;
    if ((v4 ? ip4->next_proto_id : ip6->proto) != IPPROTO_UDP) return false;
    swap(ether->dst_addr, ether->src_addr);
    if (v4) {
        std::uint32_t source = ip4->src_addr;
        ip4->src_addr = ip4->dst_addr;
        ip4->dst_addr = source;
    } else {
        std::swap_ranges(ip6->src_addr, ip6->src_addr + 16, ip6->dst_addr);
    }
    auto* udp = rte_pktmbuf_mtod_offset(mbuf, rte_udp_hdr*, headers);
    std::uint16_t port = udp->src_port;
    udp->src_port = udp->dst_port;
    udp->dst_port = port;
    auto* flags = reinterpret_cast<std::uint8_t*>(udp + 1) + qr_octet;
    if ((*flags & qr_bit) == 0 && udp->dgram_cksum != 0) {
        std::uint32_t sum = std::uint32_t(std::uint16_t(~rte_be_to_cpu_16(udp->dgram_cksum))) + (qr_bit << 8);
        sum = (sum & 0xffff) + (sum >> 16);
        auto checksum = std::uint16_t(~sum);
        udp->dgram_cksum = rte_cpu_to_be_16(checksum == 0 ? 0xffff : checksum);
    }
    *flags |= qr_bit;
    return true;
}

struct Done {
    std::uint64_t received = 0, sent = 0, cycles = 0,
                  busy_cycles = 0; ///< busy: turns that received something
};

void print(const Done& done) {
    nlohmann::json out = {{"received", done.received},
                          {"sent", done.sent},
                          {"tsc_cycles", done.cycles},
                          {"busy_cycles", done.busy_cycles}};
    std::printf("%s\n", out.dump().c_str());
    std::fflush(stdout);
}

void echo(std::uint16_t port) {
    Done done;
    rte_mbuf* mbufs[dataplane::limits::burst];
    std::uint64_t begin = rte_rdtsc(), now = begin;
    while (!stop.load(std::memory_order_relaxed)) {
        unsigned received = rte_eth_rx_burst(port, 0, mbufs, std::size(mbufs)), kept = 0;
        for (unsigned i = 0; i < received; ++i) rte_prefetch0(rte_pktmbuf_mtod(mbufs[i], void*));
        for (unsigned i = 0; i < received; ++i) {
            if (turn_round(mbufs[i])) {
                mbufs[kept++] = mbufs[i];
            } else {
                rte_pktmbuf_free(mbufs[i]);
            }
        }
        unsigned sent = kept == 0 ? 0 : rte_eth_tx_burst(port, 0, mbufs, std::uint16_t(kept));
        if (sent < kept) rte_pktmbuf_free_bulk(mbufs + sent, kept - sent);
        std::uint64_t then = now;
        now = rte_rdtsc();
        done.busy_cycles += received > 0 ? now - then : 0;
        done.received += received;
        done.sent += sent;
        done.cycles = now - begin;
        if (show.load(std::memory_order_relaxed)) {
            show = false;
            print(done);
        }
    }
    print(done);
}

int main(int argc, char** argv) {
    CLI::App app("dns_echo: sends DNS queries on a DPDK device back as they came, with QR set");
    std::string device;
    std::vector<std::string> addresses = {"198.18.0.53"};
    app.add_option("--vdev", device, "DPDK device string")->required();
    app.add_option("--address", addresses, "served on an AF_XDP device")->capture_default_str();
    CLI11_PARSE(app, argc, argv);
    unsigned cpu = dataplane::Machine::inspect().cpus.front();
    dataplane::EalPlan plan;
    plan.ports = {{device, {cpu}, {}}};
    for (const std::string& text : addresses) {
        if (auto address = dataplane::parse_address(text)) plan.ports[0].addresses.push_back(*address);
    }
    plan.arguments = {"--single-file-segments", "--no-telemetry", "--file-prefix=dns_echo"};
    plan.control_cpu = cpu;
    auto eal = dataplane::Eal::start(plan);
    auto served =
        eal.and_then([](auto& one) { return one->open({}).and_then([&] { return one->serve(); }); });
    if (!served) {
        std::fprintf(stderr, "dns_echo: %s\n", served.error().c_str());
        return 1;
    }
    std::uint16_t port = 0;
    rte_eth_dev_get_port_by_name(dataplane::ethdev_name(device).c_str(), &port);
    std::signal(SIGTERM, [](int) { stop = true; });
    std::signal(SIGINT, [](int) { stop = true; });
    std::signal(SIGUSR1, [](int) { show = true; });
    std::fprintf(stderr, "ready\n");
    echo(port);
    return 0;
}

} // namespace
} // namespace millrace::bench

int main(int argc, char** argv) {
    return millrace::bench::main(argc, argv);
}
