// Basic algorithm: asking (wait for a packet) -> working (a handler has the Responder) -> sending
// -> asking again.
#include "control/command/connection.hpp"

#include <algorithm>
#include <array>
#include <cerrno>

#include <sys/socket.h>
#include <sys/uio.h>

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
    char octet;
    ssize_t got = ::recv(socket_.native_handle(), &octet, 1, MSG_PEEK | MSG_DONTWAIT);
    if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR)) close();
}

void CommandConnection::receive() {
    std::array<char, command_limits::request_octets + 1> buffer;
    ssize_t got = ::recv(socket_.native_handle(), buffer.data(), buffer.size(), MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) return watch();
    if (got <= 0) return close();
    run({buffer.data(), std::size_t(got)}); // one octet too many tells a request that was cut
    watch();
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
    sent_ = 0;
    enter(State::sending, server_.times_.send);
    flush();
}

void CommandConnection::flush() {
    while (sent_ < out_.size()) {
        ssize_t sent = send_packet();
        if (sent > 0) {
            sent_ += std::size_t(sent) - 1;
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
    enter(State::asking, server_.times_.ask);
    watch();
}

ssize_t CommandConnection::send_packet() {
    std::size_t size = std::min(out_.size() - sent_, command_limits::packet_octets - 1);
    char first = sent_ + size < out_.size() ? command_limits::more : command_limits::last;
    iovec parts[] = {{&first, 1}, {out_.data() + sent_, size}};
    msghdr message{};
    message.msg_iov = parts;
    message.msg_iovlen = 2;
    return ::sendmsg(socket_.native_handle(), &message, MSG_DONTWAIT | MSG_NOSIGNAL);
}

void CommandConnection::out_of_time() {
    if (state_ == State::working) return send(R"({"error":"the daemon did not answer in time"})");
    close();
}

} // namespace millrace::control
