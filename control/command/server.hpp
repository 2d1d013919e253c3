// The daemon's end of the control socket: a Unix stream socket on the control thread's io_context.
//
// One request of a connection is in work at a time; the next waits in the kernel. Connections are few, and a
// client that neither asks nor reads is dropped: everything here has a time limit. Nothing blocks.
//
// Threads: the control thread, which also runs the io_context. The io_context outlives the server.
#pragma once

#include <utility>

#include <cstddef>
#include <memory>
#include <set>
#include <string>

#include <asio/io_context.hpp>
#include <asio/posix/stream_descriptor.hpp>
#include <asio/steady_timer.hpp>
#include <sys/socket.h>
#include <tl/expected.hpp>

#include "control/command/protocol.hpp"
#include "dataplane/descriptor.hpp"

namespace millrace::control {

struct CommandTimes {
    std::chrono::milliseconds ask = std::chrono::seconds(10);  ///< for a connection without a request
    std::chrono::milliseconds work = std::chrono::seconds(60); ///< for a handler to answer
    std::chrono::milliseconds send = std::chrono::seconds(5);  ///< for a client to read its reply
};

class CommandConnection;

class CommandServer {
  public:
    explicit CommandServer(asio::io_context& io, CommandTimes times = {});
    ~CommandServer(); ///< closes
    CommandServer(const CommandServer&) = delete;
    CommandServer& operator=(const CommandServer&) = delete;

    void on(std::string verb, Handler handler, Effect effect = Effect::change) {
        commands_.on(std::move(verb), std::move(handler), effect);
    }
    /// A verb without arguments.
    void on_plain(const std::string& verb, std::function<void(Responder)> act,
                  Effect effect = Effect::change);
    /// One that shows what is made.
    void on_look(const std::string& verb, std::function<nlohmann::json()> make);

    /// Listens at `path`, whose file gets `mode` and `group` (empty: the process's
    /// own). Makes the directory (0755) when it is missing, replaces the socket of
    /// a dead process and refuses a live one's. `handed`: a socket that a predecessor listens there
    /// with, or none. The error is a sentence.
    tl::expected<void, std::string> open(const std::string& path, unsigned mode = 0660,
                                         const std::string& group = {}, dataplane::Descriptor handed = {});

    int descriptor() { return listener_.native_handle(); } ///< that listens, for a successor
    /// Whether the socket's file goes with this process: else another one has the socket, too, and the file.
    /// At first it is of who made it.
    void own_file(bool is_ours) { owns_file_ = is_ours; }
    void hold(std::string sentence) { commands_.hold(std::move(sentence)); } ///< see Commands
    void release() { commands_.release(); }
    bool is_holding() const { return commands_.is_holding(); }
    void stop_listening(); ///< who connects from here on is for whoever else has the socket

    /// Ends every connection and removes the socket. A handler may call it, after it has answered.
    void close();

    std::size_t connections() const { return connections_.size(); }

    /// When there are so many, the process that holds most, of the user who holds most, loses one for who
    /// comes, unless that one holds as many.
    static constexpr std::size_t most_connections = 16;

  private:
    friend class CommandConnection;

    void wait_for_client();
    void accept_clients();
    void admit(dataplane::Descriptor client);
    bool make_room(const ucred& newcomer);
    void wait_for_descriptors();

    asio::io_context& io_;
    CommandTimes times_;
    Commands commands_;
    asio::posix::stream_descriptor listener_;
    asio::steady_timer pause_;
    std::set<std::shared_ptr<CommandConnection>> connections_;
    std::shared_ptr<bool> open_; ///< lives from open to close: the io_context's handlers look at it first
    std::string path_;
    bool owns_file_ = true;
    dev_t device_ = 0; ///< with inode_, our socket file: a successor's is not ours to remove
    ino_t inode_ = 0;
};

} // namespace millrace::control
