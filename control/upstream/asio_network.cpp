#include "control/upstream/asio_network.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <deque>
#include <system_error>

#include <asio/buffer.hpp>
#include <asio/ip/tcp.hpp>
#include <asio/post.hpp>
#include <asio/read.hpp>
#include <asio/write.hpp>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cache/dns.hpp"
#include "cache/wire.hpp"

namespace millrace::control {

namespace {

constexpr unsigned datagrams_per_wake = 16; // then other sockets get their turn
constexpr std::size_t sockets_per_wake = 32;

std::errc last_error() {
    return std::errc(errno);
}

/// Errors of the kernel that say "later" or "lost", which UDP is allowed to do.
bool is_passing(int error) {
    return error == EAGAIN || error == ENOBUFS || error == EINTR || error == ENOMEM;
}

} // namespace

/// One socket. Kept alive by its seat and by the operations that run on it; says nothing once it is closed.
class AsioNetwork::Link : public std::enable_shared_from_this<Link> {
  public:
    Link(AsioNetwork& network, NetworkHandler& handler, std::uint64_t token)
        : network_(network), handler_(handler), token_(token) {}
    virtual ~Link() = default;

    void forget() { closed_ = true; } ///< nothing is heard of it from here on
    virtual std::errc send(std::span<const std::uint8_t> message) = 0;
    virtual void close() = 0;
    virtual bool is_tcp() const = 0;

    Socket id = 0;

  protected:
    void deliver(std::span<const std::uint8_t> message) {
        handler_.on_message(id, token_, message, boot_time());
    }
    void report(std::errc error) { handler_.on_network_error(id, token_, error, boot_time()); }

    AsioNetwork& network_;
    bool closed_ = false;

  private:
    NetworkHandler& handler_;
    std::uint64_t token_;
};

/// A descriptor of the network's, borrowed; closing gives it back.
class AsioNetwork::UdpLink final : public Link {
  public:
    using Link::Link;
    ~UdpLink() override { close(); }

    /// The kernel draws the port when it connects, and the port is ours from then on.
    std::errc open(const dataplane::Endpoint& remote) {
        sockaddr_storage peer{}, local{};
        socklen_t peer_size = dataplane::to_sockaddr(remote, peer), local_size = sizeof local;
        auto descriptor = network_.udp_.take(peer.ss_family);
        if (!descriptor) return descriptor.error();
        fd_ = *descriptor;
        remote_ = remote;
        family_ = peer.ss_family;
        if (::connect(fd_, reinterpret_cast<sockaddr*>(&peer), peer_size) != 0) {
            return errno == EAGAIN ? std::errc::address_in_use : last_error();
        }
        if (::getsockname(fd_, reinterpret_cast<sockaddr*>(&local), &local_size) != 0) return last_error();
        source_port_ = dataplane::from_sockaddr(local).port;
        return {};
    }
    void start() { network_.udp_.set_owner(fd_, id); }
    std::uint16_t source_port() const { return source_port_; }

    std::errc send(std::span<const std::uint8_t> message) override {
        auto attempt = [&] {
            ssize_t sent = ::send(fd_, message.data(), message.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
            return sent >= 0 || is_passing(errno) ? std::errc{} : last_error();
        };
        std::errc error = attempt();
        if (error != std::errc{}) attempt(); // it may be an earlier datagram's, and kept this one back
        return error;
    }

    void close() override {
        if (fd_ >= 0) network_.udp_.give_back(std::exchange(fd_, -1), family_);
    }

    bool is_tcp() const override { return false; }

    void receive() {
        for (unsigned i = 0; i < datagrams_per_wake; ++i) {
            sockaddr_storage from{};
            socklen_t from_size = sizeof from;
            auto& room = network_.datagram_;
            ssize_t size = ::recvfrom(fd_, room.data(), room.size(), MSG_DONTWAIT | MSG_TRUNC,
                                      reinterpret_cast<sockaddr*>(&from), &from_size);
            if (size < 0 && is_passing(errno)) return;
            if (size < 0) return report(last_error());
            if (dataplane::from_sockaddr(from) != remote_) {
                ++network_.counters_.foreign;
                continue;
            }
            if (std::size_t(size) > room.size()) {
                ++network_.counters_.oversized;
                cache::store_u16(&room[2], cache::load_u16(&room[2]) | dns::truncated);
            }
            deliver({room.data(), std::min(std::size_t(size), room.size())});
            if (closed_) return;
        }
    }

  private:
    int fd_ = -1, family_ = AF_UNSPEC;
    dataplane::Endpoint remote_;
    std::uint16_t source_port_ = 0;
};

class AsioNetwork::TcpLink final : public Link {
  public:
    TcpLink(AsioNetwork& network, NetworkHandler& handler, std::uint64_t token)
        : Link(network, handler, token), socket_(network.context_) {}

