// Our XDP program (xdp_dns.bpf.c) on one kernel interface: before, while and after DPDK's AF_XDP
// driver uses it.
//
// The driver loads the program from a path, attaches it when the queue is set up, and takes away
// whatever is attached when the ethdev closes. This class does the rest: it gives the program a path,
// says which addresses it takes, clears away what a killed daemon left behind and refuses to touch
// anybody else's program.
//
// Threads: the control thread's, at start and at the end. Errors are sentences that say what to do.
#pragma once

#include <span>
#include <string>

#include <tl/expected.hpp>

#include "dataplane/address.hpp"
#include "dataplane/descriptor.hpp"
#include "dataplane/lock_file.hpp"

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
    /// Detaches the program if it is (still) there: nothing of ours stays behind.
    ~XdpFilter();

    /// For the driver's xdp_prog=. Good while this object lives, in this process.
    std::string program_path() const;

    /// Takes UDP port 53 to these addresses off the kernel. Until then the attached program takes nothing.
    tl::expected<void, std::string> serve(std::span<const Address> addresses) const;

  private:
    XdpFilter(std::string interface, unsigned index) : interface_(std::move(interface)), index_(index) {}
    tl::expected<void, std::string> lock();
    tl::expected<void, std::string> check_unserved() const;
    std::string served() const;
    tl::expected<void, std::string> clear() const;
    tl::expected<void, std::string> write_program();

    std::string interface_;
    unsigned index_;
    LockFile lock_;      ///< whose name says that this interface is being served
    Descriptor program_; ///< memfd with the program's ELF object
};

} // namespace millrace::dataplane
