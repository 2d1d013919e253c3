// The control socket: requests and replies without it, then a real one in a directory of its own.
#include <utility>

#include "control/command/client.hpp"
#include "control/command/protocol.hpp"
#include "control/command/server.hpp"
#include "control/command/tables.hpp"
#include "tests/support/temporary_folder.hpp"

#include <deque>
#include <filesystem>
#include <fstream>
#include <future>
#include <thread>

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
using Json = nlohmann::json;

std::string run(const Commands& commands, std::string_view request) {
    std::string out = "nothing";
    commands.run(request, Responder([&](std::string text) { out = std::move(text); }));
    return out;
}

TEST(Commands, LongestVerbGetsTheRest) {
    Commands commands;
    commands.on("cache", [](auto args, Responder responder) { responder.respond({{"cache", args}}); });
    commands.on("cache lookup", [](auto args, Responder responder) {
        responder.respond({{"lookup", args}});
    });
    EXPECT_EQ(run(commands, "cache lookup a.example  A "), R"({"lookup":["a.example","A"]})");
    EXPECT_EQ(run(commands, "cache flush --all"), R"({"cache":["flush","--all"]})");
    EXPECT_EQ(run(commands, "cache"), R"({"cache":[]})");
}

TEST(Commands, RefusesWithASentence) {
    Commands commands;
    commands.on("stats", [](auto, Responder) {});
    commands.on("quit", [](auto, Responder) { throw std::runtime_error("x"); });
    EXPECT_EQ(run(commands, "stat\xff x"),
              R"({"error":"unknown command \"stat�\"; there are: quit, stats"})");
    EXPECT_EQ(run(commands, ""), R"({"error":"the request is empty"})");
    EXPECT_EQ(run(commands, "   "), R"({"error":"the request is empty"})");
    EXPECT_EQ(run(commands, "stats\n"), R"({"error":"a request has no control characters"})");
    EXPECT_EQ(run(commands, std::string(4097, 'a')), R"({"error":"a request has at most 4096 octets"})");
    EXPECT_EQ(run(commands, "a a a a a a a a a a a a a a a a a"),
              R"({"error":"a request has at most 16 words"})");
    EXPECT_EQ(run(commands, "stats"), R"({"error":"the daemon gave no answer"})");
    EXPECT_EQ(run(commands, "quit"), R"({"error":"the daemon gave no answer"})");
}

