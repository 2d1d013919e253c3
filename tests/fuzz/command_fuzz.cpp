// Whatever the request, there is exactly one reply, and it is a JSON object in UTF-8: of Commands alone, and
// over a real control socket, where lines come in any pieces.
#include <array>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <asio/io_context.hpp>
#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "control/command/protocol.hpp"
#include "control/command/server.hpp"
#include "control/command/tables.hpp"
#include "tests/fuzz/input.hpp"
#include "tests/fuzz/work.hpp"

using namespace millrace::control;
using millrace::fuzz::require;

namespace {

/// Sentences with args, without them an exception; replies that the socket has no room for; none at all.
template <typename Verbs>
void add_verbs(Verbs& verbs) {
    verbs.on("a", [](auto args, Responder responder) { responder.respond({{"args", args}}); });
    verbs.on("a b", [](auto args, Responder responder) { responder.fail(args.at(0)); });
    verbs.on("b", [](auto args, Responder responder) {
        responder.respond({{"long", std::string(100'000, 'x')}, {"args", args}});
    });
    verbs.on("c", [](auto, Responder) {});
}

void check_object(const std::string& text) {
    auto object = nlohmann::json::parse(text, nullptr, false);
    require(object.is_object());
    for (char c : to_table(object))
        require(c == '\n' || (static_cast<unsigned char>(c) >= 0x20 && c != 0x7f));
}

void run_alone(std::string_view request) {
    static const Commands commands = [] {
        Commands out;
        add_verbs(out);
        return out;
    }();
    std::string text;
    int replies = 0;
    commands.run(request, Responder([&](std::string reply) {
                     text = std::move(reply);
                     ++replies;
                 }));
    require(replies == 1);
    check_object(text);
}

/// A server, and one client at a time; one thread for both.
class Socket {
  public:
    Socket() : server_(io_), path_(fmt::format("/tmp/millrace-fuzz.{}/socket", ::getpid())) {
        add_verbs(server_);
        require(server_.open(path_).has_value());
    }
    ~Socket() {
        server_.close();
        ::rmdir(path_.substr(0, path_.rfind('/')).c_str());
    }

    void connect() {
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        path_.copy(address.sun_path, sizeof address.sun_path - 1);
        fd_ = ::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        require(::connect(fd_, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
    }
    void send(std::string_view text) {
        require(::send(fd_, text.data(), text.size(), MSG_NOSIGNAL) == ssize_t(text.size()));
    }
    /// One reply, without its line break.
    std::string receive() {
        for (std::array<char, 65536> part;;) {
            if (auto end = came_.find('\n'); end != came_.npos) {
                std::string line = came_.substr(0, end);
                came_.erase(0, end + 1);
                return line;
            }
            ssize_t got = ::recv(fd_, part.data(), part.size(), 0);
            if (got < 0) {
                require(errno == EAGAIN);
                turn();
            } else {
                require(got > 0);
                came_.append(part.data(), std::size_t(got));
            }
        }
    }
    /// The server takes one step. It has one to take, or there will be no reply.
    void turn() {
        io_.restart();
        require(io_.run_one_for(std::chrono::seconds(5)) == 1);
    }
    void read_all() {
        io_.restart();
        io_.poll();
    }
    /// Nothing that was not asked for came, and the server forgets the client.
    void disconnect() {
        char octet;
        io_.restart();
        io_.poll();
        require(came_.empty() && ::recv(fd_, &octet, 1, 0) == -1 && errno == EAGAIN);
        ::close(fd_);
        while (server_.connections() > 0) turn();
    }

  private:
    asio::io_context io_;
    CommandServer server_;
    std::string path_;
    int fd_ = -1;
    std::string came_;
};

/// Requests one by one, then all at once, then in two pieces: each gets its reply, in order.
void run_over_socket(const std::string& lines) {
    static Socket socket;
    std::vector<std::string> replies;
    socket.connect();
    for (std::size_t at = 0, end; at < lines.size(); at = end) {
        end = lines.find('\n', at) + 1;
        socket.send(std::string_view(lines).substr(at, end - at));
        replies.push_back(socket.receive());
        check_object(replies.back());
    }
    socket.send(lines);
    for (const std::string& reply : replies) require(socket.receive() == reply);
    socket.send(std::string_view(lines).substr(0, lines.size() / 2));
    socket.read_all();
    socket.send(std::string_view(lines).substr(lines.size() / 2));
    for (const std::string& reply : replies) require(socket.receive() == reply);
    socket.disconnect();
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    millrace::fuzz::Work work({.for_input = 30'000'000, .for_octet = 60}, size);
    run_alone({reinterpret_cast<const char*>(data), size});
    std::string lines;
    for (std::size_t at = 0, breaks = 0; at < size && breaks < 4; ++at) {
        lines += char(data[at]);
        breaks += data[at] == '\n';
    }
    lines += '\n';
    run_over_socket(lines);
    return 0;
}
