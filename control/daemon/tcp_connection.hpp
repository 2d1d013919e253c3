// One client's TCP connection: reads questions, writes replies, and tells TcpPlaces how it stands.
//
// It reads on while there is room for another question. Control thread only.
#pragma once

#include "control/daemon/tcp_server.hpp"

#include <array>
#include <deque>

#include "control/limits.hpp"

namespace millrace::control {

/// Lives in `open_`, and in the handlers of what it waits for.
class TcpServer::Connection : public std::enable_shared_from_this<Connection> {
  public:
    Connection(TcpServer& server, asio::ip::tcp::socket socket, TcpPlaces::Id id, dataplane::Endpoint client)
        : server_(server), socket_(std::move(socket)), id_(id), client_(client) {}

    const dataplane::Endpoint& client() const { return client_; }
    TcpPlaces::Id id() const { return id_; }
    TcpPlaces::State state() const;
    /// Whether a question has begun and not ended.
    bool is_within_question() const { return question_due_ != Time::max(); }
    /// Whether it leaves so many octets unread that no more are kept for it.
    bool owes_much() const { return queued_octets_ >= limits::tcp_queued_octets; }

    void start() { read_length(); }

    /// A question went into the FetchTable; `skip` ends it.
    void wait() { ++in_work_; }
    void skip();
    void reply(std::vector<std::uint8_t> message);
    void close();

  private:
    void read_length();
    void begin_question();
    void read_message();
    void end_of_questions();
    void resume_reading();
    void write_next();
    /// After every change of the state.
    void tell() { server_.places_.set(id_, state()); }

    TcpServer& server_;
    asio::ip::tcp::socket socket_;
    TcpPlaces::Id id_;
    dataplane::Endpoint client_;
    Time last_ = boot_time(); ///< accepted, asked, or answered
    Time question_due_ = Time::max();
    std::array<std::uint8_t, 2> length_{}, out_length_{};
    std::vector<std::uint8_t> message_;
    std::deque<std::vector<std::uint8_t>> replies_;
    std::size_t in_work_ = 0;       ///< questions in the FetchTable
    std::size_t queued_octets_ = 0; ///< of replies_
    bool reading_ = false;
    bool ended_ = false; ///< the client has sent its last question
};

} // namespace millrace::control
