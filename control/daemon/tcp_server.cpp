#include "control/daemon/tcp_server.hpp"

#include <deque>

#include "cache/time.hpp"
#include "control/limits.hpp"
#include "dataplane/answer.hpp"

namespace millrace::control {

using asio::ip::tcp;
using dataplane::Event;
using dataplane::Query;
using dataplane::Verdict;
namespace answer = dataplane::answer;

/// One client. Lives in `open_`, and in the handlers of what it waits for.
class TcpServer::Connection : public std::enable_shared_from_this<Connection> {
  public:
    Connection(TcpServer& server, tcp::socket socket, std::uint64_t id, dataplane::Endpoint client)
        : server_(server), socket_(std::move(socket)), idle_(socket_.get_executor()), id_(id),
          client_(client) {}

    const dataplane::Endpoint& client() const { return client_; }
    std::uint64_t id() const { return id_; }

    void start() {
        restart_idle_timer();
        read_length();
    }

    /// A question went into the FetchTable; `reply` or `skip` ends it.
    void wait() { ++in_work_; }
    void skip() {
        --in_work_;
        resume_reading();
    }

    void reply(std::vector<std::uint8_t> message) {
        bool idle = replies_.empty();
        queued_octets_ += message.size();
        replies_.push_back(std::move(message));
        if (idle) write_next();
    }

    void close() {
        asio::error_code ignored;
        socket_.close(ignored);
        idle_.cancel();
        server_.forget(*this);
    }

  private:
    void read_length() {
        reading_ = true;
        auto keep = shared_from_this();
        asio::async_read(socket_, asio::buffer(length_), [this, keep](asio::error_code error, std::size_t) {
            if (error == asio::error::eof) return end_of_questions();
            if (error) return close();
            message_.resize(cache::load_u16(length_.data()));
            read_message();
        });
    }

    /// The client closed its half: it may still wait for answers (RFC 7766 6.2.4 does not forbid it).
    void end_of_questions() {
        reading_ = false;
        ended_ = true;
        resume_reading();
    }

    void read_message() {
        auto keep = shared_from_this();
        asio::async_read(socket_, asio::buffer(message_), [this, keep](asio::error_code error, std::size_t) {
            if (error) return close();
            reading_ = false;
            restart_idle_timer();
            server_.answer(*this, message_);
            resume_reading();
        });
    }

    /// Reads on while there is room for another question. Deferred: a wake must not start a question.
    void resume_reading() {
        if (ended_ && in_work_ == 0 && replies_.empty()) return close();
        bool full = in_work_ + replies_.size() >= server_.policy_.pipeline ||
                    queued_octets_ >= limits::tcp_queued_octets;
        if (reading_ || ended_ || full || !socket_.is_open()) return;
        reading_ = true;
        asio::post(socket_.get_executor(), [this, keep = shared_from_this()] {
            if (socket_.is_open()) read_length();
        });
    }

    void write_next() {
        std::vector<std::uint8_t>& message = replies_.front();
        cache::store_u16(out_length_.data(), std::uint16_t(message.size()));
        std::array<asio::const_buffer, 2> parts{asio::buffer(out_length_), asio::buffer(message)};
        asio::async_write(socket_, parts,
                          [this, keep = shared_from_this()](asio::error_code error, std::size_t) {
                              if (error || !socket_.is_open()) return close();
                              queued_octets_ -= replies_.front().size();
                              replies_.pop_front();
                              if (!replies_.empty()) write_next();
                              restart_idle_timer();
                              resume_reading();
                          });
    }

    void restart_idle_timer() {
        idle_.expires_after(server_.policy_.idle);
        idle_.async_wait([this, keep = shared_from_this()](asio::error_code error) {
            if (error) return;
            ++server_.connections_.timeouts;
            close();
        });
    }

