#include "control/daemon/predecessor.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <thread>

#include <fmt/format.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <nlohmann/json.hpp>
#include <poll.h>
#include <spdlog/spdlog.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "control/command/client.hpp"
#include "control/daemon/signal_patience.hpp"
#include "control/limits.hpp"
#include "dataplane/unix_address.hpp"

namespace millrace::control {

using dataplane::Descriptor;
using dataplane::Endpoint;

namespace {

constexpr Time save_patience = 5min, leave_patience = 30s, answer_patience = 10s;

std::string failure(const char* what) {
    return fmt::format("cannot take over: {}: {}", what, std::strerror(errno));
}

int option_of(int socket, int name) {
    int value = -1;
    socklen_t size = sizeof value;
    getsockopt(socket, SOL_SOCKET, name, &value, &size);
    return value;
}

/// Bound there, and of that type. Not one of a Unix socket, whose address is no Endpoint.
bool is_at(int socket, int type, const Endpoint& at) {
    sockaddr_storage address{};
    socklen_t size = sizeof address;
    return option_of(socket, SO_TYPE) == type &&
           getsockname(socket, reinterpret_cast<sockaddr*>(&address), &size) == 0 &&
           (address.ss_family == AF_INET || address.ss_family == AF_INET6) &&
           dataplane::from_sockaddr(address) == at;
}

bool is_at(int socket, const std::string& path) {
    sockaddr_un address{};
    socklen_t size = sizeof address - 1; // a zero stays behind the path
    return option_of(socket, SO_TYPE) == SOCK_STREAM &&
           getsockname(socket, reinterpret_cast<sockaddr*>(&address), &size) == 0 &&
           address.sun_family == AF_UNIX && path == address.sun_path;
}

/// A listening socket, whose file is its maker's alone.
tl::expected<Descriptor, std::string> listen_at(const std::string& path) {
    auto address = dataplane::unix_address(path);
    if (!address) return tl::unexpected("cannot take over: " + path + " is too long for a socket");
    Descriptor socket(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    ::unlink(path.c_str()); // of a successor that was killed
    if (!socket || ::fchmod(socket.get(), S_IRUSR | S_IWUSR) < 0 ||
        ::bind(socket.get(), address->get(), address->size) < 0 || ::listen(socket.get(), 1) < 0)
        return tl::unexpected(failure(path.c_str()));
    return socket;
}

/// Whether there is something to read.
bool has_more(int descriptor, Time patience) {
    for (Time end = boot_time() + patience;;) {
        pollfd wait{descriptor, POLLIN, 0};
        int found = ::poll(&wait, 1, int(std::max<Time>(end - boot_time(), Time{}) / 1ms));
        if (found >= 0 || errno != EINTR) return found > 0; // a signal is for whoever asks for it later
    }
}

/// Descriptors, and in `words` what came with them.
tl::expected<std::vector<Descriptor>, std::string> receive_all(int channel, std::string& words) {
    std::array<char, 64> word;
    iovec text{word.data(), word.size()};
    alignas(cmsghdr) std::array<char, CMSG_SPACE(limits::handed_descriptors * sizeof(int))> room{};
    msghdr message{};
    message.msg_iov = &text;
    message.msg_iovlen = 1;
    message.msg_control = room.data();
    message.msg_controllen = room.size();
    std::vector<Descriptor> all;
    ssize_t got = ::recvmsg(channel, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
    cmsghdr* rights = got > 0 ? CMSG_FIRSTHDR(&message) : nullptr;
    if (!rights || rights->cmsg_type != SCM_RIGHTS) return tl::unexpected(failure("no sockets came"));
    for (std::size_t at = 0; at + sizeof(int) <= rights->cmsg_len - CMSG_LEN(0); at += sizeof(int)) {
        int number;
        std::memcpy(&number, CMSG_DATA(rights) + at, sizeof number);
        all.emplace_back(number);
    }
    words.assign(word.data(), std::size_t(got));
    if (message.msg_flags & MSG_CTRUNC)
        return tl::unexpected(std::string("cannot take over: not all sockets came; LimitNOFILE is too low"));
    return all;
}

} // namespace

template <class Is>
Descriptor Handed::take(Is is) {
    auto found = std::ranges::find_if(all_, [&](const Descriptor& one) { return one && is(one.get()); });
    return found == all_.end() ? Descriptor() : std::move(*found);
}

Descriptor Handed::take_udp(const Endpoint& at) {
    return take([&](int socket) { return is_at(socket, SOCK_DGRAM, at); });
}

Descriptor Handed::take_tcp(const Endpoint& at) {
    return take(
        [&](int socket) { return is_at(socket, SOCK_STREAM, at) && option_of(socket, SO_ACCEPTCONN) == 1; });
}

Descriptor Handed::take_unix(const std::string& path) {
    return take([&](int socket) { return is_at(socket, path); });
}

dataplane::Eal::Taps Handed::take_taps() {
    dataplane::Eal::Taps taps;
    for (Descriptor& one : all_) {
        ifreq request{};
        if (one && ::ioctl(one.get(), TUNGETIFF, &request) == 0) taps[request.ifr_name] = std::move(one);
    }
    return taps;
}

tl::expected<std::optional<Predecessor>, std::string> Predecessor::find(const std::string& control_socket,
                                                                        Handed& handed) {
    // Whatever else may be wrong, whoever asks there sees.
    if (dataplane::is_socket_dead(
            dataplane::try_to_connect(dataplane::unix_address(control_socket), SOCK_STREAM)))
        return std::nullopt;
    auto patience = std::chrono::duration_cast<std::chrono::seconds>(answer_patience);
    std::string path = control_socket + ".successor";
    auto listener = listen_at(path);
    if (!listener) return tl::unexpected(listener.error());
    auto reply = request(control_socket, nlohmann::json({"hand-over", path}).dump(), patience);
    ::unlink(path.c_str());
    if (!reply) return tl::unexpected("cannot take over: " + reply.error());
    if (reply->contains("error")) return tl::unexpected("cannot take over: " + reply->value("error", ""));
    Descriptor channel(::accept4(listener->get(), nullptr, nullptr, SOCK_CLOEXEC));
    if (!channel) return tl::unexpected(failure("nobody connects"));
    if (!has_more(channel.get(), answer_patience)) return tl::unexpected(failure("no sockets came"));
    Predecessor found(std::move(channel));
    std::string words;
    auto all = receive_all(found.channel_.get(), words);
    if (!all) return tl::unexpected(all.error());
    handed = Handed(std::move(*all));
    std::string mode = words.substr(std::min(words.find(' '), words.size() - 1) + 1);
    if (mode != "none") found.iova_mode_ = mode;
    auto health = request(control_socket, "health", patience); // which nobody changes any more
    if (!health) return tl::unexpected("cannot take over: " + health.error());
    found.fault_ = health->value("reason", "");
    return found;
}

bool Predecessor::is_there(const std::string& control_socket) {
    return dataplane::is_socket_served(
        dataplane::try_to_connect(dataplane::unix_address(control_socket), SOCK_STREAM));
}

Predecessor::Result Predecessor::save_cache() {
    return ask("cache", save_patience);
}

Predecessor::Result Predecessor::leave_ports(std::size_t ports) {
    Result left = ask("ports", leave_patience + start_patience(ports));
    if (left || !has_hung_up_) return left;
    spdlog::warn("the daemon that was there has ended");
    std::this_thread::sleep_for(dataplane::limits::xdp_settling);
    return {};
}

void Predecessor::end() {
    constexpr std::string_view word = "over";
    [[maybe_unused]] ssize_t sent = ::send(channel_.get(), word.data(), word.size(), MSG_NOSIGNAL);
}

Predecessor::Result Predecessor::ask(const std::string& word, Time patience) {
    has_hung_up_ = ::send(channel_.get(), word.data(), word.size(), MSG_NOSIGNAL) < 0;
    for (Time end = boot_time() + patience; !has_hung_up_;) {
        if (!has_more(channel_.get(), std::max<Time>(end - boot_time(), Time{})))
            return tl::unexpected(
                fmt::format("cannot take over: no answer to \"{}\" in {} s", word, patience / 1s));
        std::array<char, 4096> text;
        ssize_t got = ::recv(channel_.get(), text.data(), text.size(), 0);
        has_hung_up_ = got <= 0;
        std::string_view answer(text.data(), std::size_t(std::max<ssize_t>(got, 0)));
        if (answer == "done " + word) return {};
        std::string failed = "failed " + word + " "; // what answers another word is none
        if (answer.starts_with(failed)) return tl::unexpected(std::string(answer.substr(failed.size())));
    }
    return tl::unexpected(std::string("cannot take over: the daemon that is there has hung up"));
}

} // namespace millrace::control
