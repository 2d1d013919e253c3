// Which capabilities running needs, and that no thread has others.
#include <gtest/gtest.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <set>
#include <string>
#include <thread>

#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "control/daemon/privileges.hpp"
#include "tests/control/config/config_text.hpp"

namespace millrace::control {
namespace {

std::string needs(const std::string& text, bool has_iommu = true, bool shares_nics = false) {
    return to_string(capabilities_to_run(parsed(text), has_iommu, shares_nics));
}

TEST(Privileges, ByWhatIsConfigured) {
    auto on = [](const char* device, const char* more = "") { return port_on(device, more); };
    EXPECT_EQ(needs(upstreams), "none");
    EXPECT_EQ(needs(in_map("ranking", "icmp: true")), "CAP_NET_RAW");
    EXPECT_EQ(needs(on("net_af_xdp0,iface=e")), "CAP_NET_ADMIN");
    EXPECT_EQ(needs(on("net_af_packet0,iface=e")), "CAP_NET_ADMIN");
    EXPECT_EQ(needs(on("net_tap0")), "CAP_NET_ADMIN");
    EXPECT_EQ(needs(on("net_memif0,role=server")), "none");
    EXPECT_EQ(needs(on("net_memif0", "kernel: {interface: dns0}")), "none") << "the TAP is open";
    EXPECT_EQ(needs(on("net_memif0", "kernel: {interface: dns0}, next-hop: routed")), "CAP_NET_ADMIN");
    EXPECT_EQ(needs(on("0000:03:00.0")), "CAP_IPC_LOCK");
    EXPECT_EQ(needs(on("0000:03:00.0"), false), "CAP_IPC_LOCK CAP_SYS_RAWIO CAP_SYS_ADMIN");
    EXPECT_EQ(needs(on("0000:03:00.0"), true, true), "CAP_NET_ADMIN CAP_NET_RAW CAP_IPC_LOCK");
    EXPECT_EQ(needs(on("net_memif0"), true, true), "none") << "of no NIC";
}

TEST(Privileges, Words) {
    EXPECT_EQ(to_string(0), "none");
    EXPECT_EQ(to_string(Capabilities(1) << CAP_SYS_TIME), "0x2000000");
    EXPECT_EQ(to_string(Capabilities(1) << CAP_SYS_TIME | 1u << CAP_NET_RAW), "CAP_NET_RAW and 0x2000000");
}

/// The lines of /proc/PID/status that begin with one of these, of all threads.
std::set<std::string> lines_of_threads(const std::set<std::string>& wanted) {
    std::set<std::string> found;
    for (auto& thread : std::filesystem::directory_iterator("/proc/self/task")) {
        std::ifstream status(thread.path() / "status");
        for (std::string line; std::getline(status, line);) {
            if (wanted.contains(line.substr(0, line.find(':')))) found.insert(line);
        }
    }
    return found;
}

/// As a child of its own, as there is no way back. 0: all was well.
int in_a_child(int (*body)()) {
    pid_t child = ::fork();
    if (child == 0) ::_exit(body());
    int status = 0;
    ::waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

TEST(Privileges, EveryThreadGivesThemUp) {
    if (::geteuid() != 0) GTEST_SKIP() << "only root has any";
    EXPECT_EQ(in_a_child([] {
                  renounce();
                  std::thread([] { ::pause(); }).detach();
                  std::thread([] {
                      for (std::atomic<unsigned> i = 0;; ++i) {
                      }
                  }).detach();
                  auto kept = keep_only(Capabilities(1) << CAP_NET_ADMIN);
                  if (!kept || *kept != Capabilities(1) << CAP_NET_ADMIN) return 1;
                  auto lines = lines_of_threads({"CapInh", "CapPrm", "CapEff", "CapAmb", "NoNewPrivs"});
                  return lines == std::set<std::string>{"CapInh:\t0000000000000000",
                                                        "CapPrm:\t0000000000001000",
                                                        "CapEff:\t0000000000001000",
                                                        "CapAmb:\t0000000000000000", "NoNewPrivs:\t1"}
                             ? 0
                             : 2;
              }),
              0);
}

TEST(Privileges, NothingCanBeGainedAndNoCoreIsWritten) {
    EXPECT_EQ(in_a_child([] {
                  bool may_drop = prctl(PR_CAPBSET_DROP, CAP_WAKE_ALARM, 0, 0, 0) == 0;
                  renounce();
                  if (prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1) return 1;
                  if (may_drop && prctl(PR_CAPBSET_READ, CAP_SYS_ADMIN, 0, 0, 0) != 0) return 2;
                  std::string filter;
                  std::ifstream("/proc/self/coredump_filter") >> filter;
                  if (filter != "00000011") return 3;
                  hide_memory();
                  return prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) == 0 ? 0 : 4;
              }),
              0);
}

} // namespace
} // namespace millrace::control
