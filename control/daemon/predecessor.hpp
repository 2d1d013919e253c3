// The daemon that this one takes over from: the other end of hand_over.hpp.
//
// Threads: the main thread, before the loop runs; each call waits for the answer, for a bounded time.
// Errors are sentences that say what to do.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <tl/expected.hpp>

#include "cache/time.hpp"
#include "dataplane/address.hpp"
#include "dataplane/descriptor.hpp"
#include "dataplane/eal.hpp"

namespace millrace::control {

/// Descriptors of another process, known by what they are: the kernel says it (getsockname(2), TUNGETIFF).
/// Each can be taken once; what nobody takes is closed with this object. None: there is none such.
class Handed {
  public:
    Handed() = default;
    explicit Handed(std::vector<dataplane::Descriptor> all) : all_(std::move(all)) {}

    dataplane::Descriptor take_udp(const dataplane::Endpoint& at);
    dataplane::Descriptor take_tcp(const dataplane::Endpoint& at); ///< listening
    dataplane::Descriptor take_unix(const std::string& path);      ///< listening, of packets in sequence
    dataplane::Eal::Taps take_taps();

  private:
    template <class Is>
    dataplane::Descriptor take(Is is);

    std::vector<dataplane::Descriptor> all_;
};

class Predecessor {
  public:
    using Result = tl::expected<void, std::string>;

    /// Whether a daemon listens at the control socket.
    static bool is_there(const std::string& control_socket);
    /// Of the control socket's daemon, and its sockets. None: there is nobody.
    static tl::expected<std::optional<Predecessor>, std::string> find(const std::string& control_socket,
                                                                      Handed& handed);

    /// DPDK's IOVA mode there, "pa" or "va"; empty: it has no ports.
    const std::string& iova_mode() const { return iova_mode_; }
    /// Its health, as whoever sends clients has it: why they are not wanted; empty: they are.
    const std::string& fault() const { return fault_; }

    Result save_cache(); ///< the file of `cache: file` is as it is known there
    /// From then on its devices, so many ports', are there to be opened, and its kernel sockets answer. Also
    /// when it has ended instead.
    Result leave_ports(std::size_t ports);
    void end(); ///< it receives nothing any more, and ends

  private:
    explicit Predecessor(dataplane::Descriptor channel) : channel_(std::move(channel)) {}
    Result ask(const std::string& word, Time patience);

    dataplane::Descriptor channel_;
    std::string iova_mode_, fault_;
    bool has_hung_up_ = false;
};

} // namespace millrace::control
