#include "tests/simulation/network.hpp"

#include <algorithm>
#include <functional>
#include <iterator>

#include "cache/wire.hpp"

namespace millrace::simulation {

using control::Socket;

namespace {

constexpr std::size_t overheard_limit = 64;
constexpr unsigned lowest_port = 1024;
constexpr Time playback_limit = 6s; // resent for 3 s at most, a pair of port and ID may come again after 10 s

/// Draws about one query belong to what it asks of whom, and how often it did before.
std::uint64_t question_tag(unsigned server, const Asked& asked) {
    return std::uint64_t(server) << 40 | std::uint64_t(asked.qtype) << 24 | asked.name;
}

} // namespace

// Sockets.

tl::expected<control::Network::Bound, std::errc> SimulatedNetwork::open_udp(const dataplane::Endpoint& remote,
                                                                            control::NetworkHandler& handler,
                                                                            std::uint64_t token, unsigned) {
    if (scene_.has(Danger::socket_errors) && scene_.chance.is(30, Topic::socket_error, ++order_)) {
        scene_.tally.add(Seen::sockets_refused);
        return tl::make_unexpected(order_ % 2 ? std::errc::too_many_files_open
                                              : std::errc::network_unreachable);
    }
    unsigned count = scene_.has(Danger::few_ports) ? 128 : 65536 - lowest_port;
    if (by_port_.size() == count) return tl::make_unexpected(std::errc::address_in_use);
    std::uint16_t port;
    do port = std::uint16_t(lowest_port + ports_.below(count));
    while (by_port_.contains(port));
    return Bound{by_port_[port] = make_socket(Servers::server_of(remote), port, handler, token), port};
}

tl::expected<Socket, std::errc> SimulatedNetwork::open_tcp(const dataplane::Endpoint& remote,
                                                           control::NetworkHandler& handler,
                                                           std::uint64_t token) {
    if (scene_.has(Danger::socket_errors) && scene_.chance.is(30, Topic::socket_error, ++order_)) {
        scene_.tally.add(Seen::sockets_refused);
        return tl::make_unexpected(std::errc::too_many_files_open);
    }
    return make_socket(Servers::server_of(remote), 0, handler, token);
}

Socket SimulatedNetwork::make_socket(unsigned server, std::uint16_t port, control::NetworkHandler& handler,
                                     std::uint64_t token) {
    OpenSocket& socket = open_[++last_socket_];
    socket.server = server;
    socket.port = port;
    socket.tcp = port == 0;
    socket.handler = &handler;
    socket.token = token;
    socket.opened = ++scene_.moment;
    return last_socket_;
}

void SimulatedNetwork::close(Socket socket) {
    auto found = open_.find(socket);
    if (found == open_.end()) return;
    if (!found->second.tcp) by_port_.erase(found->second.port);
    open_.erase(found);
}

std::errc SimulatedNetwork::send(Socket socket, std::span<const std::uint8_t> octets) {
    auto found = open_.find(socket);
    if (found == open_.end())
        scene_.fail("sockets are used while open", "something was sent on a closed one");
    OpenSocket& from = found->second;
    auto asked = read_asked(octets);
    unsigned in_use = scene_.servers | Servers::others_mask;
    scene_.require(in_use >> from.server & 1, "only upstreams in use are asked", "another");
    if (!asked) scene_.fail("upstreams get questions", "a query that cannot be read");
    unsigned group = asked->link ? 0 : scene_.group_of(asked->name);
    bool is_probe = asked->name == Servers::probed_name;
    scene_.require(is_probe || group == Servers::group_of(from.server), "a name is asked of its own group",
                   "another's server is");
    spy_(from.server, *asked);
    from.asked = *asked;
    from.has_asked = true;
    from.query.assign(octets.begin(), octets.end());
    Message query;
    query.socket = socket;
    query.sent = scene_.now;
    query.port = from.port;
    query.server = from.server;
    query.tcp = from.tcp;
    query.nth = ++asked_[question_tag(from.server, *asked)];
    query.octets.assign(octets.begin(), octets.end());
    scene_.say("query to server ", from.server, " for name ", asked->name, " type ", asked->qtype,
               " from socket ", socket, from.tcp ? " over TCP" : "", " (", query.nth, ".)");
    if (!from.tcp && scene_.has(Danger::socket_errors) && happens(Topic::socket_error, query, 1)) {
        return std::errc::network_unreachable;
    }
    if (!from.tcp && scene_.has(Danger::forgery)) forge(query);
    if (!from.tcp && scene_.has(Danger::loss) && happens(Topic::lost, query, 2)) {
        scene_.tally.add(Seen::datagrams_lost);
        return {};
    }
    Time half = scene_.chance.between(500us, 30ms, Topic::latency, from.server);
    query.at = scene_.now + (from.tcp ? 3 * half : half); // a connection takes a round trip more
    push(to_servers_, std::move(query));
    return {};
}

// On the wire.

void SimulatedNetwork::push(Heap& heap, Message&& message) {
    message.order = ++order_;
    heap.push_back(std::move(message));
    std::ranges::push_heap(heap, std::greater());
}

SimulatedNetwork::Message SimulatedNetwork::pop(Heap& heap) {
    std::ranges::pop_heap(heap, std::greater());
    Message message = std::move(heap.back());
    heap.pop_back();
    return message;
}

Time SimulatedNetwork::next_arrival() const {
    Time next = Time::max();
    if (!to_servers_.empty()) next = std::min(next, to_servers_.front().at);
    if (!to_us_.empty()) next = std::min(next, to_us_.front().at);
    return next;
}

void SimulatedNetwork::advance() {
    while (!to_servers_.empty() && to_servers_.front().at <= scene_.now) serve(pop(to_servers_));
}

/// A query has arrived: the server answers, or it does not.
void SimulatedNetwork::serve(Message&& query) {
    Time half = scene_.chance.between(500us, 30ms, Topic::latency, query.server);
    auto error = [&](std::errc what) {
        query.error = what;
        push(to_us_, (query.at = scene_.now + half, std::move(query)));
    };
    if (servers_.is_down(query.server)) {
        if (servers_.says_so(query.server) || query.tcp) error(std::errc::connection_refused);
        return;
    }
    if (scene_.has(Danger::icmp) && happens(Topic::icmp, query, 1)) {
        return error(query.tcp ? std::errc::connection_reset : std::errc::connection_refused);
    }
    Asked asked = *read_asked(query.octets);
    query.said = servers_.answer(query.server, asked, query.nth, query.tcp, query.socket);
    query.octets = write_reply(query.octets, scene_.ledger, query.said);
    Time delay = half + scene_.chance.between(0us, 2ms, Topic::jitter, query.server, asked.name, query.nth);
    if (scene_.has(Danger::reordering)) {
        delay += scene_.chance.between(0us, 60ms, Topic::jitter, 1, query.server, asked.name, query.nth);
    }
    if (scene_.has(Danger::lateness) && happens(Topic::late, query, 2)) {
        delay += scene_.chance.between(100ms, 4s, Topic::late, 1, query.server, asked.name, query.nth);
    }
    if (query.tcp) return push(to_us_, (query.at = scene_.now + delay, std::move(query)));
    bool twice = scene_.has(Danger::duplication) && happens(Topic::twice, query, 2);
    if (twice) {
        scene_.tally.add(Seen::datagrams_twice);
        Message again = query;
        send_back(std::move(again), delay + scene_.chance.between(0us, 300ms, Topic::twice, 1, query.nth));
    }
    send_back(std::move(query), delay);
}

void SimulatedNetwork::send_back(Message&& reply, Time delay) {
    if (scene_.has(Danger::loss) && happens(Topic::lost, reply, 2, 1)) {
        scene_.tally.add(Seen::datagrams_lost);
        return;
    }
    reply.at = scene_.now + delay;
    if (scene_.has(Danger::forgery)) {
        if (overheard_.size() < overheard_limit) overheard_.emplace_back();
        overheard_[next_overheard_++ % overheard_.size()] = reply;
    }
    push(to_us_, std::move(reply));
}

bool SimulatedNetwork::deliver_one() {
    if (to_us_.empty() || to_us_.front().at > scene_.now) return false;
    Message message = pop(to_us_);
    ++scene_.moment;
    Socket socket = 0;
    const OpenSocket* to = receiver(message, socket);
    if (!to || (message.is_guess && is_lucky(message, *to))) {
        scene_.tally.add(Seen::datagrams_for_nobody);
        return true;
    }
    auto [handler, token] = std::pair(to->handler, to->token); // a handler may close its socket
    delivery_ = {message.said, socket};
    delivered_.emplace(scene_.now, delivery_);
    delivered_.erase(delivered_.begin(), delivered_.lower_bound(scene_.now - 2s));
    scene_.say("message of server ", message.server, " for socket ", socket, ": ",
               message.error != std::errc{} ? "an error"
               : message.said == garbage    ? "garbage"
                                            : "reply",
               " ", message.said);
    if (message.error != std::errc{}) {
        handler->on_network_error(socket, token, message.error, scene_.now);
    } else {
        handler->on_message(socket, token, message.octets, scene_.now);
    }
    return true;
}

std::vector<SimulatedNetwork::Delivery> SimulatedNetwork::delivered_at(Time when) const {
    std::vector<Delivery> list;
    auto [first, last] = delivered_.equal_range(when);
    std::transform(first, last, std::back_inserter(list), [](const auto& entry) { return entry.second; });
    return list;
}

/// Over TCP the connection; a datagram goes to whoever has the port, if that is connected to the sender.
const OpenSocket* SimulatedNetwork::receiver(const Message& message, Socket& socket) const {
    socket = message.socket;
    if (!message.tcp && message.error == std::errc{}) {
        auto at = by_port_.find(message.port);
        if (at == by_port_.end()) return nullptr;
        socket = at->second;
    }
    auto found = open_.find(socket);
    bool fits = found != open_.end() && found->second.server == message.server;
    return fits ? &found->second : nullptr;
}

/// Whether a guess has the ID and the question, to the letter, of what this socket has asked.
bool SimulatedNetwork::is_lucky(const Message& message, const OpenSocket& socket) {
    std::size_t size = socket.has_asked ? header_octets + question_size(socket.query) : 0;
    if (size == 0 || message.octets.size() < size) return false;
    auto begin = message.octets.begin(), behind_header = begin + header_octets;
    return std::equal(begin, begin + 2, socket.query.begin()) &&
           std::equal(behind_header, begin + std::ptrdiff_t(size), socket.query.begin() + header_octets);
}

void SimulatedNetwork::fail_server(unsigned server, Time until, bool says_so) {
    servers_.fail(server, until, says_so);
    scene_.say("server ", server, " is gone until ", (until - scene_.start).count(), "us");
}

bool SimulatedNetwork::happens(Topic topic, const Message& message, unsigned weight, unsigned tag) const {
    auto asked = read_asked(message.octets);
    return asked && scene_.chance.is(scene_.plan.intensity * weight / 2, topic, tag,
                                     question_tag(message.server, *asked), message.nth);
}

// Forgers: each gets something wrong, because whoever gets everything right is the upstream.

void SimulatedNetwork::forge(const Message& query) {
    if (!happens(Topic::forgery, query, 4)) return;
    std::uint64_t drawn = scene_.chance.bits(Topic::forgery, 1, query.server, query.nth, query.octets[1]);
    for (unsigned i = 0; i <= drawn % 4; ++i) {
        Message message = forged(query, drawn >> 8 * i);
        if (message.octets.empty()) continue;
        message.at = scene_.now + scene_.chance.between(0us, 60ms, Topic::forgery, 2, drawn, i);
        scene_.tally.add(Seen::forged_sent);
        push(to_us_, std::move(message));
    }
}

SimulatedNetwork::Message SimulatedNetwork::forged(const Message& query, std::uint64_t kind) {
    Message message = query;
    message.is_guess = true;
    message.said = servers_.forge(query.server, *read_asked(query.octets), query.socket);
    message.octets = write_reply(query.octets, scene_.ledger, message.said);
    auto detail = std::uint8_t(kind >> 4);
    switch (kind % 7) {
    case 0: message.octets[0] = std::uint8_t(message.octets[0] ^ (detail | 1)); break; // another ID
    case 1: message.octets[header_octets + 1] ^= 0x20; break;                          // another letter case
    case 2: message.port = std::uint16_t(message.port ^ (detail | 1)); break;          // another port
    case 3: message.server = (message.server + 1 + detail % (Servers::pool - 1)) % Servers::pool; break;
    case 4: message.octets[2] &= 0x7f; break; // a query
    case 5:                                   // cut short, or nonsense behind the question
        message.octets.resize(detail % 2 ? 7 : message.octets.size() - 3);
        message.said = garbage;
        if (detail % 2 == 0) message.octets[1] ^= 1;
        break;
    default: // an old reply to whoever asks now
        return played_back(query, detail);
    }
    return message;
}

/// An old reply: to its own port, where it must be refused because nobody may use that port and ID again so
/// soon, or to whoever asks now. The best is one that fits as it is.
SimulatedNetwork::Message SimulatedNetwork::played_back(const Message& query, unsigned detail) {
    std::vector<const Message*> recent;
    for (const Message& old : overheard_) {
        if (scene_.now - old.sent > playback_limit) continue;
        recent.push_back(&old);
        OpenSocket as_asked;
        as_asked.has_asked = true;
        as_asked.query = query.octets;
        if (old.port != query.port || old.server != query.server || !is_lucky(old, as_asked)) continue;
        recent = {&old};
        break;
    }
    if (recent.empty()) return {};
    Message message = *recent[detail % recent.size()];
    message.is_guess = detail % 2;
    if (!message.is_guess) return message;
    message.port = query.port;
    message.server = query.server;
    return message;
}

} // namespace millrace::simulation
