// Our XDP program (xdp_dns.bpf.c) on one kernel interface: before, while and after DPDK's AF_XDP
// driver uses it.
//
// The driver loads the program from a path, attaches it when the first queue is set up, and takes away
// whatever is attached when the ethdev closes. This class does the rest: it gives the program a path,
// says which addresses it takes, clears away what a killed daemon left behind and refuses to touch
// anybody else's program.
//
// An interface whose queues have an ethdev each (plan_xdp) gets the program once for each of them, with a map
// that holds this one's socket alone, and there can be but one on an interface: so each goes before the next
// ethdev starts, and the last is given the sockets of all.
//
// Threads: the control thread's, at start and at the end. Errors are sentences that say what to do.
#pragma once

#include <span>
#include <string>
#include <vector>

#include <tl/expected.hpp>

#include "dataplane/address.hpp"
#include "dataplane/descriptor.hpp"
#include "dataplane/lock_file.hpp"
#include "dataplane/xdp_sockets.hpp"

namespace millrace::dataplane {

class XdpFilter {
  public:
    /// Makes sure that the interface is free: a left-over of ours is detached, a live millraced or a program
    /// of somebody else's is an error.
    static tl::expected<XdpFilter, std::string> prepare(const std::string& interface);

    XdpFilter(XdpFilter&& other) noexcept = default;
    XdpFilter(const XdpFilter&) = delete;
    XdpFilter& operator=(XdpFilter&&) = delete;
    XdpFilter& operator=(const XdpFilter&) = delete;
    /// After the end of the ethdevs. Detaches the program if it is (still) there, and closes their sockets:
    /// nothing of ours stays behind.
    ~XdpFilter();

    /// For the driver's xdp_prog=. Good while this object lives, in this process.
    std::string program_path() const;

    /// Before an ethdev of the interface starts.
    tl::expected<void, std::string> make_way();
    /// After it has started. `queue`: of the interface, its first.
    void note_sockets(unsigned queue);

    /// After all of them have.
    tl::expected<void, std::string> connect();

    /// From then on takes UDP port 53 to these addresses off the kernel, or no longer: the attached program
    /// begins with none. Both need no privileges.
    tl::expected<void, std::string> serve(std::span<const Address> addresses) const;
    tl::expected<void, std::string> leave(std::span<const Address> addresses) const;
    /// From then on takes UDP from `remotes`, which ascend, to unprivileged ports of `sources`, and none of
    /// others' that these have replaced.
    tl::expected<void, std::string> take_replies(std::span<const Address> sources,
                                                 std::span<const Endpoint> remotes);

    /// Of the attached program and the sockets that were noted.
    XdpMode mode() const;

  private:
    /// An ethdev's.
    struct Sockets {
        unsigned queue;               ///< the first
        std::vector<int> descriptors; ///< the driver's; one for each queue
    };

    XdpFilter(std::string interface, unsigned index) : interface_(std::move(interface)), index_(index) {}
    tl::expected<void, std::string> lock();
    tl::expected<void, std::string> check_unserved() const;
    std::string served() const;
    tl::expected<void, std::string> clear() const;
    tl::expected<void, std::string> give_sockets(int program) const;
    tl::expected<void, std::string> write_program();

    std::string interface_;
    unsigned index_;
    LockFile lock_;                  ///< whose name says that this interface is being served
    Descriptor program_;             ///< memfd with the program's ELF object
    Descriptor addresses_;           ///< the attached program's map of them,
    Descriptor sources_, upstreams_; ///< and those of who is asked, and from where
    std::vector<Endpoint> remotes_;  ///< as upstreams_ has them, ascending
    std::vector<Sockets> sockets_;
    std::vector<int> before_; ///< AF_XDP sockets that were there before the ethdev that is starting
};

} // namespace millrace::dataplane
