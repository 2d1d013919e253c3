#include "dataplane/socket_port.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include <netinet/in.h>
#include <sys/socket.h>

namespace millrace::dataplane {

namespace {

/// Where a reply goes to and which address it leaves from. What a ReturnPath holds.
struct Route {
    Endpoint client;
    Address local;
    bool has_local;
    std::uint32_t scope; ///< of a link-local client (RFC 4007)
};
static_assert(sizeof(Route) <= sizeof(ReturnPath));

struct Message {
    std::array<std::uint8_t, limits::payload_room> octets;
    sockaddr_storage peer;
    alignas(cmsghdr) std::array<std::uint8_t, 64> control;
    iovec vector;
    Route route;
};

/// The address that the query was sent to, from the control data of recvmsg.
void read_local(msghdr& header, Route& route) {
    route.has_local = false;
    for (cmsghdr* c = CMSG_FIRSTHDR(&header); c; c = CMSG_NXTHDR(&header, c)) {
        if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO) {
            in_pktinfo info;
            std::memcpy(&info, CMSG_DATA(c), sizeof info);
            route.local = Address::v4(&info.ipi_spec_dst);
            route.has_local = true;
        } else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO) {
            in6_pktinfo info;
            std::memcpy(&info, CMSG_DATA(c), sizeof info);
            route.local = Address::v6(&info.ipi6_addr);
            route.has_local = true;
        }
    }
}

template <class Info>
std::size_t put_control(Message& m, int level, int type, const Info& info) {
    auto* c = reinterpret_cast<cmsghdr*>(m.control.data());
    c->cmsg_level = level;
    c->cmsg_type = type;
    c->cmsg_len = CMSG_LEN(sizeof info);
    std::memcpy(CMSG_DATA(c), &info, sizeof info);
    return CMSG_SPACE(sizeof info);
}

std::size_t write_local(Message& m) {
    if (!m.route.has_local) return 0;
    if (m.route.local.is_v4()) {
        in_pktinfo info{};
        std::memcpy(&info.ipi_spec_dst, m.route.local.v4_octets(), 4);
        return put_control(m, IPPROTO_IP, IP_PKTINFO, info);
    }
    in6_pktinfo info{};
    std::memcpy(&info.ipi6_addr, m.route.local.octets.data(), 16);
    return put_control(m, IPPROTO_IPV6, IPV6_PKTINFO, info);
}

std::string failure(const Endpoint& local, const char* what) {
    return to_string(local) + " (UDP): " + what + ": " + std::strerror(errno);
}

/// Also on a predecessor's, which may have known others.
void set_options(int fd, int family) {
    int one = 1, octets = 4 << 20, no_discovery = IP_PMTUDISC_OMIT;
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &octets, sizeof octets); // the kernel gives what it allows
    if (family == AF_INET6) {
        setsockopt(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, &one, sizeof one);
    } else {
        setsockopt(fd, IPPROTO_IP, IP_PKTINFO, &one, sizeof one);
        // Forged "fragmentation needed" must not make the kernel fragment our replies (RFC 9715).
        setsockopt(fd, IPPROTO_IP, IP_MTU_DISCOVER, &no_discovery, sizeof no_discovery);
    }
}

