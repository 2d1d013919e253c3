// What the machine has to have in place for one port's driver, before EAL probes the device and while
// the port lives.
//
//   net_af_xdp     our XDP program takes DNS off the interface (XdpFilter): what stays is the kernel's.
//   net_af_packet  the driver gets copies, the kernel the packets. So that it does not call port 53
//                  unreachable, a socket of ours swallows there what comes for the served addresses.
//   net_memif      a socket file that a killed daemon left would keep the driver from making its own.
//
// Other devices need nothing. Threads: the control thread's, at start and at the end, and a helper's while
// the device is removed; made before the ethdev, destroyed after it. Errors are sentences and say what to do.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include <tl/expected.hpp>

#include "dataplane/descriptor.hpp"
#include "dataplane/eal_plan.hpp"
#include "dataplane/interface.hpp"
#include "dataplane/xdp.hpp"

namespace millrace::dataplane {

class Vdev {
  public:
    /// What prepare() would complain of, as far as it can be told while another process has the device.
    static tl::expected<void, std::string> check(PortPlan port);
    /// Completes `port.device` with what its driver has to know, and the port with siblings of the device.
    static tl::expected<Vdev, std::string> prepare(PortPlan& port);

    Vdev(Vdev&& other) noexcept = default;
    Vdev(const Vdev&) = delete;
    Vdev& operator=(Vdev&&) = delete;
    Vdev& operator=(const Vdev&) = delete;

    /// Before and after each ethdev of the port starts; `device` is its device string.
    tl::expected<void, std::string> make_way();
    void note_started(const std::string& device);

    /// After all of them have.
    tl::expected<void, std::string> connect();

    /// Of an AF_XDP port: DNS to these addresses is ours, or the kernel's again, while what we send still
    /// goes out. Other ports have it as long as they run.
    tl::expected<void, std::string> serve(std::span<const Address> addresses) const;
    tl::expected<void, std::string> leave(std::span<const Address> addresses) const;
    /// Likewise replies of upstreams (XdpFilter::take_replies).
    tl::expected<void, std::string> take_replies(std::span<const Address> sources,
                                                 std::span<const Endpoint> remotes);

    /// After the end of the ethdevs: another process may prepare the same device. It takes some time.
    void let_go();
    bool may_be_handed() const { return !has_own_program_; } ///< to another process, while this one lives

    /// Of an AF_XDP port, once it serves.
    std::optional<XdpMode> xdp_mode() const;

    /// Places of a receive ring that the driver makes as it likes, and says nothing about; 0: it says.
    unsigned receive_ring() const { return receive_ring_; }

    /// What may be the matter when the ethdev does not start: half a sentence, or nothing.
    std::string hint() const { return hint_; }

    /// Whether a kernel next door sends its packets with unfinished checksums (see Service).
    bool partial_checksums() const { return partial_checksums_; }

    /// Whether the kernel interface below it has been removed from this network namespace.
    bool is_gone() const;

    /// What the operator should know although it is no error.
    std::span<const std::string> warnings() const { return warnings_; }

  private:
    using Result = tl::expected<void, std::string>;

    Vdev() = default;
    tl::expected<Interface, std::string> find_interface(const PortPlan& port);
    Result prepare_af_xdp(PortPlan& port);
    Result prepare_af_packet(PortPlan& port);
    Result prepare_memif(const PortPlan& port);

    unsigned index_ = 0; ///< of the kernel's interface below it; 0: none
    std::optional<XdpFilter> filter_;
    std::vector<Descriptor> swallowing_; ///< sockets, one per address, that the kernel's copies end in
    std::string hint_;
    std::vector<std::string> warnings_;
    unsigned receive_ring_ = 0;
    bool partial_checksums_ = false;
    bool has_own_program_ = false; ///< the operator's, that is
};

} // namespace millrace::dataplane