TEST(Commands, AJsonArrayHasWordsWithSpaces) {
    Commands commands;
    commands.on("local add", [](auto args, Responder responder) { responder.respond({{"args", args}}); });
    EXPECT_EQ(run(commands, R"(["local","add","a. TXT \"x  y\""])"), R"({"args":["a. TXT \"x  y\""]})");
    EXPECT_EQ(run(commands, "[\"local\", \"add\", \"\"]\n"), R"({"args":[""]})");
    for (const char* broken : {"[", "[\"local\"", "[1]", "[[]]", "[{\"a\":1}]", "[\"a\"] b"}) {
        EXPECT_EQ(run(commands, broken),
                  R"({"error":"a request that begins with [ is a JSON array of strings"})");
    }
    EXPECT_EQ(run(commands, "[]"), R"({"error":"the request is empty"})");
    EXPECT_EQ(run(commands, R"(["local","add","a\nb"])"),
              R"({"error":"a request has no control characters"})");
    EXPECT_EQ(run(commands, "[" + std::string(4000, '[') + "]"),
              R"({"error":"a request that begins with [ is a JSON array of strings"})");
}

TEST(Commands, WhatIsHeldIsRefusedUntilItIsReleased) {
    Commands commands;
    auto done = [](auto, const Responder& responder) { responder.respond({{"done", true}}); };
    commands.on("look", done, Effect::look);
    commands.on("change it", done);
    commands.hold("not now");
    EXPECT_EQ(run(commands, "look"), R"({"done":true})");
    EXPECT_EQ(run(commands, "change it"), R"({"error":"not now"})");
    commands.release();
    EXPECT_EQ(run(commands, "change it"), R"({"done":true})");
}

TEST(Responder, IsGivenOnce) {
    int answers = 0;
    {
        Responder first([&](std::string) { ++answers; });
        Responder second(std::move(first));
        second.respond({{"a", 1}});
        second.respond({{"a", 2}});
    }
    EXPECT_EQ(answers, 1);
}

TEST(Responder, CopiesOweOneAnswer) {
    std::vector<std::string> answers;
    {
        Responder first([&](std::string text) { answers.push_back(text); });
        Responder second = first;
        { Responder third = first; }
        EXPECT_TRUE(answers.empty()) << "somebody can still give it";
        second.respond({{"a", 1}});
        first.fail("x");
    }
    EXPECT_EQ(answers, std::vector<std::string>{R"({"a":1})"});
}

TEST(Responder, AssignmentAnswersTheOneThatIsLost) {
    std::string lost = "nothing";
    Responder responder([&](std::string text) { lost = text; });
    responder = Responder([](std::string) {});
    EXPECT_EQ(lost, R"({"error":"the daemon gave no answer"})");
}

TEST(Responder, TooLargeBecomesAnError) {
    std::string text;
    Responder([&](std::string t) {
        text = t;
    }).respond({{"a", std::string(command_limits::reply_octets, 'x')}});
    EXPECT_EQ(text, R"({"error":"the answer is too large"})");
}

TEST(Pretty, Tables) {
    EXPECT_EQ(to_table(Json::parse(R"({"a":1,"longer":true,"none":null,"list":["x","y"],"empty":[],
                                     "in":{"deep":{"k":-1.5}},"rows":[{"n":"one","v":1},{"n":"three"}]})")),
              "a       1\n"
              "empty   -\n"
              "in\n"
              "  deep\n"
              "    k  -1.5\n"
              "list    x, y\n"
              "longer  yes\n"
              "none    -\n"
              "rows\n"
              "  n      v\n"
              "  one    1\n"
              "  three  -\n");
    EXPECT_EQ(to_table(Json{{"k\n", "a\x1b[2J\x7f\xc2\x9b\xc3\xa9"}}),
              "k\\x0a  a\\x1b[2J\\x7f\\x9b\xc3\xa9\n");
    EXPECT_EQ(to_table(Json::object()), "");
}

TEST(Pretty, LongValuesGoOnBelowThemselves) {
    Json object{{"key", "one, two, three, four, five, six"}};
    EXPECT_EQ(to_table(object, 23), "key  one, two, three,\n     four, five, six\n");
    EXPECT_EQ(to_table(object), "key  one, two, three, four, five, six\n")
        << "no terminal: nothing is broken";
    EXPECT_EQ(to_table(Json{{"k", "abcdefghijklmnopqrstuvwxyz"}}, 20),
              "k  abcdefghijklmnopq\n   rstuvwxyz\n");
    EXPECT_EQ(to_table(Json{{"a-key-that-is-longer-than-all", 1}}, 34), "a-key-that-is-l\xe2\x80\xa6  1\n");
}

TEST(Pretty, RowsFitOrBecomeMembers) {
    std::string addresses;
    for (int i = 1; i <= 9; ++i)
        addresses += (i > 1 ? " " : "") + std::string("192.0.2.") + std::to_string(i);
    Json object{{"e", {{{"at", 1}, {"note", addresses}, {"on", "x"}}}}};
    EXPECT_EQ(to_table(object), "e\n  at  on  note\n  1   x   " + addresses + "\n") << "the widest is last";
    EXPECT_EQ(to_table(object, 40), "e\n"
                                    "  at  on  note\n"
                                    "  1   x   192.0.2.1 192.0.2.2 192.0.2.3\n"
                                    "          192.0.2.4 192.0.2.5 192.0.2.6\n"
                                    "          192.0.2.7 192.0.2.8 192.0.2.9\n");
    Json wide = Json::object();
    for (char c = 'a'; c < 'g'; ++c) wide[std::string(10, c)] = c;
    std::string narrow = to_table(Json{{"rows", {wide, wide}}}, 30);
    EXPECT_EQ(narrow.find("\n\n"), narrow.rfind("\n\n")) << narrow;
    EXPECT_NE(narrow.find("\n  aaaaaaaaaa  97\n  bbbbbbbbbb  98\n"), narrow.npos) << narrow;
}

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
        int fd = ::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        path_.copy(address.sun_path, sizeof address.sun_path - 1);
        if (::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0) return fd;
        ::close(fd);
        return -1;
    }
    std::string receive(int fd) {
        std::string packet(70000, '\0');
        ssize_t got = ::recv(fd, packet.data(), packet.size(), 0);
        packet.resize(got < 0 ? 0 : std::size_t(got));
        return packet;
    }
    static void send(int fd, std::string_view request) {
        EXPECT_EQ(::send(fd, request.data(), request.size(), MSG_NOSIGNAL), ssize_t(request.size()));
    }

    asio::io_context io_;
    asio::executor_work_guard<asio::io_context::executor_type> work_{io_.get_executor()};
    CommandServer server_;
    std::deque<Responder> kept_;
    std::thread thread_;
    test::TemporaryFolder folder_;
    std::string path_ = folder_ / "run/control.sock";
};

