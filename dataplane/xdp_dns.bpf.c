// SPDX-License-Identifier: BSD-3-Clause Takes UDP port 53 to the service addresses off a kernel interface, and
// UDP from the upstreams that are asked by the port to its own source addresses, ports 1024 and up; everything
// else stays with the kernel.
//
// Loaded and attached by DPDK's AF_XDP driver, which puts its sockets into xsks_map by queue. A queue without a
// socket, and an interface whose daemon died, leave every packet with the kernel. dataplane/xdp.cpp fills
// service_addrs, source_addrs and upstreams. Fragments and IPv6 extension headers stay with the kernel too: a
// first fragment alone shows its ports, and DNS clients send neither.
#include <stdbool.h>
#include <stddef.h>

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/udp.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define MAX_TAGS 2 // limits::vlan_tags
#define MAX_QUEUES 128 // limits::xdp_queues
#define MAX_ADDRESSES 256
#define MAX_SOURCES 1024 // limits::query_sources of each group
#define MAX_UPSTREAMS 2048 // limits::asked_remotes
#define FIRST_PORT 1024 // first_source_port
#define FRAGMENT 0x3fff // more fragments, or an offset

struct address {
    __u32 words[4]; // network order, IPv4 as ::ffff:a.b.c.d
};

struct endpoint {
    struct address address;
    __be16 port;
    __u16 zero;
};

struct {
    __uint(type, BPF_MAP_TYPE_XSKMAP);
    __uint(max_entries, MAX_QUEUES);
    __type(key, __u32);
    __type(value, __u32);
} xsks_map SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(max_entries, MAX_ADDRESSES);
    __type(key, struct address);
    __type(value, __u8);
} service_addrs SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(max_entries, MAX_SOURCES);
    __type(key, struct address);
    __type(value, __u8);
} source_addrs SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(max_entries, MAX_UPSTREAMS);
    __type(key, struct endpoint);
    __type(value, __u8);
} upstreams SEC(".maps");

struct tag {
    __be16 control;
    __be16 type;
};

/// Steps over Ethernet and VLAN tags; the EtherType of what follows, or 0.
static __always_inline __be16 link_layer(void** at, void* end) {
    struct ethhdr* ethernet = *at;
    if ((void*)(ethernet + 1) > end) return 0;
    __be16 type = ethernet->h_proto;
    *at = ethernet + 1;
#pragma unroll
    for (int i = 0; i < MAX_TAGS; i++) {
        if (type != bpf_htons(ETH_P_8021Q) && type != bpf_htons(ETH_P_8021AD)) break;
        struct tag* tag = *at;
        if ((void*)(tag + 1) > end) return 0;
        type = tag->type;
        *at = tag + 1;
    }
    return type;
}

static __always_inline bool ipv4(void** at, void* end, struct address* source, struct address* destination) {
    struct iphdr* ip = *at;
    if ((void*)(ip + 1) > end || ip->ihl < 5) return false;
    if (ip->protocol != IPPROTO_UDP || (ip->frag_off & bpf_htons(FRAGMENT))) return false;
    source->words[2] = destination->words[2] = bpf_htonl(0xffff);
    source->words[3] = ip->saddr;
    destination->words[3] = ip->daddr;
    *at += ip->ihl * 4;
    return true;
}

static __always_inline bool ipv6(void** at, void* end, struct address* source, struct address* destination) {
    struct ipv6hdr* ip = *at;
    if ((void*)(ip + 1) > end || ip->nexthdr != IPPROTO_UDP) return false;
    __builtin_memcpy(source, &ip->saddr, sizeof *source);
    __builtin_memcpy(destination, &ip->daddr, sizeof *destination);
    *at = ip + 1;
    return true;
}

static __always_inline bool is_reply(struct endpoint* source, struct address* destination, struct udphdr* udp) {
    return bpf_ntohs(udp->dest) >= FIRST_PORT && bpf_map_lookup_elem(&source_addrs, destination) &&
           bpf_map_lookup_elem(&upstreams, source);
}

SEC("xdp")
int millrace_dns(struct xdp_md* context) {
    void* at = (void*)(long)context->data;
    void* end = (void*)(long)context->data_end;
    struct address destination = {};
    struct endpoint source = {};
    __be16 type = link_layer(&at, end);
    bool is_udp = false;
    if (type == bpf_htons(ETH_P_IP)) is_udp = ipv4(&at, end, &source.address, &destination);
    if (type == bpf_htons(ETH_P_IPV6)) is_udp = ipv6(&at, end, &source.address, &destination);
    if (!is_udp) return XDP_PASS;
    struct udphdr* udp = at;
    if ((void*)(udp + 1) > end) return XDP_PASS;
    source.port = udp->source;
    bool is_ours = udp->dest == bpf_htons(53) ? bpf_map_lookup_elem(&service_addrs, &destination) != NULL
                                              : is_reply(&source, &destination, udp);
    if (!is_ours) return XDP_PASS;
    return bpf_redirect_map(&xsks_map, context->rx_queue_index, XDP_PASS);
}

char LICENSE[] SEC("license") = "BSD";
