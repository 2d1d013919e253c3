#include "dataplane/next_hop_watch.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <new>
#include <utility>

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>

#include "dataplane/limits.hpp"

namespace millrace::dataplane {

namespace {

constexpr int behind_control = 5; // nice: it may be on the same CPU, and is in no hurry

} // namespace

tl::expected<std::unique_ptr<NextHopWatch>, std::string>
NextHopWatch::make(std::vector<std::string> interfaces) {
    auto netlink = Netlink::open();
    if (!netlink) return tl::unexpected("the kernel's routes cannot be watched: " + netlink.error());
    Descriptor wake(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    if (!wake)
        return tl::unexpected("the kernel's routes cannot be watched: " + std::string(std::strerror(errno)));
    return std::unique_ptr<NextHopWatch>(
        new NextHopWatch(std::move(interfaces), std::move(*netlink), std::move(wake)));
}

NextHopWatch::Result NextHopWatch::start() {
    if (Result done = read(); !done)
        return tl::unexpected("the kernel's routes cannot be read: " + done.error());
    (void)now_.exchange(std::unique_ptr<const NextHops>(next_.exchange(nullptr)));
    thread_ = std::thread([this] { run(); });
    pthread_setname_np(thread_.native_handle(), "millrace-routes");
    return {};
}

NextHopWatch::NextHopWatch(std::vector<std::string> interfaces, Netlink netlink, Descriptor wake)
    : interfaces_(std::move(interfaces)), now_(std::make_unique<NextHops>(KernelView{}, interfaces_)),
      netlink_(std::move(netlink)), wake_(std::move(wake)) {}

NextHopWatch::~NextHopWatch() {
    if (thread_.joinable()) {
        is_ending_.store(true, std::memory_order_relaxed);
        wake();
        thread_.join();
    }
    delete next_.load();
    delete next_hosts_.load();
}

void NextHopWatch::wake() const {
    eventfd_write(wake_.get(), 1);
}

void NextHopWatch::set_hosts(std::vector<Address> hosts) {
    auto next = std::make_unique<std::vector<Address>>(std::move(hosts));
    // Release: the thread reads its insides. What it has not taken yet is out of date.
    delete next_hosts_.exchange(next.release(), std::memory_order_acq_rel);
    wake();
}

bool NextHopWatch::take_hosts() {
    std::unique_ptr<std::vector<Address>> next(next_hosts_.exchange(nullptr, std::memory_order_acquire));
    if (next) hosts_ = std::move(*next);
    return next != nullptr;
}

void NextHopWatch::update(cache::Grace& grace) {
    if (!next_.load(std::memory_order_relaxed)) return;
    // Acquire: its insides were written by the thread.
    now_.replace(std::unique_ptr<const NextHops>(next_.exchange(nullptr, std::memory_order_acquire)), grace);
}

void NextHopWatch::run() {
    setpriority(PRIO_PROCESS, 0, behind_control); // of this thread alone (sched(7))
    Time read_due{}, ask_due{};
    bool has_new_hosts = false;
    for (Time now = boot_time();; now = boot_time()) {
        Time due = changes_.any() || has_new_hosts ? std::min(read_due, ask_due) : ask_due;
        wait(std::clamp<Time>(due - now, 0us, limits::gateway_interval));
        if (is_ending_.load(std::memory_order_relaxed)) return;
        netlink_.take_changes(changes_);
        if (take_hosts()) has_new_hosts = true;
        now = boot_time();
        if ((changes_.any() || has_new_hosts) && now >= read_due) {
            has_new_hosts = false;
            try {
                (void)read();                 // what was wrong is in what it has built
            } catch (const std::bad_alloc&) { // what was known before is in use, until there is some again
                changes_ = Netlink::Changes::all();
            }
            Time end = boot_time();
            read_due = end + std::max(limits::read_interval, Time((limits::read_share - 1) * (end - now)));
        }
        if (now >= ask_due) {
            ask_for_gateways();
            ask_due = now + limits::gateway_interval;
        }
    }
}

/// Until something has changed, or for so long.
void NextHopWatch::wait(Time length) const {
    // While changes wait for their reading, more of them are no news.
    std::array<pollfd, 2> awaited{pollfd{wake_.get(), POLLIN, 0},
                                  pollfd{changes_.any() ? -1 : netlink_.descriptor(), POLLIN, 0}};
    auto ms = std::chrono::ceil<std::chrono::milliseconds>(length).count();
    poll(awaited.data(), awaited.size(), int(ms));
    eventfd_t woken;
    if (awaited[0].revents != 0) eventfd_read(wake_.get(), &woken);
}

NextHopWatch::Result NextHopWatch::read() {
    Result result = netlink_.read(view_, changes_);
    if (!result) view_.fault = result.error();
    auto next = std::make_unique<NextHops>(view_, interfaces_, hosts_);
    gateways_.clear();
    std::ranges::copy_if(next->gateways(), std::back_inserter(gateways_),
                         [](auto& gateway) { return !gateway.is_known || !gateway.is_confirmed; });
    // Release: control reads its insides. What it has not taken yet is out of date.
    delete next_.exchange(next.release(), std::memory_order_acq_rel);
    return result;
}

/// Some of them each time, all in turn.
void NextHopWatch::ask_for_gateways() {
    std::size_t count = std::min(gateways_.size(), limits::gateway_requests);
    for (std::size_t i = 0; i < count; ++i) netlink_.ask_for(gateways_[asked_++ % gateways_.size()].at);
}

} // namespace millrace::dataplane