TEST_F(CommandSocket, AnswersAndKeepsTheConnection) {
    open();
    int fd = client();
    for (const char* request : {"echo 1", "echo 2"}) {
        send(fd, request);
        EXPECT_EQ(receive(fd), std::string(R"(.{"args":[")") + request[5] + R"("]})");
    }
    ::close(fd);
    EXPECT_TRUE(eventually([&] { return connections() == 0; }));
}

TEST_F(CommandSocket, PipelinedRequestsAreAnsweredInOrder) {
    open();
    int fd = client();
    for (const char* request : {"later", "echo 2", "echo 3"}) send(fd, request);
    ASSERT_TRUE(eventually([&] {
        bool there = false;
        control([&] { there = !kept_.empty(); });
        return there;
    }));
    control([&] { kept_.front().respond({{"n", 1}}); });
    EXPECT_EQ(receive(fd), R"(.{"n":1})");
    EXPECT_EQ(receive(fd), R"(.{"args":["2"]})");
    EXPECT_EQ(receive(fd), R"(.{"args":["3"]})");
    ::close(fd);
}

TEST_F(CommandSocket, SplitsAndJoinsLongReplies) {
    open();
    for (std::size_t size : {65522u, 65523u, 65524u, 65525u, 65526u, 1'000'000u}) {
        auto reply = request(path_, "big " + std::to_string(size), 5s);
        ASSERT_TRUE(reply) << reply.error();
        EXPECT_EQ((*reply)["text"].get_ref<const std::string&>().size(), size);
    }
    int fd = client();
    send(fd, "big 65524"); // 65535 octets with {"text":""}: one packet, to the last octet
    EXPECT_EQ(receive(fd).size(), 65536u);
    send(fd, "big 65525");
    std::string first = receive(fd), second = receive(fd);
    EXPECT_EQ(first.size(), 65536u);
    EXPECT_EQ(first[0], '+');
    EXPECT_EQ(second, ".}");
    ::close(fd);
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

/// Whose limits nobody waits for.
class PatientCommandSocket : public CommandSocket {
  protected:
    PatientCommandSocket() : CommandSocket({.ask = 1h, .work = 1h, .send = 1h}) {}
};

TEST_F(PatientCommandSocket, ClientThatLeavesWhileItsRequestIsInWorkIsForgotten) {
    open();
    int fd = client();
    send(fd, "later");
    ASSERT_TRUE(eventually([&] { return connections() == 1; }));
    ::close(fd);
    EXPECT_TRUE(eventually([&] { return connections() == 0; })) << "before any limit of time";
    control([&] { kept_.clear(); });
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
    int fd = ::socket(AF_UNIX, SOCK_SEQPACKET, 0);
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
    EXPECT_EQ(receive(fd), R"(.{"name":"second"})");
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