    std::errc open(const dataplane::Endpoint& remote) {
        bool v4 = remote.address.is_v4();
        asio::error_code error;
        socket_.open(v4 ? asio::ip::tcp::v4() : asio::ip::tcp::v6(), error);
        if (error) return std::errc(error.value());
        sockaddr_storage peer{};
        socklen_t peer_size = dataplane::to_sockaddr(remote, peer);
        peer_.resize(peer_size);
        std::memcpy(peer_.data(), &peer, peer_size);
        return {};
    }

    void start() {
        socket_.async_connect(peer_, [this, self = shared_from_this()](asio::error_code error) {
            if (closed_) return;
            if (error) return report(std::errc(error.value()));
            connected_ = true;
            write();
            read_length();
        });
    }

    std::errc send(std::span<const std::uint8_t> message) override {
        if (message.size() > 0xffff) return std::errc::message_size;
        std::vector<std::uint8_t> framed(2 + message.size());
        cache::store_u16(framed.data(), std::uint16_t(message.size()));
        std::memcpy(framed.data() + 2, message.data(), message.size());
        outgoing_.push_back(std::move(framed));
        if (connected_ && outgoing_.size() == 1) write();
        return {};
    }

    void close() override {
        asio::error_code ignored;
        socket_.close(ignored);
    }

    bool is_tcp() const override { return true; }

  private:
    void write() {
        if (outgoing_.empty()) return;
        asio::async_write(socket_, asio::buffer(outgoing_.front()),
                          [this, self = shared_from_this()](asio::error_code error, std::size_t) {
                              // A connection that broke is reported by the read that always waits on it.
                              if (closed_ || error) return;
                              outgoing_.pop_front();
                              write();
                          });
    }

    void read_length() {
        asio::async_read(socket_, asio::buffer(length_),
                         [this, self = shared_from_this()](asio::error_code error, std::size_t) {
                             if (closed_) return;
                             if (error) return report(std::errc::connection_reset);
                             incoming_.resize(cache::load_u16(length_.data()));
                             read_message();
                         });
    }

    void read_message() {
        asio::async_read(socket_, asio::buffer(incoming_),
                         [this, self = shared_from_this()](asio::error_code error, std::size_t) {
                             if (closed_) return;
                             if (error) return report(std::errc::connection_reset);
                             deliver(incoming_);
                             if (!closed_) read_length();
                         });
    }

