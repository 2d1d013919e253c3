#include "control/traffic/dnstap_frame.hpp"

#include "dnstap.pb-c.h"

namespace millrace::control {

using dataplane::LoggedKind;

namespace {

Dnstap__Message__Type type_of(LoggedKind kind) {
    switch (kind) {
    case LoggedKind::client_query: return DNSTAP__MESSAGE__TYPE__CLIENT_QUERY;
    case LoggedKind::client_response: return DNSTAP__MESSAGE__TYPE__CLIENT_RESPONSE;
    case LoggedKind::upstream_query: return DNSTAP__MESSAGE__TYPE__FORWARDER_QUERY;
    case LoggedKind::upstream_response: return DNSTAP__MESSAGE__TYPE__FORWARDER_RESPONSE;
    }
    return DNSTAP__MESSAGE__TYPE__CLIENT_QUERY;
}

/// The library does not write through it.
ProtobufCBinaryData data_of(std::span<const std::uint8_t> octets) {
    return {octets.size(), const_cast<std::uint8_t*>(octets.data())};
}
ProtobufCBinaryData data_of(const std::string& text) {
    return data_of({reinterpret_cast<const std::uint8_t*>(text.data()), text.size()});
}

void set_time(Time at, const DnstapFrame& frame, protobuf_c_boolean& has_seconds, std::uint64_t& seconds,
              protobuf_c_boolean& has_rest, std::uint32_t& nanoseconds) {
    constexpr auto second = Time(1s).count();
    auto wall = (at + frame.wall_offset).count();
    has_seconds = has_rest = true;
    seconds = std::uint64_t(wall / second);
    nanoseconds = std::uint32_t(wall % second * (1'000'000'000 / second));
}

} // namespace

std::vector<std::uint8_t> to_dnstap(const dataplane::LoggedMessage& what,
                                    std::span<const std::uint8_t> message, const DnstapFrame& frame) {
    bool is_query = what.kind == LoggedKind::client_query || what.kind == LoggedKind::upstream_query;
    bool is_clients = what.kind == LoggedKind::client_query || what.kind == LoggedKind::client_response;
    Dnstap__Message m = DNSTAP__MESSAGE__INIT;
    m.type = type_of(what.kind);
    bool is_v4 = what.peer.address.is_v4();
    m.has_socket_family = m.has_socket_protocol = true;
    m.socket_family = is_v4 ? DNSTAP__SOCKET_FAMILY__INET : DNSTAP__SOCKET_FAMILY__INET6;
    m.socket_protocol = what.transport == dataplane::Transport::tcp ? DNSTAP__SOCKET_PROTOCOL__TCP
                                                                    : DNSTAP__SOCKET_PROTOCOL__UDP;
    std::span<const std::uint8_t> address = what.peer.address.octets;
    if (is_v4) address = address.last(4);
    (is_clients ? m.has_query_address : m.has_response_address) = true;
    (is_clients ? m.query_address : m.response_address) = data_of(address);
    (is_clients ? m.has_query_port : m.has_response_port) = true;
    (is_clients ? m.query_port : m.response_port) = what.peer.port;
    (is_query ? m.has_query_message : m.has_response_message) = true;
    (is_query ? m.query_message : m.response_message) = data_of(message);
    if (what.asked != Time{}) {
        set_time(what.asked, frame, m.has_query_time_sec, m.query_time_sec, m.has_query_time_nsec,
                 m.query_time_nsec);
    }
    if (!is_query) {
        set_time(what.answered, frame, m.has_response_time_sec, m.response_time_sec, m.has_response_time_nsec,
                 m.response_time_nsec);
    }

    Dnstap__Dnstap d = DNSTAP__DNSTAP__INIT;
    d.type = DNSTAP__DNSTAP__TYPE__MESSAGE;
    d.message = &m;
    d.has_identity = !frame.identity.empty();
    d.identity = data_of(frame.identity);
    d.has_version = !frame.version.empty();
    d.version = data_of(frame.version);
    std::vector<std::uint8_t> out(dnstap__dnstap__get_packed_size(&d));
    dnstap__dnstap__pack(&d, out.data());
    return out;
}

} // namespace millrace::control
