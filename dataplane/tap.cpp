#include "dataplane/tap.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

namespace millrace::dataplane {

namespace {

using Result = tl::expected<void, std::string>;

constexpr const char* rights = "; start millraced as root, or give it CAP_NET_ADMIN";

tl::unexpected<std::string> failure(const KernelInterface& wanted, const std::string& what, int error) {
    bool is_forbidden = error == EPERM || error == EACCES;
    return tl::unexpected("kernel interface " + wanted.name + ": " + what + ": " + std::strerror(error) +
                          (is_forbidden ? rights : ""));
}

ifreq request_for(const KernelInterface& wanted) {
    ifreq request{};
    wanted.name.copy(request.ifr_name, sizeof request.ifr_name - 1);
    return request;
}

tl::expected<Descriptor, std::string> make(const KernelInterface& wanted) {
    Descriptor tap(::open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC));
    if (!tap && (errno == ENOENT || errno == ENODEV)) {
        return tl::unexpected("kernel interface " + wanted.name +
                              ": there is no /dev/net/tun; `modprobe tun` makes it, and a container must be "
                              "given it");
    }
    if (!tap) return failure(wanted, "cannot open /dev/net/tun", errno);
    ifreq request = request_for(wanted);
    request.ifr_flags = static_cast<short>(IFF_TAP | IFF_NO_PI | IFF_TUN_EXCL);
    if (ioctl(tap.get(), TUNSETIFF, &request) == 0) return tap;
    if (errno != EBUSY) return failure(wanted, "cannot be made", errno);
    return tl::unexpected("there is an interface " + wanted.name +
                          " already; give the port's kernel interface another name, or remove that one with "
                          "`ip link del " +
                          wanted.name + "`");
}

Result set_up(const KernelInterface& wanted, const Mac& mac) {
    Descriptor socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    ifreq request = request_for(wanted);
    request.ifr_hwaddr.sa_family = ARPHRD_ETHER;
    std::ranges::copy(mac.octets, request.ifr_hwaddr.sa_data);
    if (mac != Mac{} && ioctl(socket.get(), SIOCSIFHWADDR, &request) != 0)
        return failure(wanted, "cannot get the MAC address " + to_string(mac), errno);
    request.ifr_mtu = int(wanted.mtu);
    if (ioctl(socket.get(), SIOCSIFMTU, &request) != 0)
        return failure(wanted, "cannot get an MTU of " + std::to_string(wanted.mtu), errno);
    if (ioctl(socket.get(), SIOCGIFFLAGS, &request) != 0) return failure(wanted, "has no flags", errno);
    request.ifr_flags |= IFF_UP;
    if (ioctl(socket.get(), SIOCSIFFLAGS, &request) != 0) return failure(wanted, "does not come up", errno);
    return {};
}

/// RTM_NEWADDR as rtnetlink(7) has it.
struct AddressRequest {
    nlmsghdr header{};
    ifaddrmsg message{};
    struct {
        rtattr head{};
        std::array<std::uint8_t, 16> octets{};
    } local;
};

/// 0, or the error's number. Without duplicate address detection: an address that is served is there at once,
/// and may be an anycast one, for which there is none (RFC 4862 5.4).
int add_address(int netlink, unsigned index, const Prefix& address) {
    bool v4 = address.address.is_v4();
    std::size_t octets = v4 ? 4 : 16;
    AddressRequest request;
    request.message = {std::uint8_t(v4 ? AF_INET : AF_INET6), std::uint8_t(address.bits - (v4 ? 96 : 0)),
                       std::uint8_t(v4 ? 0 : IFA_F_NODAD), 0, index};
    request.local.head = {std::uint16_t(RTA_LENGTH(octets)), IFA_LOCAL};
    std::copy_n(address.address.octets.end() - std::ptrdiff_t(octets), octets, request.local.octets.begin());
    request.header = {std::uint32_t(NLMSG_LENGTH(sizeof request.message) + RTA_LENGTH(octets)), RTM_NEWADDR,
                      NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL, 0, 0};
    struct {
        nlmsghdr header;
        nlmsgerr error;
        std::array<std::uint8_t, 256> rest;
    } reply{};
    if (::send(netlink, &request, request.header.nlmsg_len, 0) < 0 ||
        ::recv(netlink, &reply, sizeof reply, 0) < ssize_t(sizeof reply.header + sizeof reply.error.error))
        return errno;
    return -reply.error.error;
}

Result add_addresses(const KernelInterface& wanted, bool is_handed) {
    Descriptor netlink(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE));
    unsigned index = if_nametoindex(wanted.name.c_str());
    for (const Prefix& address : wanted.addresses) {
        int error = add_address(netlink.get(), index, address);
        if (error == EACCES && !address.address.is_v4())
            return tl::unexpected("kernel interface " + wanted.name + ": cannot get the address " +
                                  to_string(address) +
                                  ": this machine has no IPv6 for new interfaces (sysctl "
                                  "net.ipv6.conf.default.disable_ipv6)");
        if (error == EEXIST && is_handed) continue;
        if (error != 0) return failure(wanted, "cannot get the address " + to_string(address), error);
    }
    return {};
}

} // namespace

tl::expected<Descriptor, std::string> open_tap(const KernelInterface& wanted, const Mac& mac,
                                               Descriptor handed) {
    bool is_handed = bool(handed);
    unsigned carrier = 1; // as a new one has it, whatever the predecessor saw last
    if (is_handed) ioctl(handed.get(), TUNSETCARRIER, &carrier);
    tl::expected<Descriptor, std::string> tap(std::move(handed));
    if (!is_handed) tap = make(wanted);
    if (!tap) return tap;
    Result done = set_up(wanted, mac);
    if (done) done = add_addresses(wanted, is_handed);
    if (!done) return tl::unexpected(done.error());
    return tap;
}

} // namespace millrace::dataplane