    asio::ip::tcp::socket socket_;
    asio::ip::tcp::endpoint peer_;
    bool connected_ = false;
    std::deque<std::vector<std::uint8_t>> outgoing_; ///< framed; the first is being written once connected
    std::array<std::uint8_t, 2> length_;
    std::vector<std::uint8_t> incoming_;
};

AsioNetwork::AsioNetwork(asio::io_context& context, AsioNetworkLimits limits)
    : context_(context), limits_(limits), seats_(limits.sockets), readable_(context, udp_.epoll_set()) {
    wait();
    for (std::uint32_t index = limits.sockets; index-- > 0;) free_.push_back(index);
}

AsioNetwork::~AsioNetwork() {
    for (Seat& seat : seats_) {
        if (!seat.link) continue;
        seat.link->forget();
        seat.link->close();
    }
    for (const auto& link : closing_) link->close();
}

tl::expected<Network::Bound, std::errc> AsioNetwork::open_udp(const dataplane::Endpoint& remote,
                                                              NetworkHandler& handler, std::uint64_t token,
                                                              unsigned) {
    if (free_.empty()) return refused(std::errc::too_many_files_open);
    auto link = std::make_shared<UdpLink>(*this, handler, token);
    if (auto error = link->open(remote); error != std::errc{}) return refused(error);
    Socket id = keep(link);
    link->start();
    return Bound{id, link->source_port()};
}

/// The epoll set is itself readable when one of its sockets is.
void AsioNetwork::wait() {
    readable_.async_wait(asio::posix::descriptor_base::wait_read,
                         [self = std::weak_ptr(self_)](asio::error_code error) {
                             auto network = self.lock();
                             if (network && !error) (*network)->receive();
                         });
}

void AsioNetwork::receive() {
    std::array<epoll_event, sockets_per_wake> ready;
    int count = epoll_wait(readable_.native_handle(), ready.data(), int(ready.size()), 0);
    for (int i = 0; i < count; ++i) {
        Seat* seat =
            find(udp_.owner_of_readable(ready[std::size_t(i)].data.fd)); // null: a message before closed it
        if (!seat) continue;
        auto link = seat->link; // it may be closed while it is delivering
        static_cast<UdpLink&>(*link).receive();
    }
    wait();
}

tl::expected<Socket, std::errc> AsioNetwork::open_tcp(const dataplane::Endpoint& remote,
                                                      NetworkHandler& handler, std::uint64_t token) {
    if (free_.empty() || tcp_open_ == limits_.tcp_connections) return refused(std::errc::too_many_files_open);
    auto link = std::make_shared<TcpLink>(*this, handler, token);
    if (auto error = link->open(remote); error != std::errc{}) return refused(error);
    link->start();
    ++tcp_open_;
    return keep(std::move(link));
}

/// Counts what a bound stopped. The kernel's two bounds on descriptors are one to our callers.
tl::unexpected<std::errc> AsioNetwork::refused(std::errc error) {
    if (error == std::errc::too_many_files_open_in_system) error = std::errc::too_many_files_open;
    counters_.refused += error == std::errc::too_many_files_open;
    return tl::make_unexpected(error);
}

Socket AsioNetwork::keep(std::shared_ptr<Link> link) {
    std::uint32_t index = free_.back();
    free_.pop_back();
    // With those in use, no more descriptors than the bound says.
    udp_.keep_idle(free_.size() - std::min(free_.size(), closing_.size()));
    Seat& seat = seats_[index];
    if (++seat.serial == 0) ++seat.serial; // 0 would be nobody's
    link->id = Socket(seat.serial) << 32 | index;
    seat.link = std::move(link);
    return seat.link->id;
}

std::errc AsioNetwork::send(Socket socket, std::span<const std::uint8_t> message) {
    Seat* seat = find(socket);
    return seat ? seat->link->send(message) : std::errc::not_connected;
}

void AsioNetwork::close(Socket socket) {
    Seat* seat = find(socket);
    if (!seat) return;
    auto link = std::move(seat->link);
    tcp_open_ -= link->is_tcp();
    free_.push_back(std::uint32_t(socket));
    link->forget();
    if (closes_left_ == limits::closes_per_turn) {
        asio::post(context_, [self = std::weak_ptr(self_)] {
            if (auto network = self.lock()) (*network)->go_on_closing();
        });
    }
    if (closes_left_ == 0) return closing_.push_back(std::move(link));
    --closes_left_;
    link->close();
}

/// In the loop's next turn: a flush of everything may have forgotten thousands of sockets at once.
void AsioNetwork::go_on_closing() {
    closes_left_ = limits::closes_per_turn;
    for (; closes_left_ > 0 && !closing_.empty(); --closes_left_) {
        closing_.front()->close();
        closing_.pop_front();
    }
    if (closes_left_ == limits::closes_per_turn) return;
    asio::post(context_, [self = std::weak_ptr(self_)] {
        if (auto network = self.lock()) (*network)->go_on_closing();
    });
}

AsioNetwork::Seat* AsioNetwork::find(Socket socket) {
    auto index = std::uint32_t(socket);
    if (index >= seats_.size() || seats_[index].serial != socket >> 32 || !seats_[index].link) return nullptr;
    return &seats_[index];
}

} // namespace millrace::control
