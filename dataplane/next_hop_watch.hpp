// Keeps NextHops current: a thread of its own reads what the kernel says has changed, builds the next object
// and hands it over; control puts it in place.
//
// Readings are 0.1 s apart or more, and take a tenth of a CPU at most: with a full table of the Internet, of
// which one takes a second, what has changed is in effect 10 s later. Changes meanwhile are in the next one.
//
// Gateways whose MAC address the kernel does not know, or has not confirmed lately, are asked for, as the
// frames that would make it ask go past it; so many at a time, once a second. So are hosts that control
// names: upstreams that are asked by a port. Clients that are neighbours are not: anybody could name them,
// and each has just been heard of.
//
// Threads: made and destroyed by control, start to end; update() is control's, now() is for control and for
// registered readers that are online.
#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <tl/expected.hpp>

#include "cache/replaceable.hpp"
#include "dataplane/descriptor.hpp"
#include "dataplane/netlink.hpp"
#include "dataplane/next_hops.hpp"

namespace millrace::dataplane {

class NextHopWatch {
  public:
    using Result = tl::expected<void, std::string>; ///< an error is a sentence

    /// Of the interfaces of these names, which need not be there, or not yet.
    static tl::expected<std::unique_ptr<NextHopWatch>, std::string> make(std::vector<std::string> interfaces);
    ~NextHopWatch(); ///< no reader is left

    Result start(); ///< reads once before it returns; no reader is there yet

    const cache::Replaceable<NextHops>& now() const { return now_; }
    /// Puts in place what is new, if anything is. Once per tick.
    void update(cache::Grace& grace);
    /// Whose MAC addresses are asked for, too, where they are neighbours, from now on. Control.
    void set_hosts(std::vector<Address> hosts);

  private:
    NextHopWatch(std::vector<std::string> interfaces, Netlink netlink, Descriptor wake);
    void run();
    void wait(Time length) const;
    bool take_hosts();
    void wake() const;
    Result read();
    void ask_for_gateways();

    std::vector<std::string> interfaces_;
    cache::Replaceable<NextHops> now_;
    std::atomic<const NextHops*> next_{nullptr}; ///< on its way to control, which owns what it takes out
    std::atomic<std::vector<Address>*> next_hosts_{nullptr}; ///< on its way to the thread, likewise
    std::atomic<bool> is_ending_{false};

    // The thread's.
    Netlink netlink_;
    Descriptor wake_; ///< an eventfd; readable: there are hosts, or the thread is to end
    std::vector<Address> hosts_;
    KernelView view_;
    Netlink::Changes changes_ = Netlink::Changes::all();
    std::vector<NextHops::Gateway> gateways_; ///< those that are to be asked for
    std::size_t asked_ = 0;                   ///< the next one's place
    std::thread thread_;
};

} // namespace millrace::dataplane
