#include "control/rank/asio_probes.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <spdlog/spdlog.h>
#include <sys/socket.h>
#include <unistd.h>

#include "control/upstream/exchange.hpp"

namespace millrace::control {

using dataplane::Address;
using dataplane::Endpoint;

namespace {

/// A socket that connects, and is reset when it is closed: no TIME_WAIT here, no connection left there.
tl::expected<int, std::errc> begin_to_connect(const Endpoint& to) {
    sockaddr_storage peer{};
    socklen_t size = dataplane::to_sockaddr(to, peer);
    int descriptor = ::socket(peer.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (descriptor < 0) return tl::make_unexpected(std::errc(errno));
    linger at_once{.l_onoff = 1, .l_linger = 0};
    setsockopt(descriptor, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    bool begun = ::connect(descriptor, reinterpret_cast<sockaddr*>(&peer), size) == 0 ||
                 errno == EINPROGRESS || errno == ECONNREFUSED; // which is an answer, if no welcome one
    if (begun) return descriptor;
    auto error = std::errc(errno);
    ::close(descriptor);
    return tl::make_unexpected(error);
}

/// Closes the descriptor when asio cannot wait for it.
tl::expected<asio::posix::stream_descriptor, std::errc> adopt(asio::io_context& context, int descriptor) {
    asio::posix::stream_descriptor adopted(context);
    asio::error_code error;
    adopted.assign(descriptor, error);
    if (!error) return adopted;
    ::close(descriptor);
    return tl::make_unexpected(std::errc(error.value()));
}

/// The round trip of a connection that stands.
std::optional<Time> round_trip(int descriptor, Time at_most) {
    tcp_info info{};
    socklen_t size = sizeof info;
    if (getsockopt(descriptor, IPPROTO_TCP, TCP_INFO, &info, &size) != 0) return std::nullopt;
    if (info.tcpi_state != TCP_ESTABLISHED && info.tcpi_state != TCP_CLOSE_WAIT) return std::nullopt;
    return info.tcpi_rtt ? std::min(Time(info.tcpi_rtt), at_most) : at_most;
}

} // namespace

std::size_t probe_capacity() {
    return std::min<std::size_t>(limits::probes, exchange_capacity() / 16);
}

AsioProbes::AsioProbes(asio::io_context& context, Random& random, std::size_t most)
    : context_(context), random_(random), most_(most) {}

AsioProbes::~AsioProbes() = default;

tl::expected<ProbeId, std::errc> AsioProbes::start(const Endpoint& to, Time now) {
    return to.port == 0 ? send_echo(to.address, now) : connect(to, now);
}

void AsioProbes::close(ProbeId probe) {
    connections_.erase(probe);
    echoes_.erase(probe);
}

tl::expected<ProbeId, std::errc> AsioProbes::connect(const Endpoint& to, Time now) {
    if (connections_.size() >= most_) return tl::make_unexpected(std::errc::too_many_files_open);
    auto descriptor = begin_to_connect(to);
    if (!descriptor) return tl::make_unexpected(descriptor.error());
    auto socket = adopt(context_, *descriptor);
    if (!socket) return tl::make_unexpected(socket.error());
    ProbeId id = ++last_;
    auto& connection = connections_.emplace(id, Connection{std::move(*socket), now}).first->second;
    connection.socket.async_wait(asio::posix::descriptor_base::wait_write,
                                 [self = std::weak_ptr(self_), id](asio::error_code error) {
                                     auto probes = self.lock();
                                     if (probes && !error) (*probes)->on_connected(id);
                                 });
    return id;
}

void AsioProbes::on_connected(ProbeId probe) {
    auto at = connections_.find(probe);
    if (at == connections_.end()) return;
    Time now = boot_time();
    auto rtt = round_trip(at->second.socket.native_handle(), now - at->second.started);
    end(probe, rtt.has_value(), rtt.value_or(Time{}), now);
}

void AsioProbes::end(ProbeId probe, bool has_answered, Time rtt, Time now) {
    close(probe);
    listener_->on_probe_ended(probe, has_answered, rtt, now);
}

tl::expected<ProbeId, std::errc> AsioProbes::send_echo(const Address& to, Time now) {
    Family& family = families_[to.is_v4() ? 0 : 1];
    if (auto error = open(family, to.is_v4() ? AF_INET : AF_INET6); error != std::errc{}) {
        return tl::make_unexpected(error);
    }
    Echo echo{to, {}, now};
    std::uint64_t bits[] = {random_.bits(), random_.bits()};
    static_assert(sizeof bits == sizeof echo.token);
    std::memcpy(echo.token.data(), bits, sizeof bits);
    if (auto error = family.port->socket.send(to, echo.token); error != std::errc{}) {
        return tl::make_unexpected(error);
    }
    echoes_.emplace(++last_, echo);
    return last_;
}

std::errc AsioProbes::open(Family& family, int number) {
    if (family.port) return {};
    auto opened = EchoSocket::open(number);
    if (!opened) {
        bool is_denied = opened.error() == std::errc::permission_denied ||
                         opened.error() == std::errc::operation_not_permitted;
        if (is_denied && !family.was_denied) {
            spdlog::warn("ranking: this process may not send ICMP echo requests over {}: it needs a group in "
                         "net.ipv4.ping_group_range, or CAP_NET_RAW",
                         number == AF_INET ? "IPv4" : "IPv6");
        }
        family.was_denied |= is_denied; // said once: clients bring it about
        return opened.error();
    }
    int duplicate = dup(opened->descriptor()); // asio closes its own
    if (duplicate < 0) return std::errc(errno);
    auto readable = adopt(context_, duplicate);
    if (!readable) return readable.error();
    family.port = std::make_shared<EchoPort>(EchoPort{std::move(*opened), std::move(*readable)});
    wait(family.port);
    return {};
}

void AsioProbes::rest() {
    for (Family& family : families_) family.port.reset();
}

/// Its end may be in asio's queue already when the port is given up: then nobody is there to receive.
void AsioProbes::wait(const std::shared_ptr<EchoPort>& port) {
    port->readable.async_wait(
        asio::posix::descriptor_base::wait_read,
        [self = std::weak_ptr(self_), waiting = std::weak_ptr(port)](asio::error_code error) {
            auto probes = self.lock();
            auto still_open = waiting.lock();
            if (probes && still_open && !error) (*probes)->receive(still_open);
        });
}

/// Errors that a ping socket reports (ICMP unreachable) are nobody's in particular: silence says the same.
void AsioProbes::receive(const std::shared_ptr<EchoPort>& port) {
    Time now = boot_time();
    for (unsigned i = 0; i < limits::echoes_per_wake; ++i) {
        auto reply = port->socket.receive();
        if (!reply && reply.error() == std::errc::operation_would_block) break;
        if (!reply) continue;
        auto at = std::ranges::find_if(echoes_, [&](const auto& one) {
            return one.second.to == reply->from && one.second.token == reply->token;
        });
        if (at != echoes_.end()) end(at->first, true, now - at->second.started, now);
    }
    wait(port);
}

} // namespace millrace::control
