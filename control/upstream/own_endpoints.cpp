#include "control/upstream/own_endpoints.hpp"

#include <algorithm>
#include <cstring>

#include <ifaddrs.h>
#include <netinet/in.h>

namespace millrace::control {

using dataplane::Address;
using dataplane::Endpoint;

bool kernel_holds(const Address& address) {
    ifaddrs* list = nullptr;
    if (getifaddrs(&list) != 0) return false;
    bool held = false;
    for (const ifaddrs* at = list; at && !held; at = at->ifa_next) {
        bool ip = at->ifa_addr && (at->ifa_addr->sa_family == AF_INET || at->ifa_addr->sa_family == AF_INET6);
        if (!ip) continue;
        sockaddr_storage raw{};
        std::memcpy(&raw, at->ifa_addr,
                    at->ifa_addr->sa_family == AF_INET ? sizeof(sockaddr_in) : sizeof(sockaddr_in6));
        held = dataplane::from_sockaddr(raw).address == address;
    }
    freeifaddrs(list);
    return held;
}

/// A socket on :: has IPv6 alone (SocketPort).
bool answers_at(std::span<const Endpoint> own, const Endpoint& endpoint) {
    static const Address any_v4 = *dataplane::parse_address("0.0.0.0"), any_v6{};
    const Address& any = endpoint.address.is_v4() ? any_v4 : any_v6;
    auto has = [&](const Address& address) {
        return std::ranges::find(own, Endpoint{address, endpoint.port}) != own.end();
    };
    return has(endpoint.address) ||
           (has(any) && (is_loopback(endpoint.address) || kernel_holds(endpoint.address)));
}

bool is_loopback(const Address& address) {
    static const auto v4 = *dataplane::parse_prefix("127.0.0.0/8"), v6 = *dataplane::parse_prefix("::1/128");
    return v4.contains(address) || v6.contains(address);
}

} // namespace millrace::control
