// The HTTP server, with clients that know how to behave, and others.
#include "control/metrics/http_server.hpp"

#include <atomic>
#include <future>
#include <mutex>
#include <thread>
#include <vector>

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cache/time.hpp"
#include "control/limits.hpp"
#include "dataplane/descriptor.hpp"

namespace millrace::control {
namespace {

using dataplane::Descriptor;

/// What comes until the server closes, or for so long.
std::string read_all(const Descriptor& socket, Time patience = 60s) {
    std::string all;
    for (Time end = boot_time() + patience; boot_time() < end;) {
        pollfd wait{socket.get(), POLLIN, 0};
        if (poll(&wait, 1, int((end - boot_time()) / 1ms) + 1) <= 0) continue;
        char some[4096];
        ssize_t count = recv(socket.get(), some, sizeof some, 0);
        if (count <= 0) break;
        all.append(some, std::size_t(count));
    }
    return all;
}

struct HttpServerTest : testing::Test {
    HttpServerTest() {
        auto opened = HttpServer::open({*dataplane::parse_address("127.0.0.1"), 0});
        server = opened ? std::move(*opened) : nullptr;
    }
    void SetUp() override {
        ASSERT_TRUE(server);
        server->on("/page", [] { return HttpServer::Page{201, "text/plain", "a page\n"}; });
        server->on_asked("/asked", "text/x", HttpServer::For::all, [this] { ++asked; });
        server->on_asked("/kept", "text/plain", HttpServer::For::by_address,
                         [this] { server->deliver("/kept", [] { return "a page\n"; }); });
        server->start();
    }
    void deliver(const std::string& text) {
        server->deliver("/asked", [text] { return text; });
    }
    Descriptor connect() const {
        sockaddr_storage address{};
        socklen_t size = to_sockaddr(server->at(), address);
        Descriptor socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
        EXPECT_EQ(::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), size), 0);
        return socket;
    }
    Descriptor send(const std::string& octets) const {
        Descriptor socket = connect();
        ::send(socket.get(), octets.data(), octets.size(), MSG_NOSIGNAL);
        return socket;
    }
    std::string request(const std::string& method, const std::string& path,
                        const std::string& more = "") const {
        return read_all(
            send(method + " " + path + " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" + more + "\r\n"));
    }
    std::future<std::string> get_later(const std::string& path) const {
        return std::async(std::launch::async, [this, path] { return request("GET", path); });
    }
    /// The text is delivered as often as it is asked for meanwhile.
    std::string get_delivered(const std::string& text) {
        unsigned known = asked;
        auto reply = get_later("/asked");
        while (reply.wait_for(1ms) != std::future_status::ready) {
            if (asked == known) continue;
            known = asked;
            deliver(text);
        }
        return reply.get();
    }
    void await_asked(unsigned count) const {
        for (Time end = boot_time() + 60s; asked < count && boot_time() < end;)
            std::this_thread::sleep_for(1ms);
        ASSERT_EQ(asked, count);
    }

    std::atomic<unsigned> asked = 0;
    std::unique_ptr<HttpServer> server;
};

TEST_F(HttpServerTest, PagesAreForReading) {
    std::string page = request("GET", "/page?x=1");
    EXPECT_TRUE(page.starts_with("HTTP/1.1 201 ")) << page;
    EXPECT_TRUE(page.ends_with("\r\n\r\na page\n")) << page;
    EXPECT_NE(page.find("Content-Type: text/plain\r\n"), page.npos) << page;
    EXPECT_TRUE(request("HEAD", "/page").ends_with("\r\n\r\n"));
    EXPECT_TRUE(request("POST", "/page", "Content-Length: 3\r\n\r\nabc").starts_with("HTTP/1.1 405 "));
    std::string none = request("GET", "/../page");
    EXPECT_TRUE(none.starts_with("HTTP/1.1 404 ") && none.ends_with("There is:\n/asked\n/kept\n/page\n"))
        << none;
}

TEST_F(HttpServerTest, APathThatIsKeptFromNames) {
    auto ask = [&](const std::string& host) {
        return read_all(send("GET /kept HTTP/1.1\r\nHost: " + host + "\r\nConnection: close\r\n\r\n"));
    };
    for (const char* host : {"127.0.0.1:9153", "127.0.0.1", "localhost", "localhost:9153", "[::1]:9153"})
        EXPECT_NE(ask(host).find("a page"), std::string::npos) << host;
    for (const char* host : {"evil.example", "127.0.0.1.evil.example:9153", "localhost.evil.example"})
        EXPECT_NE(ask(host).find("403"), std::string::npos) << host;
}

TEST_F(HttpServerTest, AllWhoAskMeanwhileGetOneAnswer) {
    std::vector<std::future<std::string>> clients;
    for (int i = 0; i < 5; ++i) clients.push_back(get_later("/asked"));
    await_asked(1);
    deliver("once");
    for (auto& client : clients) {
        std::string got = client.get(); // who comes after a second asks again
        if (got.ends_with("once")) continue;
        EXPECT_GT(asked, 1u) << got;
    }
}

