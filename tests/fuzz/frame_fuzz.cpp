// Any bytes as a frame: no read outside of them, and whatever is accepted can be replied to.
//
// The first octet chooses how much the port is trusted, so that the fuzzer is not stopped by checksums.
#include <algorithm>
#include <cstdlib>
#include <vector>

#include "dataplane/frame.hpp"
#include "dataplane/kernel_frame.hpp"
#include "tests/fuzz/work.hpp"

using namespace millrace::dataplane;

namespace {

void require(bool condition) {
    if (!condition) std::abort();
}

Service make_service() {
    Service service;
    service.addresses = {*parse_address("198.18.0.53"), *parse_address("2001:db8::53")};
    for (const Address& address : service.addresses) service.own.push_back({address, Service::port});
    return service;
}

/// Clients of the seeds that are asked as well.
Peers make_peers(const Service& service) {
    Peers peers{service.addresses, {}};
    for (const char* remote : {"198.18.0.1", "2001:db8::1"})
        peers.remotes.push_back({*parse_address(remote), 40000});
    std::sort(peers.remotes.begin(), peers.remotes.end());
    return peers;
}

/// The reply is a well-formed frame to the client: parsed as its own port would, it comes through.
void check_reply(std::vector<std::uint8_t> bytes, const Frame& frame) {
    unsigned at = frame.turn_round(bytes.data());
    std::vector<std::uint8_t> reply(bytes.begin() + at, bytes.begin() + frame.payload + frame.payload_size);
    ReplyHeader header{frame.l2, frame.l3, {}};
    require(header.size() == frame.payload - at);
    std::copy_n(reply.begin(), header.size(), header.octets.begin());
    require(header.client() == frame.source);
    seal(reply.data(), frame.l2, frame.l3, frame.payload_size);
    if (frame.source.port != Service::port) return;
    auto back = Frame::parse(reply, {{frame.source.address}, {}, false});
    require(back && back->payload_size == frame.payload_size && back->source == frame.destination);
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    millrace::fuzz::Work work({.for_input = 3'000, .for_octet = 20}, size);
    if (size == 0 || size > 9000) return 0;
    static Service service = make_service();
    static const Peers peers = make_peers(service);
    service.partial_checksums = data[0] & 1;
    Verified verified{.ipv4_header = (data[0] & 2) != 0, .udp = (data[0] & 4) != 0};
    std::vector<std::uint8_t> bytes(data + 1, data + size);
    auto frame = Frame::parse(bytes, service, verified);
    // Whatever the verdict was, so that nothing depends on what parse has looked at.
    for (Verdict verdict : {Verdict::drop_protocol, Verdict::drop_destination, Verdict::drop_fragment}) {
        auto left = KernelFrame::classify(bytes, verdict, service);
        require(!left || !frame); // a query for us is none of the kernel's
    }
    auto reply = Frame::parse_reply(bytes, peers, service, verified);
    require(!reply || !frame);
    if (reply) {
        require(reply->payload + reply->payload_size <= bytes.size());
        require(peers.is_reply(reply->source, reply->destination));
    }
    if (!frame) {
        require(frame.error() >= Verdict::drop_frame && frame.error() < Verdict::drop_short);
        return 0;
    }
    require(frame->payload + frame->payload_size <= bytes.size());
    check_reply(bytes, *frame);
    return 0;
}
