// What DPDK is to be started with, worked out from the configured ports. Pure: needs neither EAL nor root.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <tl/expected.hpp>

#include "dataplane/address.hpp"
#include "dataplane/kernel_interface.hpp"
#include "dataplane/machine.hpp"

namespace millrace::dataplane {

/// One NIC or virtual device, and the lcores that poll it: one queue each, in this order.
struct PortPlan {
    /// PCI address ("0000:03:00.0", "03:00.0") or vdev string ("net_af_xdp0,iface=edge0"). The letter case of
    /// an address does not matter.
    std::string device;
    std::vector<unsigned> lcores;               ///< CPU numbers
    std::vector<Address> addresses;             ///< DNS is served on these, UDP port 53
    std::optional<Mac> next_hop = std::nullopt; ///< see Service
    KernelInterface kernel{};                   ///< what is not answered goes there
    bool is_routed = false;         ///< replies go where the kernel would send them by routing_interface()
    std::vector<Address> sources{}; ///< upstreams are asked from these; of a port that is routed
    /// Devices of the lcores but the first, of a driver that gives each device one queue (plan_xdp); else
    /// none, and `device` has the queues of all.
    std::vector<std::string> siblings{};

    /// `device`, and the siblings.
    std::vector<std::string> devices() const;
};

struct EalPlan {
    std::vector<PortPlan> ports;
    std::vector<std::string> arguments;  ///< the operator's; each may hold several, separated by blanks
    std::optional<unsigned> control_cpu; ///< where the calling thread goes; chosen when absent
    std::vector<Endpoint> own;           ///< every endpoint of this program: never answered as clients
    /// "pa" or "va": EAL takes no device as it starts, but this mode, which else the devices decide.
    std::string iova_mode{};
};

/// Whether a device string names a PCI function, which arguments for its driver may follow.
bool is_pci_device(std::string_view device);

/// The name under which the ethdev of a device string is found: "net_af_xdp0", "0000:03:00.0". Empty when it
/// is neither a PCI address nor a vdev string.
std::string ethdev_name(std::string_view device);

/// Of the plan's PCI ports, as sysfs writes them: what Machine::inspect wants to know.
std::vector<std::string> pci_addresses(const EalPlan& plan);

/// What can be seen of the plan that is likely, not surely, a mistake.
std::vector<std::string> warnings_of(const EalPlan& plan);

/// Whether a device string names a device of the driver: "net_tap", "net_tap0" and
/// "net_tap0,..." for "net_tap".
bool is_driver(std::string_view device, std::string_view driver);

/// The interface of the kernel's that stands for a port: the one that an AF_XDP or af_packet device works on,
/// or that of its exception path. Empty: there is none.
std::string routing_interface(std::string_view device, const KernelInterface& kernel);

/// Debian's package with the driver of a vdev: "librte-net-af-xdp23" for "net_af_xdp0".
std::string driver_package(std::string_view device);

/// The value of `key` in a vdev string; empty when it is not there.
std::string device_option(std::string_view device, std::string_view key);

/// A vdev string without `key` and its value.
std::string without_option(std::string_view device, std::string_view key);

/// EAL's arguments, without argv[0]. The error is a sentence: what is wrong and what to do.
tl::expected<std::vector<std::string>, std::string> eal_arguments(const EalPlan& plan,
                                                                  const Machine& machine);

} // namespace millrace::dataplane