TEST_F(HttpServerTest, AnswerIsGoodForAWhile) {
    for (unsigned round = 0; round < 100; ++round) {
        unsigned before = asked;
        Time begin = boot_time();
        std::string first = get_delivered("some");
        unsigned then = asked;
        std::string second = get_delivered("some");
        bool is_quick = then > before && boot_time() - begin < limits::http_fresh;
        if (is_quick) {
            EXPECT_TRUE(first.ends_with("\r\n\r\nsome") && second.ends_with("\r\n\r\nsome"));
            EXPECT_EQ(asked, then);
        }
        std::this_thread::sleep_for(limits::http_fresh);
        get_delivered("some");
        EXPECT_GT(asked, then) << "a second later it is no more";
        if (is_quick) return;
        std::this_thread::sleep_for(limits::http_fresh);
    }
}

TEST_F(HttpServerTest, WhoDoesNotDeliverIsNotWaitedForLong) {
    std::string late = request("GET", "/asked");
    EXPECT_TRUE(late.starts_with("HTTP/1.1 503 ")) << late;
    EXPECT_TRUE(late.ends_with("the control thread does not answer\n")) << late;
    EXPECT_TRUE(request("GET", "/asked").starts_with("HTTP/1.1 503 ")) << "and is asked no second time";
    EXPECT_EQ(asked, 1u);
    EXPECT_TRUE(request("GET", "/page").starts_with("HTTP/1.1 201 "));
    deliver("at last");
    std::string got;
    for (Time end = boot_time() + 60s; !got.ends_with("at last") && boot_time() < end;)
        got = get_delivered("at last"); // asked for anew, if it took a second to get here
    EXPECT_TRUE(got.ends_with("at last")) << got;
}

TEST_F(HttpServerTest, OthersAreServedWhileSomeWait) {
    auto waits = get_later("/asked");
    await_asked(1);
    EXPECT_TRUE(request("GET", "/page").starts_with("HTTP/1.1 201 "));
    deliver("then");
    EXPECT_TRUE(waits.get().ends_with("then"));
}

TEST_F(HttpServerTest, TextThatCannotBeMadeIsNoAnswer) {
    auto waits = get_later("/asked");
    await_asked(1);
    server->deliver("/asked", []() -> std::string { throw std::runtime_error("no"); });
    EXPECT_TRUE(waits.get().starts_with("HTTP/1.1 503 "));
}

// Slowloris: each takes a connection, and sends an octet now and then, so that it never stands still.
TEST_F(HttpServerTest, SlowOnesGiveWayToQuickOnes) {
    std::vector<Descriptor> slow;
    for (unsigned i = 0; i < 3 * limits::http_connections; ++i)
        slow.push_back(send("GET /kept HTTP/1.1\r\nX: "));
    std::atomic<bool> is_over = false;
    std::thread trickle([&] {
        for (; !is_over; std::this_thread::sleep_for(50ms)) {
            for (const Descriptor& socket : slow) ::send(socket.get(), "x", 1, MSG_NOSIGNAL | MSG_DONTWAIT);
        }
    });
    EXPECT_TRUE(request("GET", "/page").starts_with("HTTP/1.1 201 ") &&
                request("GET", "/page").starts_with("HTTP/1.1 201 "));
    is_over = true;
    trickle.join();
}

TEST_F(HttpServerTest, RequestsHaveABound) {
    std::string got = request("GET", "/page", "X: " + std::string(4 * limits::http_request, 'x') + "\r\n");
    EXPECT_FALSE(got.starts_with("HTTP/1.1 201 ")) << got;
    got = request("GET", "/" + std::string(4 * limits::http_request, 'x'));
    EXPECT_FALSE(got.starts_with("HTTP/1.1 2")) << got;
    EXPECT_TRUE(request("GET", "/page").starts_with("HTTP/1.1 201 "));
}

TEST_F(HttpServerTest, WhatIsNoHttpIsSurvived) {
    for (const char* octets :
         {"\0\0\0\0", "GET\r\n\r\n", "\r\n\r\n\r\n", "GET / HTTP/9.9\r\n\r\n",
          "GET /kept HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
          "GET /kept HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n"}) {
        Descriptor socket = send(octets);
        shutdown(socket.get(), SHUT_WR);
        read_all(socket, 50ms);
    }
    EXPECT_TRUE(request("GET", "/page").starts_with("HTTP/1.1 201 "));
}

TEST_F(HttpServerTest, StopsWhileSomeWait) {
    auto waits = get_later("/asked");
    await_asked(1);
    server->stop();
    server->stop();
    EXPECT_FALSE(waits.get().starts_with("HTTP/1.1 2"));
    deliver("too late");
}

TEST_F(HttpServerTest, PlaceThatIsTakenIsNamed) {
    auto second = HttpServer::open(server->at());
    ASSERT_FALSE(second);
    EXPECT_EQ(second.error(),
              "cannot serve metrics on " + to_string(server->at()) + ": Address already in use");
}

} // namespace
} // namespace millrace::control
