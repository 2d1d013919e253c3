// A port's device that may have to be reset, and may go and come back: an interface.
//
// Nobody may be in its driver while it is reset, removed or brought back: suspend() first, then a grace
// period of the port's lcores (cache::Grace). These three block, for seconds with some drivers; any thread
// may call them, for one device at a time, as DPDK's lists of devices know no locks. All else is control's,
// and not of a device that is in one of the three.
#pragma once

#include <cstdint>
#include <string>

#include <tl/expected.hpp>

namespace millrace::dataplane {

class Device {
  public:
    using Result = tl::expected<void, std::string>; ///< an error is a sentence

    /// Who wants what of it; what weighs more comes later.
    enum class Wish : std::uint8_t {
        none,
        reset,   ///< the driver: it is of no use until then (RTE_ETH_EVENT_INTR_RESET)
        removal, ///< the kernel: unbound, or taken out; it waits until the device is closed (VFIO's request)
        loss,    ///< nobody: it is gone already (RTE_ETH_EVENT_INTR_RMV, or the interface below a vdev)
    };

    virtual ~Device() = default;

    virtual Wish wish() = 0; ///< the weightiest since it was last asked for

    virtual void suspend() = 0; ///< lcores receive nothing and drop what they send, from their next turn on
    virtual void resume() = 0;  ///< after reset() or bring_back() went well

    virtual Result reset() = 0;  ///< as at the start; after an error it can be tried again
    virtual Result remove() = 0; ///< closed, and no longer DPDK's; an error changes nothing about that

    virtual bool may_return() const = 0; ///< once removed; vdevs do not
    /// False: it is not there, or not DPDK's to have, yet.
    virtual tl::expected<bool, std::string> bring_back() = 0;
};

} // namespace millrace::dataplane
