#include "control/rank/echo_socket.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <span>
#include <utility>

#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <netinet/ip_icmp.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cache/wire.hpp"

namespace millrace::control {

using dataplane::Address;

namespace {

constexpr std::size_t header_octets = 8; // type, code, checksum, identifier, sequence number
constexpr std::size_t message_octets = header_octets + sizeof(EchoSocket::Token);
constexpr int filter_option = 1; // ICMP_FILTER of linux/icmp.h, which the C library's headers do not bear
constexpr std::size_t most_ip_header = 60; // which a raw socket of IPv4 shows, too

std::uint16_t checksum(std::span<const std::uint8_t> message) { // RFC 1071; an even number of octets
    std::uint32_t sum = 0;
    for (std::size_t i = 0; i + 1 < message.size(); i += 2) sum += cache::load_u16(&message[i]);
    while (sum >> 16) sum = (sum & 0xffff) + (sum >> 16);
    return std::uint16_t(~sum);
}

/// All that a raw socket would get of ICMP, but for replies.
void want_replies_only(int descriptor, bool v4) {
    if (v4) {
        std::uint32_t others = ~(std::uint32_t(1) << ICMP_ECHOREPLY);
        setsockopt(descriptor, SOL_RAW, filter_option, &others, sizeof others);
        return;
    }
    icmp6_filter replies;
    ICMP6_FILTER_SETBLOCKALL(&replies);
    ICMP6_FILTER_SETPASS(ICMP6_ECHO_REPLY, &replies);
    setsockopt(descriptor, IPPROTO_ICMPV6, ICMP6_FILTER, &replies, sizeof replies);
}

} // namespace

tl::expected<EchoSocket, std::errc> EchoSocket::open(int family) {
    bool v4 = family == AF_INET;
    int protocol = v4 ? int(IPPROTO_ICMP) : int(IPPROTO_ICMPV6);
    int ping = ::socket(family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, protocol);
    if (ping >= 0) return EchoSocket(ping, family, false);
    int raw = ::socket(family, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, protocol);
    if (raw < 0) return tl::make_unexpected(std::errc(errno));
    want_replies_only(raw, v4);
    return EchoSocket(raw, family, true);
}

EchoSocket::EchoSocket(EchoSocket&& other) noexcept
    : descriptor_(std::exchange(other.descriptor_, -1)), family_(other.family_), is_raw_(other.is_raw_),
      sequence_(other.sequence_) {}

EchoSocket::~EchoSocket() {
    if (descriptor_ >= 0) ::close(descriptor_);
}

std::errc EchoSocket::send(const Address& to, const Token& token) {
    bool v4 = family_ == AF_INET;
    std::array<std::uint8_t, message_octets> message{};
    message[0] = v4 ? std::uint8_t(ICMP_ECHO) : std::uint8_t(ICMP6_ECHO_REQUEST);
    cache::store_u16(&message[4], std::uint16_t(getpid())); // a ping socket's own takes its place
    cache::store_u16(&message[6], ++sequence_);
    std::ranges::copy(token, message.begin() + header_octets);
    if (v4) cache::store_u16(&message[2], checksum(message)); // else it is the kernel's to make
    sockaddr_storage peer{};
    socklen_t size = dataplane::to_sockaddr({to, 0}, peer);
    ssize_t sent = ::sendto(descriptor_, message.data(), message.size(), MSG_DONTWAIT,
                            reinterpret_cast<sockaddr*>(&peer), size);
    return sent < 0 ? std::errc(errno) : std::errc{};
}

tl::expected<EchoSocket::Reply, std::errc> EchoSocket::receive() {
    std::array<std::uint8_t, most_ip_header + message_octets> room;
    sockaddr_storage peer{};
    socklen_t peer_size = sizeof peer;
    ssize_t size = ::recvfrom(descriptor_, room.data(), room.size(), MSG_DONTWAIT | MSG_TRUNC,
                              reinterpret_cast<sockaddr*>(&peer), &peer_size);
    if (size < 0) return tl::make_unexpected(std::errc(errno));
    bool v4 = family_ == AF_INET;
    std::size_t begin = is_raw_ && v4 && size > 0 ? std::size_t(room[0] & 15) * 4 : 0;
    bool fits = std::size_t(size) == begin + message_octets &&
                room[begin] == (v4 ? std::uint8_t(ICMP_ECHOREPLY) : std::uint8_t(ICMP6_ECHO_REPLY));
    if (!fits) return tl::make_unexpected(std::errc::bad_message);
    Reply reply{dataplane::from_sockaddr(peer).address, {}};
    std::copy_n(room.begin() + std::ptrdiff_t(begin + header_octets), reply.token.size(),
                reply.token.begin());
    return reply;
}

} // namespace millrace::control
