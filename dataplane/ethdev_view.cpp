#include "dataplane/ethdev_view.hpp"

#include <algorithm>
#include <array>
#include <cctype>
#include <span>
#include <string_view>

#include <rte_ethdev.h>
#include <rte_ether.h>

#include "dataplane/limits.hpp"

namespace millrace::dataplane {

namespace {

void add_info(std::uint16_t port, EthdevView& view) {
    rte_eth_dev_info info{};
    if (rte_eth_dev_info_get(port, &info) != 0) return;
    view.driver = info.driver_name ? info.driver_name : "";
    view.queues = info.nb_rx_queues;
    view.numa_node = rte_eth_dev_socket_id(port);
}

void add_counters(std::uint16_t port, EthdevView& view) {
    rte_eth_stats stats{};
    if (rte_eth_stats_get(port, &stats) != 0) return;
    view.received = stats.ipackets;
    view.sent = stats.opackets;
    view.received_octets = stats.ibytes;
    view.sent_octets = stats.obytes;
    view.missed = stats.imissed;
    view.no_buffer = stats.rx_nombuf;
    view.receive_errors = stats.ierrors;
    view.send_errors = stats.oerrors;
}

/// Names and values come one list after the other; a driver may offer more than we show.
void add_xstats(std::uint16_t port, EthdevView& view) {
    int count = rte_eth_xstats_get(port, nullptr, 0);
    if (count <= 0) return;
    std::vector<rte_eth_xstat> values(std::size_t(count), rte_eth_xstat{});
    std::vector<rte_eth_xstat_name> names(std::size_t(count), rte_eth_xstat_name{});
    bool is_told = rte_eth_xstats_get(port, values.data(), unsigned(count)) == count &&
                   rte_eth_xstats_get_names(port, names.data(), unsigned(count)) == count;
    for (const rte_eth_xstat& value : std::span(values).first(is_told ? values.size() : 0)) {
        if (value.value != 0 && value.id < names.size() && view.more.size() < limits::xstats)
            view.more.emplace_back(names[value.id].name, value.value);
    }
}

} // namespace

void EthdevView::add(const EthdevView& other) {
    received += other.received;
    sent += other.sent;
    received_octets += other.received_octets;
    sent_octets += other.sent_octets;
    missed += other.missed;
    no_buffer += other.no_buffer;
    receive_errors += other.receive_errors;
    send_errors += other.send_errors;
    for (auto [name, count] : other.more) {
        constexpr std::string_view first = "_q0_"; // as in "rx_q0_packets"
        if (std::size_t at = name.find(first); at != name.npos)
            name.replace(at, first.size(), "_q" + std::to_string(queues) + "_");
        auto same = std::ranges::find(more, name, [](const auto& one) { return one.first; });
        same == more.end() ? void(more.emplace_back(name, count)) : void(same->second += count);
    }
    queues = std::uint16_t(queues + other.queues);
}

EthdevView view_ethdev(std::uint16_t port, const EthdevSetup& setup) {
    EthdevView view;
    view.receive_ring = setup.receive_ring;
    view.send_ring = setup.send_ring;
    std::array<char, RTE_ETH_NAME_MAX_LEN> name{};
    if (rte_eth_dev_get_name_by_port(port, name.data()) == 0) view.name = name.data();
    rte_ether_addr mac{};
    if (rte_eth_macaddr_get(port, &mac) == 0) {
        std::array<char, RTE_ETHER_ADDR_FMT_SIZE> text{};
        rte_ether_format_addr(text.data(), text.size(), &mac);
        view.mac = text.data();
        std::ranges::transform(view.mac, view.mac.begin(),
                               [](unsigned char c) { return char(std::tolower(c)); });
    }
    rte_eth_link link{};
    if (rte_eth_link_get_nowait(port, &link) == 0) {
        view.is_up = link.link_status == RTE_ETH_LINK_UP;
        view.mbit = link.link_speed == RTE_ETH_SPEED_NUM_UNKNOWN ? 0 : link.link_speed;
    }
    rte_eth_dev_get_mtu(port, &view.mtu);
    add_info(port, view);
    view.offloads = names_of(setup.offloads);
    add_counters(port, view);
    add_xstats(port, view);
    return view;
}

bool has_link(std::uint16_t port) {
    rte_eth_link link{};
    return rte_eth_link_get_nowait(port, &link) == 0 && link.link_status == RTE_ETH_LINK_UP;
}

} // namespace millrace::dataplane
