// The way of queries to upstreams through a port with `next-hop: routed`, and of their replies back to
// control: what a kernel's socket would do, without the kernel.
//
//     control ── frames ────► lcore ──► wire     whole, but in no buffer yet
//     control ◄── messages ── lcore ◄── wire     and who has sent them to whom
//
// By value: no buffer changes hands, so that nothing has to come back, and a port that is reset or removed
// holds nothing of this. Each ring has one thread at each end. Full rings refuse: what finds no place is
// dropped and counted by who has it (drop_reply_full; on control's side by PortNetwork).
//
// Threads: as each part says. After construction nothing on an lcore's way allocates, locks or enters the
// kernel, and nothing waits.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "cache/replaceable.hpp"
#include "dataplane/frame.hpp"
#include "dataplane/message_ring.hpp"
#include "dataplane/next_hops.hpp"

namespace millrace::dataplane {

/// Immutable: control puts another in its place.
struct SharedPeers final : cache::Retired {
    explicit SharedPeers(Peers them) : peers(std::move(them)) {}
    std::size_t bytes() const override {
        return sizeof *this + peers.sources.capacity() * sizeof(Address) +
               peers.remotes.capacity() * sizeof(Endpoint);
    }

    Peers peers;
};

/// A datagram that has come; its octets follow.
struct UpstreamReply {
    Endpoint from, to;
    std::uint16_t size = 0; ///< limits::reply_octets at most
    bool is_cut = false;    ///< it was longer
};

/// The local ports from which somebody asks: what strangers send to others, as if from an upstream, is to
/// take no place in a ring. Control writes, lcores read, each word by itself.
class OpenPorts {
  public:
    void set(std::uint16_t port, bool is_open) {
        std::uint64_t bit = std::uint64_t(1) << port % 64;
        std::atomic<std::uint64_t>& word = words_[port / 64];
        std::uint64_t now = word.load(std::memory_order_relaxed);
        word.store(is_open ? now | bit : now & ~bit, std::memory_order_relaxed);
    }
    /// A port that was opened before a query was put into a ring is seen by whoever has its reply.
    bool is_open(std::uint16_t port) const {
        return words_[port / 64].load(std::memory_order_relaxed) >> port % 64 & 1;
    }

  private:
    std::vector<std::atomic<std::uint64_t>> words_ = std::vector<std::atomic<std::uint64_t>>(65536 / 64);
};

/// An lcore's rings.
class UpstreamQueue {
  public:
    static constexpr std::size_t longest_frame = longest_header + limits::reply_octets;

    /// Both outlive it. Throws std::bad_alloc.
    UpstreamQueue(const cache::Replaceable<SharedPeers>& peers, const OpenPorts& open)
        : peers_(peers), open_(open), queries_(limits::query_places, longest_frame),
          replies_(limits::reply_places, limits::reply_octets) {}

    // The lcore, online for RCU.

    /// A frame that Frame::parse refused with drop_destination: whether it is a reply to control. Returns its
    /// verdict; to_control: control will have a copy.
    Verdict offer(std::span<const std::uint8_t> frame, const Service& service, Verified verified);
    bool has_query() const { return !queries_.is_empty(); }
    /// The next frame to send, written to `frame`, where query_room octets have room; its octets. 0: none.
    std::size_t take_query(std::uint8_t* frame);

    // Control.

    bool send(std::span<const std::uint8_t> frame) { return queries_.put({}, frame); } ///< false: full
    /// Writes the next message to `message`, where reply_room octets have room; false: none.
    bool take_reply(UpstreamReply& reply, std::uint8_t* message) {
        return replies_.take(reply, [&](std::size_t) { return message; });
    }

  private:
    struct alignas(4) Query { // rings copy by words, from behind it
        std::uint16_t size = 0;
    };
    static_assert(sizeof(UpstreamReply) % 4 == 0);
    using Queries = MessageRing<Query>;
    using Replies = MessageRing<UpstreamReply>;

  public:
    static constexpr std::size_t query_room = Queries::room_of(longest_frame);
    static constexpr std::size_t reply_room = Replies::room_of(limits::reply_octets);

  private:
    const cache::Replaceable<SharedPeers>& peers_;
    const OpenPorts& open_;
    Queries queries_;
    Replies replies_;
};

/// One port's.
class UpstreamPath {
  public:
    struct Setup {
        std::size_t queues = 1;       ///< of the port, one for each lcore
        std::vector<Address> sources; ///< replies to these are control's
        Mac own;                      ///< the port's
        unsigned mtu = 0;             ///< octets of IP packet; 0: not known, Ethernet's
        const cache::Replaceable<NextHops>* next_hops = nullptr; ///< outlives the path
        std::size_t interface = 0;                               ///< that the port sends by
    };
    explicit UpstreamPath(Setup setup); ///< throws std::bad_alloc

    std::size_t queues() const { return queues_.size(); }
    UpstreamQueue& queue(std::size_t index) { return *queues_[index]; }

    // Control.

    const std::vector<Address>& sources() const { return setup_.sources; }
    /// Whose replies are taken from now on, ascending: bursts that begin after this take effect by it.
    void set_remotes(std::vector<Endpoint> remotes, cache::Grace& grace);
    /// Whether somebody asks from this local port, of whatever source.
    void set_open(std::uint16_t port, bool is_open) { open_.set(port, is_open); }
    /// Whether the port can send at the moment: it is in service and has a link. At first: no.
    bool is_usable() const { return is_usable_; }
    void set_usable(bool is_usable) { is_usable_ = is_usable; }
    /// Null: the kernel has no route by this port, or does not know its next hop.
    const NextHop* next_hop(const Address& remote) const;
    /// Whether a message of so many octets can leave in one packet.
    bool has_room(const Address& remote, std::size_t octets) const;
    /// Puts a datagram on its way by one of the lcores; `hop`: see next_hop(). has_room(). False: that
    /// lcore's ring is full.
    bool send(const NextHop& hop, const Endpoint& from, const Endpoint& to,
              std::span<const std::uint8_t> message, std::size_t queue);

  private:
    Setup setup_;
    bool is_usable_ = false;
    cache::Replaceable<SharedPeers> peers_;
    OpenPorts open_;
    std::vector<std::unique_ptr<UpstreamQueue>> queues_;
};

} // namespace millrace::dataplane