    TcpServer& server_;
    tcp::socket socket_;
    asio::steady_timer idle_;
    std::uint64_t id_;
    dataplane::Endpoint client_;
    std::array<std::uint8_t, 2> length_{}, out_length_{};
    std::vector<std::uint8_t> message_;
    std::deque<std::vector<std::uint8_t>> replies_;
    std::size_t in_work_ = 0;       ///< questions in the FetchTable
    std::size_t queued_octets_ = 0; ///< of replies_
    bool reading_ = false;
    bool ended_ = false; ///< the client has sent its last question
};

namespace {

dataplane::Endpoint endpoint_of(const tcp::endpoint& from) {
    sockaddr_storage raw{};
    std::memcpy(&raw, from.data(), from.size());
    return dataplane::from_sockaddr(raw);
}

tcp::endpoint endpoint_of(const dataplane::Endpoint& from) {
    if (from.address.is_v4()) {
        asio::ip::address_v4::bytes_type v4;
        std::memcpy(v4.data(), from.address.v4_octets(), v4.size());
        return {asio::ip::address_v4(v4), from.port};
    }
    return {asio::ip::address_v6(from.address.octets), from.port};
}

/// Writes into a buffer that is then cut to what was written.
template <class Write>
std::vector<std::uint8_t> written(std::size_t room, Write write) {
    std::vector<std::uint8_t> out(room);
    out.resize(write(std::span(out)));
    return out;
}

std::size_t room_for(const dataplane::Head& head, const cache::Entry& entry) {
    return dns::header_octets + head.question_size + entry.records_size + 32;
}

} // namespace

TcpServer::TcpServer(asio::io_context& io, const cache::Table& table, FetchTable& fetches,
                     const dataplane::Access& access, const cache::Replaceable<dataplane::LocalNames>* local,
                     const Config::Tcp& policy)
    : io_(io), table_(table), fetches_(fetches), scratch_(cache::limits::message_octets),
      gate_(access, local, counters_, 0) {
    set_policy(policy);
}

namespace {

/// Whose connections count together: an IPv6 host has a whole /64 to itself (RFC 4291 2.5.1).
dataplane::Address host_of(dataplane::Address client) {
    if (!client.is_v4()) std::fill(client.octets.begin() + 8, client.octets.end(), 0);
    return client;
}

} // namespace

void TcpServer::set_policy(const Config::Tcp& policy) {
    policy_ = policy;
    // Of the descriptors, sockets towards upstreams take the greater part.
    policy_.connections = std::min(policy.connections, exchange_capacity() / 2);
}

bool TcpServer::has_room(const dataplane::Address& client) const {
    auto held = connections_of_client_.find(host_of(client));
    return open_.size() < policy_.connections &&
           (held == connections_of_client_.end() || held->second < policy_.per_client);
}

void TcpServer::forget(const Connection& connection) {
    dataplane::Address client = connection.client().address; // erase() may be the end of it
    if (open_.erase(connection.id()) == 0) return;
    auto held = connections_of_client_.find(host_of(client));
    if (--held->second == 0) connections_of_client_.erase(held);
}

TcpServer::~TcpServer() {
    close();
}

tl::expected<void, std::string> TcpServer::listen(const dataplane::Endpoint& endpoint) {
    auto listener = std::make_unique<Listener>(io_);
    tcp::acceptor* acceptor = &listener->acceptor;
    tcp::endpoint local = endpoint_of(endpoint);
    asio::error_code error;
    acceptor->open(local.protocol(), error);
    if (!error && local.protocol() == tcp::v6()) acceptor->set_option(asio::ip::v6_only(true), error);
    if (!error) acceptor->set_option(tcp::acceptor::reuse_address(true), error);
    if (!error) acceptor->bind(local, error);
    if (!error) acceptor->listen(tcp::acceptor::max_listen_connections, error);
    if (error) return tl::unexpected(to_string(endpoint) + " (TCP): " + error.message());
    listeners_.push_back(std::move(listener));
    accept(*listeners_.back());
    return {};
}

void TcpServer::accept(Listener& listener) {
    listener.acceptor.async_accept([this, &listener](asio::error_code error, tcp::socket socket) {
        if (error == asio::error::operation_aborted) return;
        asio::error_code gone;
        tcp::endpoint peer = error ? tcp::endpoint() : socket.remote_endpoint(gone);
        dataplane::Endpoint client = error ? dataplane::Endpoint() : endpoint_of(peer);
        if (!error && !gone && has_room(client.address)) {
            ++connections_.accepted;
            ++connections_of_client_[host_of(client.address)];
            auto connection = std::make_shared<Connection>(*this, std::move(socket), ++last_id_, client);
            open_.emplace(last_id_, connection);
            connection->start();
        } else {
            ++connections_.refused;
        }
        // Without descriptors the next accept would fail at once, and again: wait for some to be closed.
        if (!error) return accept(listener);
        listener.retry.expires_after(100ms);
        listener.retry.async_wait([this, &listener](asio::error_code cancelled) {
            if (!cancelled) accept(listener);
        });
    });
}

void TcpServer::answer(Connection& connection, std::span<const std::uint8_t> message) {
    Query query;
    std::size_t reply = 0;
    dataplane::Gate::Message judged{message, dataplane::Transport::tcp, connection.client().address,
                                    boot_time()};
    if (gate_.admit(judged, query, scratch_, reply)) {
        return look_up(connection, query, message.subspan(dns::header_octets, query.head.question_size));
    }
    if (reply == 0) return connection.close();
    connection.reply({scratch_.begin(), scratch_.begin() + std::ptrdiff_t(reply)});
}

void TcpServer::look_up(Connection& connection, const Query& query, std::span<const std::uint8_t> question) {
    if (answer_from_cache(connection, query, question)) return counters_.add(Verdict::answered);
    counters_.add(Verdict::missed);
    std::uint64_t token = ++last_id_;
    pending_.emplace(token,
                     Pending{connection.weak_from_this(), query.head, {question.begin(), question.end()}});
    connection.wait();
    Waiter waiter{Waiter::tcp_source, token, connection.client(), query.head.id, boot_time()};
    fetches_.resolve(query.key, table_.hasher()(query.key), waiter, waiter.arrived);
}

bool TcpServer::answer_from_cache(Connection& connection, const Query& query,
                                  std::span<const std::uint8_t> question) {
    cache::Hash hash = table_.hasher()(query.key);
    const cache::Entry* entry = table_.find(query.key, hash);
    if (!entry || entry->version.generation <= table_.floor(query.key.group)) return false;
    Time now = boot_time();
    bool fresh = now < entry->expiry;
    bool stale = !fresh && now < entry->stale_until && now.count() < entry->refresh_after;
    if (!fresh && !stale) return false;
    counters_.add(fresh ? Event::hit : Event::stale_hit);
    entry->visited.store(1, std::memory_order_relaxed);
    auto age = fresh ? answer::Age::counted : answer::Age::stale;
    connection.reply(written(room_for(query.head, *entry), [&](auto out) {
        return answer::write(query.head, question, *entry, now, age, out);
    }));
    if (fresh && entry->claim_refresh(now, dataplane::limits::refresh_retry)) {
        counters_.add(Event::refresh_asked);
        fetches_.refresh(query.key, hash, entry->version, now);
    }
    return true;
}

void TcpServer::wake(const Waiter& waiter, const cache::Entry* entry, dataplane::Wake::Kind kind) {
    auto node = pending_.extract(waiter.token);
    if (node.empty()) return;
    Pending& pending = node.mapped();
    bool abandoned = kind == dataplane::Wake::Kind::abandon;
    counters_.add(abandoned ? Event::wake_abandoned : Event::wake_answered);
    auto connection = pending.connection.lock();
    if (!connection) return;
    if (!abandoned) {
        auto age = kind == dataplane::Wake::Kind::stale ? answer::Age::stale : answer::Age::counted;
        connection->reply(written(room_for(pending.head, *entry), [&](auto out) {
            return answer::write(pending.head, pending.question, *entry, boot_time(), age, out);
        }));
    }
    connection->skip();
}

void TcpServer::close() {
    listeners_.clear();
    while (!open_.empty()) open_.begin()->second->close();
}

} // namespace millrace::control
