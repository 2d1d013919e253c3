// One client of the control socket, from its first request to its end.
#pragma once

#include <utility>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include <asio/posix/stream_descriptor.hpp>
#include <asio/steady_timer.hpp>

#include "control/command/server.hpp"

namespace millrace::control {

class CommandConnection : public std::enable_shared_from_this<CommandConnection> {
  public:
    /// `server` is not touched once the connection is closed.
    explicit CommandConnection(CommandServer& server);

    bool start(dataplane::Descriptor client);
    void close();
    const ucred& peer() const { return peer_; }

  private:
    enum class State { asking, working, sending, closed };

    void enter(State state, std::chrono::milliseconds limit);
    void watch();
    void readable();
    void receive();
    void run(std::string_view request);
    void send(std::string text);
    void flush();
    ssize_t send_packet();
    void out_of_time();

    CommandServer& server_;
    ucred peer_{};
    asio::posix::stream_descriptor socket_;
    asio::steady_timer timer_;
    State state_ = State::asking;
    bool watched_ = false;      ///< a wait for the socket to become readable is under way
    std::uint64_t request_ = 0; ///< counts requests, so that a reply that comes too late finds another
    std::string out_;           ///< the reply being sent,
    std::size_t sent_ = 0;      ///< and how much of it has gone
};

} // namespace millrace::control
