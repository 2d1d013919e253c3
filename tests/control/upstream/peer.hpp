// A peer of plain kernel sockets.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "dataplane/address.hpp"
#include "dataplane/descriptor.hpp"

namespace millrace::control {

using Octets = std::vector<std::uint8_t>;

/// A plain blocking socket on a loopback address, with a timeout so that a failing test ends.
class Peer {
  public:
    Peer(int type, const char* address) : fd_(::socket(address[0] == ':' ? AF_INET6 : AF_INET, type, 0)) {
        sockaddr_storage storage{};
        socklen_t size = dataplane::to_sockaddr({*dataplane::parse_address(address), 0}, storage);
        EXPECT_EQ(::bind(fd_.get(), reinterpret_cast<sockaddr*>(&storage), size), 0);
        if (type == SOCK_STREAM) ::listen(fd_.get(), 8);
        timeval limit{5, 0};
        ::setsockopt(fd_.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
        socklen_t room = sizeof storage;
        ::getsockname(fd_.get(), reinterpret_cast<sockaddr*>(&storage), &room);
        endpoint = dataplane::from_sockaddr(storage);
    }
    explicit Peer(int accepted) : fd_(accepted) {}

    Octets receive(dataplane::Endpoint* from = nullptr) {
        Octets room(65536);
        sockaddr_storage storage{};
        socklen_t size = sizeof storage;
        ssize_t got =
            ::recvfrom(fd_.get(), room.data(), room.size(), 0, reinterpret_cast<sockaddr*>(&storage), &size);
        EXPECT_GE(got, 0);
        if (from) *from = dataplane::from_sockaddr(storage);
        room.resize(std::size_t(std::max<ssize_t>(got, 0)));
        return room;
    }
    void send(const Octets& message, const dataplane::Endpoint& to) {
        sockaddr_storage storage{};
        socklen_t size = dataplane::to_sockaddr(to, storage);
        EXPECT_EQ(::sendto(fd_.get(), message.data(), message.size(), 0,
                           reinterpret_cast<sockaddr*>(&storage), size),
                  ssize_t(message.size()));
    }
    void write(const Octets& bytes) {
        EXPECT_EQ(::write(fd_.get(), bytes.data(), bytes.size()), ssize_t(bytes.size()));
    }
    int accept() { return ::accept(fd_.get(), nullptr, nullptr); }

    dataplane::Endpoint endpoint;

  private:
    dataplane::Descriptor fd_;
};

} // namespace millrace::control
