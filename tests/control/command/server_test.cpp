// The control socket: a real one, in a directory of its own.
#include "control/command/client.hpp"
#include "control/command/protocol.hpp"
#include "control/command/server.hpp"
#include "tests/support/temporary_folder.hpp"

#include <deque>
#include <filesystem>
#include <fstream>
#include <functional>
#include <future>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <asio/executor_work_guard.hpp>
#include <asio/io_context.hpp>
#include <asio/post.hpp>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

namespace millrace::control {
namespace {

using namespace std::literals;

/// A server whose io_context runs in a thread of its own; `control` runs something in that thread.
class CommandSocket : public testing::Test {
  protected:
    explicit CommandSocket(CommandTimes times = {.ask = 400ms, .work = 400ms, .send = 400ms})
        : server_(io_, times) {
        server_.on("echo", [](auto args, Responder responder) { responder.respond({{"args", args}}); });
        server_.on("big", [](auto args, Responder responder) {
            responder.respond({{"text", std::string(std::stoul(args.at(0)), 'x')}});
        });
        server_.on("later", [this](auto, Responder responder) { kept_.push_back(std::move(responder)); });
        server_.on("drop", [](auto, Responder) {});
        server_.on("quit", [this](auto, Responder responder) {
            responder.respond({{"quitting", true}});
            server_.close();
        });
    }
    ~CommandSocket() override {
        control([&] {
            server_.close();
            kept_.clear();
        });
        work_.reset();
        if (thread_.joinable()) thread_.join();
    }

    void open() {
        auto opened = server_.open(path_);
        ASSERT_TRUE(opened) << opened.error();
        thread_ = std::thread([this] { io_.run(); });
    }
    template <class F>
    void control(F f) {
        if (!thread_.joinable()) return f();
        std::promise<void> done;
        asio::post(io_, [&] {
            f();
            done.set_value();
        });
        done.get_future().wait();
    }
    std::size_t connections() {
        std::size_t count = 0;
        control([&] { count = server_.connections(); });
        return count;
    }
    bool eventually(std::function<bool()> true_soon) {
        for (int i = 0; i < 300; ++i) {
            if (true_soon()) return true;
            std::this_thread::sleep_for(10ms);
        }
        return false;
    }
    std::string asked(std::string_view words) {
        auto reply = millrace::control::request(path_, words, 5s);
        return reply ? reply->dump() : reply.error();
    }
    /// A client that speaks for itself; -1 when it is not let in.
    int client() {
        int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        path_.copy(address.sun_path, sizeof address.sun_path - 1);
        if (::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0) return fd;
        ::close(fd);
        return -1;
    }
    /// A line without its break, or what came before the end.
    static std::string receive(int fd) {
        std::string line;
        char octet;
        while (::recv(fd, &octet, 1, 0) == 1 && octet != '\n') line += octet;
        return line;
    }
    static void send_octets(int fd, std::string_view octets) {
        EXPECT_EQ(::send(fd, octets.data(), octets.size(), MSG_NOSIGNAL), ssize_t(octets.size()));
    }
    static void send(int fd, std::string_view request) { send_octets(fd, std::string(request) + "\n"); }

