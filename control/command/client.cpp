#include "control/command/client.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <sys/socket.h>
#include <sys/time.h>

#include "control/command/protocol.hpp"
#include "dataplane/descriptor.hpp"
#include "dataplane/unix_address.hpp"

namespace millrace::control {

namespace {

using Text = tl::expected<std::string, std::string>;

std::string no_daemon(const std::string& path, int error) {
    const char* advice = error == EACCES ? "run millracectl as root or as a member of the socket's group"
                                         : "is millraced running, and does --socket name its control socket?";
    return fmt::format("no daemon answers at {} ({}): {}", path, std::strerror(error), advice);
}

Text read_line(int fd, const std::string& path) {
    std::vector<char> part(65536);
    std::string text;
    while (text.size() <= command_limits::reply_octets) {
        ssize_t got = ::recv(fd, part.data(), part.size(), 0);
        // ECONNRESET is said once, of our unread request; what the daemon had sent before can still be read.
        if (got < 0 && (errno == EINTR || errno == ECONNRESET)) continue;
        if (got < 0)
            return tl::unexpected(
                fmt::format("no reply from the daemon at {}: {}", path, std::strerror(errno)));
        if (got == 0)
            return tl::unexpected(fmt::format("the daemon at {} hung up without a whole reply", path));
        text.append(part.data(), std::size_t(got));
        if (text.back() == '\n') return text;
    }
    return tl::unexpected(fmt::format("the reply of {} is too long", path));
}

bool send_line(int fd, std::string line) {
    line += '\n';
    for (std::size_t at = 0; at < line.size();) {
        ssize_t sent = ::send(fd, line.data() + at, line.size() - at, MSG_NOSIGNAL);
        if (sent < 0 && errno != EINTR) return false;
        at += std::size_t(std::max<ssize_t>(sent, 0));
    }
    return true;
}

Text exchange(int fd, const std::string& path, std::string_view words, std::chrono::seconds patience) {
    auto address = dataplane::unix_address(path);
    if (!address) return tl::unexpected(no_daemon(path, path.empty() ? ENOENT : ENAMETOOLONG));
    timeval limit{patience.count(), 0};
    ::setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    ::setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    if (::connect(fd, address->get(), address->size) < 0) {
        return tl::unexpected(no_daemon(path, errno));
    }
    // A daemon that refuses the connection has said why before it hung up: read on after EPIPE.
    if (!send_line(fd, std::string(words)) && errno != EPIPE) {
        return tl::unexpected(fmt::format("cannot send to the daemon at {}: {}", path, std::strerror(errno)));
    }
    return read_line(fd, path);
}

} // namespace

tl::expected<nlohmann::json, std::string> request(const std::string& path, std::string_view words,
                                                  std::chrono::seconds patience) {
    dataplane::Descriptor socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (!socket) return tl::unexpected(no_daemon(path, errno));
    Text text = exchange(socket.get(), path, words, patience);
    if (!text) return tl::unexpected(text.error());
    auto object = nlohmann::json::parse(*text, nullptr, false);
    if (!object.is_object()) return tl::unexpected(fmt::format("the reply of {} is not a JSON object", path));
    return object;
}

} // namespace millrace::control
