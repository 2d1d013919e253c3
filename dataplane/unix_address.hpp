// The address of a Unix socket, from its path, and who is there. Threads: any.
#pragma once

#include <cerrno>
#include <cstddef>
#include <optional>
#include <string_view>

#include <sys/socket.h>
#include <sys/un.h>

#include "dataplane/descriptor.hpp"

namespace millrace::dataplane {

struct UnixAddress {
    sockaddr_un name{};
    socklen_t size = sizeof name;

    const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&name); }
};

/// None: the path is empty, or too long for a socket (unix(7)).
inline std::optional<UnixAddress> unix_address(std::string_view path) {
    UnixAddress address;
    if (path.empty() || path.size() >= sizeof address.name.sun_path) return std::nullopt;
    address.name.sun_family = AF_UNIX;
    path.copy(address.name.sun_path, path.size());
    return address;
}

/// ... where "@name" is one of the abstract namespace, which has no file.
inline std::optional<UnixAddress> unix_or_abstract_address(std::string_view path) {
    auto address = unix_address(path);
    if (!address || !path.starts_with('@')) return address;
    address->name.sun_path[0] = 0;
    address->size = socklen_t(offsetof(sockaddr_un, sun_path) + path.size());
    return address;
}

/// What connecting to a socket of that type (SOCK_STREAM, ...) ends with: 0, or the error's number.
inline int try_to_connect(const std::optional<UnixAddress>& address, int type) {
    if (!address) return EINVAL;
    Descriptor socket(::socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    return socket && ::connect(socket.get(), address->get(), address->size) == 0 ? 0 : errno;
}

/// By that: somebody listens, perhaps with more who wait than there is room for.
inline bool is_socket_served(int error) {
    return error == 0 || error == EAGAIN;
}

/// By that: there is no socket, or that of a dead process.
inline bool is_socket_dead(int error) {
    return error == ENOENT || error == ECONNREFUSED;
}

/// The process at a connection's other end, and whose it is. It is nobody's where there is none.
inline ucred peer_of(int connection) {
    ucred peer{};
    socklen_t size = sizeof peer;
    if (::getsockopt(connection, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0) return {0, uid_t(-1), gid_t(-1)};
    return peer;
}

} // namespace millrace::dataplane
