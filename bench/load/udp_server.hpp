// The loop of a server on one kernel UDP socket: recvmmsg, a reply written over each query, sendmmsg. As
// little as possible around it: it is the floor of what kernel sockets cost.
//
// One thread's; ends with the process. Errors while opening: a sentence.
#pragma once

#include <array>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>

#include <sys/socket.h>
#include <tl/expected.hpp>

#include "cache/dns.hpp"
#include "dataplane/address.hpp"
#include "dataplane/descriptor.hpp"

namespace millrace::bench {

inline tl::expected<dataplane::Descriptor, std::string> open_udp(std::string_view text) {
    auto endpoint = dataplane::parse_endpoint(text, dns::port);
    if (!endpoint) return tl::unexpected("an address and a port are needed, not " + std::string(text));
    sockaddr_storage address{};
    socklen_t size = to_sockaddr(*endpoint, address);
    dataplane::Descriptor made(socket(address.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    int octets = 4 << 20;
    if (setsockopt(made.get(), SOL_SOCKET, SO_RCVBUFFORCE, &octets, sizeof octets) != 0)
        setsockopt(made.get(), SOL_SOCKET, SO_RCVBUF, &octets, sizeof octets);
    if (!made || bind(made.get(), reinterpret_cast<sockaddr*>(&address), size) != 0)
        return tl::unexpected("cannot listen on " + std::string(text) + ": " + std::strerror(errno));
    return made;
}

/// Serves until the process ends. `reply(buffer, size)` writes over the query in `buffer` and returns the
/// reply's octets, 0 for none.
template <class Reply>
[[noreturn]] void serve_udp(int descriptor, Reply reply) {
    constexpr unsigned burst = 32;
    static std::array<std::array<std::uint8_t, 2048>, burst> buffers;
    std::array<sockaddr_storage, burst> clients;
    std::array<iovec, burst> vectors;
    std::array<mmsghdr, burst> in{}, out{};
    for (;;) {
        for (unsigned i = 0; i < burst; ++i) {
            vectors[i] = {buffers[i].data(), buffers[i].size()};
            in[i].msg_hdr = {&clients[i], sizeof clients[i], &vectors[i], 1, nullptr, 0, 0};
        }
        int count = recvmmsg(descriptor, in.data(), burst, MSG_WAITFORONE, nullptr);
        unsigned replies = 0;
        for (unsigned i = 0; count > 0 && i < unsigned(count); ++i) {
            vectors[i].iov_len = reply(std::span(buffers[i]), std::size_t(in[i].msg_len));
            if (vectors[i].iov_len > 0) out[replies++].msg_hdr = in[i].msg_hdr;
        }
        for (unsigned sent = 0; sent < replies;) {
            int more = sendmmsg(descriptor, out.data() + sent, replies - sent, 0);
            sent += more > 0 ? unsigned(more) : 1; // what the kernel does not take is lost
        }
    }
}

} // namespace millrace::bench
