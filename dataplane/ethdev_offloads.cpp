#include "dataplane/ethdev_offloads.hpp"

#include <algorithm>
#include <cctype>
#include <cstring>

#include <rte_ethdev.h>

namespace millrace::dataplane {

namespace {

constexpr std::uint64_t receive_checksums = RTE_ETH_RX_OFFLOAD_IPV4_CKSUM | RTE_ETH_RX_OFFLOAD_UDP_CKSUM,
                        send_checksums = RTE_ETH_TX_OFFLOAD_IPV4_CKSUM | RTE_ETH_TX_OFFLOAD_UDP_CKSUM;

void add_names(std::uint64_t bits, const char* (*name)(std::uint64_t), std::vector<std::string>& names) {
    for (; bits != 0; bits &= bits - 1) {
        std::string one = name(bits & -bits);
        std::ranges::transform(one, one.begin(), [](unsigned char c) { return char(std::tolower(c)); });
        names.push_back(std::move(one));
    }
}

/// Without what may be done in software.
Offloads without_checksums(const Offloads& offloads) {
    return {offloads.receive & ~receive_checksums, offloads.send & ~send_checksums};
}

} // namespace

Offloads wanted_offloads(const rte_eth_dev_info& info, bool has_kernel) {
    Offloads wanted{info.rx_offload_capa & receive_checksums, info.tx_offload_capa & send_checksums};
    // A virtio peer that may leave UDP's checksum to us leaves TCP's, too, which the kernel would find wrong.
    if (has_kernel && std::strstr(info.driver_name, "virtio"))
        wanted.receive &= ~RTE_ETH_RX_OFFLOAD_UDP_CKSUM;
    // But for what the kernel sends, a queue's buffers all come from its own pool and have one user, which is
    // what fast free asks for.
    if (!has_kernel) wanted.send |= info.tx_offload_capa & RTE_ETH_TX_OFFLOAD_MBUF_FAST_FREE;
    return wanted;
}

tl::expected<AgreedOffloads, int>
agree_on(const Offloads& wanted, const std::function<tl::expected<Offloads, int>(const Offloads&)>& apply) {
    auto on = apply(wanted);
    Offloads fewer = without_checksums(wanted);
    if (!on && fewer != wanted) on = apply(fewer);
    if (!on) return tl::unexpected(on.error());
    // More than was asked for is none of ours: what it may do to a packet its flags say.
    AgreedOffloads agreed{{on->receive & wanted.receive, on->send & wanted.send}, {}};
    agreed.left_out = names_of({wanted.receive & ~agreed.on.receive, wanted.send & ~agreed.on.send});
    return agreed;
}

std::vector<std::string> names_of(const Offloads& offloads) {
    std::vector<std::string> names;
    add_names(offloads.receive, rte_eth_dev_rx_offload_name, names);
    add_names(offloads.send, rte_eth_dev_tx_offload_name, names);
    return names;
}

} // namespace millrace::dataplane
