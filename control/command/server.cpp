#include "control/command/server.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <string_view>
#include <system_error>

#include <fmt/format.h>
#include <grp.h>
#include <nlohmann/json.hpp>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "control/command/connection.hpp"
#include "dataplane/unix_address.hpp"

namespace millrace::control {

using dataplane::Descriptor;
using dataplane::UnixAddress;
using group_entry = struct group;

namespace {

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
tl::expected<void, std::string> check_dead(const UnixAddress& address) {
    struct stat status {};
    if (::lstat(address.name.sun_path, &status) == 0 && !S_ISSOCK(status.st_mode)) {
        return tl::unexpected(std::string("there is a file in its place that is not a socket"));
    }
    int error = dataplane::try_to_connect(address, SOCK_STREAM);
    if (dataplane::is_socket_served(error))
        return tl::unexpected(std::string("another millraced is listening there"));
    if (dataplane::is_socket_dead(error)) return {};
    return tl::unexpected(std::string(std::strerror(error)));
}

/// The group's number; none: a sentence.
tl::expected<gid_t, std::string> number_of(const std::string& group) {
    if (group.empty()) return gid_t(-1); // chown(2): as it is
    group_entry found{}, *result = nullptr;
    std::array<char, 16384> room;
    int error = ::getgrnam_r(group.c_str(), &found, room.data(), room.size(), &result);
    if (error != 0)
        return tl::unexpected("the group " + group + " cannot be looked up: " + std::strerror(error));
    if (!result)
        return tl::unexpected("this machine has no group " + group + "; make it with `groupadd -r " + group +
                              "`");
    return found.gr_gid;
}

tl::expected<void, std::string> give_access(const UnixAddress& address, mode_t mode, gid_t group) {
    if (::chown(address.name.sun_path, uid_t(-1), group) < 0)
        return tl::unexpected("its group cannot be set (is millraced's user a member?): " + reason());
    if (::chmod(address.name.sun_path, mode) < 0) return tl::unexpected(reason());
    return {};
}

tl::expected<void, std::string> bind_and_listen(int fd, const UnixAddress& address, mode_t mode,
                                                gid_t group) {
    auto bind = [&] { return ::bind(fd, address.get(), address.size); };
    // Linux gives the file the socket's own mode less the umask: it
    // is never open wider than it ends up, nor to another group.
    if (::fchmod(fd, mode & S_IRWXU) < 0) return tl::unexpected(reason());
    if (bind() < 0) {
        if (errno != EADDRINUSE) return tl::unexpected(reason());
        if (auto dead = check_dead(address); !dead) return dead;
        ::unlink(address.name.sun_path);
        if (bind() < 0) return tl::unexpected(reason());
    }
    if (auto done = give_access(address, mode, group); !done) return done;
    if (::listen(fd, int(CommandServer::most_connections)) < 0) return tl::unexpected(reason());
    return {};
}

} // namespace

CommandServer::CommandServer(asio::io_context& io, CommandTimes times)
    : io_(io), times_(times), listener_(io), pause_(io) {}

CommandServer::~CommandServer() {
    close();
}

void CommandServer::on_plain(const std::string& verb, std::function<void(Responder)> act, Effect effect) {
    auto handler = [verb, act = std::move(act)](const std::vector<std::string>& args,
                                                const Responder& responder) {
        args.empty() ? act(responder) : responder.fail(verb + " takes no arguments");
    };
    on(verb, std::move(handler), effect);
}

void CommandServer::on_look(const std::string& verb, std::function<nlohmann::json()> make) {
    auto show = [make = std::move(make)](const Responder& responder) { responder.respond(make()); };
    on_plain(verb, std::move(show), Effect::look);
}

tl::expected<void, std::string> CommandServer::open(const std::string& path, unsigned mode,
                                                    const std::string& group, Descriptor handed) {
    auto failed = [&](const std::string& why) {
        return tl::unexpected(fmt::format("cannot open the control socket {}: {}", path, why));
    };
    close();
    auto address = dataplane::unix_address(path);
    if (!address) return failed("the path is empty or too long");
    if (auto why = make_directory(std::filesystem::path(path).parent_path()); !why.empty())
        return failed(why);
    auto number = number_of(group);
    if (!number) return failed(number.error());
    struct stat status {};
    if (handed && ::lstat(path.c_str(), &status) < 0) handed = Descriptor(); // its file is gone: of no use
    owns_file_ = !handed;
    Descriptor socket = std::move(handed);
    tl::expected<void, std::string> ready;
    if (socket) {
        ready = give_access(*address, mode, *number);
    } else {
        socket = Descriptor(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
        if (!socket) return failed(reason());
        ready = bind_and_listen(socket.get(), *address, mode, *number);
    }
    if (!ready) return failed(ready.error());
    if (::lstat(path.c_str(), &status) < 0) return failed(reason());
    asio::error_code error;
    if (listener_.assign(socket.get(), error)) return failed(error.message());
    socket.release();
    path_ = path;
    device_ = status.st_dev;
    inode_ = status.st_ino;
    open_ = std::make_shared<bool>(true);
    wait_for_client();
    return {};
}

void CommandServer::stop_listening() {
    open_.reset();
    pause_.cancel();
    asio::error_code ignored;
    listener_.close(ignored);
}

void CommandServer::close() {
    stop_listening();
    while (!connections_.empty()) (*connections_.begin())->close();
    struct stat status {};
    bool ours = owns_file_ && !path_.empty() && ::lstat(path_.c_str(), &status) == 0 &&
                status.st_dev == device_ && status.st_ino == inode_;
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
        Descriptor client(
            ::accept4(listener_.native_handle(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
        if (client) {
            admit(std::move(client));
        } else if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS) {
            return wait_for_descriptors();
        } else if (errno != EINTR && errno != ECONNABORTED) {
            break;
        }
    }
    wait_for_client();
}

bool CommandServer::make_room(const ucred& newcomer) {
    auto held = [this](const ucred& peer) {
        std::pair<long, long> count; // by the user, by the process
        for (const auto& c : connections_) {
            count.first += c->peer().uid == peer.uid;
            count.second += c->peer().pid == peer.pid;
        }
        return count;
    };
    auto by_share = [&](const auto& a, const auto& b) { return held(a->peer()) < held(b->peer()); };
    auto most = *std::ranges::max_element(connections_, by_share); // ends itself: kept until then
    auto [users, processes] = held(most->peer());
    auto [own_users, own_processes] = held(newcomer);
    bool is_same_user = most->peer().uid == newcomer.uid;
    bool gives_way = is_same_user ? processes > std::max(1L, own_processes) : users > std::max(1L, own_users);
    if (gives_way) most->close();
    return gives_way;
}

void CommandServer::admit(Descriptor client) {
    bool is_full = connections_.size() >= most_connections;
    if (is_full && !make_room(dataplane::peer_of(client.get()))) {
        constexpr std::string_view full = "{\"error\":\"the control socket has too many connections\"}\n";
        [[maybe_unused]] ssize_t sent =
            ::send(client.get(), full.data(), full.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
        return;
    }
    auto connection = std::make_shared<CommandConnection>(*this);
    if (connection->start(std::move(client))) connections_.insert(std::move(connection));
}

void CommandServer::wait_for_descriptors() {
    // The listener stays readable meanwhile: waiting for it would spin.
    pause_.expires_after(descriptor_pause);
    pause_.async_wait([this, open = std::weak_ptr(open_)](asio::error_code error) {
        if (!error && !open.expired()) wait_for_client();
    });
}

} // namespace millrace::control
