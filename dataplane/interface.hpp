// What the kernel says about one of its network interfaces, in the network namespace of the caller.
#pragma once

#include <string>

#include <tl/expected.hpp>

namespace millrace::dataplane {

struct Interface {
    std::string name;
    std::string driver; ///< "veth", "ice", ...; empty when the kernel does not say
    unsigned index = 0;
    bool up = false;             ///< administratively
    unsigned mtu = 0;            ///< octets of IP packet
    unsigned channels = 1;       ///< combined channels in use, as AF_XDP's driver counts them
    unsigned receive_queues = 1; ///< queues that packets can arrive on

    /// At start only: opens sockets and files. The error is a sentence.
    static tl::expected<Interface, std::string> find(const std::string& name);
};

} // namespace millrace::dataplane
