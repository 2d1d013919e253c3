// Whatever the request, there is exactly one reply, and it is a JSON object in UTF-8: of Commands alone, and
// over a real control socket, where requests are packets and a reply is as many packets as it needs.
#include <utility>

#include <string>

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
using millrace::fuzz::Input;
using millrace::fuzz::require;

namespace {

/// Sentences with args, without them an exception; replies of two packets; handlers that never answer.
template <typename Verbs>
void add_verbs(Verbs& verbs) {
    verbs.on("a", [](auto args, Responder responder) { responder.respond({{"args", args}}); });
    verbs.on("a b", [](auto args, Responder responder) { responder.fail(args.at(0)); });
    verbs.on("b", [](auto args, Responder responder) {
        responder.respond({{"long", std::string(command_limits::packet_octets, 'x')}, {"args", args}});
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
        fd_ = ::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        require(::connect(fd_, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
    }
    void send(const std::vector<std::uint8_t>& request) {
        require(::send(fd_, request.data(), request.size(), MSG_NOSIGNAL) == ssize_t(request.size()));
    }
    /// One reply: its first octets say what follows.
    std::string receive() {
        std::string text, packet;
        for (;;) {
            packet.resize(command_limits::packet_octets + 1);
            ssize_t got = ::recv(fd_, packet.data(), packet.size(), 0);
            if (got < 0) {
                io_.restart();
                require(errno == EAGAIN && io_.run_one_for(std::chrono::seconds(5)) == 1); // else: no reply
                continue;
            }
            require(got > 1 && std::size_t(got) <= command_limits::packet_octets);
            require(packet[0] == command_limits::more || packet[0] == command_limits::last);
            text.append(packet, 1, std::size_t(got) - 1);
            if (packet[0] == command_limits::last) return text;
        }
    }
    /// Nothing that was not asked for came, and the server forgets the client.
    void disconnect() {
        char octet;
        io_.restart();
        io_.poll();
        require(::recv(fd_, &octet, 1, 0) == -1 && errno == EAGAIN);
        ::close(fd_);
        while (server_.connections() > 0) {
            io_.restart();
            require(io_.run_one_for(std::chrono::seconds(5)) == 1);
        }
    }

  private:
    asio::io_context io_;
    CommandServer server_;
    std::string path_;
    int fd_ = -1;
};

/// Requests one by one, then all at once: each gets its reply, in order.
void run_over_socket(const std::vector<std::vector<std::uint8_t>>& requests) {
    static Socket socket;
    std::vector<std::string> replies;
    socket.connect();
    for (const auto& request : requests) {
        socket.send(request);
        replies.push_back(socket.receive());
        check_object(replies.back());
    }
    for (const auto& request : requests) socket.send(request);
    for (const std::string& reply : replies) require(socket.receive() == reply);
    socket.disconnect();
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    millrace::fuzz::Work work({.for_input = 30'000'000, .for_octet = 60}, size);
    run_alone({reinterpret_cast<const char*>(data), size});
    // A line is a packet; control characters come from the octet 0xff, which no handler needs.
    Input in(data, size);
    std::vector<std::vector<std::uint8_t>> requests(1);
    while (!in.empty() && requests.size() < 6) {
        auto octet = std::uint8_t(in.u8());
        if (octet == '\n') {
            if (!requests.back().empty()) requests.emplace_back();
        } else {
            requests.back().push_back(octet == 0xff ? '\n' : octet);
        }
    }
    if (requests.back().empty()) requests.pop_back(); // an empty packet would be the client's end
    run_over_socket(requests);
    return 0;
}
