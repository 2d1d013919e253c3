#include "dataplane/xdp.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <iterator>
#include <string_view>
#include <utility>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/if_link.h>
#include <net/if.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cache/wire.hpp"

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wpedantic"
#pragma GCC diagnostic ignored "-Wunused-function"
#include "dataplane/xdp_dns.skel.h" // the program's ELF object as bytes, by bpftool
#pragma GCC diagnostic pop

namespace millrace::dataplane {

namespace {

constexpr const char* lock_folder = "/run/millrace";
constexpr std::string_view program_name = "millrace_dns", map_name = "service_addrs",
                           sockets_name = "xsks_map", sources_name = "source_addrs",
                           upstreams_name = "upstreams";

using Result = tl::expected<void, std::string>;

tl::unexpected<std::string> failure(const std::string& what, int error) {
    return tl::unexpected(what + ": " + std::strerror(error));
}

/// The XDP program on an interface, and the flags to take it away with.
struct Attached {
    std::uint32_t id = 0; ///< 0: none
    std::uint32_t mode = 0;
};

/// LIBBPF_OPTS, but in C++: libbpf refuses what is not zero in the padding, too.
template <typename Options>
void clear(Options& options) {
    std::memset(&options, 0, sizeof options);
    options.sz = sizeof options;
}

tl::expected<Attached, int> query(unsigned index) {
    bpf_xdp_query_opts found;
    clear(found);
    if (int error = bpf_xdp_query(int(index), 0, &found); error != 0) return tl::unexpected(-error);
    if (found.skb_prog_id != 0) return Attached{found.skb_prog_id, XDP_FLAGS_SKB_MODE};
    if (found.drv_prog_id != 0) return Attached{found.drv_prog_id, XDP_FLAGS_DRV_MODE};
    return Attached{found.hw_prog_id, XDP_FLAGS_HW_MODE};
}

bool is_ours(int program) {
    bpf_prog_info info{};
    std::uint32_t size = sizeof info;
    return bpf_obj_get_info_by_fd(program, &info, &size) == 0 && program_name == info.name;
}

/// The program's map of that name; none: errno says why.
Descriptor open_map(int program, std::string_view name) {
    std::array<std::uint32_t, 8> ids{};
    bpf_prog_info info{};
    info.nr_map_ids = ids.size();
    info.map_ids = reinterpret_cast<std::uintptr_t>(ids.data());
    std::uint32_t size = sizeof info;
    if (bpf_obj_get_info_by_fd(program, &info, &size) != 0) return {};
    for (std::size_t i = 0; i < info.nr_map_ids && i < ids.size(); ++i) {
        Descriptor map(bpf_map_get_fd_by_id(ids[i]));
        bpf_map_info map_info{};
        size = sizeof map_info;
        if (map && bpf_obj_get_info_by_fd(map.get(), &map_info, &size) == 0 && name == map_info.name)
            return map;
    }
    return {};
}

/// Whether a socket takes packets by this program: a dead daemon's are no longer in its map. The kernel does
/// not show them, but refuses to put another one in the place of one (BPF_NOEXIST); in the place of none it
/// stays until this returns.
bool is_served(int program) {
    Descriptor map = open_map(program, sockets_name), other(socket(AF_XDP, SOCK_RAW | SOCK_CLOEXEC, 0));
    bpf_map_info info{};
    std::uint32_t size = sizeof info;
    if (!map || !other || bpf_obj_get_info_by_fd(map.get(), &info, &size) != 0) return false;
    for (std::uint32_t queue = 0; queue < info.max_entries; ++queue) {
        int value = other.get();
        bool is_taken = bpf_map_update_elem(map.get(), &queue, &value, BPF_NOEXIST) != 0 && errno == EEXIST;
        if (is_taken) return true;
    }
    return false;
}

/// Detaches exactly this program, should another one have taken its place meanwhile.
int detach(unsigned index, const Attached& attached, int program) {
    bpf_xdp_attach_opts options;
    clear(options);
    options.old_prog_fd = program;
    return -bpf_xdp_detach(int(index), attached.mode, &options);
}

/// An upstream, as the program looks it up.
std::array<std::uint8_t, 20> key_of(const Endpoint& endpoint) {
    std::array<std::uint8_t, 20> key{};
    std::ranges::copy(endpoint.address.octets, key.begin());
    cache::store_u16(&key[16], endpoint.port);
    return key;
}

} // namespace

tl::expected<XdpFilter, std::string> XdpFilter::prepare(const std::string& interface) {
    unsigned index = if_nametoindex(interface.c_str());
    if (index == 0)
        return tl::unexpected("there is no interface " + interface + " in this network namespace");
    XdpFilter filter(interface, index);
    Result ready = filter.lock();
    if (ready) ready = filter.check_unserved();
    if (ready) ready = filter.clear();
    if (ready) ready = filter.write_program();
    if (!ready) return tl::unexpected(ready.error());
    return filter;
}

/// DPDK's driver never frees an ethdev's umem, and so leaves its socket open, which has the queue.
XdpFilter::~XdpFilter() {
    std::vector<int> open = open_xdp_sockets();
    for (const Sockets& one : sockets_) {
        for (int socket : one.descriptors) {
            if (std::ranges::binary_search(open, socket)) ::close(socket);
        }
    }
    if (program_) (void)clear();
}

std::string XdpFilter::program_path() const {
    return "/proc/self/fd/" + std::to_string(program_.get());
}

/// An interface is known by its number within its network namespace.
Result XdpFilter::lock() {
    struct stat space {};
    if (stat("/proc/self/ns/net", &space) != 0) return failure("cannot tell the network namespace", errno);
    auto name = "xdp-" + std::to_string(space.st_ino) + "-" + std::to_string(index_) + ".lock";
    auto taken = LockFile::take(lock_folder, name, served());
    if (!taken) return tl::unexpected(taken.error());
    lock_ = std::move(*taken);
    return {};
}

/// The lock is a file: who sees another /run, in a container that shares the network, does not see it.
Result XdpFilter::check_unserved() const {
    auto attached = query(index_);
    Descriptor program(attached && attached->id != 0 ? bpf_prog_get_fd_by_id(attached->id) : -1);
    if (program && is_ours(program.get()) && is_served(program.get())) return tl::unexpected(served());
    return {};
}

std::string XdpFilter::served() const {
    return "another millraced is serving " + interface_ + "; stop it first";
}

/// Takes away a program of ours; nothing, or an error for somebody else's.
Result XdpFilter::clear() const {
    auto attached = query(index_);
    if (!attached) return failure("cannot ask for the XDP program of " + interface_, attached.error());
    if (attached->id == 0) return {};
    Descriptor program(bpf_prog_get_fd_by_id(attached->id));
    if (!program) {
        return failure("cannot look at the XDP program on " + interface_ + " (root is needed)", errno);
    }
    if (!is_ours(program.get())) {
        return tl::unexpected(interface_ +
                              " already has an XDP program that is not millrace's; if nothing needs " +
                              "it, remove it with `ip link set " + interface_ + " xdp off`");
    }
    if (int error = detach(index_, *attached, program.get()); error != 0) {
        return failure("cannot detach the XDP program of an earlier millraced from " + interface_, error);
    }
    return {};
}

Result XdpFilter::write_program() {
    std::size_t size = 0;
    const void* bytes = xdp_dns__elf_bytes(&size);
    Descriptor file(memfd_create("millrace-xdp", MFD_CLOEXEC));
    if (!file) return failure("cannot create a memory file for the XDP program", errno);
    if (write(file.get(), bytes, size) != ssize_t(size)) {
        return failure("cannot write the XDP program to memory", errno);
    }
    program_ = std::move(file);
    return {};
}

Result XdpFilter::make_way() {
    before_ = open_xdp_sockets();
    return clear();
}

void XdpFilter::note_sockets(unsigned queue) {
    std::vector<int> found;
    std::ranges::set_difference(open_xdp_sockets(), before_, std::back_inserter(found));
    sockets_.push_back({queue, std::move(found)});
}

/// The sockets of all ethdevs, one of each, to the program that stays.
Result XdpFilter::give_sockets(int program) const {
    Descriptor map = open_map(program, sockets_name);
    if (!map) return failure("cannot open the socket map of the XDP program on " + interface_, errno);
    for (const Sockets& one : sockets_) {
        std::string what = "queue " + std::to_string(one.queue) + " of " + interface_;
        if (one.descriptors.size() != 1)
            return tl::unexpected("DPDK's driver has not one AF_XDP socket for " + what);
        if (bpf_map_update_elem(map.get(), &one.queue, &one.descriptors.front(), BPF_ANY) != 0)
            return failure("cannot give " + what + " to the XDP program", errno);
    }
    return {};
}

XdpMode XdpFilter::mode() const {
    std::vector<int> own;
    for (const Sockets& one : sockets_) own.insert(own.end(), one.descriptors.begin(), one.descriptors.end());
    XdpMode mode = mode_of(own);
    auto attached = query(index_);
    if (!attached || attached->id == 0) return mode; // somebody has taken it away
    mode.program = attached->mode == XDP_FLAGS_SKB_MODE   ? "generic"
                   : attached->mode == XDP_FLAGS_DRV_MODE ? "native"
                                                          : "offloaded";
    return mode;
}

Result XdpFilter::connect() {
    auto attached = query(index_);
    if (!attached) return failure("cannot ask for the XDP program of " + interface_, attached.error());
    Descriptor program(attached->id == 0 ? -1 : bpf_prog_get_fd_by_id(attached->id));
    if (!program || !is_ours(program.get())) {
        return tl::unexpected("the XDP program is not on " + interface_ + ": the driver has not attached it");
    }
    if (sockets_.size() > 1) {
        if (Result given = give_sockets(program.get()); !given) return given;
    }
    addresses_ = open_map(program.get(), map_name);
    sources_ = open_map(program.get(), sources_name);
    upstreams_ = open_map(program.get(), upstreams_name);
    if (!addresses_ || !sources_ || !upstreams_)
        return failure("cannot open the address maps of the XDP program on " + interface_, errno);
    return {};
}

Result XdpFilter::take_replies(std::span<const Address> sources, std::span<const Endpoint> remotes) {
    auto error = [this] {
        return failure("cannot give the upstreams to the XDP program on " + interface_, errno);
    };
    std::uint8_t present = 1;
    std::erase_if(remotes_, [&](const Endpoint& old) {
        bool is_gone = !std::ranges::binary_search(remotes, old);
        if (is_gone) bpf_map_delete_elem(upstreams_.get(), key_of(old).data());
        return is_gone;
    });
    for (const Endpoint& remote : remotes) {
        auto place = std::ranges::lower_bound(remotes_, remote);
        if (place != remotes_.end() && *place == remote) continue;
        auto key = key_of(remote);
        if (bpf_map_update_elem(upstreams_.get(), key.data(), &present, BPF_ANY) != 0) return error();
        remotes_.insert(place, remote);
    }
    for (const Address& source : sources) {
        auto* key = source.octets.data();
        if (bpf_map_update_elem(sources_.get(), key, &present, BPF_ANY) != 0) return error();
    }
    return {};
}

Result XdpFilter::serve(std::span<const Address> addresses) const {
    for (const Address& address : addresses) {
        std::uint8_t present = 1;
        if (bpf_map_update_elem(addresses_.get(), address.octets.data(), &present, BPF_ANY) != 0) {
            return failure("cannot give " + to_string(address) + " to the XDP program on " + interface_,
                           errno);
        }
    }
    return {};
}

Result XdpFilter::leave(std::span<const Address> addresses) const {
    for (const Address& address : addresses) {
        if (bpf_map_delete_elem(addresses_.get(), address.octets.data()) != 0 && errno != ENOENT)
            return failure("cannot take " + to_string(address) + " from the XDP program on " + interface_,
                           errno);
    }
    return {};
}

} // namespace millrace::dataplane
