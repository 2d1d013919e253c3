// What carries DNS messages between the generator and a server: an ethdev, or a kernel UDP socket.
//
// One thread's. Errors while opening: a sentence.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include <tl/expected.hpp>

#include "dataplane/address.hpp"
#include "dataplane/limits.hpp"

namespace millrace::bench {

using Message = std::span<const std::uint8_t>;

class Link {
  public:
    static constexpr std::size_t burst = dataplane::limits::burst;
    using Messages = std::array<Message, burst>;

    virtual ~Link() = default;

    /// Sends the first of `messages`, as many as there is room for; returns how many.
    virtual unsigned send(std::span<const Message> messages) = 0;

    /// Sends so many frames that are no DNS, at most a burst: ARP requests
    /// and TCP SYN by turns, of many senders. Nothing over a socket.
    virtual void stray(unsigned) {}

    /// Messages that have arrived, whole packets with right checksums; they stay until the next call.
    virtual unsigned receive(Messages& messages) = 0;

    /// Nothing can be done before something arrives, or for `microseconds`: leaves the CPU to others.
    virtual void sleep(unsigned microseconds) = 0;

    /// Packets that came and were no DNS message from the server to us.
    std::uint64_t strangers() const { return strangers_; }

  protected:
    std::uint64_t strangers_ = 0;
};

using LinkResult = tl::expected<std::unique_ptr<Link>, std::string>;

/// The server's and the client's end at layers 2 and 3.
struct Ends {
    dataplane::Endpoint client, server; ///< IPv4
    dataplane::Mac client_mac{{2, 0, 0, 0, 0, 1}}, server_mac{{2, 0, 0, 0, 0, 0x53}};
};

/// The device string's ethdev, with the same rings, buffers and bursts as millraced's own; waits for
/// its link. Starts EAL on the CPU that this thread may run on first, and binds the thread to it:
/// once per process.
LinkResult open_ethdev(const std::string& device, const Ends& ends);

/// A kernel socket connected to the server.
LinkResult open_socket(const dataplane::Endpoint& server);

} // namespace millrace::bench
