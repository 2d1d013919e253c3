// One client of the control socket, from its first request to its end.
#pragma once

#include <utility>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
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

    static constexpr std::size_t most_read = command_limits::request_octets + 1;

    void enter(State state, std::chrono::milliseconds limit);
    void watch();
    void watch_for_end();
    void readable();
    void receive();
    bool has_hung_up();
    void next();
    std::optional<std::string> take_line();
    void run(std::string_view request);
    void send(std::string text);
    void flush();
    void sent();
    void out_of_time();

    CommandServer& server_;
    ucred peer_{};
    asio::posix::stream_descriptor socket_;
    asio::steady_timer timer_;
    State state_ = State::asking;
    bool watched_ = false;      ///< a wait for the socket to become readable is under way,
    bool end_watched_ = false;  ///< one for the client to hang up
    bool has_ended_ = false;    ///< the client sends no more, but may read
    std::string in_;            ///< what came of requests that are not in work yet, at most `most_read`
    bool is_cut_ = false;       ///< of the line that in_ begins in the middle of, more was left out
    std::uint64_t request_ = 0; ///< counts requests, so that a reply that comes too late finds another
    std::string out_;           ///< the reply being sent,
    std::size_t sent_ = 0;      ///< and how much of it has gone
};

} // namespace millrace::control