    asio::io_context io_;
    asio::executor_work_guard<asio::io_context::executor_type> work_{io_.get_executor()};
    CommandServer server_;
    std::deque<Responder> kept_;
    std::thread thread_;
    test::TemporaryFolder folder_;
    std::string path_ = folder_ / "run/control.sock";
};

/// Whose limits nobody waits for.
class PatientCommandSocket : public CommandSocket {
  protected:
    PatientCommandSocket() : CommandSocket({.ask = 1h, .work = 1h, .send = 1h}) {}
};

TEST_F(PatientCommandSocket, AnswersAndKeepsTheConnection) {
    open();
    int fd = client();
    for (const char* request : {"echo 1", "echo 2"}) {
        send(fd, request);
        EXPECT_EQ(receive(fd), std::string(R"({"args":[")") + request[5] + R"("]})");
    }
    ::close(fd);
    EXPECT_TRUE(eventually([&] { return connections() == 0; }));
}

TEST_F(PatientCommandSocket, PipelinedRequestsAreAnsweredInOrder) {
    open();
    int fd = client();
    for (const char* request : {"later", "echo 2", "echo 3"}) send(fd, request);
    ASSERT_TRUE(eventually([&] {
        bool there = false;
        control([&] { there = !kept_.empty(); });
        return there;
    }));
    control([&] { kept_.front().respond({{"n", 1}}); });
    EXPECT_EQ(receive(fd), R"({"n":1})");
    EXPECT_EQ(receive(fd), R"({"args":["2"]})");
    EXPECT_EQ(receive(fd), R"({"args":["3"]})");
    ::close(fd);
}

TEST_F(PatientCommandSocket, LinesComeInAnyPieces) {
    open();
    int fd = client();
    for (char octet : "echo 1\n\nech"s) send_octets(fd, {&octet, 1});
    send_octets(fd, "o 2\n[\"echo\",\"3\"]\necho 4\necho 5");
    for (const char* reply : {R"({"args":["1"]})", R"({"error":"the request is empty"})", R"({"args":["2"]})",
                              R"({"args":["3"]})", R"({"args":["4"]})"})
        EXPECT_EQ(receive(fd), reply);
    send_octets(fd, "0\n" + std::string(300'000, 'x') + "\necho 6\n");
    EXPECT_EQ(receive(fd), R"({"args":["50"]})");
    EXPECT_EQ(receive(fd), R"({"error":"a request has at most 4096 octets"})") << "and the rest is skipped";
    EXPECT_EQ(receive(fd), R"({"args":["6"]})");
    ::close(fd);
}

/// As `echo WORDS | nc -NU PATH` does it.
TEST_F(PatientCommandSocket, WhoSendsNoMoreGetsTheReplies) {
    open();
    for (const auto& [last, reply] :
         {std::pair("echo 2"s, R"({"args":["2"]})"),
          {std::string(5000, 'x'), R"({"error":"a request has at most 4096 octets"})"}}) {
        int fd = client();
        send(fd, "later");
        send_octets(fd, last);
        ::shutdown(fd, SHUT_WR);
        ASSERT_TRUE(eventually([&] {
            bool there = false;
            control([&] { there = !kept_.empty(); });
            return there;
        }));
        EXPECT_EQ(connections(), 1u);
        control([&] {
            kept_.front().respond({{"n", 1}});
            kept_.clear();
        });
        EXPECT_EQ(receive(fd), R"({"n":1})");
        EXPECT_EQ(receive(fd), reply);
        EXPECT_EQ(receive(fd), "") << "the end";
        EXPECT_TRUE(eventually([&] { return connections() == 0; }));
        ::close(fd);
    }
}

TEST_F(PatientCommandSocket, LongRepliesComeWhole) {
    open();
    for (std::size_t size : {65522u, 65523u, 65524u, 65525u, 1'000'000u}) {
        auto reply = request(path_, "big " + std::to_string(size), 5s);
        ASSERT_TRUE(reply) << reply.error();
        EXPECT_EQ((*reply)["text"].get_ref<const std::string&>().size(), size);
    }
}

TEST_F(CommandSocket, RefusesLongAndBrokenRequests) {
    open();
    EXPECT_EQ(asked("echo " + std::string(4091, 'x')).size(), R"({"args":[""]})"s.size() + 4091);
    EXPECT_EQ(asked("echo " + std::string(4092, 'x')), R"({"error":"a request has at most 4096 octets"})");
    EXPECT_EQ(asked(std::string(60000, ' ')), R"({"error":"a request has at most 4096 octets"})");
    EXPECT_EQ(asked("echo \xff"), R"({"args":["�"]})");
    EXPECT_EQ(asked("big"), R"({"error":"the daemon gave no answer"})");
    EXPECT_EQ(asked("drop"), R"({"error":"the daemon gave no answer"})");
}

TEST_F(CommandSocket, HandlerThatNeverAnswersIsNotWaitedFor) {
    open();
    EXPECT_EQ(asked("later"), R"({"error":"the daemon did not answer in time"})");
    control([&] { kept_.front().respond({{"late", true}}); }); // finds nobody, harms nobody
    EXPECT_EQ(asked("echo"), R"({"args":[]})");
}

TEST_F(PatientCommandSocket, ClientThatLeavesWhileItsRequestIsInWorkIsForgotten) {
    open();
    int fd = client();
    send(fd, "later");
    ASSERT_TRUE(eventually([&] { return connections() == 1; }));
    ::close(fd);
    EXPECT_TRUE(eventually([&] { return connections() == 0; })) << "before any limit of time";
    control([&] { kept_.clear(); });
}

TEST_F(PatientCommandSocket, SoIsOneThatHasAskedForMoreOrSendsNoMore) {
    open();
    for (std::string_view sent : {"later\necho\n", "later\n", "later"}) {
        SCOPED_TRACE(sent);
        int fd = client();
        send_octets(fd, sent);
        if (!sent.ends_with("echo\n")) ::shutdown(fd, SHUT_WR);
        bool there = false;
        ASSERT_TRUE(eventually([&] {
            control([&] { there = !kept_.empty(); });
            return there;
        }));
        control([] {}); // it has seen what is behind the request
        EXPECT_EQ(connections(), 1u);
        ::close(fd);
        EXPECT_TRUE(eventually([&] { return connections() == 0; }));
        control([&] { kept_.clear(); });
    }
}

TEST_F(CommandSocket, SlowReadersAndIdlersAreDropped) {
    open();
    int slow = client(), idle = client();
    send(slow, "big 4000000");
    ASSERT_TRUE(eventually([&] { return connections() == 2; }));
    EXPECT_EQ(asked("echo"), R"({"args":[]})"); // neither holds up anybody
    EXPECT_TRUE(eventually([&] { return connections() == 0; }));
    ::close(slow);
    ::close(idle);
}

TEST_F(CommandSocket, ConnectionsAreBounded) {
    open();
    std::vector<int> clients;
    for (std::size_t i = 0; i < CommandServer::most_connections; ++i) clients.push_back(client());
    ASSERT_TRUE(eventually([&] { return connections() == CommandServer::most_connections; }));
    EXPECT_EQ(asked("echo"), R"({"error":"the control socket has too many connections"})");
    EXPECT_EQ(connections(), CommandServer::most_connections);
    for (int fd : clients) ::close(fd);
    ASSERT_TRUE(eventually([&] { return connections() == 0; }));
    EXPECT_EQ(asked("echo"), R"({"args":[]})");
}

TEST_F(CommandSocket, QuitAnswersBeforeTheEnd) {
    open();
    EXPECT_EQ(asked("quit"), R"({"quitting":true})");
    ASSERT_TRUE(eventually([&] { return !std::filesystem::exists(path_); }));
    EXPECT_EQ(asked("echo"),
              "no daemon answers at " + path_ +
                  " (No such file or directory): is millraced running, and does --socket name its "
                  "control socket?");
}

TEST_F(CommandSocket, ModesOfSocketAndDirectory) {
    mode_t before = ::umask(0077);
    open();
    ::umask(before);
    struct stat status {};
    ASSERT_EQ(::stat(path_.c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 07777, 0660u);
    ASSERT_EQ(::stat((folder_ / "run").c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 07777, 0755u);
}

/// Only root may give a file to a group that it is not in.
TEST_F(CommandSocket, ModeAndGroupAsConfigured) {
    asio::io_context io;
    CommandServer second(io);
    std::string path = folder_ / "own";
    ASSERT_TRUE(second.open(path, 0620));
    struct stat status {};
    ASSERT_EQ(::stat(path.c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 07777, 0620u);
    EXPECT_EQ(status.st_gid, ::getegid());
    EXPECT_EQ(second.open(path, 0660, "no-such-group").error(),
              "cannot open the control socket " + path +
                  ": this machine has no group no-such-group; make it with `groupadd -r no-such-group`");
    if (::geteuid() != 0) return;
    ASSERT_TRUE(second.open(path, 0660, "daemon"));
    ASSERT_EQ(::stat(path.c_str(), &status), 0);
    EXPECT_EQ(status.st_gid, 1u); // Debian's, by policy
}

TEST_F(CommandSocket, ReplacesADeadSocket) {
    open();
    std::string other = folder_ / "dead";
    int fd = ::socket(AF_UNIX, SOCK_STREAM, 0);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    other.copy(address.sun_path, sizeof address.sun_path - 1);
    ASSERT_EQ(::bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    ::close(fd);
    ASSERT_TRUE(std::filesystem::exists(other));
    asio::io_context io;
    CommandServer second(io);
    auto opened = second.open(other);
    EXPECT_TRUE(opened) << opened.error();
}

TEST_F(CommandSocket, RefusesALiveSocketAndOtherFiles) {
    open();
    asio::io_context io;
    CommandServer second(io);
    EXPECT_EQ(second.open(path_).error(),
              "cannot open the control socket " + path_ + ": another millraced is listening there");
    EXPECT_EQ(asked("echo"), R"({"args":[]})") << "the first one is unharmed";
    std::string file = folder_ / "file";
    std::ofstream(file) << "precious";
    EXPECT_EQ(second.open(file).error(), "cannot open the control socket " + file +
                                             ": there is a file in its place that is not a socket");
    EXPECT_EQ(std::filesystem::file_size(file), 8u);
    EXPECT_EQ(second.open(file + "/x").error(),
              "cannot open the control socket " + file + "/x: Not a directory");
    std::string longest = folder_.path().string() + "/" + std::string(108, 'x');
    EXPECT_EQ(second.open(longest).error(),
              "cannot open the control socket " + longest + ": the path is empty or too long");
}

TEST_F(CommandSocket, LeavesASuccessorsSocketAlone) {
    open();
    ASSERT_EQ(::unlink(path_.c_str()), 0);
    asio::io_context io;
    CommandServer second(io);
    ASSERT_TRUE(second.open(path_));
    control([&] { server_.close(); });
    EXPECT_TRUE(std::filesystem::exists(path_));
}

TEST_F(CommandSocket, ASuccessorMayHaveTheSameSocket) {
    open();
    asio::io_context io;
    CommandServer second(io);
    second.on_plain("who", [](const Responder& responder) { responder.respond({{"name", "second"}}); });
    int socket = -1;
    control([&] { socket = dup(server_.descriptor()); });
    ASSERT_TRUE(second.open(path_, 0600, {}, dataplane::Descriptor(socket)));
    EXPECT_EQ(std::filesystem::status(path_).permissions(), std::filesystem::perms(0600)) << "as it wants it";
    control([&] { server_.stop_listening(); });
    int fd = client();
    send(fd, "who");
    while (second.connections() == 0) io.run_one_for(1s);
    io.run_one_for(60s);
    EXPECT_EQ(receive(fd), R"({"name":"second"})");
    ::close(fd);
    control([&] {
        server_.own_file(false);
        server_.close();
    });
    EXPECT_TRUE(std::filesystem::exists(path_));
    second.own_file(true);
    second.close();
    EXPECT_FALSE(std::filesystem::exists(path_));
}

TEST_F(CommandSocket, ServerMayGoWhileTheContextStillHoldsItsWork) {
    asio::io_context io;
    std::deque<Responder> kept;
    {
        CommandServer server(io);
        server.on("later", [&](auto, Responder responder) { kept.push_back(std::move(responder)); });
        ASSERT_TRUE(server.open(path_));
        int fd = client();
        send(fd, "later");
        while (kept.empty()) io.run_one_for(1s);
        int another = client();
        send(another, "later");
        ::close(fd);
        ::close(another);
    }
    kept.front().respond({{"late", true}});
    kept.clear();
    io.run_for(50ms);
}

} // namespace
} // namespace millrace::control
