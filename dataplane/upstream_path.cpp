#include "dataplane/upstream_path.hpp"

#include <algorithm>
#include <array>
#include <cassert>
#include <utility>

namespace millrace::dataplane {

Verdict UpstreamQueue::offer(std::span<const std::uint8_t> frame, const Service& service, Verified verified) {
    auto reply = Frame::parse_reply(frame, peers_.get().peers, service, verified);
    if (!reply) return reply.error();
    if (!open_.is_open(reply->destination.port)) return Verdict::drop_unasked;
    auto message = frame.subspan(reply->payload, reply->payload_size);
    UpstreamReply head{reply->source, reply->destination, 0, message.size() > limits::reply_octets};
    return replies_.put(head, message) ? Verdict::to_control : Verdict::drop_reply_full;
}

std::size_t UpstreamQueue::take_query(std::uint8_t* frame) {
    Query query;
    return queries_.take(query, [&](std::size_t) { return frame; }) ? query.size : 0;
}

UpstreamPath::UpstreamPath(Setup setup)
    : setup_(std::move(setup)), peers_(std::make_unique<SharedPeers>(Peers{setup_.sources, {}})) {
    for (std::size_t i = 0; i < setup_.queues; ++i)
        queues_.push_back(std::make_unique<UpstreamQueue>(peers_, open_));
}

void UpstreamPath::set_remotes(std::vector<Endpoint> remotes, cache::Grace& grace) {
    peers_.replace(std::make_unique<SharedPeers>(Peers{setup_.sources, std::move(remotes)}), grace);
}

const NextHop* UpstreamPath::next_hop(const Address& remote) const {
    return setup_.next_hops->get().find(setup_.interface, remote);
}

bool UpstreamPath::has_room(const Address& remote, std::size_t octets) const {
    constexpr unsigned ethernet_mtu = 1500;
    std::size_t headers = remote.is_v4() ? 20 + 8 : 40 + 8;
    return octets <= limits::reply_octets && headers + octets <= (setup_.mtu ? setup_.mtu : ethernet_mtu);
}

bool UpstreamPath::send(const NextHop& hop, const Endpoint& from, const Endpoint& to,
                        std::span<const std::uint8_t> message, std::size_t queue) {
    assert(message.size() <= limits::reply_octets);
    std::array<std::uint8_t, UpstreamQueue::longest_frame> frame;
    unsigned headers = address(frame.data(), hop, setup_.own, from, to);
    std::ranges::copy(message, frame.begin() + headers);
    seal(frame.data(), hop.l2(), headers - hop.l2() - 8, std::uint16_t(message.size()));
    return queues_[queue % queues_.size()]->send(std::span(frame).first(headers + message.size()));
}

} // namespace millrace::dataplane
