// DPDK's environment and every port in it: started once per process, closed at the end.
//
//     start ── open ── serve ──────────── close            a daemon's life
//                        └─ leave ─ let_go ─┘              of one that hands its ports over
//
// Threads: all of it belongs to the thread that calls start(). That thread becomes EAL's main lcore and is
// bound to the control CPU; threads it makes later inherit that. Workers run on the queues' lcores
// (rte_eal_remote_launch) and must have returned before close(). Errors: sentences that say what to do; the
// drivers' own words are on stderr.
#pragma once

#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include <tl/expected.hpp>

#include "cache/time.hpp"
#include "dataplane/device.hpp"
#include "dataplane/eal_plan.hpp"
#include "dataplane/ethdev_port.hpp"
#include "dataplane/ethdev_view.hpp"
#include "dataplane/lock_file.hpp"
#include "dataplane/next_hop_watch.hpp"
#include "dataplane/upstream_path.hpp"

namespace millrace::dataplane {

class Eal {
  public:
    /// One lcore's work.
    struct Queue {
        unsigned lcore = 0;
        std::size_t port = 0; ///< index into EalPlan::ports
        std::unique_ptr<EthdevPort> front;
        unsigned receive_ring = 0; ///< places, as EthdevView says
    };

    using Result = tl::expected<void, std::string>;
    /// By their names: kernel interfaces that a predecessor has made.
    using Taps = std::map<std::string, Descriptor>;

    /// Starts EAL, with memory for the plan's ports, and with their devices unless the plan leaves these to
    /// open(). Once per process, even when it fails: DPDK cannot be started again.
    static tl::expected<std::unique_ptr<Eal>, std::string> start(const EalPlan& plan);
    /// The plan's ports.
    Result open(Taps taps);
    /// Once the lcores turn. A port beside the kernel (AF_XDP) gets its packets from here on.
    Result serve();

    /// For a successor's EalPlan::iova_mode. An error: which port cannot be another process's.
    tl::expected<std::string, std::string> handed_iova_mode() const;
    /// The ports beside the kernel get no more packets, which are the kernel's: what was asked can still be
    /// answered. serve() ends it.
    Result leave();
    /// All devices are removed. Locks that keep another process from the ports go, and the kernel interfaces
    /// are no longer served.
    void let_go();
    Time settling() const; ///< how long it takes from then until another process can have the ports

    Eal(const Eal&) = delete;
    Eal& operator=(const Eal&) = delete;
    ~Eal(); ///< closes

    std::span<Queue> queues() { return queues_; }

    // By the index of EalPlan::ports.
    Device& device(std::size_t port);
    EthdevView view(std::size_t port) const; ///< of one that is neither suspended nor removed
    /// Whether the link is up. The port's kernel interface has carrier when it is (not behind net_tap, which
    /// may be wrong about it), and an interface below the port that has gone is noted as a loss.
    bool look_at_link(std::size_t port);
    void set_no_link(std::size_t port); ///< of one that is suspended or removed

    /// An lcore's packet buffers. Any that is in use, in a ring or in an lcore's hands, is not free.
    struct Pool {
        unsigned lcore = 0, buffers = 0, free = 0;
    };
    std::vector<Pool> pools(std::size_t port) const; ///< of its lcores, in the order of its queues

    /// A port's kernel interface, as long as the ports are open.
    struct Kernel {
        std::string interface, port; ///< names
        const KernelPort* counts;
        int descriptor; ///< the interface's, for a successor
    };
    std::span<const Kernel> kernels() const { return kernels_; }

    /// What the replies of a port with PortPlan::is_routed go by. Null: it is none.
    const NextHops* next_hops(std::size_t port) const;
    /// By this place, as NextHops numbers interfaces.
    std::size_t interface_of(std::size_t port) const;
    /// The way to upstreams of a port with PortPlan::sources. Null: it has none.
    UpstreamPath* upstream_path(std::size_t port);
    /// Who is asked by that way, ascending, from now on.
    Result set_remotes(std::size_t port, std::vector<Endpoint> remotes, cache::Grace& grace);
    /// What the kernel has changed of that takes effect. Once per tick.
    void update_next_hops(cache::Grace& grace) {
        if (watch_) watch_->update(grace);
    }

    /// What the operator should know although it is no error.
    std::span<const std::string> warnings() const { return warnings_; }

    /// Stops and closes the ports and EAL: no XDP program, no file of ours is left. Idempotent.
    void close();

  private:
    struct OpenPort;

    explicit Eal(const EalPlan& plan);
    Result claim();
    Result prepare();
    Result initialise();
    Result lock(const Nic& nic);
    Result open(const PortPlan& port, std::size_t index, Taps& taps);
    Result open_ethdevs(const PortPlan& port, OpenPort& open);
    Result open_kernel(const PortPlan& port, OpenPort& open, Taps& taps);
    Result watch_routes();
    void open_upstream_path(const PortPlan& port, OpenPort& open) const;

    EalPlan plan_;                   ///< its device strings completed by prepare()
    std::vector<std::string> words_; ///< EAL keeps pointers to its arguments
    std::vector<char*> argv_;
    std::vector<LockFile> locks_;
    std::vector<std::unique_ptr<OpenPort>> ports_;
    std::vector<Queue> queues_;
    std::vector<Kernel> kernels_;
    ExceptionThread exceptions_;
    std::unique_ptr<NextHopWatch> watch_; ///< null: no port is routed
    std::vector<std::string> warnings_;
    bool initialised_ = false;
};

} // namespace millrace::dataplane
