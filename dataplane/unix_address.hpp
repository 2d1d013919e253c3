// The address of a Unix socket, from its path. Threads: pure.
#pragma once

#include <cstddef>
#include <optional>
#include <string_view>

#include <sys/socket.h>
#include <sys/un.h>

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

} // namespace millrace::dataplane
