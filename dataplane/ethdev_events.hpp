// What an ethdev's driver, and the kernel, want of it, as DPDK's callbacks have noted it.
//
// Threads: the callbacks run on EAL's interrupt thread and only leave a note; take() is control's. Made after
// the ethdev's start, destroyed before its end, by whoever does these.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>

#include "dataplane/device.hpp"

namespace millrace::dataplane {

class EthdevEvents {
  public:
    using Wish = Device::Wish;

    /// `device`: DPDK's name of what the ethdev belongs to, "0000:03:00.0".
    EthdevEvents(std::uint16_t port, std::string device);
    EthdevEvents(const EthdevEvents&) = delete;
    EthdevEvents& operator=(const EthdevEvents&) = delete;
    ~EthdevEvents(); ///< no callback runs, or will run, for it

    void note(Wish wish); ///< any thread
    Wish take();          ///< the weightiest since the last time

  private:
    std::uint16_t port_;
    std::string device_;
    std::atomic<Wish> wish_{Wish::none};
};

} // namespace millrace::dataplane
