// The kernel's links, routes and neighbours, in the network namespace of the caller (rtnetlink(7), libmnl).
//
// Notifications say only that something has changed, never what: it is read again, whole. What is added up
// from notifications departs from the kernel, which sends none, for instance, of IPv4 routes that go with
// their interface; and one that was lost (ENOBUFS) is as good as another.
//
// Threads: one at a time. Reading takes as long as there are routes; no more of each kind than
// limits::kernel_... is kept. Errors: sentences.
#pragma once

#include <string>

#include <tl/expected.hpp>

#include "dataplane/descriptor.hpp"
#include "dataplane/next_hops.hpp"

namespace millrace::dataplane {

class Netlink {
  public:
    using Result = tl::expected<void, std::string>;
    /// What may be other than when it was read.
    struct Changes {
        bool links = false, routes = false, neighbours = false;

        static Changes all() { return {true, true, true}; }
        bool any() const { return links || routes || neighbours; }
    };

    static tl::expected<Netlink, std::string> open();

    int descriptor() const { return events_.get(); } ///< readable when there are changes
    void take_changes(Changes& changes);             ///< those since the last call, added to others

    /// Reads what has changed. Of what was changing meanwhile, or could not be read, it stays in `changes`.
    Result read(KernelView& view, Changes& changes) const;

    /// Has the kernel find out a neighbour's MAC address, or whether it still has it, as if it had something
    /// to send there. Needs CAP_NET_ADMIN; without it, or when it is not possible, nothing happens.
    void ask_for(const KernelPlace& neighbour) const;

  private:
    explicit Netlink(Descriptor events, Descriptor requests)
        : events_(std::move(events)), requests_(std::move(requests)) {}

    Descriptor events_, requests_;
};

} // namespace millrace::dataplane