tl::expected<Descriptor, std::string> bound(const Endpoint& local, bool held) {
    sockaddr_storage address;
    socklen_t size = to_sockaddr(local, address);
    Descriptor made(socket(address.ss_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    if (!made) return tl::unexpected(failure(local, "socket"));
    int one = 1;
    if (address.ss_family == AF_INET6) setsockopt(made.get(), IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof one);
    // For IPv6, too: it is one flag.
    if (!held && setsockopt(made.get(), IPPROTO_IP, IP_FREEBIND, &one, sizeof one) < 0)
        return tl::unexpected(failure(local, "IP_FREEBIND"));
    if (bind(made.get(), reinterpret_cast<sockaddr*>(&address), size) < 0)
        return tl::unexpected(failure(local, "bind"));
    return made;
}

} // namespace

struct SocketPort::Buffers {
    std::array<Message, limits::burst> messages;
    std::array<mmsghdr, limits::burst> headers;
};

tl::expected<std::unique_ptr<SocketPort>, std::string>
SocketPort::open(const Endpoint& local, std::vector<Endpoint> own, Descriptor handed, bool held) {
    tl::expected<Descriptor, std::string> made(std::move(handed));
    if (!*made) made = bound(local, held);
    if (!made) return tl::unexpected(made.error());
    set_options(made->get(), local.address.is_v4() ? AF_INET : AF_INET6);
    return std::unique_ptr<SocketPort>(new SocketPort(std::move(*made), std::move(own)));
}

SocketPort::SocketPort(Descriptor socket, std::vector<Endpoint> own)
    : socket_(std::move(socket)), own_(std::move(own)), buffers_(std::make_unique<Buffers>()) {}

SocketPort::~SocketPort() = default;

bool SocketPort::is_acceptable(const Endpoint& source) const {
    return source.port != 0 && source.address.is_unicast() && std::ranges::find(own_, source) == own_.end();
}

void SocketPort::receive(Burst& burst, Counters& counters) {
    burst.count = 0;
    if (is_retired()) return;
    for (unsigned i = 0; i < limits::burst; ++i) {
        Message& m = buffers_->messages[i];
        m.vector = {m.octets.data(), m.octets.size()};
        buffers_->headers[i].msg_hdr = {&m.peer,          sizeof m.peer,    &m.vector, 1,
                                        m.control.data(), m.control.size(), 0};
    }
    int received = recvmmsg(socket_.get(), buffers_->headers.data(), limits::burst, MSG_DONTWAIT, nullptr);
    for (int i = 0; i < received; ++i) {
        Message& m = buffers_->messages[i];
        m.route.client = from_sockaddr(m.peer);
        m.route.scope =
            m.peer.ss_family == AF_INET6 ? reinterpret_cast<sockaddr_in6&>(m.peer).sin6_scope_id : 0;
        read_local(buffers_->headers[i].msg_hdr, m.route);
        if (!is_acceptable(m.route.client)) {
            counters.add(Verdict::drop_source);
            continue;
        }
        burst.packets[burst.count++] = {m.octets.data(),
                                        std::uint16_t(buffers_->headers[i].msg_len),
                                        std::uint16_t(m.octets.size()),
                                        0,
                                        m.route.client,
                                        &m};
    }
}

void SocketPort::save(const Packet& packet, ReturnPath& path) {
    std::memcpy(path.octets.data(), &static_cast<Message*>(packet.handle)->route, sizeof(Route));
}

bool SocketPort::compose(Burst& burst, const ReturnPath& path) {
    Message& m = buffers_->messages[burst.count];
    std::memcpy(&m.route, path.octets.data(), sizeof(Route));
    burst.packets[burst.count++] = {m.octets.data(), 0, std::uint16_t(m.octets.size()), 0,
                                    m.route.client,  &m};
    return true;
}

void SocketPort::send(Burst& burst, Counters& counters) {
    unsigned count = 0;
    for (unsigned i = 0; i < burst.count; ++i) {
        const Packet& packet = burst.packets[i];
        if (!packet.reply) continue;
        Message& m = *static_cast<Message*>(packet.handle);
        m.vector = {m.octets.data(), packet.reply};
        socklen_t size = to_sockaddr(m.route.client, m.peer);
        if (m.route.scope) reinterpret_cast<sockaddr_in6&>(m.peer).sin6_scope_id = m.route.scope;
        std::size_t control = write_local(m);
        buffers_->headers[count++].msg_hdr = {
            &m.peer, size, &m.vector, 1, control ? m.control.data() : nullptr, control, 0};
    }
    burst.count = 0;
    // A message that fails (an unreachable client, say) must not take those behind it along: step over it.
    for (unsigned at = 0; at < count;) {
        int sent = sendmmsg(socket_.get(), buffers_->headers.data() + at, count - at, MSG_DONTWAIT);
        sent > 0 ? counters.add(Event::sent, unsigned(sent)) : counters.add(Event::send_failed);
        at += sent > 0 ? unsigned(sent) : 1;
    }
}

} // namespace millrace::dataplane
