// Every bound of the dataplane room, and how the bounds relate.
#pragma once

#include <cstddef>

#include <rte_config.h>

#include "cache/limits.hpp"
#include "cache/time.hpp"

namespace millrace::dataplane::limits {

inline constexpr std::size_t ports = RTE_MAX_ETHPORTS; ///< NICs and virtual devices
inline constexpr unsigned lcores = RTE_MAX_LCORE;      ///< DPDK numbers them below this
inline constexpr std::size_t burst = 32;               ///< packets of one receive, and Wakes of one turn
inline constexpr std::size_t edns_octets = 1232;       ///< largest UDP reply (DNS flag day 2020)
inline constexpr std::size_t plain_octets = 512;       ///< largest UDP reply without EDNS (RFC 1035 4.2.1)
inline constexpr std::size_t payload_room = 2048;      ///< octets of DNS payload that a packet buffer holds
inline constexpr std::size_t ring_places = 4096; ///< miss ring and wake ring, each; one place stays empty
inline constexpr std::size_t waiters = ring_places - 1; ///< credits of a worker: a Wake always finds room
inline constexpr std::size_t return_octets = 80;        ///< headers or socket address needed to reply later
inline constexpr std::size_t vlan_tags = 2;             ///< 802.1ad, 802.1Q
inline constexpr std::size_t extension_headers = 4;     ///< IPv6 headers walked before UDP
inline constexpr Time refresh_retry = 2s; ///< after which a refresh that nobody brought is asked for again
inline constexpr unsigned starts_per_key = 100; ///< Fetches of one key in a second, for one client prefix
inline constexpr std::size_t rx_descriptors = 1024;
inline constexpr std::size_t tx_descriptors = 1024;
inline constexpr std::size_t xstats = 256;     ///< a driver's own counters that are shown
inline constexpr unsigned xdp_queues = 128;    ///< of an interface: places of xsks_map in xdp_dns.bpf.c
inline constexpr std::size_t mbuf_cache = 256; ///< mbufs that an lcore keeps to itself

// The mbufs of one queue, each term with its user.
inline constexpr std::size_t mbufs_per_queue =
    rx_descriptors        // in the receive ring
    + tx_descriptors      // in the send ring
    + 4096                // umem fill and completion rings of AF_XDP; elsewhere, what waits for the kernel
    + burst               // in the worker's hands
    + burst               // replies to woken waiters
    + mbuf_cache * 3 / 2; // in the lcore's cache, at its flush threshold

/// For the kernel to let go of a closed AF_XDP socket's queue, by a work item (xp_release_deferred).
inline constexpr Time xdp_settling = 200ms;

// An lcore that finds nothing (Idle). What arrives while it naps, and until the kernel has woken it, at the
// rate that one queue is made for, has to find room in the receive ring: (100 us + 100 us) x 5 packets/us =
// 1000. A driver whose ring is shorter (virtio: 256, af_packet: 512) gets shorter naps: see rest_of().
inline constexpr unsigned empty_turns = 512;  ///< in a row before an lcore rests (rte_power's default)
inline constexpr Time pause = 1us;            ///< between the turns of an lcore that pauses
inline constexpr Time first_nap = 1us;        ///< doubled from nap to nap,
inline constexpr Time longest_nap = 100us;    ///< up to this
inline constexpr Time waking = 100us;         ///< timer, scheduler, first turn; 60 us on a virtual machine
inline constexpr unsigned packets_per_us = 5; ///< at which nothing is lost
static_assert((longest_nap + waking).count() * packets_per_us <= rx_descriptors,
              "a burst that finds the lcore asleep waits in the receive ring");

// What is counted for `limits`, eight octets a place. Tables are sized for all that the front ends can take
// in, every packet of it another prefix's or for another name.
inline constexpr std::size_t most_places = std::size_t(1) << 22; ///< 32 MiB, at most six tables of it
inline constexpr unsigned packets_per_us_of_socket = 1;          ///< a worker on a kernel socket
inline constexpr unsigned questions_per_us_of_control = 1;       ///< TCP and misses

// A packet buffer, and the memory that DPDK is given.
inline constexpr std::size_t headroom = RTE_PKTMBUF_HEADROOM; ///< before every received frame
inline constexpr std::size_t header_room = 128; ///< the query's own headers, options and tags included
inline constexpr std::size_t mbuf_room = headroom + header_room + payload_room;
inline constexpr std::size_t mbuf_octets = mbuf_room + 256; ///< with rte_mbuf and the mempool's own, at most
inline constexpr std::size_t eal_octets = 64 << 20;         ///< rings, RCU state and drivers
inline constexpr std::size_t queue_octets = mbufs_per_queue * mbuf_octets + (8 << 20);

// The way to a port's kernel interface and back (exception.hpp).
inline constexpr std::size_t kernel_places = 1024;                      ///< of each ring; one stays empty
inline constexpr std::size_t kernel_frame = header_room + payload_room; ///< octets, at most
inline constexpr std::size_t kernel_mtu = kernel_frame - 14 - 4 * vlan_tags;
inline constexpr std::size_t kernel_mbufs = kernel_places    // on their way from the kernel,
                                            + tx_descriptors // in the send ring,
                                            + 2 * burst; // in the lcore's and the exception thread's hands
inline constexpr std::size_t kernel_octets = kernel_mbufs * mbuf_octets + (1 << 20);
inline constexpr Time first_kernel_nap = 20us;  ///< of the exception thread, doubled from nap to nap,
inline constexpr Time longest_kernel_nap = 1ms; ///< up to this: so long may what comes wait
inline constexpr unsigned kernel_share = 4;     ///< one source has 1/so many of its class's rate
static_assert(kernel_places + burst <= 4096, "buffers enough for what waits for the kernel");

// What is known of the kernel's routes (next_hop_watch.hpp). A full table of the Internet has 1.3 million.
inline constexpr std::size_t kernel_routes = std::size_t(1) << 22; ///< with more, none are used
inline constexpr std::size_t kernel_neighbours = std::size_t(1) << 17;
inline constexpr std::size_t kernel_links = std::size_t(1) << 16;
inline constexpr std::size_t paths = 64;             ///< next hops of one route that are used
inline constexpr std::size_t gateway_requests = 256; ///< neighbours that the kernel is asked for at a time,
inline constexpr Time gateway_interval = 1s;         ///< so often
inline constexpr Time read_interval = 100ms;         ///< between readings of what has changed,
inline constexpr unsigned read_share = 10;           ///< which take one part in so many of a CPU's time

// Copies of messages (query_log.hpp), for each worker.
inline constexpr std::size_t log_element = 64;     ///< octets; a message takes as many elements as it needs
inline constexpr std::size_t log_places = 16384;   ///< of the query log: a mebibyte, 5,000 usual messages
inline constexpr std::size_t sample_places = 2048; ///< of samples
inline constexpr std::size_t sampled_octets = 512; ///< of each query: its question is in them

// Control's queries and their replies by way of a port (upstream_path.hpp), for each lcore of it.
inline constexpr std::size_t query_places = 8192;  ///< half a mebibyte, 4,000 usual queries
inline constexpr std::size_t reply_places = 16384; ///< a mebibyte, 4,000 usual replies
inline constexpr std::size_t reply_octets = 1232;  ///< of each; what is longer is cut
inline constexpr std::size_t query_sources = 64;   ///< addresses that a group is asked from
inline constexpr std::size_t asked_remotes = 2048; ///< servers that are asked by a port; so in xdp_dns.bpf.c

static_assert(lcores > cache::limits::workers, "control has an lcore of its own beside every worker");
static_assert((ring_places & (ring_places - 1)) == 0, "rte_ring sizes are powers of two");
static_assert(edns_octets + 40 + 8 == 1280, "a reply fits the IPv6 minimum MTU (RFC 8200 5)");
static_assert(payload_room >= edns_octets);

} // namespace millrace::dataplane::limits
