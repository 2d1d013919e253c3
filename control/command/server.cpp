#include "control/command/server.hpp"

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <string_view>
#include <system_error>

#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "control/command/connection.hpp"

namespace millrace::control {

namespace {

constexpr mode_t socket_mode = 0660;
constexpr std::chrono::milliseconds descriptor_pause{100}; ///< until accept is tried again after EMFILE

std::string reason() {
    return std::strerror(errno);
}

std::string make_directory(const std::filesystem::path& directory) {
    std::error_code error;
    if (std::filesystem::create_directories(directory, error)) {
        std::filesystem::permissions(directory, std::filesystem::perms(0755), error);
    }
    return error ? error.message() : std::string();
}

/// Whether the socket file that is in the way may be removed; otherwise a sentence.
tl::expected<void, std::string> check_dead(const sockaddr_un& address) {
    struct stat status {};
    if (::lstat(address.sun_path, &status) == 0 && !S_ISSOCK(status.st_mode)) {
        return tl::unexpected(std::string("there is a file in its place that is not a socket"));
    }
    int fd = ::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) return tl::unexpected(reason());
    int result = ::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address);
    int error = errno;
    ::close(fd);
    if (result < 0 && (error == ECONNREFUSED || error == ENOENT)) return {};
    if (result == 0 || error == EAGAIN) {
        return tl::unexpected(std::string("another millraced is listening there"));
    }
    return tl::unexpected(std::string(std::strerror(error)));
}

tl::expected<void, std::string> bind_and_listen(int fd, const sockaddr_un& address) {
    auto bind = [&] { return ::bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address); };
    // Linux gives the file the socket's own mode less the umask: it is never open wider than it ends up.
    if (::fchmod(fd, socket_mode) < 0) return tl::unexpected(reason());
    if (bind() < 0) {
        if (errno != EADDRINUSE) return tl::unexpected(reason());
        if (auto dead = check_dead(address); !dead) return dead;
        ::unlink(address.sun_path);
        if (bind() < 0) return tl::unexpected(reason());
    }
    if (::chmod(address.sun_path, socket_mode) < 0) return tl::unexpected(reason());
    if (::listen(fd, int(CommandServer::most_connections)) < 0) return tl::unexpected(reason());
    return {};
}

} // namespace

CommandServer::CommandServer(asio::io_context& io, CommandTimes times)
    : io_(io), times_(times), listener_(io), pause_(io) {}

CommandServer::~CommandServer() {
    close();
}

tl::expected<void, std::string> CommandServer::open(const std::string& path) {
    auto failed = [&](const std::string& why) {
        return tl::unexpected(fmt::format("cannot open the control socket {}: {}", path, why));
    };
    close();
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (path.empty() || path.size() >= sizeof address.sun_path)
        return failed("the path is empty or too long");
    std::memcpy(address.sun_path, path.data(), path.size());
    if (auto why = make_directory(std::filesystem::path(path).parent_path()); !why.empty())
        return failed(why);
    int fd = ::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) return failed(reason());
    struct stat status {};
    auto bound = bind_and_listen(fd, address);
    if (bound && ::lstat(path.c_str(), &status) < 0) bound = tl::unexpected(reason());
    asio::error_code error;
    if (bound && listener_.assign(fd, error)) bound = tl::unexpected(error.message());
    if (!bound) {
        ::close(fd);
        return failed(bound.error());
    }
    open_ = std::make_shared<bool>(true);
    path_ = path;
    device_ = status.st_dev;
    inode_ = status.st_ino;
    wait_for_client();
    return {};
}

void CommandServer::close() {
    open_.reset();
    while (!connections_.empty()) (*connections_.begin())->close();
    pause_.cancel();
    asio::error_code ignored;
    listener_.close(ignored);
    struct stat status {};
    bool ours = !path_.empty() && ::lstat(path_.c_str(), &status) == 0 && status.st_dev == device_ &&
                status.st_ino == inode_;
    if (ours) ::unlink(path_.c_str());
    path_.clear();
}

void CommandServer::wait_for_client() {
    listener_.async_wait(listener_.wait_read, [this, open = std::weak_ptr(open_)](asio::error_code error) {
        if (!error && !open.expired()) accept_clients();
    });
}

void CommandServer::accept_clients() {
    for (std::size_t round = 0; round < most_connections; ++round) {
        int fd = ::accept4(listener_.native_handle(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd >= 0) {
            admit(fd);
        } else if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS) {
            return wait_for_descriptors();
        } else if (errno != EINTR && errno != ECONNABORTED) {
            break;
        }
    }
    wait_for_client();
}

void CommandServer::admit(int fd) {
    if (connections_.size() >= most_connections) {
        constexpr std::string_view full = R"(.{"error":"the control socket has too many connections"})";
        [[maybe_unused]] ssize_t sent = ::send(fd, full.data(), full.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
        ::close(fd);
        return;
    }
    auto connection = std::make_shared<CommandConnection>(*this);
    if (!connection->start(fd)) {
        ::close(fd);
        return;
    }
    connections_.insert(std::move(connection));
}

void CommandServer::wait_for_descriptors() {
    // The listener stays readable meanwhile: waiting for it would spin.
    pause_.expires_after(descriptor_pause);
    pause_.async_wait([this, open = std::weak_ptr(open_)](asio::error_code error) {
        if (!error && !open.expired()) wait_for_client();
    });
}

} // namespace millrace::control
