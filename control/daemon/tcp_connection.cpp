#include "control/daemon/tcp_connection.hpp"

namespace millrace::control {

/// Idle is who has no question in work (RFC 7766 6.2.3). A question that has begun has a deadline of its own,
/// and a reply that is not read may take no longer than a question that is not asked.
TcpPlaces::State TcpServer::Connection::state() const {
    Time idle_due = last_ + server_.policy_.idle;
    bool idle = in_work_ == 0 && !is_within_question();
    bool writing = !replies_.empty();
    return {.busy = in_work_ > 0 || writing,
            .since = last_,
            .due = std::min(question_due_, idle || writing ? idle_due : Time::max())};
}

void TcpServer::Connection::skip() {
    --in_work_;
    tell();
    resume_reading();
}

void TcpServer::Connection::reply(std::vector<std::uint8_t> message) {
    if (server_.log_) {
        server_.log_->add(
            {client_, {}, boot_time(), 0, dataplane::LoggedKind::client_response, dataplane::Transport::tcp},
            message);
    }
    bool first = replies_.empty();
    queued_octets_ += message.size();
    replies_.push_back(std::move(message));
    if (first) write_next();
}

void TcpServer::Connection::close() {
    asio::error_code ignored;
    socket_.close(ignored);
    server_.forget(*this);
}

void TcpServer::Connection::read_length() {
    reading_ = true;
    auto note = [this](asio::error_code error, std::size_t got) {
        if (got == 1) begin_question();
        return error ? 0 : length_.size() - got;
    };
    asio::async_read(socket_, asio::buffer(length_), note,
                     [this, keep = shared_from_this()](asio::error_code error, std::size_t) {
                         if (error == asio::error::eof) return end_of_questions();
                         if (error) return close();
                         if (!is_within_question()) begin_question(); // both octets at once
                         message_.resize(cache::load_u16(length_.data()));
                         read_message();
                     });
}

/// Its first octet has come. Later ones move no deadline: a client that sends one now and then is as slow.
void TcpServer::Connection::begin_question() {
    question_due_ = boot_time() + std::min(limits::tcp_question, server_.policy_.idle);
    tell();
}

/// The client closed its half: it may still wait for answers (RFC 7766 6.2.4 does not forbid it).
void TcpServer::Connection::end_of_questions() {
    reading_ = false;
    ended_ = true;
    question_due_ = Time::max();
    tell();
    resume_reading();
}

void TcpServer::Connection::read_message() {
    auto keep = shared_from_this();
    asio::async_read(socket_, asio::buffer(message_), [this, keep](asio::error_code error, std::size_t) {
        if (error) return close();
        reading_ = false;
        question_due_ = Time::max();
        last_ = boot_time();
        server_.answer(*this, message_);
        tell();
        resume_reading();
    });
}

/// Reads on while there is room for another question. Deferred: a wake must not start a question.
void TcpServer::Connection::resume_reading() {
    if (ended_ && in_work_ == 0 && replies_.empty()) return close();
    bool full = in_work_ + replies_.size() >= server_.policy_.pipeline || owes_much();
    if (reading_ || ended_ || full || !socket_.is_open()) return;
    reading_ = true;
    asio::post(socket_.get_executor(), [this, keep = shared_from_this()] {
        if (socket_.is_open()) read_length();
    });
}

void TcpServer::Connection::write_next() {
    std::vector<std::uint8_t>& message = replies_.front();
    cache::store_u16(out_length_.data(), std::uint16_t(message.size()));
    std::array<asio::const_buffer, 2> parts{asio::buffer(out_length_), asio::buffer(message)};
    last_ = boot_time();
    tell();
    asio::async_write(socket_, parts, [this, keep = shared_from_this()](asio::error_code error, std::size_t) {
        if (error || !socket_.is_open()) return close();
        queued_octets_ -= replies_.front().size();
        replies_.pop_front();
        last_ = boot_time();
        if (!replies_.empty()) write_next();
        tell();
        resume_reading();
    });
}

} // namespace millrace::control
