#include "dataplane/exception.hpp"

#include <algorithm>
#include <array>
#include <cassert>
#include <cerrno>
#include <utility>

#include <linux/if_tun.h>
#include <poll.h>
#include <pthread.h>
#include <rte_errno.h>
#include <rte_mbuf.h>
#include <rte_ring.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

namespace millrace::dataplane {

namespace {

/// Nice value: on a CPU that both want, control has three
/// quarters. A flood for the kernel shall not end misses.
constexpr int behind_control = 5;

using Mbufs = std::array<rte_mbuf*, limits::burst>;

rte_ring* make_ring(const std::string& name, int socket) {
    return rte_ring_create(name.c_str(), limits::kernel_places, socket, RING_F_SP_ENQ | RING_F_SC_DEQ);
}

unsigned take(rte_ring* ring, std::span<rte_mbuf*> out) {
    return rte_ring_sc_dequeue_burst(ring, reinterpret_cast<void**>(out.data()), unsigned(out.size()),
                                     nullptr);
}

void count(std::atomic<std::uint64_t>& counter) { // one writer
    counter.store(counter.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
}

} // namespace

KernelQueue::~KernelQueue() {
    for (rte_ring* ring : {to_kernel_, written_, from_kernel_}) rte_ring_free(ring);
}

Verdict KernelQueue::offer(rte_mbuf* mbuf, Verdict verdict, const Service& service, Time now,
                           Counters& counters) {
    std::span<const std::uint8_t> bytes(rte_pktmbuf_mtod(mbuf, std::uint8_t*), mbuf->data_len);
    auto frame = KernelFrame::classify(bytes, verdict, service);
    if (!frame) return verdict;
    if (!rates_.take(*frame, now, counters)) return Verdict::drop_kernel_rate;
    if (given_ == rte_ring_get_capacity(to_kernel_)) return Verdict::drop_kernel_full;
    [[maybe_unused]] int error = rte_ring_sp_enqueue(to_kernel_, mbuf);
    assert(error == 0 && "the ring has a place for each buffer that may be out");
    ++given_;
    return Verdict::to_kernel;
}

unsigned KernelQueue::take_back(std::span<rte_mbuf*> out) {
    unsigned count = take(written_, out);
    given_ -= count;
    return count;
}

unsigned KernelQueue::take_frames(std::span<rte_mbuf*> out) {
    return from_kernel_ ? take(from_kernel_, out) : 0;
}

tl::expected<std::unique_ptr<KernelPort>, std::string> KernelPort::make(Descriptor kernel,
                                                                        const Setup& setup) {
    std::unique_ptr<KernelPort> port(new KernelPort(std::move(kernel), setup));
    if (auto created = port->create(setup); !created) return tl::unexpected(created.error());
    return port;
}

KernelPort::KernelPort(Descriptor kernel, const Setup& setup)
    : kernel_(std::move(kernel)), rates_(setup.rate, setup.queues) {}

tl::expected<void, std::string> KernelPort::create(const Setup& setup) {
    auto failure = [&] {
        return tl::unexpected("no memory for the way between port " + setup.name +
                              " and its kernel interface: " + rte_strerror(rte_errno));
    };
    for (std::size_t i = 0; i < setup.queues; ++i) {
        queues_.push_back(std::make_unique<KernelQueue>(rates_));
        KernelQueue& queue = *queues_.back();
        std::string name = setup.name + "-" + std::to_string(i);
        queue.to_kernel_ = make_ring(name + "-out", setup.socket);
        queue.written_ = make_ring(name + "-back", setup.socket);
        if (!queue.to_kernel_ || !queue.written_) return failure();
    }
    queues_.front()->from_kernel_ = make_ring(setup.name + "-in", setup.socket);
    // No caches: one thread alone takes buffers out.
    pool_ = rte_pktmbuf_pool_create((setup.name + "-kernel").c_str(), limits::kernel_mbufs, 0, 0,
                                    limits::mbuf_room, setup.socket);
    if (!queues_.front()->from_kernel_ || !pool_) return failure();
    return {};
}

KernelPort::~KernelPort() {
    queues_.clear();
    rte_mempool_free(pool_);
}

void KernelPort::empty() {
    Mbufs mbufs;
    for (auto& queue : queues_) {
        for (rte_ring* ring : {queue->to_kernel_, queue->written_, queue->from_kernel_}) {
            while (unsigned count = ring ? take(ring, mbufs) : 0) rte_pktmbuf_free_bulk(mbufs.data(), count);
        }
        queue->given_ = 0;
    }
    rte_pktmbuf_free(std::exchange(spare_, nullptr));
}

bool KernelPort::turn() {
    follow_carrier();
    unsigned moved = read_in();
    for (auto& queue : queues_) moved += write_out(*queue);
    return moved > 0;
}

/// Here, as the kernel may be long about it: it takes the lock of all its interfaces.
void KernelPort::follow_carrier() {
    int wanted = wants_carrier_.load(std::memory_order_relaxed);
    if (wanted == int(has_carrier_)) return;
    has_carrier_ = wanted;
    ioctl(kernel_.get(), TUNSETCARRIER, &wanted);
}

int KernelPort::awaited() const {
    return waits_for_room_ || is_gone() ? -1 : kernel_.get();
}

unsigned KernelPort::write_out(KernelQueue& queue) {
    Mbufs mbufs;
    unsigned taken = take(queue.to_kernel_, mbufs);
    for (unsigned i = 0; i < taken; ++i) {
        // What the kernel has no room for, or an interface that is down, is lost, as on any link.
        bool is_written = ::write(kernel_.get(), rte_pktmbuf_mtod(mbufs[i], void*), mbufs[i]->data_len) > 0;
        count(is_written ? written_ : refused_);
    }
    [[maybe_unused]] unsigned given =
        rte_ring_sp_enqueue_bulk(queue.written_, reinterpret_cast<void**>(mbufs.data()), taken, nullptr);
    assert(given == taken && "the ring has a place for each buffer that may be out");
    return taken;
}

unsigned KernelPort::read_in() {
    rte_ring* ring = queues_.front()->from_kernel_;
    waits_for_room_ = false;
    for (unsigned taken = 0; taken < limits::burst; ++taken) {
        if (!spare_) spare_ = rte_pktmbuf_alloc(pool_);
        waits_for_room_ = !spare_ || rte_ring_full(ring);
        if (waits_for_room_) return taken;
        ssize_t size = ::read(kernel_.get(), rte_pktmbuf_mtod(spare_, void*), limits::kernel_frame);
        if (size < 0) {
            is_gone_.store(errno == EBADFD, std::memory_order_relaxed);
            return taken;
        }
        if (std::size_t(size) >= limits::kernel_frame) { // cut short, or nearly: its MTU was raised
            count(too_long_);
            continue;
        }
        spare_->data_len = std::uint16_t(size);
        spare_->pkt_len = std::uint32_t(size);
        rte_ring_sp_enqueue(ring, std::exchange(spare_, nullptr));
        count(read_);
    }
    return limits::burst;
}

void ExceptionThread::start(std::vector<KernelPort*> ports) {
    ports_ = std::move(ports);
    if (ports_.empty()) return;
    thread_ = std::thread([this] { run(); });
    pthread_setname_np(thread_.native_handle(), "millrace-kernel");
}

void ExceptionThread::stop() {
    stop_.store(true, std::memory_order_relaxed);
    if (thread_.joinable()) thread_.join();
}

void ExceptionThread::run() {
    prctl(PR_SET_TIMERSLACK, 1);                  // ns: naps as short as asked for
    setpriority(PRIO_PROCESS, 0, behind_control); // of this thread alone (sched(7))
    for (Time length = limits::first_kernel_nap; !stop_.load(std::memory_order_relaxed);) {
        bool busy = false;
        for (KernelPort* port : ports_) busy = port->turn() || busy;
        if (busy) {
            length = limits::first_kernel_nap;
        } else {
            nap(length);
            length = std::min(2 * length, limits::longest_kernel_nap);
        }
    }
}

void ExceptionThread::nap(Time length) const {
    std::array<pollfd, limits::ports> awaited;
    nfds_t count = 0;
    for (const KernelPort* port : ports_) awaited[count++] = {port->awaited(), POLLIN, 0};
    timespec timeout{0, std::chrono::nanoseconds(length).count()};
    ppoll(awaited.data(), count, &timeout, nullptr);
}

} // namespace millrace::dataplane
