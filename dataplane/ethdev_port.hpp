// A worker's front end on one queue of an ethdev, whatever its driver.
//
// Threads: made by the control thread, then used by the queue's lcore alone. Nothing here allocates, locks,
// logs or makes system calls; what the driver does (AF_XDP calls the kernel) is the driver's.
//
// Every mbuf of a Burst has its reply's headers in place, right before Packet::data, from the moment it is
// there: receive writes them over the query's own, and into the headroom before it where they have more VLAN
// tags than these (NextHops); compose takes them from the ReturnPath.
//
// A port with a kernel interface gives it what it refuses, and
// sends what comes from there, at most a burst with each receive().
//
// Where upstreams are asked by the port, their replies are handed to control, and its queries sent, at most a
// burst with each receive().
//
// Control may take the driver away from under it: suspend(), then a grace period, and the lcore is not in it
// until resume(). A suspended port receives nothing, and what is to be sent is freed and counted as
// send_failed, which goes for what the kernel and control send, too.
#pragma once

#include <atomic>
#include <cstdint>
#include <optional>
#include <span>

#include "cache/replaceable.hpp"
#include "dataplane/exception.hpp"
#include "dataplane/frame.hpp"
#include "dataplane/next_hops.hpp"
#include "dataplane/port.hpp"
#include "dataplane/upstream_path.hpp"

struct rte_mbuf;
struct rte_mempool;

namespace millrace::dataplane {

class EthdevPort final : public Port {
  public:
    /// The ethdev is configured and started, and stays so while the port lives and is not suspended.
    struct Setup {
        std::uint16_t port = 0;           ///< ethdev port id
        std::uint16_t queue = 0;          ///< receive and send queue
        rte_mempool* pool = nullptr;      ///< of the queue; replies to woken waiters come from it
        const Service* service = nullptr; ///< outlives the port
        Offload offload;                  ///< what is enabled on the ethdev
        KernelQueue* kernel = nullptr;    ///< of the queue; outlives the port. Null: there is none
        /// Where replies go, each by its client's address; outlives the port. Null: where the Service says.
        const cache::Replaceable<NextHops>* next_hops = nullptr;
        std::size_t interface = 0;          ///< that the port sends by, as NextHops numbers them
        UpstreamQueue* upstreams = nullptr; ///< of the queue; outlives the port. Null: none is asked by it
    };

    explicit EthdevPort(const Setup& setup) : setup_(setup) {}

    void receive(Burst& burst, Counters& counters) override;
    void save(const Packet& packet, ReturnPath& path) override;
    bool compose(Burst& burst, const ReturnPath& path) override;
    void send(Burst& burst, Counters& counters) override;
    int wait_descriptor() const override { return is_suspended() ? away : polled; }

    // Control.
    void suspend() { is_suspended_.store(true, std::memory_order_relaxed); } ///< a grace period orders it
    /// The ethdev is set up again, perhaps as another one; a grace period has passed since suspend().
    void resume(std::uint16_t port, Offload offload);

  private:
    /// Acquire: what resume() has written, and the driver's setting up, come before the first use.
    bool is_suspended() const { return is_suspended_.load(std::memory_order_acquire); }
    void serve_kernel(Counters& counters) const;
    void send_queries(Counters& counters) const;
    Verdict judge_refused(rte_mbuf* mbuf, Verdict verdict, Time now, Counters& counters) const;
    void send_all(std::span<rte_mbuf*> mbufs, Event event, Counters& counters) const;
    std::optional<Verdict> accept(rte_mbuf* mbuf, const NextHops* next_hops, Packet& packet,
                                  Counters& counters) const;
    void finish(rte_mbuf* mbuf, const Packet& packet) const;
    unsigned transmit(rte_mbuf** mbufs, unsigned count) const;

    Setup setup_;
    std::atomic<bool> is_suspended_{false};
};

} // namespace millrace::dataplane
