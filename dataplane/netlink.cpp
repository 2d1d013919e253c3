#include "dataplane/netlink.hpp"

#include <array>
#include <cerrno>
#include <cstring>
#include <functional>

#include <libmnl/libmnl.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>
#include <sys/time.h>

#include "dataplane/limits.hpp"
#include "dataplane/netlink_message.hpp"

namespace millrace::dataplane {

namespace {

using Result = Netlink::Result;

constexpr std::size_t message_octets = 64 << 10; // the kernel fills up to 32 KiB of it at a time
constexpr unsigned messages_at_once = 1024;      // notifications
constexpr timeval patience{5, 0};                // with the kernel, which answers at once
constexpr int event_room = 1 << 20;              // octets of notifications; what does not fit is read again

constexpr unsigned groups = RTMGRP_LINK | RTMGRP_NEIGH | RTMGRP_IPV4_IFADDR | RTMGRP_IPV4_ROUTE |
                            RTMGRP_IPV6_IFADDR | RTMGRP_IPV6_ROUTE | 1U << (RTNLGRP_NEXTHOP - 1);

tl::unexpected<std::string> failure(const std::string& what, int error) {
    return tl::unexpected("netlink: " + what + ": " + std::strerror(error));
}

Descriptor open_socket(int flags, unsigned groups_of_it) {
    Descriptor socket(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | flags, NETLINK_ROUTE));
    sockaddr_nl local{};
    local.nl_family = AF_NETLINK;
    local.nl_groups = groups_of_it;
    if (!socket || bind(socket.get(), reinterpret_cast<const sockaddr*>(&local), sizeof local) != 0)
        return {};
    setsockopt(socket.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    return socket;
}

/// What a dump is asked with: rtgenmsg's family alone counts, in a header that is long enough for any kind.
struct DumpRequest {
    nlmsghdr header{};
    ifinfomsg message{};
};

enum class Ending { whole, interrupted };

/// Gives each of the kernel's objects to `take`. Interrupted: something has changed meanwhile.
tl::expected<Ending, std::string> dump(std::uint16_t request_type, std::uint16_t type,
                                       const std::function<void(const nlmsghdr*)>& take) {
    Descriptor socket = open_socket(0, 0); // of its own: nothing of a dump that broke off is left in it
    if (!socket) return failure("no socket", errno);
    DumpRequest request;
    request.header = {sizeof request, request_type, NLM_F_REQUEST | NLM_F_DUMP, 1, 0};
    if (::send(socket.get(), &request, sizeof request, 0) < 0) return failure("cannot ask", errno);
    auto buffer = std::make_unique<std::array<std::uint8_t, message_octets>>();
    for (auto ending = Ending::whole;;) {
        ssize_t size = ::recv(socket.get(), buffer->data(), buffer->size(), 0);
        if (size < 0 && errno == EINTR) continue;
        if (size <= 0) return failure("no answer", size < 0 ? errno : ENODATA);
        int left = int(size);
        for (auto* m = reinterpret_cast<const nlmsghdr*>(buffer->data()); mnl_nlmsg_ok(m, left);
             m = mnl_nlmsg_next(m, &left)) {
            if (m->nlmsg_flags & NLM_F_DUMP_INTR) ending = Ending::interrupted;
            if (m->nlmsg_type == NLMSG_DONE) return ending;
            if (m->nlmsg_type == NLMSG_ERROR)
                return failure("not told", -static_cast<const nlmsgerr*>(mnl_nlmsg_get_payload(m))->error);
            if (m->nlmsg_type == type) take(m);
        }
    }
}

} // namespace

tl::expected<Netlink, std::string> Netlink::open() {
    Descriptor events = open_socket(SOCK_NONBLOCK, groups), requests = open_socket(SOCK_NONBLOCK, 0);
    if (!events || !requests) return failure("no socket", errno);
    setsockopt(events.get(), SOL_SOCKET, SO_RCVBUF, &event_room, sizeof event_room);
    return Netlink(std::move(events), std::move(requests));
}

void Netlink::take_changes(Changes& changes) {
    std::array<std::uint8_t, 256> start; // the kinds of message are in it, which come one by one
    for (unsigned taken = 0; taken < messages_at_once; ++taken) {
        ssize_t size = ::recv(events_.get(), start.data(), start.size(), 0);
        if (size < 0 && (errno == EAGAIN || errno == EINTR)) return;
        nlmsghdr header{};
        if (size >= ssize_t(sizeof header)) std::memcpy(&header, start.data(), sizeof header);
        switch (header.nlmsg_type) {
        case RTM_NEWNEIGH:
        case RTM_DELNEIGH: changes.neighbours = true; break;
        case RTM_NEWROUTE:
        case RTM_DELROUTE: changes.routes = true; break;
        default:
            changes = Changes::all(); // links and addresses take routes and neighbours with them; ENOBUFS
        }
    }
}

Result Netlink::read(KernelView& view, Changes& changes) const {
    view.fault.clear();
    auto done = [&](const tl::expected<Ending, std::string>& ending, bool& is_changed) -> Result {
        if (!ending) return tl::unexpected(ending.error());
        is_changed = *ending == Ending::interrupted;
        return {};
    };
    Result result;
    if (changes.links) {
        std::vector<KernelLink> links;
        result = done(dump(RTM_GETLINK, RTM_NEWLINK, [&](auto* m) { read_link(m, links); }), changes.links);
        if (!result) return result;
        view.links = std::move(links);
    }
    if (changes.routes) {
        auto routes = std::make_shared<KernelRoutes>();
        bool fits = true;
        result =
            done(dump(RTM_GETROUTE, RTM_NEWROUTE, [&](auto* m) { fits = fits && read_route(m, *routes); }),
                 changes.routes);
        if (!result) return result;
        if (!fits) routes = std::make_shared<KernelRoutes>();
        view.is_overfull = !fits;
        routes->seal();
        view.routes = std::move(routes);
    }
    if (changes.neighbours) {
        std::vector<KernelNeighbour> neighbours;
        result = done(dump(RTM_GETNEIGH, RTM_NEWNEIGH, [&](auto* m) { read_neighbour(m, neighbours); }),
                      changes.neighbours);
        if (!result) return result;
        view.neighbours = std::move(neighbours);
    }
    if (view.is_overfull) {
        view.fault = "the kernel's main table has more than " + std::to_string(limits::kernel_routes) +
                     " routes: none of them is used, and replies go back to their senders";
    }
    return result;
}

void Netlink::ask_for(const KernelPlace& neighbour) const {
    bool v4 = neighbour.address.is_v4();
    struct {
        nlmsghdr header;
        ndmsg message;
        nlattr head;
        std::array<std::uint8_t, 16> octets;
    } request{};
    std::size_t octets = v4 ? 4 : 16;
    request.message.ndm_family = v4 ? AF_INET : AF_INET6;
    request.message.ndm_ifindex = int(neighbour.link);
    request.message.ndm_flags = NTF_USE;
    request.head = {std::uint16_t(sizeof request.head + octets), NDA_DST};
    std::memcpy(request.octets.data(), neighbour.address.octets.data() + 16 - octets, octets);
    request.header = {std::uint32_t(offsetof(decltype(request), octets) + octets), RTM_NEWNEIGH,
                      NLM_F_REQUEST | NLM_F_CREATE, 0, 0};
    (void)::send(requests_.get(), &request, request.header.nlmsg_len, 0);
    // Without NLM_F_ACK only errors are answered: nobody is interested, and there is room for the next ones.
    std::array<std::uint8_t, 256> answer;
    while (::recv(requests_.get(), answer.data(), answer.size(), 0) >= 0) {
    }
}

} // namespace millrace::dataplane
