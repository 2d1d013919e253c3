// What the service manager hears, and that nobody waits for it.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include <fmt/format.h>
#include <unistd.h>

#include "control/daemon/service_manager.hpp"
#include "control/daemon/supervision.hpp"
#include "control/limits.hpp"
#include "tests/support/datagrams.hpp"
#include "tests/support/temporary_folder.hpp"

namespace millrace::control {
namespace {

/// A socket that nobody reads yet. `name`: a path, or "@name".
class Manager {
  public:
    explicit Manager(const std::string& name) : datagrams_(name) {}
    std::string read() { return datagrams_.read().value_or("nothing"); }
    std::vector<std::string> read_all() {
        std::vector<std::string> all;
        for (std::string one; (one = read()) != "nothing";) all.push_back(one);
        return all;
    }

  private:
    test::Datagrams datagrams_;
};

using Words = std::vector<std::string>;

TEST(ServiceManager, HearsOfEachStep) {
    test::TemporaryFolder folder;
    std::string path = folder / "notify";
    Manager manager(path);
    ServiceManager service(path.c_str(), "4000000", nullptr);
    service.tick(true, "starting", 0s);
    EXPECT_EQ(manager.read_all(), Words{}) << "not ready yet";
    service.ready();
    service.ready();
    EXPECT_EQ(manager.read_all(), Words{"READY=1"});
    service.tick(true, "1 query/s", 10s);
    EXPECT_EQ(manager.read_all(), (Words{"WATCHDOG=1", "STATUS=1 query/s"}));
    service.tick(true, "1 query/s", 10s + 999ms);
    EXPECT_EQ(manager.read_all(), Words{});
    service.tick(true, "2 queries/s", 11s);
    EXPECT_EQ(manager.read_all(), (Words{"WATCHDOG=1", "STATUS=2 queries/s"}));
    service.reloading(true);
    std::string begin = manager.read();
    EXPECT_TRUE(begin.starts_with("RELOADING=1\nMONOTONIC_USEC=")) << begin;
    EXPECT_GT(std::stoull(begin.substr(begin.rfind('=') + 1)), 0u);
    service.reloading(false);
    service.stopping();
    EXPECT_EQ(manager.read_all(), (Words{"READY=1", "STOPPING=1"}));
}

TEST(ServiceManager, HearsNoSignOfLifeOfAWorkerThatStandsStill) {
    test::TemporaryFolder folder;
    std::string path = folder / "notify";
    Manager manager(path);
    ServiceManager service(path.c_str(), "4000000", std::to_string(::getpid()).c_str());
    service.ready();
    for (Time now = 0s; now < 20s; now += 100ms) service.tick(false, "s", now);
    EXPECT_EQ(manager.read_all(), (Words{"READY=1", "STATUS=s"}));
    service.tick(true, "s", 20s);
    EXPECT_EQ(manager.read_all(), Words{"WATCHDOG=1"});
}

TEST(ServiceManager, AbstractSockets) {
    std::string name = fmt::format("@millrace-test-{}", ::getpid());
    Manager manager(name);
    ServiceManager service(name.c_str(), nullptr, nullptr);
    service.ready();
    service.tick(true, "s", 0s);
    EXPECT_EQ(manager.read_all(), (Words{"READY=1", "STATUS=s"})) << "nobody asked for signs of life";
}

TEST(ServiceManager, NoneOrNotOurs) {
    for (const char* name : {"", "relative", "vsock:2:1234"})
        EXPECT_FALSE(ServiceManager(name, "1", nullptr).is_there());
    ServiceManager none(nullptr, "1000000", nullptr);
    EXPECT_FALSE(none.is_there());
    none.ready();
    none.tick(true, "s", 0s);
    test::TemporaryFolder folder;
    std::string path = folder / "notify";
    Manager manager(path);
    using Pair = std::pair<const char*, const char*>;
    for (auto [watchdog, pid] : {Pair{"4000000", "1"}, Pair{"0", nullptr}, Pair{"x", nullptr},
                                 Pair{"18446744073709551615", nullptr}, Pair{"-1", nullptr}}) {
        ServiceManager service(path.c_str(), watchdog, pid);
        service.ready();
        service.tick(true, "", 0s);
        EXPECT_EQ(manager.read_all(), Words{"READY=1"}) << watchdog;
    }
}

/// With a send that waits this never ends. What the manager must not miss comes when it reads again.
TEST(ServiceManager, IsNotWaitedFor) {
    test::TemporaryFolder folder;
    std::string path = folder / "notify";
    Manager manager(path);
    ServiceManager service(path.c_str(), "4000000", nullptr);
    service.ready();
    constexpr unsigned statuses = 2000; // more than a socket holds
    for (unsigned i = 0; i < statuses; ++i) service.tick(true, std::to_string(i), Time(i));
    for (unsigned i = 0; i < 3 * limits::unsent_notifications; ++i) service.reloading(i % 2 == 0);
    service.stopping();
    EXPECT_LT(manager.read_all().size(), statuses);
    service.tick(true, "back", 1s);
    Words words = manager.read_all();
    ASSERT_EQ(words.size(), limits::unsent_notifications + 2);
    EXPECT_EQ(words[limits::unsent_notifications - 1], "STOPPING=1");
    EXPECT_EQ(words.back(), "STATUS=back");
}

TEST(ServiceManager, EnvironmentIsTaken) {
    test::TemporaryFolder folder;
    std::string path = folder / "notify";
    Manager manager(path);
    setenv("NOTIFY_SOCKET", path.c_str(), 1);
    setenv("WATCHDOG_USEC", "1000000", 1);
    ServiceManager service = ServiceManager::of_environment();
    EXPECT_TRUE(service.is_there());
    EXPECT_EQ(getenv("NOTIFY_SOCKET"), nullptr);
    EXPECT_EQ(getenv("WATCHDOG_USEC"), nullptr);
}

TEST(Supervision, StatusLine) {
    EXPECT_EQ(status_line({}, {}, 2s, ""), "0 queries/s");
    EXPECT_EQ(status_line({100, 10, 5, {}, {}}, {2100, 985, 30, {}, {}}, 2s, ""),
              "1000 queries/s, 97.5 % hits");
    EXPECT_EQ(status_line({}, {}, 2s, "drained"), "not healthy: drained; 0 queries/s");
}

} // namespace
} // namespace millrace::control
