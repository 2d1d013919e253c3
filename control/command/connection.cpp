// Basic algorithm: asking (wait for a line) -> working (a handler has the Responder) -> sending
// -> asking again.
#include "control/command/connection.hpp"

#include <array>
#include <cerrno>
#include <utility>

#include <asio/post.hpp>
#include <poll.h>
#include <sys/socket.h>

#include "dataplane/unix_address.hpp"

namespace millrace::control {

CommandConnection::CommandConnection(CommandServer& server)
    : server_(server), socket_(server.io_), timer_(server.io_) {}

bool CommandConnection::start(dataplane::Descriptor client) {
    asio::error_code error;
    peer_ = dataplane::peer_of(client.get());
    if (socket_.assign(client.get(), error)) return false;
    client.release();
    enter(State::asking, server_.times_.ask);
    watch();
    return true;
}

void CommandConnection::close() {
    if (state_ == State::closed) return;
    state_ = State::closed;
    asio::error_code ignored;
    socket_.close(ignored);
    timer_.cancel();
    server_.connections_.erase(shared_from_this());
}

void CommandConnection::enter(State state, std::chrono::milliseconds limit) {
    state_ = state;
    timer_.expires_after(limit);
    timer_.async_wait([self = shared_from_this()](asio::error_code error) {
        // A timer that was moved on after it had fired still reports success.
        if (!error && self->timer_.expiry() <= asio::steady_timer::clock_type::now()) self->out_of_time();
    });
}

void CommandConnection::watch() {
    if (watched_ || state_ == State::closed) return;
    watched_ = true;
    socket_.async_wait(socket_.wait_read, [self = shared_from_this()](asio::error_code error) {
        self->watched_ = false;
        if (!error) self->readable();
    });
}

void CommandConnection::readable() {
    if (state_ == State::closed) return;
    if (state_ == State::asking) return receive();
    // While a request is in work, only the client's end matters. Another request stays where it is, and the
    // socket is watched again when its turn comes.
    watch_for_end();
}

/// Which what is still to be read does not end.
void CommandConnection::watch_for_end() {
    if (state_ == State::asking || state_ == State::closed) return;
    if (has_hung_up()) return close();
    if (std::exchange(end_watched_, true)) return;
    socket_.async_wait(socket_.wait_error, [self = shared_from_this()](asio::error_code error) {
        self->end_watched_ = false;
        if (!error) self->watch_for_end();
    });
}

/// Neither reads nor sends any more, which is more than the end of what it sends: `echo status | nc -NU PATH`
/// waits for the reply.
bool CommandConnection::has_hung_up() {
    pollfd look{socket_.native_handle(), 0, 0};
    return ::poll(&look, 1, 0) > 0;
}

void CommandConnection::receive() {
    std::array<char, most_read> buffer;
    ssize_t got = ::recv(socket_.native_handle(), buffer.data(), most_read - in_.size(), MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) return watch();
    if (got < 0) return close();
    in_.append(buffer.data(), std::size_t(got));
    has_ended_ = got == 0;
    if (has_ended_ && (is_cut_ || !in_.empty())) in_ += '\n'; // the last line's break may be missing
    next();
}

/// One request, if a whole one has come.
void CommandConnection::next() {
    if (auto line = take_line()) {
        run(*line);
    } else if (has_ended_) {
        return close();
    }
    has_ended_ ? watch_for_end() : watch();
}

/// Of one that is too long so much that this can be told.
std::optional<std::string> CommandConnection::take_line() {
    std::size_t size = in_.find('\n');
    if (size == in_.npos) {
        if (in_.size() < most_read) return std::nullopt;
        is_cut_ = true;
        in_.clear();
        return std::nullopt;
    }
    std::string line = std::exchange(is_cut_, false) ? std::string(most_read, ' ') : in_.substr(0, size);
    in_.erase(0, size + 1);
    return line;
}

void CommandConnection::run(std::string_view request) {
    enter(State::working, server_.times_.work);
    std::weak_ptr<CommandConnection> weak = weak_from_this();
    server_.commands_.run(request, Responder([weak, number = ++request_](std::string text) {
                              auto self = weak.lock();
                              if (self && self->state_ == State::working && self->request_ == number)
                                  self->send(std::move(text));
                          }));
}

void CommandConnection::send(std::string text) {
    out_ = std::move(text);
    out_ += '\n';
    sent_ = 0;
    enter(State::sending, server_.times_.send);
    flush();
}

void CommandConnection::flush() {
    while (sent_ < out_.size()) {
        ssize_t sent = ::send(socket_.native_handle(), out_.data() + sent_, out_.size() - sent_,
                              MSG_DONTWAIT | MSG_NOSIGNAL);
        if (sent > 0) {
            sent_ += std::size_t(sent);
        } else if (errno == EAGAIN) {
            return socket_.async_wait(socket_.wait_write,
                                      [self = shared_from_this()](asio::error_code error) {
                                          if (!error && self->state_ == State::sending) self->flush();
                                      });
        } else if (errno != EINTR) {
            return close();
        }
    }
    out_ = {};
    asio::post(server_.io_, [self = shared_from_this()] { self->sent(); }); // others have their turns before
}

void CommandConnection::sent() {
    if (state_ == State::closed) return;
    enter(State::asking, server_.times_.ask);
    next();
}

void CommandConnection::out_of_time() {
    if (state_ == State::working) return send(R"({"error":"the daemon did not answer in time"})");
    close();
}

} // namespace millrace::control
