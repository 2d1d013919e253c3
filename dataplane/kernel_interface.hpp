// The kernel interface behind a port, as configured: what the port receives and millraced does not answer
// arrives there, and what the kernel sends there leaves by the port (exception.hpp).
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "dataplane/address.hpp"

namespace millrace::dataplane {

struct KernelInterface {
    std::string name;              ///< empty: there is none, and such frames are dropped
    std::vector<Prefix> addresses; ///< given to it at start, with the lengths of their networks' prefixes
    unsigned mtu = 1500;           ///< octets of IP packet
    unsigned rate = 50'000;        ///< frames a second to the kernel, of each KernelFrame::Kind

    bool is_wanted() const { return !name.empty(); }
    bool operator==(const KernelInterface&) const = default;
};

/// Whether the kernel takes it as an interface's name, and takes it literally.
bool is_interface_name(std::string_view name);

} // namespace millrace::dataplane
