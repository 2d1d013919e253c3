#include "control/upstream/port_network.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <utility>

#include "cache/dns.hpp"
#include "cache/keyed_hash.hpp"
#include "cache/wire.hpp"
#include "control/limits.hpp"

namespace millrace::control {

using dataplane::Endpoint;
using dataplane::NextHop;
using dataplane::UpstreamQueue;

static_assert(limits::upstream_edns_octets == dataplane::limits::reply_octets);

PortNetwork::PortNetwork(Network& kernel, Random& random, std::uint32_t sockets)
    : kernel_(kernel), random_(random), sockets_(sockets) {}

void PortNetwork::set_ports(std::vector<Port> ports) {
    ports_ = std::move(ports);
    remotes_.resize(ports_.size());
    if (ports_.empty()) return; // most have none, and need no memory for them
    uses_.assign(ports_.size(), std::vector<std::uint16_t>(65536));
    seats_.resize(sockets_);
    buckets_.assign(std::bit_ceil(std::size_t(sockets_)), none);
    for (std::uint32_t index = sockets_; index-- > 0;) free_.push_back(index);
}

void PortNetwork::set_ways(const std::vector<const Way*>& ways) {
    ways_ = ways;
    for (std::size_t port = 0; port < ports_.size(); ++port) relearn(port);
}

tl::expected<Network::Bound, std::errc> PortNetwork::open_udp(const Endpoint& remote, NetworkHandler& handler,
                                                              std::uint64_t token, unsigned group) {
    const Way* way = group < ways_.size() ? ways_[group] : nullptr;
    if (!way) return kernel_.open_udp(remote, handler, token, group);
    bool is_known = learn(way->port, remote); // by which a neighbour that is unknown is asked for, too
    bool is_of_family = std::ranges::any_of(
        way->sources, [&](const auto& source) { return source.is_v4() == remote.address.is_v4(); });
    if (!is_known || !is_of_family || !next_hop(way->port, remote)) {
        ++counters_.fallbacks;
        return kernel_.open_udp(remote, handler, token, group);
    }
    if (free_.empty()) {
        ++counters_.refused;
        return tl::unexpected(std::errc::too_many_files_open);
    }
    std::uint32_t index = free_.back();
    Seat& seat = seats_[index];
    seat.remote = remote;
    if (!draw(*way, seat)) return tl::unexpected(std::errc::address_in_use);
    free_.pop_back();
    if (++seat.serial == 0) ++seat.serial; // 0 would be nobody's
    seat.is_open = true;
    seat.port = std::uint8_t(way->port);
    seat.handler = &handler;
    seat.token = token;
    seat.kernel = 0;
    std::uint32_t& first = bucket_of(seat.local, seat.remote);
    seat.next = std::exchange(first, index);
    count_use(seat, 1);
    return Bound{handle_of(index), seat.local.port};
}

/// A source that is not open to the remote; false: none was found.
bool PortNetwork::draw(const Way& way, Seat& seat) {
    constexpr unsigned draws = 16;
    constexpr std::uint64_t ports = 65536 - dataplane::first_source_port;
    for (unsigned i = 0; i < draws; ++i) {
        // The lower half is the port, scaled; the upper one the address: of the remote's family, each alike.
        std::uint64_t bits = random_.bits();
        std::uint64_t place = bits >> 32;
        auto is_fit = [&](const auto& source) { return source.is_v4() == seat.remote.address.is_v4(); };
        place %= std::uint64_t(std::ranges::count_if(way.sources, is_fit));
        auto source = std::ranges::find_if(way.sources, is_fit);
        while (place-- > 0) source = std::ranges::find_if(source + 1, way.sources.end(), is_fit);
        auto port = std::uint16_t(dataplane::first_source_port + ((bits & 0xffffffff) * ports >> 32));
        seat.local = {*source, port};
        if (find(seat.local, seat.remote) == none) return true;
    }
    return false;
}

/// Two sockets may have the same local port, towards different remotes.
void PortNetwork::count_use(const Seat& seat, int by) {
    std::uint16_t& uses = uses_[seat.port][seat.local.port];
    uses = std::uint16_t(uses + by);
    ports_[seat.port].path->set_open(seat.local.port, uses > 0);
}

/// Null: the port cannot send there now.
const NextHop* PortNetwork::next_hop(std::size_t port, const Endpoint& remote) const {
    const dataplane::UpstreamPath& path = *ports_[port].path;
    return path.is_usable() ? path.next_hop(remote.address) : nullptr;
}

/// Where servers come and go for long, those without an open socket are forgotten. False: there are too many.
bool PortNetwork::learn(std::size_t port, const Endpoint& remote) {
    std::vector<Endpoint>& known = remotes_[port];
    auto place = std::ranges::lower_bound(known, remote);
    if (place != known.end() && *place == remote) return true;
    if (known.size() == dataplane::limits::asked_remotes) {
        relearn(port);
        if (known.size() == dataplane::limits::asked_remotes) return false;
        place = std::ranges::lower_bound(known, remote);
    }
    known.insert(place, remote);
    if (ports_[port].take_from(known)) return true;
    std::erase(known, remote); // its replies would not come
    return false;
}

/// As if nobody were known but those whom an open socket asks.
void PortNetwork::relearn(std::size_t port) {
    std::vector<Endpoint> open;
    for (const Seat& seat : seats_) {
        if (seat.is_open && seat.port == port) open.push_back(seat.remote);
    }
    std::ranges::sort(open);
    open.erase(std::unique(open.begin(), open.end()), open.end());
    if (open == remotes_[port]) return;
    remotes_[port] = std::move(open);
    ports_[port].take_from(remotes_[port]);
}

tl::expected<Socket, std::errc> PortNetwork::open_tcp(const Endpoint& remote, NetworkHandler& handler,
                                                      std::uint64_t token) {
    return kernel_.open_tcp(remote, handler, token);
}

std::errc PortNetwork::send(Socket socket, std::span<const std::uint8_t> message) {
    if (!(socket & by_port)) return kernel_.send(socket, message);
    Seat* seat = find(socket);
    if (!seat) return std::errc::not_connected;
    auto index = std::uint32_t(seat - seats_.data());
    dataplane::UpstreamPath& path = *ports_[seat->port].path;
    const NextHop* hop = next_hop(seat->port, seat->remote);
    if (!hop || !path.has_room(seat->remote.address, message.size()))
        return send_through_kernel(*seat, index, message);
    bool is_sent = path.send(*hop, seat->local, seat->remote, message, index);
    ++(is_sent ? counters_.sent : counters_.full);
    return {};
}

std::errc PortNetwork::send_through_kernel(Seat& seat, std::uint32_t index,
                                           std::span<const std::uint8_t> message) {
    if (seat.kernel == 0) {
        auto bound = kernel_.open_udp(seat.remote, *this, handle_of(index), 0);
        if (!bound) {
            ++counters_.refused; // a bound of ours, not the server's fault: as a datagram that is lost
            return {};
        }
        seat.kernel = bound->socket;
        ++counters_.fallbacks;
    }
    return kernel_.send(seat.kernel, message);
}

void PortNetwork::close(Socket socket) {
    if (!(socket & by_port)) return kernel_.close(socket);
    Seat* seat = find(socket);
    if (!seat) return;
    auto index = std::uint32_t(seat - seats_.data());
    std::uint32_t* link = &bucket_of(seat->local, seat->remote);
    while (*link != index) link = &seats_[*link].next;
    *link = seat->next;
    seat->is_open = false;
    count_use(*seat, -1);
    free_.push_back(index);
    if (seat->kernel != 0) kernel_.close(seat->kernel);
}

bool PortNetwork::poll() {
    std::array<std::uint8_t, UpstreamQueue::reply_room> message;
    dataplane::UpstreamReply reply;
    bool is_any = false;
    for (const Port& port : ports_) {
        for (std::size_t i = 0; i < port.path->queues(); ++i) {
            for (unsigned taken = 0; taken < limits::replies_per_tick; ++taken) {
                if (!port.path->queue(i).take_reply(reply, message.data())) break;
                deliver(reply, std::span(message).first(reply.size), boot_time());
                is_any = true;
            }
        }
    }
    return is_any;
}

void PortNetwork::deliver(const dataplane::UpstreamReply& reply, std::span<std::uint8_t> message, Time now) {
    std::uint32_t index = find(reply.to, reply.from);
    if (index == none) {
        ++counters_.unasked;
        return;
    }
    ++counters_.received;
    if (reply.is_cut) {
        ++counters_.oversized;
        cache::store_u16(&message[2], cache::load_u16(&message[2]) | dns::truncated);
    }
    const Seat& seat = seats_[index];
    seat.handler->on_message(handle_of(index), seat.token, message, now);
}

/// Of a socket that goes through the kernel; the token is our own handle.
void PortNetwork::on_message(Socket, std::uint64_t token, std::span<const std::uint8_t> message,
                             Time received) {
    if (Seat* seat = find(token)) seat->handler->on_message(token, seat->token, message, received);
}

void PortNetwork::on_network_error(Socket, std::uint64_t token, std::errc error, Time when) {
    if (Seat* seat = find(token)) seat->handler->on_network_error(token, seat->token, error, when);
}

std::uint32_t& PortNetwork::bucket_of(const Endpoint& local, const Endpoint& remote) {
    std::uint64_t ports = std::uint64_t(local.port) << 16 | remote.port;
    std::uint64_t hash =
        cache::keyed_hash(remote.address.octets, cache::keyed_hash(local.address.octets, ports));
    return buckets_[hash & (buckets_.size() - 1)];
}

std::uint32_t PortNetwork::find(const Endpoint& local, const Endpoint& remote) {
    std::uint32_t index = bucket_of(local, remote);
    while (index != none && (seats_[index].local != local || seats_[index].remote != remote))
        index = seats_[index].next;
    return index;
}

PortNetwork::Seat* PortNetwork::find(Socket socket) {
    auto index = std::uint32_t(socket & (by_port - 1));
    if (index >= seats_.size() || seats_[index].serial != socket >> 32 || !seats_[index].is_open)
        return nullptr;
    return &seats_[index];
}

} // namespace millrace::control
