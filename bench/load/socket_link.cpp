#include <cerrno>
#include <cstring>
#include <vector>

#include <poll.h>
#include <sys/socket.h>

#include "bench/load/link.hpp"
#include "dataplane/descriptor.hpp"

namespace millrace::bench {
namespace {

constexpr int buffer_octets = 4 << 20; // more than a window of answers, so that none is lost on our side

class SocketLink final : public Link {
  public:
    explicit SocketLink(dataplane::Descriptor socket) : socket_(std::move(socket)) {
        for (std::size_t i = 0; i < burst; ++i) {
            in_vectors_[i] = {buffers_[i].data(), buffers_[i].size()};
            in_[i].msg_hdr.msg_iov = &in_vectors_[i];
            in_[i].msg_hdr.msg_iovlen = 1;
            out_[i].msg_hdr.msg_iov = &out_vectors_[i];
            out_[i].msg_hdr.msg_iovlen = 1;
        }
    }

    unsigned send(std::span<const Message> messages) override {
        for (std::size_t i = 0; i < messages.size(); ++i)
            out_vectors_[i] = {const_cast<std::uint8_t*>(messages[i].data()), messages[i].size()};
        int sent = sendmmsg(socket_.get(), out_.data(), unsigned(messages.size()), 0);
        return sent < 0 ? 0 : unsigned(sent);
    }

    unsigned receive(Messages& messages) override {
        int count = recvmmsg(socket_.get(), in_.data(), burst, MSG_DONTWAIT, nullptr);
        for (int i = 0; i < count; ++i)
            messages[unsigned(i)] = {buffers_[unsigned(i)].data(), in_[unsigned(i)].msg_len};
        return count < 0 ? 0 : unsigned(count);
    }

    void sleep(unsigned microseconds) override {
        pollfd wanted{socket_.get(), POLLIN, 0};
        timespec time{0, long(microseconds) * 1000};
        ppoll(&wanted, 1, &time, nullptr);
    }

  private:
    dataplane::Descriptor socket_;
    std::array<std::array<std::uint8_t, 2048>, burst> buffers_;
    std::array<iovec, burst> in_vectors_{}, out_vectors_{};
    std::array<mmsghdr, burst> in_{}, out_{};
};

} // namespace

LinkResult open_socket(const dataplane::Endpoint& server) {
    sockaddr_storage address{};
    socklen_t size = to_sockaddr(server, address);
    dataplane::Descriptor made(socket(address.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    // Past the system's bound where we are root, up to it otherwise.
    if (setsockopt(made.get(), SOL_SOCKET, SO_RCVBUFFORCE, &buffer_octets, sizeof buffer_octets) != 0)
        setsockopt(made.get(), SOL_SOCKET, SO_RCVBUF, &buffer_octets, sizeof buffer_octets);
    if (!made || connect(made.get(), reinterpret_cast<sockaddr*>(&address), size) != 0)
        return tl::unexpected("no socket to " + to_string(server) + ": " + std::strerror(errno));
    return std::make_unique<SocketLink>(std::move(made));
}

} // namespace millrace::bench
