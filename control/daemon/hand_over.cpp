#include "control/daemon/hand_over.hpp"

#include <array>
#include <cerrno>
#include <cstring>

#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <spdlog/spdlog.h>
#include <sys/socket.h>
#include <unistd.h>

#include "control/limits.hpp"
#include "dataplane/descriptor.hpp"
#include "dataplane/unix_address.hpp"

namespace millrace::control {

using dataplane::Descriptor;
using dataplane::Event;
using dataplane::Verdict;

namespace {

constexpr Time look_interval = 10ms;
constexpr Time longest_wait = 4s;    // for those who wait for an upstream, which has 3 s
constexpr Time longest_rest = 10min; // of a successor that says nothing

std::string reason() {
    return std::strerror(errno);
}

/// Whether the process at the other end may have everything: root, or who we are.
bool is_trusted(int channel) {
    auto user = dataplane::peer_of(channel).uid;
    return user == 0 || user == geteuid();
}

tl::expected<void, std::string> send_all(int channel, std::string words,
                                         const std::vector<int>& descriptors) {
    if (descriptors.size() > limits::handed_descriptors)
        return tl::unexpected(fmt::format("{} sockets are more than can be handed over, which is {}",
                                          descriptors.size(), limits::handed_descriptors));
    iovec text{words.data(), words.size()};
    alignas(cmsghdr) std::array<char, CMSG_SPACE(limits::handed_descriptors * sizeof(int))> room{};
    msghdr message{};
    message.msg_iov = &text;
    message.msg_iovlen = 1;
    message.msg_control = room.data();
    message.msg_controllen = CMSG_SPACE(descriptors.size() * sizeof(int));
    cmsghdr* rights = CMSG_FIRSTHDR(&message);
    *rights = {CMSG_LEN(descriptors.size() * sizeof(int)), SOL_SOCKET, SCM_RIGHTS};
    std::memcpy(CMSG_DATA(rights), descriptors.data(), descriptors.size() * sizeof(int));
    if (::sendmsg(channel, &message, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
        return tl::unexpected("cannot hand sockets over: " + reason());
    return {};
}

} // namespace

HandOver::HandOver(const Parts& parts, Loop& loop, CommandServer& commands, Front front)
    : p_(parts), loop_(loop), commands_(commands), front_(std::move(front)), channel_(parts.io),
      timer_(parts.io) {
    commands.on(
        "hand-over",
        [this](const std::vector<std::string>& args, const Responder& responder) {
            if (args.size() != 1) return responder.fail("usage: hand-over PATH, of a successor's socket");
            if (stage_ != Stage::none) return responder.fail("another process is taking over already");
            auto offered = offer(args[0]);
            offered ? responder.respond(nlohmann::json{{"offered", true}}) : responder.fail(offered.error());
        },
        Effect::look);
}

tl::expected<void, std::string> HandOver::offer(const std::string& path) {
    auto address = dataplane::unix_address(path);
    Descriptor channel(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!address || !channel || ::connect(channel.get(), address->get(), address->size) < 0)
        return tl::unexpected(
            fmt::format("cannot reach {}: {}; a successor runs as the same user as this daemon", path,
                        address ? reason() : "no path"));
    if (!is_trusted(channel.get()))
        return tl::unexpected(path + " is neither root's nor of this daemon's user");
    tl::expected<std::string, std::string> mode = "none";
    if (p_.eal) mode = p_.eal->handed_iova_mode();
    if (!mode) return tl::unexpected(mode.error());
    if (auto sent = send_all(channel.get(), "sockets " + *mode, front_.descriptors()); !sent) return sent;
    asio::error_code error;
    if (channel_.assign(channel.get(), error)) return tl::unexpected(error.message());
    channel.release();
    spdlog::info("another millraced is taking over");
    ++number_;
    commands_.hold("another millraced is taking over; ask that one, in a moment");
    commands_.own_file(false); // should this one be told to end meanwhile
    enter(Stage::offered);
    read();
    return {};
}

void HandOver::read() {
    channel_.async_wait(channel_.wait_read, [this](asio::error_code error) {
        if (error) return;
        std::array<char, 64> word;
        ssize_t got = ::recv(channel_.native_handle(), word.data(), word.size(), MSG_DONTWAIT);
        if (got < 0 && (errno == EAGAIN || errno == EINTR)) return read();
        if (got <= 0) return on_lost();
        on_word({word.data(), std::size_t(got)});
        read();
    });
}

void HandOver::on_word(std::string_view word) {
    bool is_resting = stage_ == Stage::offered || stage_ == Stage::parted;
    if (word == "cache" && is_resting) {
        enter(Stage::saving);
    } else if (word == "ports" && is_resting) {
        leave_ports();
    } else if (word == "over" && is_resting) {
        end();
    } else {
        tell(fmt::format("failed {} not now", word));
    }
}

void HandOver::leave_ports() {
    enter(Stage::leaving);
    if (!p_.eal) return;
    if (auto left = p_.eal->leave(); !left)
        spdlog::warn("{}", left.error()); // then what is on its way is lost
}

void HandOver::end() {
    spdlog::info("taken over; serving those who wait");
    front_.retire();
    commands_.stop_listening();
    p_.store.give_up();
    enter(Stage::ending);
}

/// The successor has ended early.
void HandOver::on_lost() {
    asio::error_code ignored;
    channel_.close(ignored);
    if (stage_ == Stage::ending) return;
    Stage stage = std::exchange(stage_, Stage::none);
    timer_.cancel();
    commands_.own_file(true);
    commands_.release();
    bool is_late = stage == Stage::parting || stage == Stage::settling || stage == Stage::parted;
    if (is_late && p_.eal) return lose_ports();
    spdlog::error("the process that was taking over has ended; this one goes on");
    if (!p_.eal || stage != Stage::leaving) return;
    if (auto served = p_.eal->serve(); !served) spdlog::error("{}", served.error());
}

void HandOver::lose_ports() {
    bool has_sockets = false;
    for (std::size_t i = 0; i < p_.workers.size(); ++i) has_sockets |= !p_.workers.view(i).lcore;
    std::string_view what = "the process that was taking over has ended with the ports";
    if (!has_sockets) return loop_.fail(std::string(what));
    p_.ports.note_lost();
    spdlog::error("{}; kernel sockets go on: start it again, or restart this one, to have them back", what);
}

void HandOver::tell(const std::string& words) {
    if (::send(channel_.native_handle(), words.data(), words.size(), MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
        spdlog::warn("cannot tell the successor: {}", reason()); // which is missed when it reads on
}

void HandOver::enter(Stage stage) {
    stage_ = stage;
    entered_ = boot_time();
    received_ = ~std::uint64_t(0);
    wait();
}

void HandOver::wait() {
    timer_.expires_after(look_interval);
    timer_.async_wait([this](asio::error_code error) {
        if (!error) look();
    });
}

void HandOver::look() {
    bool is_over = is_silent() || boot_time() - entered_ > longest_wait;
    switch (stage_) {
    case Stage::saving: return p_.flushes.is_waiting() ? wait() : save_cache();
    case Stage::leaving:
        if (!is_over) break;
        p_.ports.give_up();
        return enter(Stage::parting);
    case Stage::parting:
        if (!p_.ports.is_none_left()) break;
        if (p_.eal) p_.eal->let_go();
        return enter(Stage::settling);
    case Stage::settling:
        if (p_.eal && boot_time() - entered_ < p_.eal->settling()) break;
        enter(Stage::parted);
        return tell("done ports");
    case Stage::ending: return is_over ? loop_.stop() : wait();
    case Stage::none: return;
    default:
        if (boot_time() - entered_ > longest_rest) return on_lost();
    }
    wait();
}

void HandOver::save_cache() {
    p_.store.dump([this, number = number_](const tl::expected<std::size_t, std::string>& dumped) {
        if (stage_ != Stage::saving || number != number_) return; // that of who has ended
        enter(Stage::offered);
        tell(dumped ? "done cache" : "failed cache " + dumped.error());
    });
}

/// Nothing was received since the last look, and nobody waits: at the lcores, and at the end anywhere.
bool HandOver::is_silent() {
    bool is_end = stage_ == Stage::ending;
    std::uint64_t received = 0, waiting = is_end ? p_.tcp.waiting() : 0;
    for (std::size_t i = 0; i < p_.workers.size(); ++i) {
        Workers::View view = p_.workers.view(i);
        if (!is_end && !view.lcore) continue;
        received += view.counters.received();
        waiting += view.counters.get(Verdict::missed) - view.counters.get(Event::wake_answered) -
                   view.counters.get(Event::wake_abandoned);
    }
    return std::exchange(received_, received) == received && waiting == 0;
}

} // namespace millrace::control
