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
    bool combines = false;       ///< its queues are combined channels; no: each direction has its own (veth)
    unsigned queues = 1;         ///< in use in both directions
    unsigned most_queues = 1;    ///< that `ethtool -L` can give it
    unsigned receive_queues = 1; ///< in use, that packets can arrive on

    /// At start only: opens sockets and files. The error is a sentence.
    static tl::expected<Interface, std::string> find(const std::string& name);
};

} // namespace millrace::dataplane
