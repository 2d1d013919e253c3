#include "control/config/own_endpoints.hpp"

#include <algorithm>
#include <cstring>
#include <memory>
#include <optional>
#include <vector>

#include <ifaddrs.h>
#include <netinet/in.h>

#include "cache/time.hpp"

namespace millrace::control {

using dataplane::Address;
using dataplane::Endpoint;

namespace {

std::vector<Address> kernel_addresses() {
    std::vector<Address> all;
    ifaddrs* list = nullptr;
    if (getifaddrs(&list) != 0) return all;
    std::unique_ptr<ifaddrs, void (*)(ifaddrs*)> owned(list, freeifaddrs); // memory may run out below
    for (const ifaddrs* at = list; at; at = at->ifa_next) {
        bool ip = at->ifa_addr && (at->ifa_addr->sa_family == AF_INET || at->ifa_addr->sa_family == AF_INET6);
        if (!ip) continue;
        sockaddr_storage raw{};
        std::memcpy(&raw, at->ifa_addr,
                    at->ifa_addr->sa_family == AF_INET ? sizeof(sockaddr_in) : sizeof(sockaddr_in6));
        all.push_back(dataplane::from_sockaddr(raw).address);
    }
    return all;
}

/// As of a second ago at most: a reply has many addresses, and each reading takes a tenth of a millisecond.
bool kernel_held(const Address& address) {
    thread_local std::vector<Address> addresses;
    thread_local std::optional<Time> read;
    Time now = boot_time();
    if (!read || now - *read >= 1s) {
        addresses = kernel_addresses();
        read = now;
    }
    return std::ranges::find(addresses, address) != addresses.end();
}

} // namespace

bool kernel_holds(const Address& address) {
    return std::ranges::count(kernel_addresses(), address) > 0;
}

/// A socket on :: has IPv6 alone (SocketPort).
bool answers_at(std::span<const Endpoint> own, const Endpoint& endpoint) {
    static const Address any_v4 = *dataplane::parse_address("0.0.0.0"), any_v6{};
    const Address& any = endpoint.address.is_v4() ? any_v4 : any_v6;
    auto has = [&](const Address& address) {
        return std::ranges::find(own, Endpoint{address, endpoint.port}) != own.end();
    };
    bool is_ours = is_loopback(endpoint.address) || (endpoint.zone == 0 && kernel_held(endpoint.address));
    return has(endpoint.address) || (has(any) && is_ours);
}

bool is_loopback(const Address& address) {
    static const auto v4 = *dataplane::parse_prefix("127.0.0.0/8"), v6 = *dataplane::parse_prefix("::1/128");
    return v4.contains(address) || v6.contains(address);
}

} // namespace millrace::control
