#include "control/daemon/privileges.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <set>
#include <thread>
#include <vector>

#include <fmt/format.h>
#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "control/limits.hpp"
#include "dataplane/eal_plan.hpp"
#include "dataplane/nic.hpp"

namespace millrace::control {

namespace {

constexpr Capabilities bit(unsigned capability) {
    return Capabilities(1) << capability;
}

constexpr struct {
    Capabilities bit;
    const char* name;
} names[] = {{bit(CAP_NET_BIND_SERVICE), "CAP_NET_BIND_SERVICE"},
             {bit(CAP_NET_ADMIN), "CAP_NET_ADMIN"},
             {bit(CAP_NET_RAW), "CAP_NET_RAW"},
             {bit(CAP_IPC_LOCK), "CAP_IPC_LOCK"},
             {bit(CAP_SYS_RAWIO), "CAP_SYS_RAWIO"},
             {bit(CAP_SYS_ADMIN), "CAP_SYS_ADMIN"}};

/// The three sets of a thread, as capget(2) and capset(2) have them.
using Sets = std::array<__user_cap_data_struct, 2>;

Sets sets_of(pid_t thread) {
    __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, thread};
    Sets sets{};
    if (syscall(SYS_capget, &header, sets.data()) != 0) return {}; // it has ended
    return sets;
}

Capabilities permitted(const Sets& sets) {
    return sets[0].permitted | Capabilities(sets[1].permitted) << 32;
}

Capabilities kept = 0; // written before the signal is sent

/// The calling thread; async-signal-safe.
void give_up_others() {
    Sets sets = sets_of(0);
    for (unsigned i = 0; i < sets.size(); ++i) {
        sets[i].permitted &= std::uint32_t(kept >> (32 * i));
        sets[i].effective &= sets[i].permitted;
        sets[i].inheritable = 0;
    }
    __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
    syscall(SYS_capset, &header, sets.data());
}

void on_signal(int) {
    int before = errno;
    give_up_others();
    errno = before;
}

std::vector<pid_t> threads() {
    std::vector<pid_t> all;
    std::error_code none;
    for (auto& entry : std::filesystem::directory_iterator("/proc/self/task", none)) {
        std::string name = entry.path().filename();
        pid_t thread = 0;
        std::from_chars(name.data(), name.data() + name.size(), thread);
        all.push_back(thread);
    }
    return all;
}

/// One that has more than is kept; 0: none has.
pid_t find_mightier() {
    auto all = threads();
    auto found =
        std::ranges::find_if(all, [](pid_t thread) { return (permitted(sets_of(thread)) & ~kept) != 0; });
    return found == all.end() ? 0 : *found;
}

} // namespace

void renounce() {
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
    for (unsigned long capability = 0; prctl(PR_CAPBSET_READ, capability, 0, 0, 0) >= 0; ++capability)
        prctl(PR_CAPBSET_DROP, capability, 0, 0, 0);
    kept = ~Capabilities(0);
    give_up_others();                                          // of the inheritable set
    constexpr const char* private_memory_and_headers = "0x11"; // core(5)
    std::ofstream("/proc/self/coredump_filter") << private_memory_and_headers;
}

void hide_memory() {
    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
}

Capabilities capabilities_to_run(const Config& config, bool has_iommu, bool shares_nics) {
    Capabilities needed = 0;
    for (const Config::Port& port : config.boot.ports) {
        constexpr const char* of_the_kernel[] = {"net_af_xdp", "net_af_packet", "net_tap"};
        bool is_kernels = std::ranges::any_of(
            of_the_kernel, [&](const char* driver) { return dataplane::is_driver(port.device, driver); });
        if (is_kernels || port.is_routed) needed |= bit(CAP_NET_ADMIN);
        if (!dataplane::is_pci_device(port.device)) continue;
        needed |= bit(CAP_IPC_LOCK);
        if (shares_nics) needed |= bit(CAP_NET_ADMIN) | bit(CAP_NET_RAW); // raw queue pairs, set up once more
        if (!has_iommu) needed |= bit(CAP_SYS_RAWIO) | bit(CAP_SYS_ADMIN);
    }
    if (config.live.ranking.icmp) needed |= bit(CAP_NET_RAW);
    return needed;
}

bool shares_nics(const Config& config) {
    return std::ranges::any_of(config.boot.ports, [](const Config::Port& port) {
        std::string address = port.device.substr(0, port.device.find(','));
        return dataplane::is_pci_device(port.device) && dataplane::Nic::inspect(address).is_shared();
    });
}

bool machine_has_iommu() {
    std::error_code none;
    return !std::filesystem::is_empty("/sys/class/iommu", none) && !none;
}

tl::expected<Capabilities, std::string> keep_only(Capabilities wanted) {
    kept = wanted;
    give_up_others();
    int signal = SIGRTMIN;
    struct sigaction action {
    }, before{};
    action.sa_handler = on_signal;
    action.sa_flags = SA_RESTART;
    sigaction(signal, &action, &before);
    std::set<pid_t> told;
    Time end = boot_time() + limits::privileges_patience;
    while (pid_t thread = find_mightier()) {
        if (boot_time() > end)
            return tl::unexpected(
                fmt::format("thread {} of this process does not give up its privileges", thread));
        if (told.insert(thread).second) tgkill(getpid(), thread, signal);
        std::this_thread::sleep_for(100us);
    }
    action.sa_handler = SIG_IGN; // one that comes late ends nobody
    sigaction(signal, &action, nullptr);
    return permitted(sets_of(0));
}

std::string to_string(Capabilities capabilities) {
    std::string words;
    for (const auto& [bit, name] : names) {
        if ((capabilities & bit) == 0) continue;
        words += (words.empty() ? "" : " ") + std::string(name);
        capabilities &= ~bit;
    }
    if (capabilities != 0) words += fmt::format("{}{:#x}", words.empty() ? "" : " and ", capabilities);
    return words.empty() ? "none" : words;
}

} // namespace millrace::control
