// The exception path: what a port receives and millraced does not answer, on its way to a kernel interface of
// the port's own, and what the kernel sends there on its way out of the port.
//
//     lcore ── to_kernel ───► exception thread ──► TAP     frames as they came
//     lcore ◄── written ───── exception thread             their buffers
//     lcore ◄── from_kernel ─ exception thread ◄── TAP     frames in buffers of the port's kernel pool
//
// Each ring has one thread at each end. With several, an lcore could have to wait while the exception
// thread, which the kernel stops wherever it likes, is in the midst of taking or giving; for the same
// reason the thread does not put buffers back into an lcore's pool, but gives them back to the lcore,
// and what comes from the kernel is in buffers that the thread alone takes and lcores alone put back.
//
// Threads: as each part says. No lock, allocation or system call on an lcore's way. Full
// rings refuse: towards the kernel frames are dropped and counted (drop_kernel_full), from it
// they wait in the interface's own queue, which the kernel bounds (txqueuelen) and counts.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include <tl/expected.hpp>

#include "dataplane/descriptor.hpp"
#include "dataplane/kernel_frame.hpp"

struct rte_mbuf;
struct rte_mempool;
struct rte_ring;

namespace millrace::dataplane {

class KernelPort;

/// An lcore's end. Used by that lcore alone, but for what KernelPort takes out of the rings.
class KernelQueue {
  public:
    explicit KernelQueue(KernelRates& rates) : rates_(rates) {}
    KernelQueue(const KernelQueue&) = delete;
    KernelQueue& operator=(const KernelQueue&) = delete;
    ~KernelQueue();

    /// A frame that was refused with `verdict`. Returns its verdict: to_kernel,
    /// and the buffer is no longer the caller's; any other, and it still is.
    Verdict offer(rte_mbuf* mbuf, Verdict verdict, const Service& service, Time now, Counters& counters);
    /// Buffers that offer() took and that are free again.
    unsigned take_back(std::span<rte_mbuf*> out);
    /// What the kernel wants sent, on one queue of the port: always none on the others.
    unsigned take_frames(std::span<rte_mbuf*> out);

  private:
    friend class KernelPort;

    KernelRates& rates_;
    rte_ring* to_kernel_ = nullptr;
    rte_ring* written_ = nullptr;
    rte_ring* from_kernel_ = nullptr; ///< null: not on this queue
    unsigned given_ = 0;              ///< buffers that have not come back: at most what either ring holds
};

/// One port's rings, and the descriptor of its kernel interface.
class KernelPort {
  public:
    struct Setup {
        std::string name;       ///< of rings and pool: the port's
        std::size_t queues = 1; ///< of the port, one for each lcore
        unsigned rate = 0;      ///< see KernelRates
        int socket = -1;        ///< NUMA node, or SOCKET_ID_ANY
    };
    /// `kernel`: read() and write() move one frame, and never block (tap.hpp). Needs EAL; the control thread.
    static tl::expected<std::unique_ptr<KernelPort>, std::string> make(Descriptor kernel, const Setup& setup);
    ~KernelPort(); ///< after all lcores, the exception thread and the ethdev have stopped

    KernelQueue& queue(std::size_t index) { return *queues_[index]; }
    /// Whether the kernel is to see a carrier, as at first. Any thread says so, the exception thread does it.
    void set_carrier(bool is_up) { wants_carrier_.store(is_up, std::memory_order_relaxed); }
    /// Puts what is left in the rings back into its pools. When nobody uses the queues any more.
    void empty();

    // The exception thread.
    bool turn();         ///< a burst in each direction; whether there was anything to do
    int awaited() const; ///< the descriptor to wait for, or -1 while its frames would find no place

    /// Of frames, by the exception thread. Any thread may read them.
    std::uint64_t written() const { return written_.load(std::memory_order_relaxed); }
    std::uint64_t refused() const { return refused_.load(std::memory_order_relaxed); } ///< by the kernel
    std::uint64_t read() const { return read_.load(std::memory_order_relaxed); }
    std::uint64_t too_long() const { return too_long_.load(std::memory_order_relaxed); } ///< dropped
    /// Somebody has removed the interface: for good.
    bool is_gone() const { return is_gone_.load(std::memory_order_relaxed); }

  private:
    explicit KernelPort(Descriptor kernel, const Setup& setup);
    tl::expected<void, std::string> create(const Setup& setup);
    unsigned write_out(KernelQueue& queue);
    unsigned read_in();
    void follow_carrier();

    Descriptor kernel_;
    KernelRates rates_;
    std::vector<std::unique_ptr<KernelQueue>> queues_;
    rte_mempool* pool_ = nullptr;
    rte_mbuf* spare_ = nullptr; ///< for the next frame of the kernel's
    bool waits_for_room_ = false;
    bool has_carrier_ = true;
    std::atomic<bool> wants_carrier_{true}, is_gone_{false};
    std::atomic<std::uint64_t> written_{0}, refused_{0}, read_{0}, too_long_{0};
};

/// One for all ports. It inherits the CPUs of the thread that starts it, and naps when there
/// is nothing to do, limits::longest_kernel_nap at most; a frame of the kernel's ends a nap.
class ExceptionThread {
  public:
    ~ExceptionThread() { stop(); }

    void start(std::vector<KernelPort*> ports); ///< which stay until stop()
    void stop();                                ///< idempotent

  private:
    void run();
    void nap(Time length) const;

    std::vector<KernelPort*> ports_;
    std::atomic<bool> stop_{false};
    std::thread thread_;
};

} // namespace millrace::dataplane
